"""Pairs of found and true images: batch after batch, in a file, and a network that learns from them."""

import numpy as np
import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold.errors import UsageError
from copyfold.probes.base import Reading
from copyfold.probes.pairs import invert_in_batches, write_pairs

SHAPE = (1, 8, 8)


def inversion():
    torch.manual_seed(0)
    return cf.Inversion("encoder", steps=20, start="constant"), cf.Linear(SHAPE, 40)


def test_batches_give_the_reading_of_all_at_once():
    probe, model = inversion()
    x = torch.rand(7, *SHAPE)
    whole, parts = (
        probe(model, x, Generator().manual_seed(1)),
        invert_in_batches(probe, model, x, Generator().manual_seed(1), batch=3),
    )
    assert whole.numbers.keys() == parts.numbers.keys()
    torch.testing.assert_close(parts.images["found"], whole.images["found"], atol=1e-4, rtol=0)
    torch.testing.assert_close(parts.numbers["psnr"], whole.numbers["psnr"], atol=1e-2, rtol=0)
    with pytest.raises(UsageError):
        invert_in_batches(probe, model, x[:0], Generator())


def test_a_file_of_pairs_has_both_images_as_they_are(tmp_path):
    images = {"found": torch.randn(5, 3, 4, 6), "target": torch.rand(5, 3, 4, 6)}
    path = write_pairs(tmp_path / "deep" / "pairs.npz", Reading({}, images | {"other": torch.rand(5, 3, 4, 6)}))
    with np.load(path) as file:
        assert sorted(file) == ["found", "target"]
        for name, x in images.items():
            assert file[name].dtype == np.float32
            assert np.array_equal(file[name].transpose(0, 3, 1, 2), x.numpy())
    with pytest.raises(UsageError, match="expected an"):
        write_pairs(tmp_path / "pairs.npy", Reading({}, images))
    with pytest.raises(UsageError, match="without target images"):
        write_pairs(path, Reading({}, {"found": images["found"]}))


def test_photos_reads_pairs_and_a_linear_map_learned_from_them_improves_found_images(tmp_path):
    """Images on a plane: least squares from found to true images restores what the code does not say."""
    probe, model = inversion()
    directions = torch.randn(4, 64, generator=Generator().manual_seed(2))
    x = (0.5 + 0.03 * torch.randn(200, 4, generator=Generator().manual_seed(3)) @ directions).view(-1, *SHAPE)
    reading = invert_in_batches(probe, model, x.clamp(0, 1), Generator())
    path = write_pairs(tmp_path / "pairs.npz", reading)
    known = cf.Photos(path, column="target", whole=True).train
    assert np.abs(known / 255 - x.clamp(0, 1).permute(0, 2, 3, 1).numpy()).max() < 0.003
    with np.load(path) as file:
        found, target = (torch.from_numpy(file[name]).flatten(1) for name in ("found", "target"))
    rows = torch.cat((found, torch.ones(len(found), 1)), 1)
    learned = torch.linalg.lstsq(rows[:100], target[:100]).solution
    before, after = (
        (found[100:] - target[100:]).square().mean(),
        (rows[100:] @ learned - target[100:]).square().mean(),
    )
    assert after < 0.05 * before
