"""From numbers to stored pixels: ranges, depths, and any number of channels."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from copyfold.data import Photos, Stream, survey
from copyfold.data.reading.values import Seen, Values, number
from copyfold.data.sampling import as_images, to_values
from copyfold.errors import DataError, UsageError

RNG = np.random.default_rng(0)


def whole(photos: Photos) -> np.ndarray:
    """All images as stored, in the order of the source."""
    pixels, names = [*photos.train, *photos.held_out], photos.names + photos.held_out_names
    return np.stack([pixel for _, pixel in sorted(zip(names, pixels, strict=True), key=lambda pair: pair[0])])


def written(folder: Path, images: np.ndarray, ending: str) -> Path:
    """A folder of grey image files."""
    folder.mkdir(exist_ok=True)
    for k, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{k:02d}.{ending}")
    return folder


def scaled(images: np.ndarray, side: int) -> np.ndarray:
    """Images N·H·W·C in [0, 1] scaled by torch, bilinearly with antialiasing."""
    x = torch.from_numpy(np.asarray(images, np.float64)).permute(0, 3, 1, 2)
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True).permute(0, 2, 3, 1).numpy()


# ---------------------------------------------------------------- ranges


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.int64, np.float32, np.float64])
def test_a_range_becomes_zero_to_one_and_what_is_outside_is_clipped_and_said(kind: type) -> None:
    ct = RNG.integers(-1024, 3072, (20, 16, 16)).astype(kind)
    photos = Photos(ct, range=(-1000, 3000))
    expected = ((ct.astype(float) + 1000) / 4000).clip(0, 1)
    np.testing.assert_allclose(whole(photos)[..., 0] / 255, expected, atol=0.5 / 255 + 1e-9)
    outside = ((ct < -1000) | (ct > 3000)).mean()
    assert f"{100 * outside:.2g} % of the values are outside the range" in "\n".join(photos.notes)
    assert photos.recipe()["range"] == [-1000, 3000]


@pytest.mark.parametrize(("kind", "ending"), [(np.int32, "tif"), (np.float32, "tif"), (np.uint16, "png")])
def test_files_of_wide_numbers_are_read_in_a_range(tmp_path: Path, kind: type, ending: str) -> None:
    images = RNG.integers(0, 4096, (12, 16, 16)).astype(kind)
    folder = written(tmp_path / "a", images, ending)
    np.testing.assert_array_equal(whole(Photos(folder, range=(0, 4095)))[..., 0], np.rint(images / 4095 * 255))
    streamed = Stream(folder, 16, range=(0, 4095), held_out=1)
    shown = [images[int(Path(name).stem)] for name in streamed.held_out_names]
    np.testing.assert_array_equal(streamed.held_out[..., 0], np.rint(np.stack(shown) / 4095 * 255))
    assert streamed.recipe()["range"] == [0, 4095]


def test_a_range_of_eight_bits_is_of_the_pictures_numbers(tmp_path: Path) -> None:
    images = RNG.integers(0, 11, (12, 16, 16)).astype(np.uint8)
    folder = written(tmp_path / "a", images, "png")
    np.testing.assert_array_equal(whole(Photos(folder, range=(0, 10)))[..., 0], np.rint(images / 10 * 255))
    np.testing.assert_array_equal(whole(Photos(images, range=(0, 10)))[..., 0], np.rint(images / 10 * 255))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((3, 3), "lower one first"),
        ((5, 1), "lower one first"),
        (7, "expected (low, high)"),
        ((0, np.inf), "lower"),
    ],
)
def test_what_is_no_range_is_refused(given: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Photos(np.zeros((10, 16, 16), np.uint8), range=given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.linspace(-1000, 3000, 2560).round().astype(np.int16), ("-1000 to 3000", "range=(-1000, 3000)")),
        (np.linspace(0, 255, 2560), ("0 to 255", "range=(0, 255) (--range 0 255)")),
        (np.linspace(0, 1.0021, 2560), ("0 to 1.0021", "range=(0, 1.0021)")),
        (np.linspace(-0.25, 1, 2560, dtype=np.float32), ("-0.25 to 1", "range=(-0.25, 1)")),
        (np.array([0, 70000] * 1280, np.uint32), ("0 to 70000", "--range 0 70000")),
    ],
)
def test_values_without_a_range_are_refused_with_the_option_to_give(array: np.ndarray, words: tuple[str]) -> None:
    with pytest.raises(DataError) as caught:
        Photos(array.reshape(10, 16, 16))
    assert all(word in str(caught.value) for word in words), caught.value
    low, high = float(array.min()), float(array.max())
    assert whole(Photos(array.reshape(10, 16, 16), range=(low, high))).max() == 255  # the advice can be followed


def test_files_without_a_range_are_refused_with_the_range_of_all(tmp_path: Path) -> None:
    images = RNG.integers(-1000, 2000, (12, 16, 16)).astype(np.int32)
    images[3, 0, 0], images[7, 0, 0] = -1024, 3071
    with pytest.raises(DataError, match=r"12 of 12 images.*range=\(-1024, 3071\)"):
        Photos(written(tmp_path / "a", images, "tif"))
    with pytest.raises(DataError, match=r"none of .* images.*range=\("):
        Stream(tmp_path / "a", 16)


@pytest.mark.parametrize("most", [1.0000001, 1 + 2**-10, 1 - 2**-11])
def test_floats_outside_by_rounding_are_clipped(most: float) -> None:
    array = np.linspace(1 - most, most, 2560).reshape(10, 16, 16)
    np.testing.assert_array_equal(whole(Photos(array))[..., 0], np.rint(array.clip(0, 1) * 255))


def test_numbers_are_said_in_enough_digits() -> None:
    assert [number(value) for value in (1.0, 1.0000001, -1000, 0.1, 65535)] == [
        "1",
        "1.0000001",
        "-1000",
        "0.1",
        "65535",
    ]
    array = np.linspace(0, 1.0000001, 2560).reshape(10, 16, 16)
    assert "values: 0 to 1.0000001" in survey(array).lines()


def test_truth_values_are_black_and_white() -> None:
    array = RNG.random((10, 16, 16)) > 0.5
    np.testing.assert_array_equal(whole(Photos(array))[..., 0], array * 255)
    np.testing.assert_array_equal(whole(Photos(torch.from_numpy(array)))[..., 0], array * 255)


def test_sixteen_bit_arrays_of_either_byte_order_fill_their_range() -> None:
    array = np.linspace(0, 65535, 2560).round().astype(np.uint16).reshape(10, 16, 16)
    expected = np.rint(array / 257)
    np.testing.assert_array_equal(whole(Photos(array))[..., 0], expected)
    np.testing.assert_array_equal(whole(Photos(array.astype(">u2")))[..., 0], expected)


# ---------------------------------------------------------------- dark sets


def ramp(top: int, kind: type = np.uint16) -> np.ndarray:
    return np.stack([np.roll(np.linspace(0, top, 256).reshape(16, 16).astype(kind), k, 1) for k in range(12)])


def said_dark(photos: Photos | Stream) -> list[str]:
    return [note for note in photos.notes if "brightest" in note]


@pytest.mark.parametrize(("top", "bits"), [(4080, 4095), (1000, 1023), (16383, 16383), (255, 255)])
def test_twelve_bits_in_sixteen_are_said_in_files_arrays_tables_and_streams(
    tmp_path: Path, top: int, bits: int
) -> None:
    images = ramp(top)
    folder = written(tmp_path / "a", images, "png")
    rows = [(folder / f"{k:02d}.png").read_bytes() for k in range(12)]
    (tmp_path / "t").mkdir()
    pq.write_table(pa.table({"image": rows}), tmp_path / "t" / "a.parquet")
    for photos in (Photos(folder), Photos(images), Photos(tmp_path / "t"), Stream(folder, 16)):
        (said,) = said_dark(photos)
        assert f"the brightest value is {top:,} of 65,535: give range=(0, {bits}) (--range 0 {bits})" in said
    assert said in survey(folder).lines()
    assert said in survey(images).lines()
    assert not said_dark(Photos(folder, range=(0, bits)))
    assert Photos(folder, range=(0, bits)).train.max() == np.rint(top / bits * 255)


def test_a_hot_pixel_hides_no_darkness() -> None:
    images = ramp(4080)
    large = images.repeat(4, 1).repeat(4, 2)
    large[3, 5, 5] = 65535
    (said,) = said_dark(Photos(large))
    assert "but for 0.1 % of an image, the brightest value is 4,080 of 65,535" in said
    large[3, :8] = 65535  # no hot pixel
    assert not said_dark(Photos(large))


@pytest.mark.parametrize(
    "images", [ramp(20000), ramp(65535), ramp(255, np.uint8), np.zeros((12, 16, 16), np.uint16)]
)
def test_nothing_is_said_of_images_that_are_bright_or_black(images: np.ndarray) -> None:
    assert not said_dark(Photos(images))


def test_dark_pictures_of_eight_bits_and_floats_are_said(tmp_path: Path) -> None:
    ones = RNG.integers(0, 2, (12, 16, 16)).astype(np.uint8)
    for photos in (Photos(ones), Photos(written(tmp_path / "a", ones, "png"))):
        assert "the brightest value is 1 of 255: give range=(0, 1)" in said_dark(photos)[0]
    assert "is 0.125 of 1: give range=(0, 0.125)" in said_dark(Photos(ramp(1, float) / 8))[0]
    assert any("range=(0, 1)" in line for line in survey(tmp_path / "a").lines())


# ---------------------------------------------------------------- sixteen bits


def test_sixteen_bits_round_trip_to_half_a_level() -> None:
    values = RNG.random((20, 16, 16, 3))
    photos = Photos(values, bits=16, seed=1)
    assert photos.train.dtype == np.uint16
    order = np.argsort(photos.names + photos.held_out_names)
    found = torch.cat([photos.images("train"), photos.images("held_out")])[torch.from_numpy(order)]
    error = (found.double() - torch.from_numpy(values).permute(0, 3, 1, 2)).abs().max().item()
    assert error <= 1 / 131070 + 2**-25  # the second is float32's own
    assert 0.8 / 510 < np.abs(whole(Photos(values, seed=1)) / 255 - values).max() <= 1 / 510


def test_sixteen_bit_files_keep_every_value(tmp_path: Path) -> None:
    images = RNG.integers(0, 65536, (12, 16, 16)).astype(np.uint16)
    photos = Photos(written(tmp_path / "a", images, "png"), bits=16)
    np.testing.assert_array_equal(whole(photos)[..., 0], images)
    assert Photos(tmp_path / "a", bits=16).train.dtype == np.uint16  # out of the cache
    assert Photos(tmp_path / "a").train.dtype == np.uint8
    assert Photos(tmp_path / "a").fingerprint != photos.fingerprint
    stream = Stream(tmp_path / "a", 16, bits=16, held_out=2)
    shown = [images[int(Path(name).stem)] for name in stream.held_out_names]
    np.testing.assert_array_equal(stream.held_out[..., 0], np.stack(shown))
    torch.testing.assert_close(stream.images("held_out")[:, 0].double(), torch.from_numpy(np.stack(shown) / 65535))


def test_pictures_of_eight_bits_gain_nothing_in_sixteen_but_when_scaled(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
    folder = written(tmp_path / "a", images, "png")
    eight, sixteen = Photos(folder, 32), Photos(folder, 32, bits=16)
    np.testing.assert_array_equal(sixteen.train, eight.train.astype(np.uint16) * 257)
    expected = scaled(images / 255, 16)
    np.testing.assert_allclose(whole(Photos(folder, 16, bits=16)) / 65535, expected, atol=2 / 65535)
    worst = np.abs(whole(Photos(folder, 16)) / 255 - expected).max()
    assert 0.4 / 255 < worst < 1.1 / 255


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_batches_of_every_kind_are_the_images_mirrored_or_not(kind: type) -> None:
    from copyfold.data.batches import Batches

    pixels = (RNG.random((24, 8, 8, 2)) * 255).astype(kind)
    plain, flipped = (next(iter(Batches(pixels, 24, 3, flip))) for flip in (False, True))
    assert plain.dtype == torch.from_numpy(pixels).dtype
    plain, flipped = to_values(plain), to_values(flipped)
    mirrored = [torch.equal(b, a.flip(2)) for a, b in zip(plain, flipped, strict=True)]
    assert all(torch.equal(b, a) or c for a, b, c in zip(plain, flipped, mirrored, strict=True))
    assert 4 < sum(mirrored) < 20


def test_images_are_copies_that_may_be_changed() -> None:
    for pixels in (np.full((2, 4, 4, 1), 0.5, np.float32), np.full((2, 4, 4, 1), 128, np.uint8)):
        before = pixels.copy()
        as_images(pixels).zero_()
        np.testing.assert_array_equal(pixels, before)


def test_other_bits_are_refused() -> None:
    with pytest.raises(UsageError, match="bits=12 is invalid: expected 8 or 16"):
        Photos(np.zeros((10, 16, 16), np.uint8), bits=12)


# ---------------------------------------------------------------- channels


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_array_may_have_any_number_of_channels(count: int, bits: int) -> None:
    array = RNG.random((12, count, 16, 16)).astype(np.float32)
    photos = Photos(array, layout="NCHW", bits=bits, channels=count)
    top = 2**bits - 1
    np.testing.assert_allclose(whole(photos) / top, array.transpose(0, 2, 3, 1), rtol=0, atol=0.5 / top + 1e-7)
    assert photos.shape == (count, 16, 16)
    if count != 4:  # of which one is transparency
        assert Photos(array, layout="NCHW").shape == (count, 16, 16)
    small = Photos(array, 8, layout="NCHW", bits=bits, channels=count)
    expected = scaled(array.transpose(0, 2, 3, 1), 8)
    np.testing.assert_allclose(whole(small) / top, expected, atol=1.5 / top)


def test_a_layout_is_asked_for_where_no_axis_or_two_may_be_the_channels() -> None:
    for shape in ((48, 5, 64, 64), (48, 64, 64, 2), (10, 3, 16, 3)):
        with pytest.raises(DataError, match="layout"):
            Photos(np.zeros(shape, np.uint8))
    assert Photos(RNG.integers(0, 255, (48, 5, 64, 64), np.uint8), layout="NCHW").shape == (5, 64, 64)


def test_four_channels_are_transparency_unless_they_are_asked_for() -> None:
    array = RNG.random((12, 16, 16, 4))
    for given, top in ((array, 1), ((array * 65535).astype(np.uint16), 65535)):
        over = given[..., :3] / top * (given[..., 3:] / top) + 1 - given[..., 3:] / top
        np.testing.assert_allclose(whole(Photos(given)), over * 255, atol=1.5)
        np.testing.assert_allclose(whole(Photos(given, bits=16)), over * 65535, atol=1.5)
        np.testing.assert_allclose(whole(Photos(given, channels=4)), given / top * 255, atol=0.51)
        assert Photos(given, range=(0, top)).shape == (4, 16, 16)


def test_channels_that_an_image_does_not_have_are_refused(tmp_path: Path) -> None:
    five = np.zeros((12, 5, 16, 16), np.uint8)
    with pytest.raises(DataError, match="has 5 channels, and 3 are asked for"):
        Photos(five, layout="NCHW", channels=3)
    folder = written(tmp_path / "a", RNG.integers(0, 255, (12, 16, 16, 4), np.uint8), "png")
    with pytest.raises(DataError, match="has 4 channels, and 2 are asked for"):
        Photos(folder, channels=2)
    assert Photos(folder, channels=4).shape == (4, 16, 16)
    assert Photos(folder).shape == (3, 16, 16)
    with pytest.raises(UsageError, match="channels=0 is invalid"):
        Photos(folder, channels=0)


def test_grey_from_colour_and_colour_from_grey_in_sixteen_bits() -> None:
    colour = RNG.integers(0, 65536, (12, 16, 16, 3)).astype(np.uint16)
    grey = colour @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(whole(Photos(colour, bits=16, channels=1))[..., 0], grey, atol=0.51)
    same = colour[..., :1].repeat(3, 3)
    assert Photos(same, bits=16).shape == (1, 16, 16)
    np.testing.assert_array_equal(whole(Photos(colour[..., :1], bits=16, channels=3)), same)


def test_a_source_may_give_numbers_in_place_of_a_picture() -> None:
    """What a reader of 16-bit colour, or of a TIFF of many channels, hands over."""
    seen = Seen()
    image = RNG.integers(0, 65536, (32, 48, 3)).astype(np.uint16)
    found = Values(bits=16).pixels(image, None, (16, 16), "crop", seen)
    assert (found.shape, found.dtype) == ((16, 16, 3), np.uint16)
    expected = scaled(image[None, :, 8:40] / 65535, 16)[0]
    np.testing.assert_allclose(found[:, 1:-1] / 65535, expected[:, 1:-1], atol=2 / 65535)
    padded = Values(bits=16).pixels(image, None, (48, 48), "pad", seen)
    np.testing.assert_array_equal(padded[8:40], image)
    assert not padded[:8].any()
