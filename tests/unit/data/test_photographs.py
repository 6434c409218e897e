"""Photographs are written as they were read, and what will differ is said before."""

import io
import logging
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from PIL import Image

import png16
from copyfold.data.photographs import Photograph, differences, parts, save
from copyfold.data.reading.depth import numbers
from copyfold.errors import CopyfoldError, DataError

rng = np.random.default_rng(0)
WIDE = rng.integers(0, 2**16, (300, 21, 4)).astype(np.uint16)


def copied(source: Path, target: Path, range=None) -> None:
    """The same file again, taken apart and put together."""
    images = [Photograph.read(part, name, range) for name, part in parts(source).items()]
    save(target, source, ((image, image.assemble(image.values)) for image in images), len(images))


# ---------------------------------------------------------------- PNG of 16 bits


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_16_bits_is_written_bit_for_bit(channels, tmp_path):
    (tmp_path / "a.png").write_bytes(png16.png(WIDE[..., :channels]))
    copied(tmp_path / "a.png", tmp_path / "b.png")
    content = (tmp_path / "b.png").read_bytes()
    assert content[24:26] == bytes([16, png16.COLOURS[channels]])
    np.testing.assert_array_equal(numbers(content).array, WIDE[..., :channels])
    with av.open(io.BytesIO(content)) as file:  # another decoder than the one that reads it here
        frame = next(file.decode(video=0))
    plane = np.frombuffer(frame.planes[0], np.uint8).reshape(300, -1)[:, : 21 * 2 * channels]
    np.testing.assert_array_equal(plane.copy().view(">u2").reshape(300, 21, channels), WIDE[..., :channels])


def test_a_photograph_of_16_bits_is_compressed(tmp_path):
    ramp = np.add.outer(np.arange(200) * 37, np.arange(300) * 11).astype(np.uint16)[..., None].repeat(3, axis=2)
    (tmp_path / "a.png").write_bytes(png16.png(ramp))
    copied(tmp_path / "a.png", tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size < ramp.nbytes / 10


def test_profile_resolution_and_exif_stand_in_a_png_of_16_bits(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    exif.get_ifd(0x8825)[0x1D] = "1999:12:31"
    others = [
        png16.chunk(b"iCCP", b"name\0\0" + zlib.compress(b"a profile")),
        png16.chunk(b"pHYs", (11811).to_bytes(4, "big") * 2 + b"\1"),
        png16.chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),
    ]
    (tmp_path / "a.png").write_bytes(png16.png(WIDE[..., :3], *others))
    copied(tmp_path / "a.png", tmp_path / "b.png")
    assert b"1999:12:31" not in (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["icc_profile"] == b"a profile"
        assert [round(value) for value in image.info["dpi"]] == [300, 300]
        assert image.getexif()[0x010F] == "A camera"


# ---------------------------------------------------------------- TIFF


FLOATS = rng.random((11, 13, 5)).astype(np.float32)
COUNTS = rng.integers(0, 2**16, (11, 13))
KINDS = {
    "16-bit colour": (WIDE[..., :3], {"photometric": "rgb"}),
    "with transparency": (WIDE, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "grey with transparency": (WIDE[..., :2], {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
    "in planes": (np.moveaxis(WIDE[..., :3], 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
    "five floats": (FLOATS, {"photometric": "minisblack", "planarconfig": "contig"}),
    "floats in colour": (FLOATS[..., :3], {"photometric": "rgb"}),
    "three channels": (WIDE[..., :3], {"photometric": "minisblack", "planarconfig": "contig"}),
    "float16": (FLOATS[..., 0].astype(np.float16), {}),
    "float64": (FLOATS[..., 0].astype(np.float64), {}),
    "int32": (COUNTS.astype(np.int32), {}),
    "uint32": (COUNTS.astype(np.uint32), {}),
    "int16": ((COUNTS // 2).astype(np.int16), {}),
    "uint16": (COUNTS.astype(np.uint16), {}),
    "bits": (COUNTS > 2**15, {"photometric": "minisblack"}),
    "white is zero": (COUNTS > 2**15, {"photometric": "miniswhite"}),
    "white is zero, 16 bits": (COUNTS.astype(np.uint16), {"photometric": "miniswhite"}),
    "white is zero, floats": (FLOATS[..., :2], {"photometric": "miniswhite", "planarconfig": "contig"}),
}


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("name", KINDS)
def test_a_tiff_keeps_its_numbers_and_their_kind(name, compression, tmp_path):
    array, options = KINDS[name]
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None, compression=compression, **options)
    copied(tmp_path / "a.tif", tmp_path / "b.tif")
    before, after = numbers(str(tmp_path / "a.tif")), numbers(str(tmp_path / "b.tif"))
    assert (after.array.dtype, after.array.shape) == (before.array.dtype, before.array.shape)
    assert (after.alpha, after.colour, after.inverted) == (before.alpha, before.colour, before.inverted)
    assert after.inverted == ("white is zero," in name)
    if before.array.dtype.kind == "f":
        np.testing.assert_allclose(after.array, before.array, rtol=1e-3 if array.dtype == np.float16 else 1e-6)
    else:
        np.testing.assert_array_equal(after.array, before.array)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages.first.compression == (8 if compression else 1)


def test_pages_of_other_sizes_and_kinds_stay_together(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for array, options in KINDS.values():
            file.write(array, metadata=None, **options)
    copied(tmp_path / "a.tif", tmp_path / "b.tif")
    before, after = parts(tmp_path / "a.tif"), parts(tmp_path / "b.tif")
    assert len(before) == len(after) == len(KINDS)
    assert list(before)[3] == f"{tmp_path}/a.tif#0003"
    for was, now in zip(before.values(), after.values(), strict=True):
        np.testing.assert_allclose(numbers(now).array, numbers(was).array, rtol=1e-3)


def test_a_range_scales_and_numbers_outside_it_stay(tmp_path):
    array = np.array([[-1000, 0, 1000, 3000, 3071, -2000]], np.int16)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None)
    photo = Photograph.read(tmp_path / "a.tif", "a.tif", (-1000, 3000))
    np.testing.assert_allclose(photo.values[0, :, 0], [0, 0.25, 0.5, 1, 1, 0])
    expected = [[1000, 1000, 1000, 1000, 3071, -2000]]
    assert photo.assemble(np.full_like(photo.values, 0.5))[..., 0].tolist() == expected


def test_numbers_without_a_place_are_refused_unless_the_tiff_says_one(tmp_path):
    array = np.array([[-1000, 3000]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None)
    with pytest.raises(DataError, match=r"^a\.tif has values from -1000 to 3000, outside 0 to 1: .*--range"):
        Photograph.read(tmp_path / "a.tif", "a.tif")
    tags = [(340, 12, 1, -1000.0, True), (341, 12, 1, 3000.0, True)]
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None, extratags=tags)
    assert Photograph.read(tmp_path / "a.tif", "a.tif").values.flatten().tolist() == [0, 1]
    tifffile.imwrite(tmp_path / "a.tif", array * np.nan, metadata=None, extratags=tags)
    with pytest.raises(DataError, match="NaN or infinite"):
        Photograph.read(tmp_path / "a.tif", "a.tif", (0, 1))


def test_floats_beyond_one_by_rounding_are_clipped(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-1e-7, 1.0000001]], np.float32), metadata=None)
    assert Photograph.read(tmp_path / "a.tif", "a.tif").values.flatten().tolist() == [0, 1]


def test_exif_that_has_become_too_long_is_left_out(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "copyfold")
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    Image.new("L", (4, 4)).save(tmp_path / "a.jpg", exif=exif)
    monkeypatch.setattr(Image.Exif, "tobytes", lambda *_: b"Exif\0\0" + bytes(70_000))
    copied(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert "the EXIF data of" in caplog.text
    with Image.open(tmp_path / "b.jpg") as image:
        assert "exif" not in image.info


def test_an_image_that_cannot_be_encoded_is_an_error_of_its_own(tmp_path, monkeypatch):
    Image.new("L", (4, 4)).save(tmp_path / "a.jpg")

    def fails(*_, **__):
        raise ValueError("too odd")

    monkeypatch.setattr(Image.Image, "save", fails)
    with pytest.raises(CopyfoldError, match=r"a\.jpg cannot be encoded again as JPEG: too odd"):
        copied(tmp_path / "a.jpg", tmp_path / "b.jpg")


# ---------------------------------------------------------------- WebP, and what is said before


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("profile", [{}, {"icc_profile": b"odd"}])
def test_a_webp_without_loss_stays_without(mode, profile, tmp_path):
    pixels = rng.integers(0, 256, (16, 16, len(mode)), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True, exact=True, **profile)
    copied(tmp_path / "a.webp", tmp_path / "b.webp")
    with Image.open(tmp_path / "b.webp") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
    Image.fromarray(pixels).save(tmp_path / "lossy.webp", quality=80)
    copied(tmp_path / "lossy.webp", tmp_path / "c.webp")
    assert (tmp_path / "c.webp").stat().st_size < (tmp_path / "b.webp").stat().st_size


def test_what_will_differ_is_said_with_how_many(tmp_path):
    image = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    image.quantize(16).save(tmp_path / "palette.png")
    image.quantize(16).save(tmp_path / "palette.bmp")
    image.convert("CMYK").save(tmp_path / "cmyk.jpg")
    image.save(tmp_path / "moving.gif", save_all=True, append_images=[image.rotate(90)])
    image.save(tmp_path / "moving.webp", save_all=True, append_images=[image.rotate(90)])
    image.save(tmp_path / "plain.png")
    image.convert("1").save(tmp_path / "bits.png")
    Image.fromarray(WIDE[..., 0]).save(tmp_path / "wide.png")
    head = b"\x89PNG\r\n\x1a\n" + png16.chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\2\0\0\0\0")
    (tmp_path / "narrow.png").write_bytes(head + png16.chunk(b"IDAT", b"") + png16.chunk(b"IEND", b""))
    with tifffile.TiffWriter(tmp_path / "thumbnail.tif") as file:
        for kind in (0, 1):
            file.write(np.asarray(image), photometric="rgb", metadata=None, subfiletype=kind)
    tifffile.imwrite(tmp_path / "four.tif", WIDE, photometric="rgb", extrasamples=["unspecified"], metadata=None)
    (tmp_path / "broken.png").write_bytes(b"broken")
    said = differences(sorted(tmp_path.iterdir()))
    assert sorted(said) == [
        "2 or 4 bits come back as 8 (1 of 12 images)",
        "CMYK goes through RGB and comes back without black ink (K = 0) (1 of 12 images)",
        "GIFs come back with 256 colours chosen again (1 of 12 images)",
        "a fourth channel of RGB that is not transparency is left out (1 of 12 images)",
        "of an animation only the first frame comes back (2 of 12 images)",
        "palettes come back as full colour (2 of 12 images)",
        "thumbnails and masks in TIFFs are left out (1 of 12 images)",
    ]
    assert differences([tmp_path / "plain.png", tmp_path / "bits.png", tmp_path / "wide.png"]) == []


def test_a_grey_model_says_only_of_colour_photographs_that_it_takes_channels_apart(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "grey.png")
    Image.new("I;16", (4, 4)).save(tmp_path / "deep.tif")
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    grey, colour = [tmp_path / "grey.png", tmp_path / "deep.tif"], [tmp_path / "colour.png"]
    assert differences(grey, channels=1) == []
    assert differences([*grey, *colour], channels=1) == [
        "this model is greyscale: it sees a colour photograph as luminance and two differences of colours "
        "(1 of 3 images)"
    ]
    assert differences(colour, channels=3) == []
