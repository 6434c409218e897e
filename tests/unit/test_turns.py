"""Quarter turns of training images."""

import numpy as np
import pytest
import torch

import copyfold as cf
from copyfold.data.batches import Batches
from copyfold.data.crops import CropBatches


def counts(pixels, batches):
    """How many images of some batches are which quarter turn of their original, by its number in a corner."""
    found = np.zeros(4, int)
    for x in batches:
        for image in x.permute(0, 2, 3, 1).numpy():
            owner = int(image.max()) - 100
            same = [np.array_equal(image, np.rot90(pixels[owner], k)) for k in range(4)]
            found[same.index(True)] += 1
    return found


def numbered(dtype=np.uint8):
    """Images that are known by their largest value, and differ from all of their turns."""
    pixels = np.random.default_rng(0).integers(0, 90, (64, 6, 6, 1)).astype(dtype)
    pixels[:, 0, 1, 0] = 100 + np.arange(64)
    return pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_turn_is_equally_likely_and_exact(dtype):
    pixels = numbered(dtype)
    batches = Batches(pixels, 16, turn=True)
    found = sum(counts(pixels, batches) for _ in range(8))
    assert found.sum() == 8 * 64
    assert abs(found - 128).max() < 4 * (128 * 0.75) ** 0.5  # four standard deviations
    assert np.array_equal(pixels, numbered(dtype))  # turned copies


def test_without_it_the_order_is_as_before():
    pixels = numbered()
    plain, turned = (next(iter(Batches(pixels, 64, flip=False, turn=turn))) for turn in (False, True))
    assert torch.equal(plain.amax((1, 2, 3)), turned.amax((1, 2, 3)))
    assert not torch.equal(plain, turned)


def test_turns_go_on_where_they_stopped_and_do_not_depend_on_processes():
    pixels = numbered()
    whole = [x.clone() for x in Batches(pixels, 16, turn=True)]
    resumed = Batches(pixels, 16, turn=True)
    resumed.n = 2
    assert torch.equal(torch.cat(list(resumed)), torch.cat(whole[2:]))
    parts = [list(Batches(pixels, 16, rank=rank, world=2, turn=True)) for rank in (0, 1)]
    assert all(torch.equal(torch.cat(both), x) for *both, x in zip(*parts, whole, strict=True))


def test_photos_crops_and_streams_turn(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (12, 24, 24, 3), dtype=np.uint8)
    for k, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{k}.png")

    def first(source, turn, **options):
        return next(iter(source(tmp_path, turn=turn, **options).batches(4)))

    for source, options in ((cf.Photos, {"size": 24}), (cf.Photos, {"crop": 8}), (cf.Stream, {"size": 24})):
        plain, turned = first(source, False, **options), first(source, True, **options)
        assert not torch.equal(plain, turned)
        for a, b in zip(plain, turned, strict=True):
            assert any(torch.equal(a.rot90(k, (1, 2)), b) for k in range(4))
    assert isinstance(cf.Photos(tmp_path, crop=8, turn=True).batches(4), CropBatches)


def test_rectangles_are_refused():
    with pytest.raises(
        cf.errors.UsageError, match=r"turn=True is invalid for images of 6x8: expected square ones"
    ):
        cf.Photos(torch.rand(8, 1, 6, 8), turn=True)


def test_it_is_in_the_recipe():
    photos = cf.Photos(torch.rand(8, 1, 6, 6), turn=True)
    assert photos.recipe()["turn"] is True
