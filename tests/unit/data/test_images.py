"""Modes, orientation, fitting, and files that must be refused."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from copyfold.data import open_image, to_pixels
from copyfold.data.reading import decoding
from copyfold.errors import DataError

BILINEAR = Image.Resampling.BILINEAR


def saved(tmp_path: Path, image: Image.Image, name: str, **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def gradient(mode: str = "L") -> Image.Image:
    """A picture of 6x4 that is different from all its rotations and mirror images."""
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    return Image.fromarray(grey).convert(mode)


def half_clear(mode: str) -> Image.Image:
    """Black, its left half opaque and its right half clear."""
    image = Image.new("RGBA", (8, 4), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (4, 0, 8, 4))
    return image.convert(mode)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.gif", "a.webp"])
def test_every_lossless_format_gives_the_pixels_that_were_saved(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, gradient("RGB"), name, **({"lossless": True} if name == "a.webp" else {}))
    expected = np.repeat(np.arange(24).reshape(4, 6, 1) * 10, 3, axis=2)
    np.testing.assert_array_equal(to_pixels(open_image(path), 3), expected)


def test_grey_and_colour_in_one_and_three_channels() -> None:
    assert to_pixels(gradient("L"), 1).shape == (4, 6, 1)
    np.testing.assert_array_equal(to_pixels(gradient("L"), 3)[..., 2], to_pixels(gradient("L"), 1)[..., 0])
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    assert to_pixels(red, 1)[0, 0, 0] == 76  # 0.299 * 255
    assert to_pixels(Image.new("1", (2, 2), 1), 1).max() == 255


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16", "RGB", "RGBA", "P", "CMYK"])
def test_images_grey_in_every_pixel_need_one_channel(mode: str) -> None:
    grey = Image.new("L", (5, 3), 255)
    found = decoding.flatten(grey if mode == "L" else grey.convert(mode), None)
    assert found.mode == "L"


@pytest.mark.parametrize("band", [0, 1, 2])
def test_one_pixel_that_is_not_quite_grey_needs_three(band: int) -> None:
    pixels = np.full((5, 7, 3), 100, np.uint8)
    pixels[4, 6, band] += 1
    found = decoding.flatten(Image.fromarray(pixels), None)
    np.testing.assert_array_equal(np.asarray(found), pixels)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_composited_on_white(tmp_path: Path, mode: str) -> None:
    pixels = to_pixels(open_image(saved(tmp_path, half_clear(mode), "a.png")), 3)
    assert (pixels[:, :4] == 0).all()
    assert (pixels[:, 4:] == 255).all()


def test_a_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((0, 0), 0)
    pixels = to_pixels(open_image(saved(tmp_path, image, "a.png", transparency=0)), 3)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [40, 50, 60]


def test_half_transparent_is_the_mean_with_white() -> None:
    pixels = to_pixels(Image.new("RGBA", (1, 1), (0, 100, 200, 128)), 3)
    expected = np.array([0, 100, 200]) * 128 / 255 + 255 * 127 / 255
    np.testing.assert_allclose(pixels[0, 0], expected, atol=1)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    path = saved(tmp_path, Image.fromarray(values), "a.png")
    assert open_image(path).mode.startswith("I;16")
    assert to_pixels(open_image(path), 1)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floats_are_refused_with_their_range() -> None:
    assert to_pixels(Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), 1)[0, :, 0].tolist() == [
        0,
        128,
        255,
    ]
    with pytest.raises(DataError, match=r"values from 0 to 7, outside 0 to 1"):
        to_pixels(Image.fromarray(np.array([[0, 7]], np.float32)), 1)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "a.jpg")
    assert open_image(path).mode == "CMYK"
    np.testing.assert_allclose(to_pixels(open_image(path), 3)[8, 8], [0, 255, 255], atol=6)


# What the EXIF standard asks to be done to the stored pixels.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.webp"])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_applied_once(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path, gradient("RGB"), name, exif=exif, **options)
    expected = TURNS[orientation](np.arange(24).reshape(4, 6) * 10)
    np.testing.assert_array_equal(to_pixels(open_image(path), 3)[..., 0], expected)
    found = decoding.header(path)
    assert (found.height, found.width) == expected.shape


def test_orientation_of_an_already_opened_image_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(saved(tmp_path, gradient("RGB"), "a.jpg", exif=exif)) as image:
        assert to_pixels(image, 3).shape == (6, 4, 3)


def test_text_named_png_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not at all a picture")
    with pytest.raises(DataError, match=r"a\.png is not an image in a format that is read here") as caught:
        open_image(tmp_path / "a.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"II*\x00\xff\xff\xff\xff"]
)
def test_file_fragments_are_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        open_image(io.BytesIO(content))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=f"{name} (is truncated|cannot be decoded|is not an image)"):
        open_image(path)


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it has side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [10_001, 12_000, 40_000])
def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(bomb(side))
    with pytest.raises(DataError, match=rf"a\.png is {side}x{side}, more than 100 megapixels"):
        open_image(tmp_path / "a.png")


def test_an_image_below_the_size_limit_gives_no_warning() -> None:
    found = decoding.header(bomb(9_999))  # Pillow itself warns from 89 megapixels, and warnings are errors here
    assert (found.width, found.height) == (9_999, 9_999)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png cannot be opened: No such file"):
        open_image(tmp_path / "a.png")


def test_open_image_works_in_many_threads(tmp_path: Path) -> None:
    good = saved(tmp_path, gradient("RGB"), "a.png")
    (tmp_path / "b.png").write_bytes(bomb(40_000))

    def attempt(path: Path) -> object:
        try:
            return open_image(path).size
        except DataError as error:
            return str(error).split(", ")[1]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(attempt, [good, tmp_path / "b.png"] * 100))
    assert found == [(6, 4), "more than 100 megapixels"] * 100


def test_crop_takes_the_centre_and_pad_keeps_everything() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    cropped = np.asarray(decoding.fitted(Image.fromarray(wide), (10, 10), "crop"))
    assert (cropped == 200).all()
    padded = np.asarray(decoding.fitted(Image.fromarray(wide), (30, 30), "pad"))
    np.testing.assert_array_equal(padded[10:20], wide)
    assert not padded[:10].any()
    assert not padded[20:].any()


def test_scaling_down_averages() -> None:
    checks = np.indices((128, 128)).sum(0) % 2 * 255  # aliasing would give black, white or moire
    small = np.asarray(decoding.fitted(Image.fromarray(checks.astype(np.uint8)), (32, 32), "crop"))
    assert np.abs(small.astype(float) - 127.5).max() < 8


def test_an_image_of_the_size_is_not_touched() -> None:
    image = gradient("RGB").crop((0, 0, 4, 4))
    assert decoding.fitted(image, (4, 4), "crop") is image


def test_a_large_jpeg_decoded_small_looks_the_same(tmp_path: Path) -> None:
    smooth = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(smooth).resize((256, 256), Image.Resampling.BICUBIC)
    path = saved(tmp_path, picture, "a.jpg", quality=95)
    quick = decoding.decode(path, near=32)
    assert quick.size == (64, 64)  # a quarter: the smallest that is still twice the side
    found = np.asarray(decoding.fitted(quick, (32, 32), "crop")).astype(float)
    expected = np.asarray(picture.resize((32, 32), BILINEAR)).astype(float)
    assert np.abs(found - expected).mean() < 2
