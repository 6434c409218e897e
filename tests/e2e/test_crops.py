"""Training on crops from the command line, and what is done with such a run."""

import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pyarrow import parquet

import copyfold as cf
from copyfold.data import scenes
from copyfold.data.reading.remembered import remember
from copyfold.data.sampling import as_images

TINY = ("--model.width=4", "--model.depth=2", "--precision=32", "--schedule=constant", "--batch=8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of 24 to 70 pixels."""
    place = tmp_path_factory.mktemp("photos")
    for k, pixels in enumerate(scenes(24, 70, seed=5)):
        Image.fromarray(pixels[: 24 + 2 * k, : 70 - k]).save(place / f"{k:03}.png")
    return place


@pytest.fixture(scope="module")
def run(folder, copyfold, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "cropped"
    said = copyfold("train", folder, "--crop=16", *TINY, "--epochs=1", "--run", place, "--no-pictures").done()
    assert any("crops of 16x16 an epoch, at random places of 22 images" in line for line in said.err)
    return place


def test_a_run_on_crops_says_so(run):
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert (recipe["crop"], recipe["size"]) == (16, None)
    assert cf.load(run).shape == (3, 16, 16)
    assert cf.runs.open(run).history[-1]["held_out_mse"] > 0


def test_a_resumed_training_and_a_repeated_recipe_are_the_same(folder, run, copyfold, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    recipe = ("--config", run / "recipe.yaml", "--no-pictures")
    copyfold("train", *recipe, "--epochs=2", "--run", whole).done()
    steps = cf.runs.open(run).history[-1]["step"]
    copyfold("train", *recipe, "--epochs=null", f"--steps={steps // 2:.0f}", "--run", parts).done()
    copyfold("train", "--run", parts, "--resume", "--steps=null", "--epochs=2", "--no-pictures").done()
    for name, tensor in cf.load(whole).state_dict().items():
        assert tensor.equal(cf.load(parts).state_dict()[name])


def test_own_and_other_photographs_are_looked_at_in_crops(folder, run, copyfold, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    remember(run, cf.runs.open(run).recipe)
    copyfold("report", run, folder).done()
    assert "3 x 16 x 16 crops" in (run / "report.html").read_text()
    said = copyfold("probe", run, "--probe=Nearest", "--count=4").done()
    assert any("[16x16+" in line for line in said.out)
    said = copyfold("probe", run, folder, "--probe=CodeStatistics", "--count=4").done()
    assert any("crops of 16x16 of 24 images" in line for line in said.err)
    copyfold("sample", run, "--sampler=Walk", "--sampler.steps=2", "--count=2", "--out", tmp_path / "a.png").done()
    (tmp_path / "small").mkdir()
    Image.new("RGB", (15, 40)).save(tmp_path / "small" / "a.png")
    copyfold("probe", run, tmp_path / "small").refused(3, "smaller than the crop of 16x16")


def test_every_crop_of_the_grid_is_embedded(folder, run, copyfold, tmp_path):
    out = tmp_path / "codes.parquet"
    said = copyfold("embed", run, folder, "--out", out).done()
    assert any("cut into crops of 16x16, unscaled" in line for line in said.err)
    paths = parquet.read_table(out).column("path").to_pylist()
    assert len(paths) == sum(((24 + 2 * k) // 16) * ((70 - k) // 16) for k in range(24))
    assert paths[0] == "000.png[16x16+0+4]"
    copyfold("embed", run, "--out", out).done()
    splits = parquet.read_table(out).column("split").to_pylist()
    photos = cf.Photos(folder, crop=16)
    assert (splits.count("train"), splits.count("held_out")) == (len(photos), len(photos.held_out))


def test_crops_of_one_image_are_a_row_each(copyfold, tmp_path):
    (tmp_path / "one").mkdir()
    Image.fromarray(scenes(1, 64)[0]).save(tmp_path / "one" / "a.png")
    line = ("--model=MLP", "--model.hidden=[4]", "--model.latent_dim=2", "--steps=1", "--no-pictures")
    copyfold("train", tmp_path / "one", "--crop=16", *line, "--run", tmp_path / "run").done()
    copyfold("embed", tmp_path / "run", "--out", tmp_path / "codes.parquet").done()
    table = parquet.read_table(tmp_path / "codes.parquet")
    assert len(set(table["path"].to_pylist())) == table.num_rows == 16
    assert set(table["split"].to_pylist()) == {"train"}  # as of one image that is not cut


def test_photographs_are_denoised_at_their_own_scale(folder, run, copyfold, tmp_path):
    copyfold("denoise", run, folder / "006.png", folder / "005.png", "--out", tmp_path).done()
    with Image.open(tmp_path / "005.png") as done:
        assert done.size == (65, 34)
    with Image.open(tmp_path / "006.png") as done, Image.open(folder / "006.png") as photo:
        x = as_images(np.array(photo)[None])  # 36x64, sides that the model takes
        found = as_images(np.array(done)[None])
    model = cf.load(run)
    with torch.no_grad(), model.using("running"):
        expected = model(x).clamp(0, 1)
    torch.testing.assert_close(found, expected, atol=0.6 / 255, rtol=0)


def test_a_model_of_one_size_says_what_happens_to_photographs(folder, copyfold, tmp_path):
    flags = ("--crop=16", "--model=MLP", "--epochs=1", "--no-pictures", "--run", tmp_path / "mlp")
    copyfold("train", folder, *flags).done()
    said = copyfold("denoise", tmp_path / "mlp", folder / "000.png", "--out", tmp_path / "out").done()
    assert any("scaled to that size and back, and it was trained on crops" in line for line in said.err)


def test_a_stream_of_crops_is_trained_on_and_reported(folder, copyfold, tmp_path):
    run = tmp_path / "streamed"
    copyfold("train", folder, "--stream", "--crop=16", *TINY, "--epochs=2", "--run", run, "--no-pictures").done()
    assert yaml.safe_load((run / "recipe.yaml").read_text())["crop"] == 16
    copyfold("probe", run, "--count=2").done()


def test_a_crop_and_a_size_are_refused_together(folder, copyfold, tmp_path):
    new = ("--run", tmp_path / "new")
    copyfold("train", folder, "--crop=16", "--size=16", *TINY, *new).refused(2, "crop=16 and size=16", "together")
    copyfold("train", folder, "--crop=16x24", *TINY, "--epochs=1", *new, "--no-pictures").done()
    assert cf.load(tmp_path / "new").shape == (3, 16, 24)
    copyfold("probe", tmp_path / "new", "--count=2").done()
