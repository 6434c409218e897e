"""Rectangles from an array or a folder to the report, with every architecture of the command line."""

import inspect
import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from pyarrow import parquet

import copyfold as cf
from copyfold import catalogue, runs
from copyfold.data import scenes
from copyfold.data.reading.remembered import remember
from copyfold.models.base import Autoencoder
from copyfold.training import suggestion

FAST = ("--precision=32", "--batch=8", "--no-pictures")
HEIGHT, WIDTH = 13, 22


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    """Forty-eight grey images of 13x22 as floats in a file."""
    path = tmp_path_factory.mktemp("array") / "x.npy"
    grey = scenes(48, WIDTH, channels=1)[:, :HEIGHT].reshape(48, 1, HEIGHT, WIDTH)
    np.save(path, (grey / 255).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def trained(array, copyfold, tmp_path_factory):
    """A run of a U-Net on them, with pictures; tests must not write to it."""
    folder = tmp_path_factory.mktemp("runs") / "wide"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPYFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))
        options = ("--model.width=4", "--model.depth=2", "--epochs=2", "--precision=32", "--batch=8")
        said = copyfold("train", array, *options, "--run", folder).done()
    text = "\n".join(said.err)
    assert "size 13x22, that of all images" in text
    assert "13x22 is padded to 16x24 inside the model, and cropped back" in text
    assert "left out" not in text
    return folder


@pytest.fixture
def wide(trained):
    """The run, with the note that this user trained it, which each test's own cache lacks."""
    remember(trained, runs.open(trained).recipe)
    return trained


def recipe(folder) -> dict:
    return yaml.safe_load((folder / "recipe.yaml").read_text())


@pytest.mark.parametrize("name", sorted(catalogue.classes(Autoencoder)))
def test_every_architecture_trains_on_an_array_of_rectangles(name, array, tmp_path, copyfold):
    cls = catalogue.classes(Autoencoder)[name]
    core = ("--core=UNet", "--core.width=2") if "core" in inspect.signature(cls).parameters else ()
    small = ("--model.width=8",) if "width" in inspect.signature(cls).parameters else ()
    copyfold("train", array, "--model", name, *core, *small, "--steps=2", *FAST, "--run", tmp_path / "r").done()
    assert recipe(tmp_path / "r")["size"] == "13x22"
    assert cf.load(tmp_path / "r").shape == (1, HEIGHT, WIDTH)


def test_a_recipe_of_rectangles_trains_the_same_again(wide, tmp_path, copyfold):
    copyfold("train", "--config", wide / "recipe.yaml", "--no-pictures", "--run", tmp_path / "again").done()
    ours, theirs = cf.load(wide), cf.load(tmp_path / "again")
    assert all((ours.state_dict()[k] == v).all() for k, v in theirs.state_dict().items())
    assert recipe(tmp_path / "again") == recipe(wide)
    copyfold("train", "--run", tmp_path / "again", "--resume", "--epochs=3", "--no-pictures").done()


@pytest.mark.parametrize("size", ["8x20", "[8,20]", "20"])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_size_and_a_fit_can_be_given(size, fit, array, tmp_path, copyfold):
    line = ("--model=Linear", "--steps=1", *FAST, "--size", size, "--fit", fit)
    said = "\n".join(copyfold("train", array, *line, "--run", tmp_path / "r").done().err)
    found = recipe(tmp_path / "r")
    assert (found["size"], found["fit"]) == (20 if size == "20" else "8x20", fit)
    words = {"crop": "are left out (--fit pad", "pad": "padded with black", "stretch": "are stretched"}
    assert [word for word in words.values() if word in said] == [words[fit]]


def test_minutes_fit_a_size_of_the_same_aspect_ratio(array, tmp_path, copyfold, monkeypatch):
    monkeypatch.setattr(suggestion, "step_time", lambda model, *_: 1e-6 * model.shape[1] * model.shape[2])
    folder = tmp_path / "wide"
    folder.mkdir()
    for k, pixels in enumerate(scenes(20, 120)):
        Image.fromarray(pixels[:60]).save(folder / f"{k}.png")
    said = "\n".join(
        copyfold("train", folder, "--minutes=.002", "--steps=1", *FAST, "--run", tmp_path / "r").done().err
    )
    height, width = map(int, recipe(tmp_path / "r")["size"].split("x"))
    assert width == 2 * height
    assert f"at {height}x{width} pixels" in said
    assert "left out" not in said


def test_a_stream_of_rectangles_trains(tmp_path, copyfold):
    folder = tmp_path / "photos"
    folder.mkdir()
    for k, pixels in enumerate(scenes(30, 24)):
        Image.fromarray(pixels[:12]).save(folder / f"{k}.png")
    line = ("--model=Conv", "--model.channels=[4]", "--stream", "--size=10x20", "--epochs=1", *FAST)
    copyfold("train", folder, *line, "--run", tmp_path / "r").done()
    copyfold("train", "--run", tmp_path / "r", "--resume", "--epochs=2", "--no-pictures").done()
    said = copyfold("report", tmp_path / "r").done()  # of 3 images held out
    assert "so few say little of other images" in "\n".join(said.err)
    assert recipe(tmp_path / "r")["size"] == "10x20"


def test_pictures_of_rectangles_are_not_distorted(wide, tmp_path, copyfold):
    assert {"loss.png", "denoising-gaussian.png"} <= {path.name for path in (wide / "findings").iterdir()}
    copyfold("sample", wide, "--count=4", "--sampler.steps=2", "--out", tmp_path / "a.png").done()
    with Image.open(tmp_path / "a.png") as picture:
        scale = -(-96 // WIDTH)
        assert picture.size == (2 * WIDTH * scale + 2, 2 * HEIGHT * scale + 2)
    copyfold(
        "sample", wide, "--sampler=Walk", "--sampler.steps=2", "--count=2", "--out", tmp_path / "a.gif"
    ).done()
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (2 * WIDTH * scale + 2, HEIGHT * scale)


def test_everything_that_analyses_a_run_takes_rectangles(wide, array, tmp_path, copyfold):
    copyfold("report", wide, "--out", tmp_path / "report.html").done()
    assert json.loads((tmp_path / "report.json").read_text())["numbers"]
    copyfold("report", wide, array, "--out", tmp_path / "other.html").done()
    copyfold("embed", wide, "--out", tmp_path / "codes.parquet").done()
    table = parquet.read_table(tmp_path / "codes.parquet").to_pydict()
    assert len(table["code"]) == 48
    assert {len(code) for code in table["code"]} == {16 * 4 * 6}  # of the padded size, 16x24
    copyfold("probe", wide, "--probe=Denoising", "--count=8", "--out", tmp_path).done()
    copyfold("compare", wide, shutil.copytree(wide, tmp_path / "copy"), "--out", tmp_path / "both").done()
    pixels = scenes(1, 60)[0]
    Image.fromarray(pixels[:31]).save(tmp_path / "photo.png")
    copyfold("denoise", wide, tmp_path / "photo.png", "--out", tmp_path / "done").done()
    with Image.open(tmp_path / "done" / "photo.png") as photo:
        assert photo.size == (60, 31)


def test_other_images_are_cropped_to_a_run_s_shape_and_that_is_said(wide, tmp_path, copyfold):
    np.save(tmp_path / "square.npy", scenes(24, 22, channels=1))
    said = copyfold("embed", wide, tmp_path / "square.npy", "--out", tmp_path / "codes.parquet").done()
    assert "the centre is taken: 41 % of the pixels of the images are left out" in "\n".join(said.err)


def test_models_describes_an_architecture_for_rectangles(copyfold, tmp_path):
    line = ("models", "UNet", "--model.width=4", "--model.depth=2", "--size=13x22", "--channels=1")
    said = "\n".join(copyfold(*line, "--picture", tmp_path / "unet.png").done().out)
    assert "for images of 1×13×22:" in said
    assert "13x22 is padded to 16x24 inside the model" in said
