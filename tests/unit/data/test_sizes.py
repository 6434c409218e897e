"""Height and width: how they are written, which are taken where none are given, and what fitting to them costs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from copyfold import errors
from copyfold.data import Photos, Stream
from copyfold.data.reading import decoding
from copyfold.data.reading.sizes import Aim, box, cost, cost_said, inside, nearest, plain, scaled, sides, simple
from copyfold.errors import UsageError, at_the_command_line
from copyfold.models.base import checked_shape


def painted(height: int, width: int, count: int = 12) -> np.ndarray:
    """Images that differ in every pixel, uint8 N·H·W."""
    return np.random.default_rng(0).integers(0, 256, (count, height, width), dtype=np.uint8)


def whole(photos: Photos) -> np.ndarray:
    """All images in the order of the source."""
    both = np.concatenate([photos.train, photos.held_out])
    return both[np.argsort(photos.names + photos.held_out_names)]


# ---------------------------------------------------------------- how they are written


@pytest.mark.parametrize(
    ("size", "expected"),
    [(64, (64, 64)), ((48, 64), (48, 64)), ([48, 64], (48, 64)), ("64", (64, 64)), ("48x64", (48, 64)),
     (" 48 X 64 ", (48, 64)), ("48×64", (48, 64)), (np.int64(5), (5, 5))],
)  # fmt: skip
def test_a_size_is_a_number_a_pair_or_a_string(size, expected):
    assert sides(size) == expected
    assert sides(plain(expected)) == sides(simple(expected)) == expected


@pytest.mark.parametrize(
    "size", [0, -3, (4, 0), (4, 5, 6), (), "x", "4x", "4x5x6", "-4x5", 4.0, True, (4, True), "0"]
)
def test_what_is_no_size_is_refused_with_an_example(size):
    with pytest.raises(UsageError, match=r"size=.* is invalid: .*height x width as in 48x64, at least 1"):
        sides(size)


@pytest.mark.parametrize(
    ("size", "channels"),
    [(4096, None), ((1, 2**24), 1), ("2048x4096", 2), ((2048, 2730), 3)],
)
def test_the_largest_size_is_one_of_2_to_the_24_numbers(size, channels):
    """With one row more it is refused, by all that take a size, before anything is read or allocated."""
    height, width = sides(size, channels=channels)
    assert checked_shape((channels or 1, height, width)) == (channels or 1, height, width)
    larger = (height + 1, width)
    refused = rf"{height + 1}x{width}.* numbers: expected at most 16,777,216 numbers in an image"
    for ask in (
        lambda: sides(larger, channels=channels),
        lambda: checked_shape((channels or 1, *larger)),
        lambda: Photos("no such folder", larger, channels=channels),
        lambda: Photos("no such folder", crop=larger, channels=channels),
        lambda: Stream("no such folder", larger, channels=channels),
        lambda: Stream("no such folder", crop=larger, channels=channels),
    ):
        with pytest.raises(UsageError, match=refused):
            ask()


def test_a_size_that_is_too_large_in_colour_is_refused_at_the_first_image(monkeypatch):
    """Whether there is colour is known when an image is read."""
    monkeypatch.setattr(errors, "NUMBERS", 16 * 16)
    grey = painted(16, 16)
    assert Photos(grey, 16, progress=False).shape == (1, 16, 16)
    colour = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    with pytest.raises(UsageError, match=r"size=16 is invalid: images of 16x16 with 3 channels have 768 numbers"):
        Photos(colour, 16, progress=False)
    with pytest.raises(UsageError, match=r"crop=16 is invalid: images of 16x16 with 3 channels"):
        Photos(colour, crop=16, progress=False)


# ---------------------------------------------------------------- which are taken where none are given


def test_one_shape_is_kept_up_to_128_and_then_its_aspect_ratio():
    assert Aim.of([(13, 22)] * 3) == ((13, 22), (13, 22), 13)
    assert Aim.of([(128, 431)]).size == (38, 128)
    assert Aim.of([(3000, 2000)]).size == (128, 85)
    assert Aim.of([(2, 9000)]).size == (1, 128)
    assert scaled((3, 4), 100) == (75, 100)


def test_several_shapes_become_squares_of_the_median_short_side():
    assert Aim.of([(40, 90), (60, 50), (50, 55)]) == ((50, 50), None, 50)
    assert Aim.of([(400, 900), (300, 500)]).size == (128, 128)
    assert Aim.of([]).size == (1, 1)


def test_a_model_that_refuses_the_shape_moves_it():
    aim = Aim.of([(30, 45)])
    assert nearest(aim, 3, None) == (30, 45)
    assert nearest(aim, 3, lambda shape: (shape[0], 32, 48)) == (30, 45)  # padded by the model
    assert nearest(aim, 3, lambda shape: shape[1] % 8 == shape[2] % 8 == 0) == (32, 48)
    assert nearest(aim, 3, lambda shape: shape[1:] == (25, 25)) == (25, 25)
    assert nearest(aim, 3, lambda shape: False) is None


def test_squares_of_several_shapes_are_those_that_need_no_padding():
    aim = Aim.of([(30, 45), (40, 45)])
    assert aim.size == (35, 35)
    padded = lambda shape: (shape[0], *(-(-side // 8) * 8 for side in shape[1:]))  # noqa: E731
    assert nearest(aim, 3, padded) == (32, 32)
    assert nearest(aim, 3, None) == (32, 32)


def test_an_array_keeps_its_shape():
    array = painted(13, 22)
    photos = Photos(array)
    assert (photos.shape, photos.size, photos.recipe()["size"]) == ((1, 13, 22), (13, 22), "13x22")
    np.testing.assert_array_equal(whole(photos)[..., 0], array)
    assert "size 13x22, that of all images" in photos.notes
    assert not [note for note in photos.notes if "left out" in note]


def test_a_folder_of_one_shape_keeps_its_aspect_ratio_and_other_shapes_are_cropped(tmp_path: Path):
    tmp_path = tmp_path / "photos"  # beside the cache
    tmp_path.mkdir()
    for k, pixels in enumerate(painted(100, 300, 4)):
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    photos = Photos(tmp_path)
    assert photos.shape == (1, 43, 128)
    assert "size 43x128, for images that all are 100x300" in photos.notes
    assert not [note for note in photos.notes if "left out" in note]
    again = Photos(tmp_path)  # from the cache
    assert (again.shape, again.notes, again.fingerprint) == (photos.shape, photos.notes, photos.fingerprint)
    Image.fromarray(painted(300, 100, 1)[0]).save(tmp_path / "9.png")
    mixed = Photos(tmp_path)
    assert mixed.size == 96
    assert "size 96x96, for a median short side of 100 pixels" in mixed.notes
    assert (
        "the centre is taken: 67 % of the pixels of the images are left out (fit='pad' keeps all)" in mixed.notes
    )


@pytest.mark.parametrize("size", [(20, 33), "20x33"])
def test_a_recipe_gives_the_same_rectangles_again(size):
    array = painted(40, 66)
    photos = Photos(array, size)
    recipe = photos.recipe()
    assert recipe.pop("data")
    again = Photos(array, **recipe)
    assert again.fingerprint == photos.fingerprint
    np.testing.assert_array_equal(again.train, photos.train)


# ---------------------------------------------------------------- what fitting costs


def test_a_crop_takes_the_largest_centre_of_the_shape():
    wide = np.zeros((10, 60), np.uint8)
    wide[:, 20:40] = 200
    image = Image.fromarray(wide)
    assert (np.asarray(decoding.fitted(image, (10, 20), "crop")) == 200).all()
    half = np.asarray(decoding.fitted(image, (5, 10), "crop"))
    assert half.shape == (5, 10)
    assert (half[:, 1:-1] == 200).all()  # the filter sees beyond the centre
    high = Image.fromarray(wide.T.copy())
    assert (np.asarray(decoding.fitted(high, (20, 10), "crop")) == 200).all()
    assert box((100, 300), (50, 75)) == (100, 150)
    assert box((300, 100), (50, 75)) == (pytest.approx(66.67, abs=0.01), 100)


def test_padding_keeps_all_in_the_middle_of_black():
    image = Image.fromarray(np.full((10, 60), 200, np.uint8))
    padded = np.asarray(decoding.fitted(image, (30, 60), "pad"))
    assert (padded[10:20] == 200).all()
    assert padded.sum() == 200 * 600
    assert inside((10, 60), (30, 30)) == (5, 30)


def test_stretching_scales_both_sides_apart():
    ramp = np.repeat(np.arange(0, 240, 4, dtype=np.uint8)[None], 10, 0)
    stretched = np.asarray(decoding.fitted(Image.fromarray(ramp), (10, 30), "stretch"))
    assert stretched.shape == (10, 30)
    np.testing.assert_allclose(stretched[5], ramp[5].reshape(30, 2).mean(1), atol=3)


def test_the_cost_is_counted_in_pixels():
    assert cost((128, 431), (128, 128), "crop") == pytest.approx(1 - 128 / 431)
    assert cost((128, 431), (128, 128), "pad") == pytest.approx(1 - 38 / 128)
    assert cost((128, 431), (128, 128), "stretch") == pytest.approx(431 / 128 - 1)
    assert cost((431, 128), (128, 128), "stretch") == pytest.approx(431 / 128 - 1)
    for fit in ("crop", "pad", "stretch"):
        assert cost((40, 60), (20, 30), fit) == 0


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        ("crop", "the centre is taken: 70 % of the pixels of the images are left out (fit='pad' keeps all)"),
        ("pad", "padded with black: 70 % of the pixels of the images (fit='crop' adds none)"),
        ("stretch", "the images are stretched: their aspect ratio changes by 237 % (fit='crop' or pad keeps it)"),
    ],
)
def test_a_spectrogram_is_not_made_square_without_a_word(fit, said):
    array = torch.rand(3, 1, 128, 431)
    photos = Photos(array, 128, fit=fit)
    assert photos.shape == (1, 128, 128)
    assert said in photos.notes
    assert Photos(array).shape == (1, 38, 128)
    assert Photos(array, (128, 431)).shape == (1, 128, 431)


def test_a_note_from_the_cache_is_in_the_words_of_its_reader(tmp_path):
    for k in range(3):
        Image.fromarray(painted(300, 100, 1)[0]).save(tmp_path / f"{k}.png")
    assert "(fit='pad' keeps all)" in " ".join(Photos(tmp_path, 16).notes)
    with at_the_command_line():
        assert "(--fit pad keeps all)" in " ".join(Photos(tmp_path, 16).notes)


def test_the_cost_is_a_mean_over_images_and_small_ones_are_not_mentioned():
    assert cost_said(0.25, "crop").startswith("the centre is taken: 25 % ")
    assert cost_said(0.02, "crop").startswith("the centre is taken: 2.0 % ")
    assert cost_said(0.004, "pad") == cost_said(0.0, "crop") == ""


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_stream_has_the_same_rectangles_as_photos_and_says_what_they_cost(fit, tmp_path: Path):
    for k, pixels in enumerate(painted(40, 90, 20)):
        Image.fromarray(pixels).save(tmp_path / f"{k:02d}.png")
    stream, photos = Stream(tmp_path, (24, 32), fit=fit), Photos(tmp_path, (24, 32), fit=fit, whole=True)
    assert (stream.shape, stream.size, stream.recipe()["size"]) == ((1, 24, 32), (24, 32), "24x32")
    assert Stream(tmp_path, **{k: v for k, v in stream.recipe().items() if k != "data"}).shape == stream.shape
    known = {image.tobytes() for image in photos.train}
    batch = next(iter(stream.batches(4)))
    assert {image.permute(1, 2, 0).numpy().tobytes() for image in batch} <= known
    assert {image.tobytes() for image in stream.held_out} <= known
    words = {"crop": "41 %", "pad": "42 %", "stretch": "69 %"}[fit]
    assert [note for note in stream.notes if words in note and "the images" in note]
    assert [note for note in photos.notes if words in note and "the images" in note]
