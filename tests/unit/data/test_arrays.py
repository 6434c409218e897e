"""Arrays: layouts, ranges, files, and the digits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from copyfold.data import Photos
from copyfold.errors import DataError, UsageError


def whole(photos: Photos) -> np.ndarray:
    """All images, in the order of the source."""
    pixels, names = [*photos.train, *photos.held_out], photos.names + photos.held_out_names
    return np.stack([pixel for _, pixel in sorted(zip(names, pixels, strict=True), key=lambda pair: int(pair[0]))])


@pytest.fixture
def colour() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)


def test_every_layout_gives_the_same_images(colour: np.ndarray) -> None:
    np.testing.assert_array_equal(whole(Photos(colour)), colour)
    np.testing.assert_array_equal(whole(Photos(colour.transpose(0, 3, 1, 2))), colour)
    np.testing.assert_array_equal(whole(Photos(colour.transpose(0, 3, 1, 2), layout="NCHW")), colour)
    np.testing.assert_array_equal(whole(Photos(colour[..., 0])), colour[..., :1])
    np.testing.assert_array_equal(whole(Photos(colour[..., :1])), colour[..., :1])
    np.testing.assert_array_equal(whole(Photos(torch.from_numpy(colour).permute(0, 3, 1, 2))), colour)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_one_coloured_pixel_in_the_last_image_makes_three_channels(kind: type) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 1), dtype=np.uint8).repeat(3, 3)
    scale = 1 if kind is np.uint8 else 255
    np.testing.assert_array_equal(whole(Photos((grey / scale).astype(kind), layout="NHWC")), grey[..., :1])
    grey[39, 15, 15, 2] += 1
    np.testing.assert_array_equal(whole(Photos((grey / scale).astype(kind), layout="NHWC")), grey)


def test_the_essays_layout_is_exactly_its_torch_operations(colour: np.ndarray) -> None:
    essay = torch.rot90(torch.from_numpy(colour.copy()).permute(0, 3, 2, 1), 3, dims=(2, 3))
    np.testing.assert_array_equal(whole(Photos(colour, layout="lsun")), essay.permute(0, 2, 3, 1).numpy())


def test_the_essays_layout_where_the_sides_differ(colour: np.ndarray) -> None:
    from copyfold.data.reading.arrays import arrange

    tall = colour[:, :, :9]
    essay = torch.rot90(torch.from_numpy(tall.copy()).permute(0, 3, 2, 1), 3, dims=(2, 3))
    np.testing.assert_array_equal(arrange(tall, "lsun", "x"), essay.permute(0, 2, 3, 1).numpy())


def test_a_fourth_channel_is_transparency() -> None:
    clear = np.zeros((10, 16, 16, 4), np.uint8)
    clear[:, :8, :, 3] = 255
    clear[:, :, :, 0] = 40
    photos = Photos(clear)
    assert photos.shape == (3, 16, 16)
    assert photos.train[0, 0, 0].tolist() == [40, 0, 0]
    assert photos.train[0, 15, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 3, 16, 3), "N·C·H·W or N·H·W·C.*layout="),
        ((5, 16, 16, 2), "no axis of 1, 3 or 4 channels.*layout="),
        ((16, 16, 3), "one image H·W·C or 16 narrow.*layout="),
        ((16, 16), "has shape 16x16"),
        ((0, 16, 16, 3), "no pixels"),
    ],
)
def test_ambiguous_array_shapes_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Photos(np.zeros(shape, np.uint8))
    assert "\n" not in str(caught.value)


def test_layout_decides_where_the_shape_is_ambiguous() -> None:
    open_shape = np.random.default_rng(0).integers(0, 256, (10, 3, 16, 3), dtype=np.uint8)
    assert Photos(open_shape, size=3, layout="NHWC").shape == (3, 3, 3)
    assert Photos(np.zeros((10, 16, 3), np.uint8), size=8, layout="NHW").shape == (1, 8, 8)
    with pytest.raises(DataError, match="needs 3 axes"):
        Photos(open_shape, layout="NHW")
    with pytest.raises(UsageError, match="did you mean NCHW"):
        Photos(open_shape, layout="NCWH")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_in_zero_to_one_are_rounded(kind: type) -> None:
    values = np.tile(np.array([0, 0.25, 0.5, 1], kind), (10, 16, 4))
    np.testing.assert_array_equal(whole(Photos(values))[0, 0, :4, 0], [0, 64, 128, 255])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.linspace(-1, 1, 2560).reshape(10, 16, 16), "values from -1 to 1.*0, 1"),
        (np.linspace(0, 255, 2560).reshape(10, 16, 16), "values from 0 to 255"),
        (np.full((10, 16, 16), np.nan), "NaN alone.*0, 1"),
        (np.arange(2560).reshape(10, 16, 16), "int64 values from 0 to 2559.*range"),
        (np.zeros((10, 16, 16), complex), "complex128"),
    ],
)
def test_other_values_are_refused_with_their_range(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Photos(array)


def test_one_nan_among_many_is_found() -> None:
    array = np.zeros((2000, 5, 5), np.float32)
    array[1500, 2, 2] = np.nan
    photos = Photos(array)
    assert photos.missing
    assert any("less than 0.01 % of the pixel values are missing" in note for note in photos.notes)


def test_arrays_of_other_sizes_are_scaled_and_cropped_like_photos(colour: np.ndarray) -> None:
    constant = np.full((10, 40, 60, 3), 77, np.uint8)
    constant[..., 1] = 0
    photos = Photos(constant, size=20)
    assert photos.shape == (3, 20, 20)
    assert (photos.train[..., 0] == 77).all()
    assert Photos(constant, size=20, fit="pad").train[0, 0].max() == 0


def test_an_array_in_memory_is_not_cached_on_disk(colour: np.ndarray, cache: Path) -> None:
    first, changed = Photos(colour), colour.copy()
    assert not cache.exists()
    assert first.fingerprint == Photos(colour.copy()).fingerprint
    changed[3, 4, 5, 0] ^= 1
    assert first.fingerprint != Photos(changed).fingerprint
    assert "20x16x16x3" in first.recipe()["data"]


def test_npy_files_are_mapped_and_cached(tmp_path: Path, colour: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", colour)
    np.testing.assert_array_equal(whole(Photos(tmp_path / "a.npy")), colour)
    np.testing.assert_array_equal(whole(Photos(str(tmp_path / "a.npy"), layout="NHWC")), colour)


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("pictures", "y")])
def test_npz_files_may_have_labels(tmp_path: Path, colour: np.ndarray, names: tuple[str, str]) -> None:
    labels = np.arange(20) % 7
    np.savez(tmp_path / "a.npz", **{names[0]: colour, names[1]: labels, "other": np.zeros(3)})
    photos = Photos(tmp_path / "a.npz")
    np.testing.assert_array_equal(whole(photos), colour)
    assert photos.labels.tolist() == [labels[int(name)] for name in photos.names]


def test_ambiguous_npz_files_are_refused(tmp_path: Path, colour: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", one=colour, two=colour)
    with pytest.raises(DataError, match="holds the arrays one, two"):
        Photos(tmp_path / "a.npz")


def test_pickles_and_rubbish_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_text("rubbish")
    (tmp_path / "c.npz").write_text("rubbish")
    (tmp_path / "d.npy").write_bytes(b"")
    for name in ("a.npy", "b.npy", "c.npz", "d.npy"):
        with pytest.raises(DataError, match=name) as caught:
            Photos(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert "allow_pickle" not in str(caught.value)


def test_the_digits_are_those_of_scikit_learn() -> None:
    photos = Photos()
    assert photos.shape == (1, 32, 32)
    assert (len(photos), len(photos.held_out)) == (1617, 180)
    assert photos.classes == tuple("0123456789")
    assert photos.recipe()["data"] is None

    from sklearn.datasets import load_digits

    digits = load_digits()
    small = Photos(size=8)
    for k in (0, 100):
        original = int(small.names[k])
        assert small.labels[k] == digits.target[original]
        np.testing.assert_array_equal(small.train[k, ..., 0], np.rint(digits.images[original] * 255 / 16))
    mean = torch.nn.functional.interpolate(
        torch.from_numpy(small.train[:50]).permute(0, 3, 1, 2).double(), size=(32, 32), mode="bilinear"
    )
    np.testing.assert_allclose(photos.train[:50, ..., 0], mean[:, 0], atol=1.01)
    assert Photos(suits=lambda shape: shape[1] % 28 == 0).size == 28
