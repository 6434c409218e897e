"""Crops of photographs: found in their originals, everywhere equally likely, a function of seed and position."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare

import copyfold as cf
from copyfold.data import Batches, Photos, crops, scenes
from copyfold.data.crops import CropBatches, Crops
from copyfold.data.reading import cache as store
from copyfold.data.reading import folders, ragged
from copyfold.data.reading.ragged import Ragged
from copyfold.errors import CopyfoldError, DataError, UsageError

SIZES = [(40, 52), (33, 90), (64, 64), (16, 100), (100, 41), (17, 16), (50, 50), (32, 48), (80, 20), (48, 33)]


def marked(k: int, height: int, width: int) -> np.ndarray:
    """An image whose every pixel says the image's number, its row and its column."""
    y, x = np.mgrid[:height, :width]
    return np.stack([np.full_like(y, 10 * k + 3), y, x], -1).astype(np.uint8)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Ten such images of ten sizes, in two classes."""
    for k, size in enumerate(SIZES):
        place = tmp_path / "album" / ("even", "odd")[k % 2] / f"{k}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(marked(k, *size)).save(place)
    return tmp_path / "album"


def places(x: torch.Tensor | np.ndarray, mirrored: bool = False) -> list[tuple[int, int, int]]:
    """Image, top and left of every crop as it says them itself, after it was found there in the original."""
    pixels = x.permute(0, 2, 3, 1).numpy() if isinstance(x, torch.Tensor) else x
    found = []
    for crop in pixels:
        straight = crop[:, ::-1] if mirrored and crop[0, 0, 2] > crop[0, -1, 2] else crop
        number, top, left = (int(value) for value in straight[0, 0])
        k = (number - 3) // 10
        height, width = crop.shape[:2]
        assert np.array_equal(straight, marked(k, *SIZES[k])[top : top + height, left : left + width])
        found.append((k, top, left))
    return found


def take(batches: Batches, count: int) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    while len(found) < count:
        found += list(batches)
    return found[:count]


def held(photos: Photos) -> set[int]:
    return {k for k, *_ in places(photos.held_out)}


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("crop", [16, (16, 20), (9, 4)])
def test_every_crop_of_a_batch_is_a_part_of_its_photograph(album: Path, crop: int | tuple[int, int]) -> None:
    photos = Photos(album, crop=crop)
    batches = photos.batches(4)
    height, width = crop if isinstance(crop, tuple) else (crop, crop)
    seen = set()
    for x in take(batches, 3 * len(batches)):
        assert x.dtype == torch.uint8
        assert x.shape == (4, 3, height, width)
        assert x.is_contiguous(memory_format=torch.channels_last)
        seen |= set(places(x))
    assert {k for k, *_ in seen}.isdisjoint(held(photos))
    assert len(seen) > len(photos)  # other places in other epochs


def test_an_epoch_has_as_many_crops_of_a_photograph_as_fit_into_it(album: Path) -> None:
    photos = Photos(album, crop=16)
    expected = {k: (h // 16) * (w // 16) for k, (h, w) in enumerate(SIZES) if k not in held(photos)}
    assert len(photos) == sum(expected.values())
    for x in take(photos.batches(len(photos)), 3):
        assert Counter(k for k, *_ in places(x)) == expected


def test_every_place_in_a_photograph_is_equally_likely() -> None:
    images = Ragged.joined([marked(0, 10, 12)] * 500)
    batches = CropBatches(Crops(images, (4, 5)), 2000, seed=3)
    corners = np.concatenate([x.permute(0, 2, 3, 1).numpy()[:, 0, 0, 1:] for x in take(batches, 3)])
    assert corners.min(0).tolist() == [0, 0]
    assert corners.max(0).tolist() == [6, 7]
    counts = np.bincount(8 * corners[:, 0].astype(int) + corners[:, 1], minlength=56)
    assert counts.sum() == 6000
    assert 0.01 < chisquare(counts).pvalue < 0.99


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("start", [1, 7, 9, 12])
def test_a_resume_at_any_batch_continues_exactly(album: Path, start: int, flip: bool) -> None:
    photos = Photos(album, crop=16, flip=flip)
    whole = take(photos.batches(5, seed=7), 15)
    resumed = photos.batches(5, seed=7)
    assert start % len(resumed)  # in the middle of an epoch
    resumed.n = start
    for expected, found in zip(whole[start:], take(resumed, 15 - start), strict=True):
        assert torch.equal(expected, found)


@pytest.mark.parametrize("world", [2, 4])
def test_the_parts_of_all_processes_are_the_batches_of_one(album: Path, world: int) -> None:
    photos = Photos(album, crop=16, flip=True)
    whole = take(photos.batches(8, seed=1), 9)
    parts = [take(photos.batches(8, 1, rank, world), 9) for rank in range(world)]
    for expected, *found in zip(whole, *parts, strict=True):
        assert torch.equal(expected, torch.cat(found))


def test_a_crop_depends_on_the_seed_the_epoch_and_its_position_alone(album: Path) -> None:
    photos = Photos(album, crop=16)
    small, large = (torch.cat(list(photos.batches(batch))) for batch in (2, 8))
    assert torch.equal(small[: len(large)], large)
    batches = photos.batches(8)
    epochs = [places(torch.cat(list(batches))) for _ in range(2)]
    other = places(torch.cat(list(photos.batches(8, seed=1))))
    assert epochs[0] != epochs[1] != other != epochs[0]
    before = torch.get_rng_state()
    next(iter(batches))
    assert torch.equal(before, torch.get_rng_state())


def test_flips_mirror_about_half_of_the_crops(album: Path) -> None:
    photos = Photos(album, crop=8, flip=True)
    x = torch.cat(take(photos.batches(16), 40))
    places(x, mirrored=True)  # either way each is found in its original
    mirrored = (x[:, 2, 0, 0] > x[:, 2, 0, -1]).float().mean().item()
    assert 0.4 < mirrored < 0.6
    places(np.asarray(photos.train))  # and none of these is


def test_training_on_crops_is_repeated_and_resumed_exactly(album: Path, tmp_path: Path) -> None:
    photos = Photos(album, crop=16)

    def trained(folder: str, *steps: int) -> dict[str, torch.Tensor]:
        model = cf.Conv(photos.shape, channels=(4,))
        start = {name: value.clone() for name, value in weights.items()}
        model.load_state_dict(start)
        for count in steps:
            again = {"batch": 4, "schedule": "constant", "precision": "32", "resume": count != steps[0]}
            cf.fit(model, cf.Classical(), photos, tmp_path / folder, steps=count, **again)
        return model.state_dict()

    weights = cf.Conv(photos.shape, channels=(4,)).state_dict()
    whole, parts = trained("whole", 13), trained("parts", 6, 13)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    data = json.loads((tmp_path / "whole" / "data.json").read_text())
    assert data["train"] == len(photos)
    assert f"{len(photos)} crops of 3x16x16" in (tmp_path / "whole" / "model" / "README.md").read_text()


# ---------------------------------------------------------------- the grid, and what is held out


@pytest.mark.parametrize("crop", [(16, 16), (5, 11), (16, 41)])
def test_the_grid_is_evenly_placed_without_overlap(crop: tuple[int, int]) -> None:
    sizes = [size for size in SIZES if size[0] >= crop[0] and size[1] >= crop[1]]
    grid = Crops(Ragged.joined([np.zeros((*size, 1), np.uint8) for size in sizes]), crop)
    found = grid.places(np.arange(len(grid)))
    for k, (height, width) in enumerate(sizes):
        painted = np.zeros((height, width), int)
        mine = found[found[:, 0] == k, 1:]
        for top, left in mine:
            painted[top : top + crop[0], left : left + crop[1]] += 1
        assert painted.max() == 1
        assert painted.sum() == crop[0] * crop[1] * (height // crop[0]) * (width // crop[1])  # none beyond an edge
        for axis, side in enumerate((height, width)):
            starts = np.unique(mine[:, axis])
            gaps = np.diff([-crop[axis], *starts, side])[1:-1] - crop[axis]
            assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
            if len(starts) > 1:
                assert (starts[0], starts[-1]) == (0, side - crop[axis])
            else:
                assert starts[0] == (side - crop[axis]) // 2


def test_the_grid_is_used_like_an_array(album: Path) -> None:
    train = Photos(album, crop=16).train
    whole = np.asarray(train)
    assert isinstance(train, Crops)
    assert whole.shape == train.shape == (len(train), 16, 16, 3)
    assert whole.dtype == train.dtype == np.uint8
    for rows in (
        3,
        -1,
        np.int64(2),
        slice(2, 9, 3),
        slice(None),
        [4, 4, -2],
        np.array([5, 1]),
        [],
        whole[:, 0, 0, 1] > 20,
    ):
        np.testing.assert_array_equal(
            train[rows], whole[rows if len(np.shape(rows)) != 1 or len(rows) else slice(0)]
        )
    assert np.array_equal(np.stack(list(train)), whole)
    assert train.tobytes() == whole.tobytes()
    assert np.asarray(train, np.float32).dtype == np.float32
    assert np.mean(train, axis=0).shape == (16, 16, 3)
    for rows in (len(train), -len(train) - 1, [0, len(train)], [True], [0.5], [[0]]):
        with pytest.raises(IndexError):
            train[rows]
    places(whole)


def test_batches_of_the_grid_are_those_of_an_array(album: Path) -> None:
    train = Photos(album, crop=16).train
    for found, expected in zip(Batches(train, 8), Batches(np.asarray(train), 8), strict=True):
        assert torch.equal(found, expected)


def test_what_is_held_out_is_fixed_and_of_other_photographs(album: Path) -> None:
    photos = Photos(album, crop=16, seed=2)
    assert type(photos.held_out) is np.ndarray
    found = places(photos.held_out)
    k = found[0][0]
    assert len({k for k, *_ in found}) == 1  # a tenth of ten
    assert len(set(found)) == len(found) == (SIZES[k][0] // 16) * (SIZES[k][1] // 16)
    assert held(photos).isdisjoint(k for k, *_ in places(photos.train[:]))
    assert np.array_equal(photos.held_out, Photos(album, crop=16, seed=2).held_out)
    assert held(photos) != held(Photos(album, crop=16))


def test_a_limited_number_is_held_out_and_spread_over_the_photographs(
    album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (album / "even").rename(album / "test")
    (album / "odd").rename(album / "train")
    everything = places(Photos(album, crop=16).held_out)
    assert {k for k, *_ in everything[:5]} == {0, 2, 4, 6, 8}  # one of each first
    assert Counter(k for k, *_ in everything) == {0: 6, 2: 16, 4: 12, 6: 9, 8: 5}
    monkeypatch.setattr(crops, "HELD_OUT", 24)
    some = places(Photos(album, crop=16).held_out)
    assert Counter(k for k, *_ in some) == dict.fromkeys((0, 2, 4, 6, 8), 4)
    assert set(some) < set(everything)
    monkeypatch.setattr(crops, "HELD_OUT", 3)
    few = places(Photos(album, crop=16).held_out)
    assert len({k for k, *_ in few}) == len(few) == 3
    monkeypatch.setattr(crops, "VALUES", 2 * 16 * 16 * 3)
    assert len(Photos(album, crop=16).held_out) == 2


def test_names_and_labels_are_those_of_the_crop(album: Path) -> None:
    photos = Photos(album, crop=(16, 20))
    for which in ("train", "held_out"):
        sample = photos.sample(which)
        pixels = (sample.images * 255).round().byte()
        for name, label, (k, top, left) in zip(sample.names, sample.labels, places(pixels), strict=True):
            assert name == f"{('even', 'odd')[k % 2]}/{k}.png[20x16+{left}+{top}]"
            assert label == k % 2
    assert photos.classes == ("even", "odd")
    assert photos.names[3:5] == [photos.names[3], photos.names[4]]
    assert photos.names[-1] == list(photos.names)[-1]
    assert len(photos.names) == len(photos.labels) == len(photos)
    with pytest.raises(IndexError):
        photos.names[len(photos)]


def test_samples_and_images_are_those_of_the_grid(album: Path) -> None:
    photos = Photos(album, crop=16)
    one, again, other = (photos.sample("train", 12, seed) for seed in (0, 0, 1))
    assert torch.equal(one.images, again.images)
    assert one.names == again.names != other.names
    assert torch.equal(one.images, torch.from_numpy(photos.train[one.rows.numpy()]).permute(0, 3, 1, 2) / 255)
    assert torch.equal(photos.images("train", 3, 5), photos.images()[5:8])
    assert torch.equal(photos.images("held_out", 2), photos.images("held_out")[:2])


def test_all_are_looked_at_where_nothing_is_held_out(album: Path) -> None:
    photos = Photos(album, crop=16, whole=True)
    found = places(photos.train[:])
    assert list(dict.fromkeys(k for k, *_ in found)) == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]  # in the order of the files
    assert len(photos.held_out) == len(photos.held_out_names) == 0


def test_a_limit_counts_photographs(album: Path) -> None:
    photos = Photos(album, crop=16, limit=3)
    assert len({k for k, *_ in places(photos.train[:])}) == 3
    assert len(photos) > 3


# ---------------------------------------------------------------- sources


def test_a_photograph_that_is_too_small_is_left_out_and_said(album: Path) -> None:
    photos = Photos(album, crop=33, seed=2)
    large = {k for k, size in enumerate(SIZES) if min(size) >= 33}
    assert {k for k, *_ in places(photos.train[:])} | held(photos) == large
    (said,) = (note for note in photos.notes if "smaller than the crop" in note)
    assert said.startswith("4 images are smaller than the crop and left out: ")
    assert "odd/3.png is 16x100, smaller than the crop of 33x33" in said
    for name in photos.names:
        assert int(re.search(r"(\d)\.png", name)[1]) in large


def test_too_small_is_said_of_the_first_few_only(tmp_path: Path) -> None:
    for k in range(12):
        Image.new("RGB", (40, 40 if k < 3 else 10)).save(tmp_path / f"{k:02d}.png")
    (said,) = (note for note in Photos(tmp_path, crop=20).notes if "smaller than the crop" in note)
    assert said.startswith("9 images")
    assert said.endswith("; and 4 more")
    with pytest.raises(
        DataError, match=r"none of 11 images to train on .*smaller than the crop of 41x41; give a s"
    ):
        Photos(tmp_path, crop=41)


def test_where_all_that_is_held_out_is_too_small_a_photograph_to_train_on_is(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    for k in range(3):
        Image.fromarray(marked(k, 40, 40)).save(tmp_path / "train" / f"{k}.png")
    Image.new("RGB", (10, 10)).save(tmp_path / "test" / "small.png")
    photos = Photos(tmp_path, crop=20)
    assert {pixels[0, 0, 0] for pixels in photos.held_out} == {23}
    assert {pixels[0, 0, 0] for pixels in photos.train} == {3, 13}


def test_a_single_photograph_is_trained_on_and_held_out_alike(tmp_path: Path) -> None:
    Image.fromarray(scenes(1, 64)[0]).save(tmp_path / "one.png")
    photos = Photos(tmp_path, crop=16)
    assert len(photos) == len(photos.held_out) == 16
    assert sorted(photos.names) == sorted(photos.held_out_names)


def test_an_unreadable_photograph_is_left_out_and_names_stay_right(album: Path) -> None:
    (album / "odd" / "3.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 10 images .*3\.png"):
        Photos(album, crop=16)
    photos = Photos(album, crop=16, skip_bad=True)
    for name, (k, *_) in zip(photos.names, places(photos.train[:]), strict=True):
        assert f"/{k}.png[" in name
    assert any("1 unreadable" in note for note in photos.notes)


def test_grey_and_colour_are_told_apart_as_ever(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    originals = {}
    for k in range(10):
        pixels = rng.integers(0, 256, (20 + k, 30), dtype=np.uint8)
        originals[f"{k}.png"] = pixels[..., None]
        Image.fromarray(pixels).convert("RGB" if k % 2 else "L").save(tmp_path / f"{k}.png")
    photos = Photos(tmp_path, crop=8)
    assert photos.shape == (1, 8, 8)
    assert any("every image is grey" in note for note in photos.notes)
    _in_originals(photos, originals)
    coloured = rng.integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(coloured).save(tmp_path / "9.png")  # late, after nine grey ones are written
    photos = Photos(tmp_path, crop=8)
    assert photos.shape == (3, 8, 8)
    _in_originals(photos, {name: pixels.repeat(3, 2) for name, pixels in originals.items()} | {"9.png": coloured})
    assert Photos(tmp_path, crop=8, channels=1).shape == (1, 8, 8)


def _in_originals(photos: Photos, originals: dict[str, np.ndarray]) -> None:
    """Every crop of the grid and held out is where its name says."""
    for names, pixels in ((photos.names, photos.train[:]), (photos.held_out_names, photos.held_out)):
        for name, crop in zip(names, pixels, strict=True):
            file, width, height, left, top = re.fullmatch(r"(.*)\[(\d+)x(\d+)\+(\d+)\+(\d+)\]", name).groups()
            top, left = int(top), int(left)
            assert np.array_equal(originals[file][top : top + int(height), left : left + int(width)], crop)


def test_arrays_give_crops_too(tmp_path: Path) -> None:
    pixels = np.stack([marked(k, 64, 64) for k in range(10)])
    np.save(tmp_path / "images.npy", pixels)
    for source in (pixels, torch.from_numpy(pixels), tmp_path / "images.npy", pixels.astype(np.float32) / 255):
        photos = Photos(source, crop=16)
        assert len(photos) == 9 * 16
        x = next(iter(photos.batches(32)))
        for crop in x.permute(0, 2, 3, 1).numpy():
            number, top, left = (int(value) for value in crop[0, 0])
            assert np.array_equal(crop, pixels[(number - 3) // 10][top : top + 16, left : left + 16])


def test_turned_and_transparent_photographs_are_cut_as_they_are_seen(tmp_path: Path) -> None:
    sharp = marked(1, 30, 50)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(sharp).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(sharp).save(tmp_path / "b.png")
    photos = Photos(tmp_path, crop=(50, 30), whole=True)
    assert np.array_equal(photos.train[0], np.rot90(sharp, -1))
    assert any("1 image is smaller than the crop and left out: b.png is 30x50" in note for note in photos.notes)


# ---------------------------------------------------------------- arguments, recipe, cache


def test_the_recipe_gives_the_same_crops_again(album: Path) -> None:
    for crop, written in ((16, 16), ((16, 20), "16x20"), ([16, 16], 16), ("16 x 20", "16x20")):
        photos = Photos(album, crop=crop, flip=True, seed=4)
        recipe = json.loads(json.dumps(photos.recipe()))
        assert recipe["crop"] == written
        assert recipe["size"] is None
        again = Photos(recipe.pop("data"), **recipe)
        assert again.fingerprint == photos.fingerprint
        assert np.array_equal(again.train[:], photos.train[:])
        assert np.array_equal(again.held_out, photos.held_out)
    assert "crop" not in Photos(album, 16).recipe()


def test_what_photos_say_of_their_crops(album: Path) -> None:
    photos = Photos(album, crop=16)
    count = f"{len(photos)} crops of 3x16x16 from 9 images, {len(photos.held_out)} held out)"
    assert repr(photos) == f"Photos({album}: {count}"
    assert f"{len(photos)} crops of 16x16 an epoch, at random places of 9 images" in photos.notes
    assert f"{len(photos.held_out)} crops at fixed places of 1 image are held out" in photos.notes
    assert "<img" in photos._repr_html_()


def test_other_arguments_have_other_fingerprints_and_one_cache_entry(album: Path, cache: Path) -> None:
    prints = {
        Photos(album, **arguments).fingerprint
        for arguments in ({"size": 16}, {"crop": 16}, {"crop": 24}, {"crop": (16, 24)}, {"crop": (24, 16)})
    }
    assert len(prints) == 5
    entries = [folder for folder in cache.iterdir() if (folder / "pixels.npy").is_file()]
    assert len(entries) == 2  # resized, and whole


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"crop": 16, "size": 16}, "crop=16 and size=16 are invalid together"),
        ({"crop": 16, "fit": "pad"}, "crop=16 and fit='pad' are invalid together"),
        ({"crop": 0}, "crop=0 is invalid"),
        ({"crop": -3}, "crop=-3 is invalid"),
        ({"crop": 16.0}, "crop=16.0 is invalid"),
        ({"crop": True}, "crop=True is invalid"),
        ({"crop": (16, 20, 3)}, "is invalid: expected"),
        ({"crop": (16, 0)}, "is invalid: expected"),
        ({"crop": "16x"}, "crop='16x' is invalid"),
    ],
)
def test_invalid_arguments_are_refused(album: Path, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        Photos(album, **arguments)
    assert "\n" not in str(caught.value)


def test_a_second_opening_decodes_nothing_and_reads_nothing_whole(
    album: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Photos(album, crop=16)
    opened: list[object] = []
    for name in ("decoded", "header"):
        monkeypatch.setattr(folders, name, lambda *given, name=name: opened.append(given))
    second, other = Photos(album, crop=16), Photos(album, crop=20)  # the same photographs
    assert opened == []
    assert np.array_equal(first.train[:], second.train[:])
    assert (first.names[5], first.fingerprint) == (second.names[5], second.fingerprint)
    assert isinstance(other.train.images.values.base, np.memmap)
    assert type(other.train.images.values) is np.ndarray  # whose slices are fast
    (entry,) = (folder for folder in cache.iterdir() if (folder / "pixels.npy").is_file())
    assert sorted(file.name for file in entry.iterdir()) == ["meta.json", "pixels.npy"]
    values = np.load(entry / "pixels.npy", allow_pickle=False)
    assert values.shape == (3 * sum(h * w for h, w in SIZES),)


@pytest.mark.parametrize("damage", ["truncate", "empty", "remove", "meta"])
def test_a_broken_entry_is_made_again(album: Path, cache: Path, damage: str) -> None:
    expected = Photos(album, crop=16).train[:]
    (pixels,) = cache.rglob("pixels.npy")
    if damage == "truncate":
        pixels.write_bytes(pixels.read_bytes()[:-100])
    elif damage == "empty":
        pixels.write_bytes(b"")
    elif damage == "remove":
        pixels.unlink()
    else:
        (pixels.parent / "meta.json").write_text("{")
    assert np.array_equal(Photos(album, crop=16).train[:], expected)
    assert not list(cache.glob(".making*"))


def test_an_interrupted_write_leaves_nothing(album: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = ragged.write

    def stopped(place: Path, blocks: object) -> object:
        write(place, (block for k, block in enumerate(blocks) if k < 3))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ragged, "write", stopped)
        with pytest.raises(KeyboardInterrupt):
            Photos(album, crop=16)
    assert not [path for path in cache.iterdir() if not path.name.startswith(".lock")]
    places(Photos(album, crop=16).train[:])


def test_a_full_disk_gives_a_one_line_error(album: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(ragged.os, "fsync", full)
    with pytest.raises(CopyfoldError, match=r"cannot be written: No space left on device.*COPYFOLD_CACHE"):
        Photos(album, crop=16)
    assert not list(cache.glob(".making*"))


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_late_colour_turns_the_grey_images_before_it_to_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(store, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    shapes = [(1, 3, 5, 1), (2, 4, 2, 1), (0, 0, 0, 1), (1, 6, 1, 3), (1, 2, 2, 1), (1, 1, 7, 3)]
    blocks = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    sizes, channels = ragged.write(tmp_path, iter(blocks))
    assert (sizes, channels) == ([[3, 5], [4, 2], [4, 2], [6, 1], [2, 2], [1, 7]], 3)
    images = Ragged.of(np.load(tmp_path / "pixels.npy", mmap_mode="c"), sizes, channels)
    expected = [image if image.shape[2] == 3 else image.repeat(3, 2) for block in blocks for image in block]
    joined = Ragged.joined(image for block in blocks for image in block)
    assert len(images) == len(joined) == 6
    for k, pixels in enumerate(expected):
        assert np.array_equal(images[k], pixels)
        assert np.array_equal(joined[k], pixels)
    some = images.some(np.array([4, 1]))
    assert np.array_equal(some[0], expected[4])
    assert np.array_equal(some[1], expected[1])


# ---------------------------------------------------------------- real photographs


def test_crops_of_real_photographs_are_found_in_them(real: Callable[[str], Path]) -> None:
    photos = Photos(real("bsd68"), crop=64)
    assert len(photos) == 400 * 4  # of 180x180
    assert len(photos.held_out) == 68 * 15  # of 481x321, either way: 15 of 35 each
    originals = {}
    for name in {name.partition("[")[0] for name in (*photos.names, *photos.held_out_names)}:
        with Image.open(real("bsd68") / name) as image:
            originals[name] = np.asarray(image)[..., None]
    _in_originals(photos, originals)
