"""What can be given in Python: lists, torch data sets, loaders; and what is no source, in one sentence."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset

from copyfold.data import Photos, Stream, survey
from copyfold.errors import CopyfoldError, DataError, UsageError
from copyfold.models import Linear


def whole(photos: Photos) -> np.ndarray:
    """All images in the order of the source."""
    rows = zip(photos.names + photos.held_out_names, [*photos.train, *photos.held_out], strict=True)
    return np.stack([pixels for _, pixels in sorted(rows, key=lambda row: row[0])])


@pytest.fixture
def colour() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)


class Labelled(Dataset[Any]):
    """Pillow images, labels, and more, as torchvision's data sets give them."""

    classes = ("even", "odd")

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int, str]:
        if not 0 <= index < len(self):
            raise IndexError
        return Image.fromarray(self.pixels[index]), index % 2, "more"


def test_a_list_of_arrays_is_the_array_of_them(colour: np.ndarray) -> None:
    same = Photos(colour)
    for given in (list(colour), tuple(colour), list(torch.from_numpy(colour)), [image / 255 for image in colour]):
        np.testing.assert_array_equal(whole(Photos(given)), whole(same))
    assert Photos(list(colour)).fingerprint == Photos(list(colour.copy())).fingerprint
    assert Photos(list(colour)).fingerprint != Photos(list(colour[::-1])).fingerprint
    assert Photos(list(colour.transpose(0, 3, 1, 2))).shape == (3, 16, 16)


def test_arrays_of_several_shapes_are_read_each_in_its_own(cache: Path) -> None:
    given = [np.full((20 + k, 30, 3), (k, 9, 9), np.uint8) for k in range(12)]
    given[5] = np.full((40, 40), 77, np.uint8)  # grey
    photos = Photos(given, 16)
    assert photos.shape == (3, 16, 16)
    assert whole(photos)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 77, 6, 7, 8, 9, 10, 11]
    assert not cache.exists()
    assert Photos(given, 16).fingerprint == photos.fingerprint
    assert Photos(given[::-1], 16).fingerprint != photos.fingerprint
    given[3] = np.full((23, 30, 3), 1.5)
    with pytest.raises(DataError, match=r"values from 1.5 to 1.5"):
        Photos(given, 16)
    assert survey(given).value_range == (0, 77)


def test_small_images_of_two_axes_are_grey() -> None:
    assert Photos([np.full((5, 4), k, np.uint8) for k in range(9)], 4).shape == (1, 4, 4)
    assert Photos([np.full((5 + k % 2, 3), k, np.uint8) for k in range(9)], 3).shape == (1, 3, 3)


def test_tensors_of_every_kind_are_read(colour: np.ndarray) -> None:
    grey = torch.from_numpy(colour[..., 0]).float() / 255
    same = Photos(grey).fingerprint
    assert Photos(grey.clone().requires_grad_()).fingerprint == same
    assert Photos(grey.to_sparse()).fingerprint == same
    assert Photos(grey.to(torch.bfloat16)).shape == (1, 16, 16)


def test_a_list_of_pictures(colour: np.ndarray, cache: Path) -> None:
    given = [Image.fromarray(pixels) for pixels in colour]
    photos = Photos(given)
    np.testing.assert_array_equal(whole(photos), colour)
    assert not cache.exists()
    assert Photos([image.copy() for image in given]).fingerprint == photos.fingerprint
    given[7].putpixel((3, 3), (1, 2, 3))
    assert Photos(given).fingerprint != photos.fingerprint
    turned = Image.new("RGB", (40, 20), (9, 8, 7))
    turned.getexif()[0x0112] = 6
    assert Photos([turned] * 4, 16).shape == (3, 16, 16)
    assert survey([turned] * 4).width == (20, 20, 20)  # upright


def test_a_list_of_paths_keeps_its_order(folder: Path) -> None:
    paths = sorted(folder.rglob("*.png"), reverse=True)
    photos = Photos(paths, whole=True)
    assert photos.names == [f"{'cats' if k < 6 else 'dogs'}/{k:02d}.png" for k in range(11, -1, -1)]
    assert photos.train[:, 0, 0, 0].tolist() == [10 * k for k in range(11, -1, -1)]
    assert photos.labels is None
    np.testing.assert_array_equal(Photos([str(path) for path in paths], whole=True).train, photos.train)
    np.testing.assert_array_equal(Photos(np.array([str(path) for path in paths]), whole=True).train, photos.train)
    assert Photos(paths[::-1], whole=True).fingerprint != photos.fingerprint
    assert isinstance(photos.train, np.memmap)  # cached, as a folder is
    assert len(Stream(paths, 16)) == 11
    with pytest.raises(DataError, match=r"a list of 12 files in .* was given from Python and is not kept"):
        Photos(photos.recipe()["data"])
    paths[3].write_bytes(paths[4].read_bytes())
    assert Photos(paths, whole=True).fingerprint != photos.fingerprint


def test_paths_that_are_none_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.png in the list cannot be opened: No such file"):
        Photos([folder / "nowhere.png"])
    with pytest.raises(DataError, match=r"cats in the list is a folder: give image files, or one folder alone"):
        Photos([folder / "cats", folder / "dogs"])


def test_a_dataset_is_read_in_its_order(colour: np.ndarray) -> None:
    photos = Photos(Labelled(colour))
    np.testing.assert_array_equal(whole(photos), colour)
    assert photos.classes == ("even", "odd")
    assert photos.labels.tolist() == [int(name) % 2 for name in photos.names]
    assert any(
        note.startswith("the Labelled is read once, in its order: random transforms") for note in photos.notes
    )
    assert photos.recipe()["data"] == "the Labelled in memory"
    assert len(Photos(Subset(Labelled(colour), [1, 3, 5]), whole=True)) == 3
    with pytest.raises(DataError, match="the Labelled in memory was given from Python and is not kept"):
        Photos(photos.recipe()["data"])


def test_tensors_and_dicts_of_a_dataset(colour: np.ndarray) -> None:
    floats = torch.from_numpy(colour).permute(0, 3, 1, 2) / 255
    expected = whole(Photos(colour))
    labelled = Photos(TensorDataset(floats, torch.arange(20) % 3))
    np.testing.assert_array_equal(whole(labelled), expected)
    assert sorted(labelled.labels.tolist() + labelled.held_out_labels.tolist()) == sorted(k % 3 for k in range(20))
    dicts = [{"image": image, "label": k % 2, "mask": image[:1]} for k, image in enumerate(floats)]
    np.testing.assert_array_equal(whole(Photos(dicts)), expected)
    assert Photos(dicts).labels is not None
    assert Photos(dicts, column="mask").shape == (1, 16, 16)
    np.testing.assert_array_equal(whole(Photos([{"any": image} for image in floats])), expected)
    masks = TensorDataset(floats, floats[:, :1])  # the second is no label
    assert Photos(masks).labels is None
    with pytest.raises(DataError, match=r"item 0 .* holds one, two: call its image 'image', or give column="):
        Photos([{"one": image, "two": image} for image in floats])
    with pytest.raises(UsageError, match="item 0 of the list has no 'three', but one"):
        Photos([{"one": image} for image in floats], column="three")


def test_a_dataset_of_the_datasets_library(colour: np.ndarray) -> None:
    features = datasets.Features({"picture": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"picture": [Image.fromarray(pixels) for pixels in colour], "label": [0, 1] * 10}
    given = datasets.Dataset.from_dict(rows, features=features)
    np.testing.assert_array_equal(whole(Photos(given)), colour)
    with pytest.raises(UsageError, match="DatasetDict of 'train': give one of its values"):
        Photos(datasets.DatasetDict(train=given))


def test_the_dataset_of_a_loader_is_read(colour: np.ndarray) -> None:
    dataset = Labelled(colour)
    photos = Photos(DataLoader(dataset, batch_size=7, shuffle=True, drop_last=True))
    np.testing.assert_array_equal(whole(photos), colour)
    assert any("shuffling, batches and collation of the DataLoader are not used" in note for note in photos.notes)
    assert any("training resumes exactly where they come out the same" in note for note in photos.notes)
    some = Photos(DataLoader(dataset, sampler=SubsetRandomSampler([5, 3, 9])), whole=True)
    np.testing.assert_array_equal(some.train, colour[[3, 5, 9]])


def test_errors_of_a_dataset_name_the_item(colour: np.ndarray) -> None:
    class Broken(Labelled):
        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise OSError("the disk is gone\nand more")
            return super().__getitem__(index)

    with pytest.raises(DataError, match=r"item 3 of the Broken cannot be read: OSError: the disk is gone$"):
        Photos(Broken(colour))


class Endless(IterableDataset[Any]):
    """Images without an end."""

    def __iter__(self) -> Any:
        while True:
            yield torch.zeros(3, 16, 16)


WRONG = {
    "dict": ({"train": 1, "test": 2}, "the source is a dict of 'train', 'test': give one of its values"),
    "a single image": (Image.new("L", (4, 4)), "a single image: give a list of images"),
    "model": (Linear((1, 4, 4), 2), "Linear is a model, and not images"),
    "generator": ((k for k in "ab"), "generator, which can be read only once: give list"),
    "map": (map(str, "ab"), "map, which can be read only once"),
    "set": ({"a", "b"}, r"set, which has no order: give sorted\(\.\.\.\)"),
    "bytes": (b"ab", "of type bytes"),
    "number": (3, "of type int"),
    "file": (io.BytesIO(b"a"), r"an open file \(BytesIO\): give its path"),
    "class": (Linear, "the source is the class Linear"),
    "no values": (torch.empty(4, 8, 8, device="meta"), "a tensor torch.float32 on meta cannot be read"),
    "empty path": ("", "the path of the images is empty: give a folder, or . for this one"),
    "iterable dataset": (Endless(), "Endless has no length"),
    "loader of it": (DataLoader(Endless()), "Endless has no length"),
    "mixed": ([np.zeros((4, 4)), Image.new("L", (4, 4))], r"holds arrays \(item 0\) and Pillow images \(item 1\)"),
    "paths and arrays": (["a.png", np.zeros((4, 4))], r"paths \(item 0\) and ndarray \(item 1\)"),
    "numbers": ([1, 2, 3], "item 0 of the list is of type int: expected a path, an array"),
    "nested": ([[0.0, 1.0], [1.0, 0.0]], "item 0 of the list is of type float"),
    "nothing": ([], "the list is empty"),
    "batches": ([np.zeros((5, 3, 4, 4))], "item 0 of the list is 5x3x4x4: an image has two or three axes"),
    "address": ("https://example.org/a.zip", "is an address: only hf://owner/name"),
    "pattern": ("photos/*.jpg", "for a pattern give the folder, or in Python a list of paths"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_source_is_refused_in_one_sentence(name: str) -> None:
    given, message = WRONG[name]
    with pytest.raises(CopyfoldError, match=message) as caught:
        Photos(given)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_tables_and_photos_are_refused(colour: np.ndarray) -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(UsageError, match="a DataFrame of pandas: give a list"):
        Photos(pandas.DataFrame({"path": ["a.png"]}))
    with pytest.raises(UsageError, match="the source is Photos already"):
        Photos(Photos(colour))


def test_survey_of_what_is_in_memory(colour: np.ndarray) -> None:
    found = survey([Image.fromarray(pixels) for pixels in colour])
    assert (found.count, found.modes, found.command) == (20, {"RGB": 20}, "")
    assert SimpleNamespace(**vars(found)).kind == "pictures"
