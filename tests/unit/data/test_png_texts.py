"""A long text or profile is no reason to refuse a PNG, and a bomb in one costs neither memory nor time."""

import io
import resource
import time
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import png16
from copyfold.data.reading import decoding, png

PIXELS = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
LONG = zlib.compress(b"x" * 2_000_000)


def packed(name, content):
    return png16.chunk(name, (b"note\0\1\0\0\0" if name == b"iTXt" else b"note\0\0") + content)


KINDS = {
    "zTXt": [packed(b"zTXt", LONG)],
    "iTXt": [packed(b"iTXt", LONG)],
    "profile": [packed(b"iCCP", LONG)],
    "many": [packed(b"iTXt", zlib.compress(bytes(1_000_000)))] * 80,
    "plain": [png16.chunk(b"tEXt", b"note\0" + b"x" * 70_000_000)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_or_profile_is_no_reason_to_refuse_a_picture(kind):
    for content in (png16.png(PIXELS, *KINDS[kind]), png16.png(PIXELS, after=b"".join(KINDS[kind]))):
        np.testing.assert_array_equal(np.asarray(decoding.decode(content)), PIXELS)
        assert decoding.header(content).width == 4


def test_a_long_profile_is_kept_up_to_a_limit():
    assert decoding.decode(png16.png(PIXELS, *KINDS["profile"])).info["icc_profile"] == b"x" * 2_000_000
    longer = packed(b"iCCP", zlib.compress(bytes(png.PROFILE + 1)))
    assert not decoding.decode(png16.png(PIXELS, longer)).info.get("icc_profile")


def test_short_texts_are_read_and_exif_in_them_obeyed():
    content = png16.png(PIXELS, packed(b"zTXt", zlib.compress(b"hello")), *KINDS["zTXt"])
    assert decoding.decode(content).info["note"] == "hello"


def test_bombs_in_texts_cost_neither_memory_nor_time():
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()  # 64 MB in 64 kB
    content = png16.png(PIXELS, *[packed(b"zTXt", bomb)] * 200, *[packed(b"iCCP", bomb)] * 200)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    decoding.decode(content)
    assert time.process_time() - begin < 2  # decompressing them all takes some ten times as long
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB, of 25 GB


def test_pillow_itself_is_not_changed():
    decoding.decode(png16.png(PIXELS))
    with pytest.raises(ValueError, match="MAX_TEXT_CHUNK"):
        Image.open(io.BytesIO(png16.png(PIXELS, *KINDS["zTXt"])))
    assert PngImagePlugin.PngStream is not png.Chunks


def test_an_animated_png_gives_its_first_frame():
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(np.asarray(decoding.decode(file.getvalue())), PIXELS)
