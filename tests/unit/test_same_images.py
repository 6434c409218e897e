"""A resume goes on with the images of the run and no others, and says what differs."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import copyfold as cf
from copyfold.data import scenes
from copyfold.training import same_images

FILES = ("recipe.yaml", "log.csv", "data.json", "env.json", "last.ckpt", "model/model.safetensors")
PIXELS = scenes(40, size=8, channels=3, seed=3)


def fit(folder, photos, epochs=2, **options):
    torch.manual_seed(1)
    given = {"batch": 8, "precision": "32", "progress": False} | options
    return cf.fit(cf.MLP(photos.shape, (4,), 2), None, photos, folder, epochs=epochs, **given)


@pytest.fixture
def folder(tmp_path):
    """Forty images as files."""
    place = tmp_path / "photos"
    place.mkdir()
    for k, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(place / f"{k:02}.png")
    return place


def refused(run, photos, *words, **options):
    """Resuming is refused in a line with these words, and leaves every file as it is."""
    before = {name: (run.folder / name).read_bytes() for name in FILES}
    with pytest.raises(cf.UsageError) as said:
        fit(run.folder, photos, 3, resume=True, **options)
    assert {name: (run.folder / name).read_bytes() for name in FILES} == before
    for word in (str(run.folder), "is of other images", "cf.load(", "overwrite=True", *words):
        assert word in str(said.value)
    assert "\n" not in str(said.value)


def test_as_many_other_images_are_refused(tmp_path):
    run = fit(tmp_path / "run", cf.Photos(PIXELS, 8))
    refused(run, cf.Photos(scenes(40, size=8, channels=3, seed=4), 8), "40 of 40 images have changed", "...")


def test_what_differs_is_said(tmp_path, folder):
    run = fit(tmp_path / "run", cf.Photos(folder, 8))
    refused(run, cf.Photos(folder, 8, channels=1), "they have 1 channel, and had 3 (channels=3)")
    refused(run, cf.Photos(folder, 12), "they are 12x12, and were 8x8", "size is 12, and was 8")
    refused(run, cf.Photos(folder, 8, seed=1), "seed is 1, and was 0")
    refused(run, cf.Photos(folder, 8, limit=9), "there are 9 to train on and 4 held out, and there were 36 and 4",
            "limit is 9, and was None")  # fmt: skip
    Image.fromarray(PIXELS[0]).save(folder / "one-more.png")
    refused(run, cf.Photos(folder, 8), "there are 37 to train on and 4 held out, and there were 36 and 4")


def test_the_same_images_elsewhere_or_in_a_new_cache_are_the_same(tmp_path, folder, monkeypatch, caplog):
    parts = fit(tmp_path / "parts", cf.Photos(folder, 8))
    moved = shutil.copytree(folder, tmp_path / "moved", copy_function=shutil.copyfile)
    monkeypatch.setenv("COPYFOLD_CACHE", str(tmp_path / "cache"))
    with caplog.at_level(logging.WARNING):
        fit(parts.folder, cf.Photos(moved, 8, flip=False), 3, resume=True)
        fit(parts.folder, cf.Photos(np.concatenate([PIXELS]), 8), 4, resume=True)  # as an array
    assert not [record for record in caplog.records if record.module == "same_images"]
    whole = fit(tmp_path / "whole", cf.Photos(folder, 8), 4)
    assert [row["step"] for row in parts.history] == [row["step"] for row in whole.history]


def test_a_few_changed_images_are_named_and_trained_on(tmp_path, folder, caplog):
    run = fit(tmp_path / "run", cf.Photos(folder, 8))
    for name in ("07.png", "21.png"):
        Image.fromarray(255 - np.asarray(Image.open(folder / name))).save(folder / name)
    with caplog.at_level(logging.WARNING):
        fit(run.folder, cf.Photos(folder, 8), 3, resume=True)
    (said,) = [record.getMessage() for record in caplog.records if record.module == "same_images"]
    assert "2 of 40 images have changed" in said
    assert "07.png" in said
    assert "21.png" in said
    caplog.clear()
    fit(run.folder, cf.Photos(folder, 8), 4, resume=True)  # data.json has them as they are now
    assert not [record for record in caplog.records if record.module == "same_images"]
    for name in ("01.png", "02.png", "03.png", "04.png", "05.png"):
        Image.fromarray(255 - np.asarray(Image.open(folder / name))).save(folder / name)
    refused(run, cf.Photos(folder, 8), "5 of 40 images have changed (")


def test_a_change_outside_of_the_compared_images_is_said_too(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(same_images, "COMPARED", 3)
    photos = cf.Photos(PIXELS, 8)
    run = fit(tmp_path / "run", photos)
    compared = set(photos.sample("train").some(3).rows.tolist())
    row = next(row for row in range(len(photos)) if row not in compared)
    changed = PIXELS.copy()
    changed[int(photos.names[row])] = 0
    with caplog.at_level(logging.WARNING):
        fit(run.folder, cf.Photos(changed, 8), 3, resume=True)
    assert "images have changed, none of the 6 that are compared" in caplog.text


def test_a_refused_resume_leaves_the_recipe_whatever_the_reason(tmp_path):
    """A log that cannot be read is found last."""
    photos = cf.Photos(PIXELS, 8)
    run = fit(tmp_path / "run", photos, lr=1e-3)
    (run.folder / "log.csv").write_text("epoch,step\n1,one\n")
    before = {name: (run.folder / name).read_bytes() for name in FILES}
    with pytest.raises(cf.UsageError, match="is not the log of a run"):
        fit(run.folder, photos, 3, resume=True, lr=2e-3)
    assert {name: (run.folder / name).read_bytes() for name in FILES} == before


def warned(caplog):
    """What was warned of copies since the last time."""
    said = [record.getMessage() for record in caplog.records if "pixel by pixel" in record.getMessage()]
    caplog.clear()
    return said


@pytest.mark.parametrize("solve", [False, True])
def test_held_out_images_that_are_trained_on_are_said_once(solve, tmp_path, caplog, monkeypatch):
    def trained(photos, **options):
        model, plan = cf.Linear(photos.shape, 2), {"solve": True} if solve else {"epochs": 1, "batch": 8}
        cf.fit(model, None, photos, tmp_path / "run", progress=False, **plan, **options)
        return warned(caplog)

    assert trained(cf.Photos(PIXELS, 8)) == []
    splits = {
        "train_images": np.repeat(PIXELS[:20], 2, 0),
        "test_images": PIXELS[18:22],
    }  # those that are twice are counted once
    np.savez(tmp_path / "two.npz", **splits)
    photos = cf.Photos(tmp_path / "two.npz", 8)
    (said,) = trained(photos, overwrite=True)
    assert said.startswith("2 of 4 held-out images are copies of training images, pixel by pixel")
    assert trained(photos, resume=True) == []
    np.savez(tmp_path / "one.npz", **splits | {"test_images": PIXELS[19:22]})
    (said,) = trained(cf.Photos(tmp_path / "one.npz", 8), overwrite=True)
    assert said.startswith("1 of 3 held-out images is a copy of a training image")
    if not solve:  # PCA takes more than one image, which says of itself that it is held out too
        assert trained(cf.Photos(PIXELS[:1], 8), overwrite=True) == []
    monkeypatch.setattr(same_images, "HASHED", photos.train.nbytes)
    assert trained(photos, overwrite=True) == []


def test_a_finished_and_a_solved_run_are_not_taken_for_one_of_other_images(tmp_path):
    other = cf.Photos(scenes(40, size=8, channels=3, seed=4), 8)
    run = fit(tmp_path / "run", cf.Photos(PIXELS, 8))
    with pytest.raises(cf.UsageError, match="is of other images"):
        fit(run.folder, other, 2, resume=True)
    for photos in (cf.Photos(PIXELS, 8), cf.Photos(PIXELS, 8)):
        cf.fit(cf.Linear(photos.shape, 3), photos=photos, run=tmp_path / "solved", solve=True, resume=True)
    with pytest.raises(cf.UsageError, match="is of other images"):
        cf.fit(cf.Linear(other.shape, 3), photos=other, run=tmp_path / "solved", solve=True, resume=True)


def test_a_run_of_an_earlier_version_is_compared_by_its_held_out_images(tmp_path):
    run = fit(tmp_path / "run", cf.Photos(PIXELS, 8))
    path = run.folder / "data.json"
    data = json.loads(path.read_text())
    for name in ("digest", "image_digests", "options"):
        del data[name]
    path.write_text(json.dumps(data))
    refused(run, cf.Photos(scenes(40, size=8, channels=3, seed=4), 8), "those held out are others")
    fit(run.folder, cf.Photos(PIXELS, 8), 3, resume=True)
    assert "digest" in run.data


def test_a_run_without_data_json_is_resumed_with_a_warning(tmp_path, caplog):
    run = fit(tmp_path / "run", cf.Photos(PIXELS, 8))
    (run.folder / "data.json").unlink()
    fit(run.folder, cf.Photos(PIXELS, 8), 3, resume=True)
    assert "has no data.json" in caplog.text


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, {"train": 3}, {"train": "xyz", "held_out": None}])
def test_a_damaged_data_json_is_no_fault(tmp_path, value):
    run = fit(tmp_path / "run", cf.Photos(PIXELS, 8))
    path = run.folder / "data.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_digests": value, "options": value}))
    refused(run, cf.Photos(PIXELS, 8))


def test_a_stream_is_compared_by_a_sample(tmp_path, folder):
    def stream(place, **options):
        return cf.Stream(place, 8, held_out=4, buffer=16, **options)

    run = fit(tmp_path / "run", stream(folder))
    moved = shutil.copytree(folder, tmp_path / "moved", copy_function=shutil.copyfile)
    fit(run.folder, stream(moved), 3, resume=True)
    for path in moved.iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    refused(run, stream(moved), "40 of 40 images have changed")
