"""Digests of pixels, block by block: whether stored ones are still as they were written, and which they are."""

import hashlib
import random
from collections.abc import Iterable

import numpy as np

BLOCK = 2**20  # bytes that one digest is of
LOOKED = 6  # blocks that are read again when an array is opened: some 10 ms, however large the array is
BYTES = 16  # of a digest


def of_blocks(pixels: np.ndarray) -> str:
    """The digests of all blocks of an array's bytes, one behind the other, in hexadecimal."""
    values = _bytes(pixels)
    return "".join(_digest(values[k : k + BLOCK].data) for k in range(0, len(values), BLOCK))


def of_array(shape: Iterable[int], dtype: np.dtype | str, blocks: str, *parts: int) -> str:
    """One digest of a whole array from those of its blocks; `parts` are whatever else tells two apart."""
    return _digest(repr((tuple(shape), str(dtype), parts)).encode() + bytes.fromhex(blocks))


def damaged(pixels: np.ndarray, blocks: str, whole: bool = False) -> int | None:
    """The number of a block that is not as its digest says; None where none is among those that are read.

    These are the first, the last and four others drawn anew each time, or all of the array where `whole`. An
    array of another length than the digests are of is damaged at its end.
    """
    values, size = _bytes(pixels), 2 * BYTES
    count = -(-len(values) // BLOCK)
    if len(blocks) != size * count:
        return min(count, len(blocks) // size)
    looked = range(count) if whole or count <= LOOKED else _some(count)
    for k in looked:
        if _digest(values[k * BLOCK : (k + 1) * BLOCK].data) != blocks[k * size : (k + 1) * size]:
            return k
    return None


def _some(count: int) -> list[int]:
    """The first and the last of the blocks, and some others: other ones in every process."""
    return sorted({0, count - 1, *random.Random().sample(range(1, count - 1), LOOKED - 2)})


def _bytes(pixels: np.ndarray) -> np.ndarray:
    """The bytes of an array in its own order; a view where it is contiguous."""
    return np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)


def _digest(content: bytes | memoryview) -> str:
    return hashlib.blake2b(content, digest_size=BYTES).hexdigest()
