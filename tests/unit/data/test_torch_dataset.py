"""Photos as a torch Dataset, in anyone's DataLoader."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from copyfold.data import Photos
from copyfold.errors import CopyfoldError


def test_items_are_tensors_with_their_labels(folder: Path) -> None:
    photos = Photos(folder)
    assert isinstance(photos, Dataset)
    image, label = photos[3]
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.float32
    assert torch.equal(image, photos.images(start=3, count=1)[0])
    assert label == photos.labels[3]
    assert type(label) is int
    assert torch.equal(photos[-1][0], photos[len(photos) - 1][0])
    assert torch.equal(photos[np.int64(2)][0], photos[torch.tensor(2)][0])
    for wrong in (len(photos), -len(photos) - 1):
        with pytest.raises(IndexError, match="out of range for 11 images"):
            photos[wrong]
    with pytest.raises(TypeError):
        photos[1.0]  # pyright: ignore[reportArgumentType]
    assert len(list(photos)) == 11


def test_items_without_labels_are_images_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16), dtype=np.uint8)
    photos = Photos(pixels)
    assert torch.equal(torch.stack(list(photos)), photos.images())
    batch = next(iter(DataLoader(photos, batch_size=4)))
    assert batch.shape == (4, 1, 16, 16)


def test_a_loader_with_workers_gives_every_image_once(folder: Path) -> None:
    photos = Photos(folder)
    loader = DataLoader(photos, batch_size=4, shuffle=True, num_workers=2, multiprocessing_context="spawn")
    batches = list(loader)
    images, labels = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert labels.dtype == torch.int64
    order = images[:, 0, 0, 0].argsort()
    torch.testing.assert_close(images[order], photos.images(), rtol=0, atol=0)
    assert labels[order].tolist() == photos.labels.tolist()


def test_a_pickle_has_the_place_of_cached_pixels_and_not_themselves(folder: Path) -> None:
    photos = Photos(folder)
    content = pickle.dumps(photos)
    assert len(content) < photos.train.nbytes / 4
    for again in (pickle.loads(content), copy.deepcopy(photos)):
        np.testing.assert_array_equal(again.train, photos.train)
        np.testing.assert_array_equal(again.held_out, photos.held_out)
        assert isinstance(again.train, np.memmap)
        assert again.names == photos.names
        assert again.recipe() == photos.recipe()
        assert len(pickle.dumps(again)) < 2 * len(content)
    held = pickle.loads(pickle.dumps(Photos(folder, whole=True)))
    assert (len(held), len(held.held_out)) == (12, 0)


def test_a_pickle_of_pixels_in_memory_has_them() -> None:
    photos = Photos(np.random.default_rng(0).integers(0, 256, (20, 16, 16), dtype=np.uint8))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(photos)).train, photos.train)


def test_a_pickle_whose_cache_is_gone_says_so(folder: Path, cache: Path) -> None:
    photos = Photos(folder)
    content = pickle.dumps(photos)
    (cache / photos.fingerprint / "pixels.npy").unlink()
    with pytest.raises(CopyfoldError, match="the cached images are gone"):
        pickle.loads(content)


def test_a_pickle_of_crops_has_the_place_of_the_photographs(folder: Path) -> None:
    photos = Photos(folder, crop=16)
    content = pickle.dumps(photos)
    assert len(content) < 10_000 + photos.held_out.nbytes
    again = pickle.loads(content)
    np.testing.assert_array_equal(again.train[:], photos.train[:])
    assert again.names[3] == photos.names[3]
    loader = DataLoader(photos, batch_size=5, num_workers=1, multiprocessing_context="spawn")
    torch.testing.assert_close(torch.cat([x for x, _ in loader]), photos.images(), rtol=0, atol=0)
