"""Training on a stream from the command line, up to its report; and repeated commands."""

import pytest
import yaml
from PIL import Image

import copyfold as cf
from copyfold.data import scenes

TINY = ("--size=16", "--model.width=4", "--model.depth=2", "--precision=32", "--batch=8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("photos")
    for k, pixels in enumerate(scenes(80, 20, seed=5)):
        Image.fromarray(pixels).save(place / f"{k:03}.png")
    return place


@pytest.fixture(scope="module")
def run(folder, copyfold, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "streamed"
    copyfold("train", folder, "--stream", "--buffer=16", *TINY, "--epochs=2", "--run", place).done()
    return place


def test_training_on_a_stream_writes_a_complete_run(run, copyfold):
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert (recipe["stream"], recipe["buffer"]) == (True, 16)
    rows = cf.runs.open(run).history
    assert [row["step"] for row in rows] == [9, 18]  # a tenth of 80 is held out
    assert (run / "findings" / "denoising-mix.png").is_file()
    copyfold("sample", run, "--sampler.steps=2", "--out", run / "made.png").done()
    copyfold("probe", run, "--probe=Nearest").done()


def test_a_stream_resumes_and_its_recipe_repeats_the_training(run, folder, copyfold, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    recipe = ("--config", run / "recipe.yaml", "--schedule=constant")  # the same for two epochs as for three
    copyfold("train", *recipe, "--epochs=3", "--run", whole).done()
    copyfold("train", *recipe, "--run", parts).done()
    copyfold("train", "--run", parts, "--resume", "--epochs=3").done()
    for name, tensor in cf.load(whole).state_dict().items():
        assert tensor.equal(cf.load(parts).state_dict()[name])


def test_options_that_streams_lack_are_refused(run, folder, copyfold, tmp_path):
    copyfold("embed", run, "--out", tmp_path / "codes.parquet").refused(2, "give DATA")
    copyfold("embed", run, folder, "--out", tmp_path / "codes.parquet").done()
    new = ("--run", tmp_path / "new")
    copyfold("train", folder, "--stream", "--limit=3", *TINY, *new).refused(2, "--limit", "stream")
    copyfold("train", "--stream", *TINY, *new).refused(2, "--stream needs DATA")
    copyfold("train", folder, "--stream", *new).refused(2, "--size")
    assert not (tmp_path / "new").exists()


def test_a_resumed_command_does_not_append_to_a_list_twice(folder, copyfold, tmp_path):
    model = ("--model=Variational", "--core=Conv", "--objective.penalties+=Divergence")
    flags = ("train", folder, "--size=16", "--batch=8", "--precision=32", *model)
    copyfold(*flags, "--epochs=1", "--run", tmp_path / "a").done()
    copyfold(*flags, "--epochs=2", "--run", tmp_path / "a", "--resume").done()
    recipe = cf.runs.open(tmp_path / "a").recipe
    assert len(recipe["objective"]["init_args"]["penalties"]) == 1
