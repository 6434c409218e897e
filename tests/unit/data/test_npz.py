"""Which arrays of an .npz are images, and of which split."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from copyfold.data import Photos
from copyfold.data.reading import arrays
from copyfold.errors import DataError, UsageError


def images(count: int, value: int) -> np.ndarray:
    return np.full((count, 16, 16), value, np.uint8)


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),  # Keras
        ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST
        ("X_train", "Y_train", "X_val", "Y_val"),
        ("trainingImages", "training_y", "dev_img", "dev_target"),
    ],
)
def test_splits_of_keras_and_medmnist(tmp_path: Path, names: tuple[str, ...]) -> None:
    if names[0] == "trainingImages":
        names = ("training_images", *names[1:])
    train, train_labels, test, test_labels = names
    arrays = {
        test: images(4, 200),
        test_labels: np.arange(4)[:, None],
        train: images(6, 100),
        train_labels: np.arange(6)[:, None],
    }
    np.savez(tmp_path / "a.npz", **arrays)
    photos = Photos(tmp_path / "a.npz")
    assert set(photos.train.flat) == {100}
    assert set(photos.held_out.flat) == {200}
    assert photos.labels.tolist() == list(range(6))
    assert sorted(photos.held_out_labels.tolist()) == list(range(4))


def test_a_validation_split_beside_a_test_split_is_not_used(tmp_path: Path) -> None:
    parts = {"train_images": images(6, 1), "val_images": images(3, 2), "test_images": images(4, 3)}
    np.savez(tmp_path / "a.npz", **parts)
    photos = Photos(tmp_path / "a.npz")
    assert (len(photos), len(photos.held_out)) == (6, 4)
    assert "the split val is not used" in photos.notes


def test_a_column_is_an_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=images(12, 1), two=images(12, 2))
    with pytest.raises(DataError, match=r"holds the arrays one, two: call the images 'images', or .* column"):
        Photos(tmp_path / "a.npz")
    photos = Photos(tmp_path / "a.npz", column="two")
    assert set(photos.train.flat) == {2}
    assert photos.recipe()["column"] == "two"
    assert photos.fingerprint != Photos(tmp_path / "a.npz", column="one").fingerprint
    with pytest.raises(UsageError, match="no array 'three'"):
        Photos(tmp_path / "a.npz", column="three")
    np.save(tmp_path / "a.npy", images(12, 1))
    with pytest.raises(UsageError, match="one array"):
        Photos(tmp_path / "a.npy", column="one")
    with pytest.raises(UsageError, match="a column says which column"):
        Photos(images(12, 1), column="one")


def test_splits_of_other_shapes_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=images(6, 1), x_test=np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(DataError, match="6x16x16 uint8, but 4x8x8 uint8 in test"):
        Photos(tmp_path / "a.npz")


def test_labels_of_one_split_alone_are_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=images(6, 1), y_train=np.arange(6), x_test=images(4, 2))
    photos = Photos(tmp_path / "a.npz")
    assert photos.labels is None
    assert any("labels in" in note and "test has none" in note for note in photos.notes)


def test_a_file_that_would_unpack_to_far_more_than_it_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "zeros.npz", np.zeros((100, 100, 100), np.uint8))
    assert len(Photos(str(tmp_path / "zeros.npz"), whole=True, size=8)) == 100
    monkeypatch.setattr(arrays, "UNPACKED", 10**5)
    with pytest.raises(DataError, match=r"zeros.npz has 0 MB and would unpack to 0.0 GB"):
        Photos(str(tmp_path / "zeros.npz"), whole=True, size=9)


@pytest.mark.parametrize("count", [4, 10**6, 10**12])
def test_an_array_that_says_more_than_it_has_takes_no_memory(tmp_path: Path, count: int) -> None:
    header = io.BytesIO()
    form = {"descr": "|u1", "fortran_order": False, "shape": (count, 16, 16)}
    np.lib.format.write_array_header_1_0(header, form)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header.getvalue() + images(3, 7).tobytes())
    with pytest.raises(
        DataError, match=r"a\.npz is not an array file .* images has fewer numbers than its header"
    ):
        Photos(tmp_path / "a.npz")
