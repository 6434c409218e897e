"""Images of a few bytes that say they are enormous are refused by their headers, before memory is taken."""

import struct
from pathlib import Path

import pytest

from copyfold.data import Photos
from copyfold.data.photographs import Photograph
from copyfold.errors import DataError


def tiff(width: int, height: int, samples: int = 1, bits: int = 8, kind: int = 1) -> bytes:
    """A TIFF of one strip; `kind` 1 is of whole numbers, 3 of floats."""
    tags = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: 1,
        273: 8,
        277: samples,
        278: height,
        279: 10,
        339: kind,
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<2sHI", b"II", 42, 18)
    return head + b"0" * 10 + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)


def gif(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6)
    return screen + b"," + struct.pack("<HHHH", 0, 0, width, height) + b"\0\x02\x02D\x01\0;"


def bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 104, 0, 0, 54) + head + b"0" * 50


def jpeg(width: int, height: int) -> bytes:
    frame = b"\xff\xc0\0\x11\x08" + struct.pack(">HH", height, width) + b"\x03\x01\x22\0\x02\x11\x01\x03\x11\x01"
    scan = b"\xff\xda\0\x0c\x03\x01\0\x02\x11\x03\x11\0\x3f\0"
    return b"\xff\xd8" + frame + scan + b"0" * 50 + b"\xff\xd9"


def webp(width: int, height: int) -> bytes:
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides + bytes(10)


CLAIMS = {
    "a.tif": (tiff(60_000, 60_000), "60000x60000, more than 100 megapixels"),
    "float.tif": (tiff(60_000, 60_000, bits=32, kind=3), "60000x60000, more than 100 megapixels"),
    "channels.tif": (tiff(9_000, 9_000, samples=60, bits=16), "60 channels|400,000,000 numbers|cannot be decoded"),
    "a.gif": (gif(65_535, 65_535), "65535x65535, more than 100 megapixels"),
    "a.bmp": (bmp(60_000, 60_000), "60000x60000, more than 100 megapixels"),
    "a.jpg": (jpeg(65_000, 65_000), "65000x65000, more than 100 megapixels"),
    "a.webp": (webp(16_384, 16_384), "exceeds limit|more than 100 megapixels|cannot be decoded"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_an_image_that_claims_a_size_is_refused(name: str, tmp_path: Path) -> None:
    data, reason = CLAIMS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=reason):
        Photos(tmp_path)
    with pytest.raises(DataError, match=reason):
        Photos(tmp_path, range=(0, 1000))
    with pytest.raises(DataError, match=reason):
        Photograph.read(tmp_path / name, name)
