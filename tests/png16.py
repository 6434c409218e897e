"""PNG files of 16 bits written by hand, so that no library's rounding is between a test and its pixels."""

import struct
import zlib

import numpy as np

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""The colour type of PNG by the number of channels."""

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, step down and step across of the passes of an interlaced PNG."""


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(array: np.ndarray, *others: bytes, interlaced: bool = False, after: bytes = b"") -> bytes:
    """H·W·C, uint16 or uint8, as a PNG without filters; other chunks come before or after the pixels."""
    bits = 8 * array.itemsize
    passes = [array[top::down, left::across] for top, left, down, across in ADAM7] if interlaced else [array]
    rows = b"".join(
        b"\0" + np.ascontiguousarray(row).astype(f">u{bits // 8}").tobytes()
        for part in passes
        if part.size
        for row in part
    )
    head = (array.shape[1], array.shape[0], bits, COLOURS[array.shape[2]], 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", *head))
        + b"".join(others)
        + chunk(b"IDAT", zlib.compress(rows))
        + after
        + chunk(b"IEND", b"")
    )
