"""Samples of a dataset: stratified, aligned with names and labels, determined by the seed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import copyfold as cf
from copyfold.data import Photos, Sample, Stream
from copyfold.data.sampling import stratified
from copyfold.errors import UsageError


@pytest.fixture
def sorted_classes(tmp_path: Path) -> Photos:
    """300 images of three classes, one after the other, that say their number: 150, 100 and 50 of them."""
    x = np.zeros((300, 8, 8, 3), np.uint8)
    x[..., 0], x[..., 1] = (np.arange(300) // 256)[:, None, None], (np.arange(300) % 256)[:, None, None]
    np.savez(tmp_path / "sorted.npz", images=x, labels=np.repeat([0, 1, 2], [150, 100, 50]))
    return Photos(tmp_path / "sorted.npz", 8)


def said(sample: Sample) -> list[int]:
    """The numbers that images say."""
    bytes_ = (255 * sample.images[:, :2, 0, 0]).round().long()
    return (256 * bytes_[:, 0] + bytes_[:, 1]).tolist()


def test_one_row_is_drawn_from_each_stratum() -> None:
    rows = stratified(100, 10, seed=3)
    assert (np.diff(rows) > 0).all()
    assert max(np.diff(np.append(rows, rows[0] + 100))) < 20  # on the circle too, two parts at most lie between
    assert len(stratified(7, 6, 1)) == len(set(stratified(7, 6, 1))) == 6
    assert (
        stratified(5, 5).tolist() == stratified(5, 9).tolist() == stratified(5, None).tolist() == [0, 1, 2, 3, 4]
    )
    assert stratified(0, 3).tolist() == []
    with pytest.raises(UsageError, match="count=0"):
        stratified(5, 0)


def test_every_row_is_as_likely_as_any_other() -> None:
    """Where parts are of 1 and of 2 rows, those of 1 would always be taken if they were always the same."""
    drawn = np.bincount(np.concatenate([stratified(15, 10, seed) for seed in range(3000)]), minlength=15)
    assert abs(drawn / 3000 - 10 / 15).max() < 0.04  # four and a half standard deviations


def test_a_periodic_order_does_not_bias_the_sample() -> None:
    """Every tenth of ten classes in turn would be one class."""
    found = Counter((stratified(1000, 100, 0) % 10).tolist())
    assert len(found) == 10
    assert max(found.values()) < 25


def test_the_sample_depends_on_the_seed_alone() -> None:
    before = torch.manual_seed(1).get_state()
    first = stratified(1000, 50, 4)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert first.tolist() == stratified(1000, 50, 4).tolist()
    assert first.tolist() != stratified(1000, 50, 5).tolist()


def test_sorted_classes_are_sampled_in_proportion_with_their_labels(sorted_classes: Photos) -> None:
    for seed in range(5):
        sample = sorted_classes.sample("train", 60, seed)
        assert sample.labels is not None
        assert sorted_classes.labels is not None
        shares = np.bincount(sorted_classes.labels) / len(sorted_classes)
        assert abs(np.bincount(sample.labels) - 60 * shares).max() < 2
        assert said(sample) == [int(name) for name in sample.names]
        assert sample.labels.tolist() == [(n >= 150) + (n >= 250) for n in said(sample)]
        assert sample.names == tuple(sorted_classes.names[row] for row in sample.rows)
    held_out = sorted_classes.sample("held_out", 9)
    assert held_out.labels is not None
    assert held_out.labels.tolist() == [(n >= 150) + (n >= 250) for n in said(held_out)]


def test_another_seed_samples_other_images_and_a_large_count_all(sorted_classes: Photos) -> None:
    assert said(sorted_classes.sample("train", 60)) == said(sorted_classes.sample("train", 60))
    assert said(sorted_classes.sample("train", 60)) != said(sorted_classes.sample("train", 60, seed=1))
    for count in (None, 270, 1000):
        everything = sorted_classes.sample("train", count)
        assert torch.equal(everything.images, sorted_classes.images())
        assert everything.rows.tolist() == list(range(270))
    with pytest.raises(UsageError, match="train or held_out"):
        sorted_classes.sample("test")  # pyright: ignore[reportArgumentType]


def test_a_subsample_is_stratified_too(sorted_classes: Photos) -> None:
    sample = sorted_classes.sample("train", 90)
    few = sample.some(9)
    assert few.labels is not None
    assert set(few.labels.tolist()) == {0, 1, 2}
    assert said(few) == [int(name) for name in few.names]
    assert few.rows.tolist() == [sorted_classes.names.index(name) for name in few.names]
    assert len(sample.some(1000)) == len(sample) == 90
    assert said(sample.at([5, 2])) == [said(sample)[5], said(sample)[2]]


def test_a_stream_of_files_is_sampled_in_the_same_way(tmp_path: Path) -> None:
    """Sorted by class, 16 files a piece: all of its 13 pieces have their share."""
    for k in range(210):
        place = tmp_path / "set" / f"{k // 70}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), k, np.uint8)).save(place / f"{k:03}.png")
    stream = Stream(tmp_path / "set", 8, held_out=10)
    sample = stream.sample("train", 20)
    numbers = (255 * sample.images[:, 0, 0, 0]).round().long()
    assert abs(torch.bincount(numbers // 70).float() - 20 / 3).max() < 3
    assert [Path(name).stem for name in sample.names] == [f"{k:03}" for k in numbers]
    everything = stream.sample("train", 1000)
    assert everything.rows.tolist() == list(range(200))
    assert torch.equal(everything.images[sample.rows], sample.images)
    assert sample.labels is None
    assert not torch.equal(stream.sample("train", 20, seed=1).rows, sample.rows)
    held_out = stream.sample("held_out", 4)
    assert torch.equal(held_out.images, stream.images("held_out")[held_out.rows])
    assert held_out.names == tuple(stream.held_out_names[row] for row in held_out.rows)
    with pytest.raises(UsageError, match="say how many"):
        stream.sample()


def test_whole_photos_hold_nothing_out(tmp_path: Path) -> None:
    """All images of all splits, in order; beside the divided ones in the cache, whichever came first."""
    for k in range(30):
        place = tmp_path / "set" / ("train" if k < 20 else "test")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), (k, 0, 0), np.uint8)).save(place / f"{k:02}.png")
    divided = Photos(tmp_path / "set", 8)
    whole = Photos(tmp_path / "set", 8, whole=True)
    assert (len(divided), len(divided.held_out)) == (20, 10)
    assert (len(whole), len(whole.held_out), len(whole.held_out_names)) == (30, 0, 0)
    assert sorted(whole.train[:, 0, 0, 0].tolist()) == list(range(30))
    assert all(f"{k:02}.png" in name for k, name in zip(whole.train[:, 0, 0, 0], whole.names, strict=True))
    assert whole.notes[:2] == ("the splits train, test are taken together", "3 channels")
    assert divided.fingerprint != whole.fingerprint
    assert Photos(tmp_path / "set", 8).fingerprint == divided.fingerprint
    few = Photos(tmp_path / "set", 8, whole=True, limit=12)
    assert len(few) == 12
    assert few.names == [name for name in whole.names if name in few.names]
    assert "limited to 12 of 30 images, drawn by seed 0" in few.notes
    assert len(few.sample("held_out", 5)) == 0
    recipe = few.recipe()
    assert len(Photos(recipe.pop("data"), recipe.pop("size"), **recipe)) == 12


def test_one_image_is_whole_too_and_bad_ones_are_left_out(tmp_path: Path) -> None:
    for k in range(3):
        Image.fromarray(np.full((8, 8, 3), k, np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / "0.png").write_bytes(b"no picture")
    assert Photos(tmp_path, 8, whole=True, skip_bad=True).names == ["1.png", "2.png"]
    (tmp_path / "2.png").unlink()
    one = Photos(tmp_path, 8, whole=True, skip_bad=True)
    assert (len(one), len(one.held_out)) == (1, 0)


def test_training_on_whole_photos_is_refused(tmp_path: Path) -> None:
    photos = Photos(np.zeros((8, 16, 16, 1), np.uint8), whole=True)
    with pytest.raises(UsageError, match="without it"):
        cf.fit(cf.Linear(photos.shape), photos=photos, run=tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()
