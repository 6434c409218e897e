"""Crops of a stream: parts of the decoded images, one of each in an epoch, exact after a resume."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from copyfold.data import Stream, streaming
from copyfold.errors import DataError, UsageError


def size(k: int) -> tuple[int, int]:
    """Height and width of the k-th image: 20 to 60 pixels."""
    return 20 + 7 * k % 41, 20 + 11 * k % 37


def marked(k: int) -> np.ndarray:
    """An image whose every pixel says the image's number, its row and its column."""
    y, x = np.mgrid[: size(k)[0], : size(k)[1]]
    return np.stack([np.full_like(y, k), y, x], -1).astype(np.uint8)


def coded(k: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(marked(k)).save(file, "PNG")
    return file.getvalue()


def write(path: Path, images: list[bytes], group: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": content, "path": None} for content in images]
    parquet.write_table(pa.table({"image": rows}), path, row_group_size=group)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """80 images in two files, in row groups of 10."""
    for k in range(2):
        write(tmp_path / "set" / f"train-{k:05d}-of-00002.parquet", [coded(40 * k + i) for i in range(40)], 10)
    return tmp_path / "set"


def places(x: torch.Tensor | np.ndarray) -> list[tuple[int, int, int]]:
    """Image, top and left of every crop as it says them itself, after it was found there in the original."""
    pixels = x.permute(0, 2, 3, 1).numpy() if isinstance(x, torch.Tensor) else x
    found = []
    for crop in pixels:
        k, top, left = (int(value) for value in crop[0, 0])
        assert np.array_equal(crop, marked(k)[top : top + crop.shape[0], left : left + crop.shape[1]])
        found.append((k, top, left))
    return found


def test_an_epoch_has_one_crop_of_every_image(sharded: Path) -> None:
    stream = Stream(sharded, crop=(16, 20), buffer=20, held_out=8)
    assert (len(stream), stream.shape) == (72, (3, 16, 20))
    batches = stream.batches(8)
    epochs = [[place for x in batches for place in places(x)] for _ in range(3)]
    kept = {k for k, *_ in places(stream.held_out)}
    for epoch in epochs:
        assert sorted(k for k, *_ in epoch) == sorted(set(range(80)) - kept)
    changed = sum(a != b for a, b in zip(sorted(epochs[0]), sorted(epochs[1]), strict=True))
    assert changed > 60  # each image has other crops in other epochs


def test_all_of_an_image_is_used(sharded: Path) -> None:
    stream = Stream(sharded, crop=16, buffer=20, held_out=8)
    batches = stream.batches(72)
    found = np.array([place for _ in range(40) for x in batches for place in places(x)])
    rooms = np.array([size(k) for k in found[:, 0]]) - 16
    share = (found[:, 1:] + 0.5) / (rooms + 1)  # uniform in (0, 1) along each axis
    assert np.abs(share.mean(0) - 0.5).max() < 0.02
    assert np.abs(share.var(0) - 1 / 12).max() < 0.01
    assert abs(np.corrcoef(share.T)[0, 1]) < 0.05
    assert (found[:, 1:] == 0).any(0).all()  # from edge to edge
    assert (found[:, 1:] == rooms).any(0).all()


@pytest.mark.parametrize(("rank", "world", "flip"), [(0, 1, False), (0, 1, True), (1, 2, False)])
def test_a_resume_at_any_batch_continues_exactly(sharded: Path, rank: int, world: int, flip: bool) -> None:
    stream = Stream(sharded, crop=16, buffer=20, held_out=8, flip=flip)
    whole = stream.batches(12, 3, rank, world)
    expected = [x for _ in range(2) for x in whole]
    for start in (1, 4, 7, 11):
        resumed = stream.batches(12, 3, rank, world)
        resumed.n = start
        found = [x for _ in range(2 - start // len(resumed)) for x in resumed]
        assert all(torch.equal(a, b) for a, b in zip(expected[start:], found, strict=True))


def test_processes_and_seeds_have_crops_of_their_own(sharded: Path) -> None:
    stream = Stream(sharded, crop=16, buffer=20, held_out=8)
    halves = [{p for x in stream.batches(8, 0, rank, 2) for p in places(x)} for rank in (0, 1)]
    assert {k for k, *_ in halves[0]}.isdisjoint(k for k, *_ in halves[1])
    one, again, other = ([p for x in stream.batches(8, seed) for p in places(x)] for seed in (0, 0, 1))
    assert one == again
    assert set(one) != set(other)


def test_the_number_of_threads_does_not_change_the_crops(sharded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PIECE", 3)
    stream = Stream(sharded, crop=16, buffer=20, held_out=8)
    found = []
    for stream.workers in (1, 3):
        found.append([p for x in stream.batches(12) for p in places(x)])
    assert found[0] == found[1]


def test_what_is_held_out_is_a_part_of_a_fixed_grid(sharded: Path) -> None:
    stream = Stream(sharded, crop=8, held_out=24, seed=5)
    found = places(stream.held_out)
    counts = {k: sum(k == other for other, *_ in found) for k, *_ in found}
    assert len(counts) == 8  # a tenth of 80
    assert set(counts.values()) == {3}  # as many of each
    assert len({k for k, *_ in found[:8]}) == 8  # one of each first
    for k in counts:
        painted = np.zeros(size(k), int)
        for _, top, left in filter(lambda place: place[0] == k, found):
            painted[top : top + 8, left : left + 8] += 1
        assert painted.max() == 1
    assert np.array_equal(Stream(sharded, crop=8, held_out=24, seed=5).held_out, stream.held_out)
    for name, (_, top, left) in zip(stream.held_out_names, found, strict=True):
        assert name.endswith(f"[8x8+{left}+{top}]")
        assert " row " in name


def test_samples_are_crops_and_always_the_same(sharded: Path) -> None:
    stream = Stream(sharded, crop=16, buffer=20, held_out=8)
    one, again = stream.sample("train", 12), stream.sample("train", 12)
    assert torch.equal(one.images, again.images)
    assert len({k for k, *_ in places((one.images * 255).round().byte())}) == 12
    shown = (stream.images("train", 5) * 255).round().byte()
    assert len(set(places(shown))) == 5


def test_the_recipe_gives_the_same_stream_again(sharded: Path) -> None:
    for crop, written in ((16, 16), ((16, 20), "16x20")):
        stream = Stream(sharded, crop=crop, buffer=20, held_out=8)
        recipe = json.loads(json.dumps(stream.recipe()))
        assert (recipe["crop"], recipe["size"]) == (written, None)
        again = Stream(recipe.pop("data"), **recipe)
        assert again.fingerprint == stream.fingerprint
        assert torch.equal(next(iter(again.batches(8))), next(iter(stream.batches(8))))
    assert Stream(sharded, crop=16).fingerprint != Stream(sharded, 16).fingerprint
    assert "crop" not in Stream(sharded, 16).recipe()
    assert repr(stream).endswith("72 crops of 3x16x20, one of each image, 8 held out)")


def test_images_smaller_than_the_crop_are_replaced_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for k in range(40):
        Image.fromarray(marked(k)).save(tmp_path / f"{k:02d}.png")
    with caplog.at_level(logging.WARNING, "copyfold"):
        stream = Stream(tmp_path, crop=24, held_out=4)
        batches = stream.batches(12)
        found = [x for _ in range(2) for x in batches]
        seen = {k for x in found for k, *_ in places(x)}
    small = {k for k in range(40) if min(size(k)) < 24}
    assert seen.isdisjoint(small)
    assert len(small) > 5
    lines = [record.message for record in caplog.records]
    assert sum("smaller than the crop of 24x24: left out" in line for line in lines) == 5
    assert lines.count("other images smaller than the crop are left out and not named") == 1
    assert all(x.shape == (12, 3, 24, 24) for x in found)
    with pytest.raises(DataError, match=r"none of 4 images held out .* is as large as the crop of 100x100"):
        Stream(tmp_path, crop=100, held_out=4)


def test_unreadable_images_are_refused_as_ever(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [coded(k) if k % 4 != 1 else b"no image" for k in range(20)], 10)
    with pytest.raises(DataError, match=r"row \d+ is not an image .*skip_bad=True"):
        list(Stream(tmp_path, crop=16, held_out=1, seed=1).batches(18))
    stream = Stream(tmp_path, crop=16, held_out=1, seed=1, skip_bad=True)
    assert all(k % 4 != 1 for x in stream.batches(9) for k, *_ in places(x))


def test_invalid_arguments_are_refused(sharded: Path) -> None:
    for arguments, words in (
        ({}, "a stream needs size or crop"),
        ({"size": 16, "crop": 16}, "crop=16 and size=16 are invalid together"),
        ({"crop": 16, "fit": "pad"}, "crop=16 and fit='pad' are invalid together"),
        ({"crop": 0}, "crop=0 is invalid"),
    ):
        with pytest.raises(UsageError, match=words):
            Stream(sharded, **arguments)
