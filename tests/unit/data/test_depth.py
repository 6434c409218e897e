"""Every number of a file at its own depth, bit for bit; what is too large or odd is refused in one line."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

import png16
from copyfold.data.reading import decoding
from copyfold.data.reading.decoding import Refused
from copyfold.data.reading.depth import TURNS, numbers

rng = np.random.default_rng(0)
WIDE = rng.integers(0, 2**16, (11, 13, 4)).astype(np.uint16)


def tiff(array, order="<", big=False, **options):
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=big) as writer:
        writer.write(array, metadata=None, **options)
    return file.getvalue()


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


# ---------------------------------------------------------------- PNG


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_16_bits_comes_bit_for_bit(channels, interlaced):
    found = numbers(png16.png(WIDE[..., :channels], interlaced=interlaced))
    np.testing.assert_array_equal(found.array, WIDE[..., :channels])
    assert (found.array.dtype, found.alpha) == (np.uint16, channels in (2, 4))


def test_the_high_bytes_are_what_pillow_has():
    content = png16.png(WIDE[..., :3])
    np.testing.assert_array_equal(np.asarray(decoding.decode(content)), WIDE[..., :3] >> 8)


def test_the_clear_colour_of_a_png_of_16_bits_is_transparency():
    clear = WIDE[3, 5, :3]
    found = numbers(png16.png(WIDE[..., :3], png16.chunk(b"tRNS", struct.pack(">HHH", *map(int, clear)))))
    assert found.alpha
    np.testing.assert_array_equal(found.array[..., :3], WIDE[..., :3])
    expected = np.full((11, 13), 65535)
    expected[3, 5] = 0
    np.testing.assert_array_equal(found.array[..., 3], expected)
    grey = numbers(png16.png(WIDE[..., :1], png16.chunk(b"tRNS", struct.pack(">H", int(WIDE[3, 5, 0])))))
    assert (grey.array[3, 5, 1], grey.array[0, 0, 1]) == (0, 65535)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [2, 3])
def test_a_png_of_16_bits_comes_upright(orientation, channels):
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + b"\0\0\0\0\0\0\0"
    found = numbers(png16.png(WIDE[..., :channels], png16.chunk(b"eXIf", exif)))
    turn = TURNS.get(orientation, lambda a: a)
    np.testing.assert_array_equal(found.array, turn(WIDE[..., :channels]))


def test_transparency_is_composited_on_white_at_full_depth():
    found = numbers(png16.png(np.array([[[0, 0], [1000, 65535], [0, 32768]]], np.uint16)))
    assert found.opaque()[0, :, 0].tolist() == [65535, 1000, 32767]


def test_a_truncated_png_of_16_bits_is_refused():
    content = png16.png(rng.integers(0, 2**16, (64, 64, 3)).astype(np.uint16))
    with pytest.raises(Refused, match=r"is truncated|cannot be decoded"):
        numbers(content[: len(content) // 2])


# ---------------------------------------------------------------- what Pillow knows


PLAIN = {
    "L": (np.uint8, 1, False), "LA": (np.uint8, 2, True), "RGB": (np.uint8, 3, False), "RGBA": (np.uint8, 4, True),
    "P": (np.uint8, 3, False), "1": (np.bool_, 1, False), "I;16": (np.uint16, 1, False),
}  # fmt: skip


@pytest.mark.parametrize("mode", PLAIN)
def test_what_pillow_reads_comes_as_pillow_reads_it(mode):
    grey = Image.fromarray(rng.integers(0, 256, (7, 9), dtype=np.uint8))
    found = numbers(saved(grey.convert(mode), "PNG"))
    assert (found.array.dtype, found.array.shape[2], found.alpha) == PLAIN[mode]
    expected = np.asarray(grey.convert(mode).convert("RGB") if mode == "P" else grey.convert(mode))
    np.testing.assert_array_equal(found.array, expected.reshape(7, 9, -1))


def test_a_transparent_palette_and_a_clear_grey_have_transparency():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((0, 0), 0)
    found = numbers(saved(image, "PNG", transparency=0))
    assert (found.array[0, 0, 3], found.array[1, 1].tolist()) == (0, [40, 50, 60, 255])
    grey = Image.new("L", (4, 4), 7)
    grey.putpixel((0, 0), 9)
    found = numbers(saved(grey, "PNG", transparency=9))
    assert (found.array[0, 0].tolist(), found.array[1, 1].tolist()) == ([9, 0], [7, 255])


def test_cmyk_becomes_rgb():
    found = numbers(saved(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG"))
    np.testing.assert_allclose(found.array[8, 8], [0, 255, 255], atol=6)
    assert found.kind == "CMYK"


# ---------------------------------------------------------------- TIFF


def apart(array):
    return np.moveaxis(array, 2, 0)


FIVE = {"photometric": "minisblack", "planarconfig": "contig"}
COLOUR, FLOATS = WIDE[..., :3], rng.random((11, 13, 5)).astype(np.float32)
SIGNED = rng.integers(-1000, 3000, (11, 13))
TIFFS = {
    "16-bit colour": (COLOUR, {"photometric": "rgb"}),
    "big-endian": (COLOUR, {"photometric": "rgb", "order": ">"}),
    "with transparency": (WIDE, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "deflate": (COLOUR, {"photometric": "rgb", "compression": "zlib"}),
    "with a predictor": (COLOUR, {"photometric": "rgb", "compression": "zlib", "predictor": True}),
    "in planes": (apart(COLOUR), {"photometric": "rgb", "planarconfig": "separate"}),
    "in planes, deflate": (
        apart(COLOUR),
        {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib"},
    ),
    "five floats": (FLOATS, FIVE),
    "five floats in strips": (
        FLOATS,
        {**FIVE, "compression": "zlib", "rowsperstrip": 4},
    ),
    "tiles": (FLOATS, {**FIVE, "tile": (16, 16)}),
    "BigTIFF": (FLOATS, {**FIVE, "big": True}),
    "floats in colour": (FLOATS[..., :3], {"photometric": "rgb"}),
    "float16": (FLOATS[..., 0].astype(np.float16), {}),
    "float32": (FLOATS[..., 0], {}),
    "float64": (FLOATS[..., 0].astype(np.float64), {}),
    "int16": (SIGNED.astype(np.int16), {}),
    "int32": (SIGNED.astype(np.int32), {}),
    "uint32": (rng.integers(0, 2**32, (11, 13)).astype(np.uint32), {}),
    "uint16": (WIDE[..., 0], {}),
    "uint16, big-endian": (WIDE[..., 0], {"order": ">"}),
    "bits": (WIDE[..., 0] > 2**15, {"photometric": "minisblack"}),
    "bytes": ((COLOUR >> 8).astype(np.uint8), {"photometric": "rgb"}),
}


@pytest.mark.parametrize("name", TIFFS)
def test_a_tiff_comes_number_for_number(name):
    array, options = TIFFS[name]
    content = tiff(array, **options)
    found = numbers(content)
    expected = np.moveaxis(array, 0, 2) if options.get("planarconfig") == "separate" else array
    np.testing.assert_array_equal(found.array, expected.reshape(11, 13, -1))
    assert found.array.dtype == array.dtype
    assert found.alpha == (name == "with transparency")
    assert found.colour == (options.get("photometric") == "rgb")
    seen = decoding.header(content)
    assert (seen.height, seen.width) == (11, 13)


def test_floats_in_colour_can_be_learned_from():
    content = tiff(FLOATS[..., :3], photometric="rgb")
    np.testing.assert_array_equal(np.asarray(decoding.decode(content)), np.rint(FLOATS[..., :3] * 255))
    with pytest.raises(Refused, match="has 5 channels, which are not grey or red, green and blue"):
        decoding.decode(tiff(FLOATS, **FIVE))


def test_planes_of_16_bits_are_no_garbage_in_8():
    content = tiff(apart(COLOUR), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(np.asarray(decoding.decode(content)), np.rint(COLOUR / 257))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_that_pillow_does_not_open_comes_upright(orientation):
    content = tiff(FLOATS, **FIVE, extratags=[(274, 3, 1, orientation, True)])
    np.testing.assert_array_equal(numbers(content).array, TURNS.get(orientation, lambda a: a)(FLOATS))
    seen = decoding.header(content)
    assert (seen.height, seen.width) == ((11, 13) if orientation < 5 else (13, 11))


@pytest.mark.parametrize("array", [COLOUR, WIDE[..., 0]], ids=["colour", "grey"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_of_16_bits_comes_upright(compression, array):
    space = "rgb" if array.ndim == 3 else "minisblack"
    found = numbers(tiff(array, photometric=space, compression=compression, extratags=[(274, 3, 1, 6, True)]))
    np.testing.assert_array_equal(found.array, np.rot90(array, -1).reshape(13, 11, -1))


def test_colours_multiplied_by_their_transparency_are_divided():
    array = np.array([[[20000, 0, 0, 32768], [5, 6, 7, 65535], [0, 0, 0, 0]]], np.uint16)
    found = numbers(tiff(array, photometric="rgb", extrasamples=["assocalpha"])).array
    assert found[0, 0].tolist() == [20000 * 65535 // 32768, 0, 0, 32768]
    assert found[0, 1:].tolist() == array[0, 1:].tolist()


def test_a_range_that_a_tiff_says_is_known():
    tags = [(340, 12, 1, -10.0, True), (341, 12, 1, 50.0, True)]
    assert numbers(tiff(FLOATS[..., 0], extratags=tags)).range == (-10, 50)
    assert numbers(tiff(FLOATS[..., 0])).range is None


# ---------------------------------------------------------------- refused


def test_other_compressions_of_odd_kinds_are_refused_by_name():
    content = tiff(FLOATS, **FIVE, compression="lzma")
    with pytest.raises(
        Refused, match="5 channels of float32, compressed by LZMA: save it uncompressed or by deflate"
    ):
        numbers(content)


def bomb(array):
    """A TIFF of five floats whose one strip decompresses to 64 MB, of which the image needs 3 kB."""
    packed = zlib.compress(bytes(2**26))
    whole = tiff(array, **FIVE, compression="zlib")
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        tags = file.pages.first.tags
        place, count = tags[273].valueoffset, tags[279].valueoffset
        assert int(tags[279].dtype) == 4  # counts of 32 bits, for which the bomb is not too long
    data = bytearray(whole)
    struct.pack_into("<I", data, place, len(whole))
    struct.pack_into("<I", data, count, len(packed))
    return bytes(data) + packed


def test_a_strip_that_decompresses_to_too_much_is_refused():
    with pytest.raises(Refused, match=r"holds more than the .* bytes that a piece of it has"):
        numbers(bomb(FLOATS))


def of_sides(content, side):
    """The same TIFF, whose directory says that it is side x side."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        places = [file.pages.first.tags[tag].offset for tag in (256, 257)]
    data = bytearray(content)
    for place in places:
        struct.pack_into("<HHII", data, place, *struct.unpack_from("<H", data, place), 4, 1, side)
    return bytes(data)


def test_a_tiff_that_says_it_is_enormous_is_refused_before_decoding():
    with pytest.raises(Refused, match="is 60000x60000, more than 100 megapixels"):
        numbers(of_sides(tiff(FLOATS, **FIVE), 60_000))
    with pytest.raises(Refused, match="is 9900x9900 of 5 channels, more than 400,000,000 numbers"):
        numbers(of_sides(tiff(FLOATS, **FIVE), 9_900))


def test_pieces_that_are_not_there_are_not_made_up():
    with pytest.raises(Refused, match="is a TIFF of which pieces are missing"):
        numbers(of_sides(tiff(FLOATS, **FIVE, tile=(16, 16)), 5_000))
    with pytest.raises(Refused, match="is a TIFF of which pieces are missing"):
        numbers(of_sides(tiff(FLOATS, **FIVE), 0))


@pytest.mark.parametrize("length", [9, 50, 200])
def test_fragments_of_odd_tiffs_are_refused_in_one_line(length):
    whole = tiff(FLOATS, **FIVE)
    for read in (numbers, decoding.decode, decoding.header):
        with pytest.raises(Refused) as caught:
            read(whole[:length])
        assert "\n" not in str(caught.value)


def test_many_threads_read_the_same():
    contents = [png16.png(WIDE[..., :3]), tiff(FLOATS, **FIVE)] * 20
    with ThreadPoolExecutor(8) as pool:
        for found, expected in zip(pool.map(numbers, contents), [WIDE[..., :3], FLOATS] * 20, strict=True):
            np.testing.assert_array_equal(found.array, expected)
