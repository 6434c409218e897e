"""The command line fits what is not named to the machine, and draws what was learned once."""

import pytest
import torch
import yaml

import copyfold as cf
from copyfold.report import illustration
from copyfold.training import suggestion


@pytest.fixture
def slow(monkeypatch) -> list[int]:
    """A machine on which a step takes 50 microseconds a pixel of the side; and the sizes that were measured."""
    sizes: list[int] = []

    def step_time(model, objective, plan, steps):
        sizes.append(model.shape[1])
        return 5e-5 * model.shape[1]

    monkeypatch.setattr(suggestion, "step_time", step_time)
    return sizes


def recipe(folder) -> dict:
    return yaml.safe_load((folder / "recipe.yaml").read_text())


def test_what_is_not_named_is_fitted_to_the_minutes_and_written_down(slow, photos, tmp_path, copyfold):
    folder = tmp_path / "r"
    said = copyfold("train", photos, "--minutes=0.0005", "--batch=4", "--run", folder).done()
    found = recipe(folder)
    net = found["model"]["init_args"]
    assert (found["size"], net["width"], net["depth"]) == (24, 8, 1)
    assert (found["steps"], found["minutes"]) == (22, 0.0005)  # .027 s / .0012 s
    assert "0.0005 minutes are about 22 steps of a UNet of width 8 and depth 1 at 24 pixels" in "\n".join(said.err)
    assert "22 steps are too few" in "\n".join(said.err)

    measured = len(slow)
    copyfold("train", "--config", folder / "recipe.yaml", "--run", tmp_path / "again").done()
    copyfold("train", "--run", folder, "--resume").done()
    assert len(slow) == measured  # neither does it again
    assert recipe(tmp_path / "again") == found | {"minutes": None}  # to the last step, on however slow a machine


def test_what_is_named_stays(slow, photos, tmp_path, copyfold):
    line = ("--size=16", "--model.width=3", "--steps=2", "--minutes=3", "--batch=4")
    said = copyfold("train", photos, *line, "--run", tmp_path / "a").done()
    found = recipe(tmp_path / "a")
    assert (found["size"], found["model"]["init_args"]["width"]) == (16, 3)
    assert (found["steps"], found["minutes"]) == (2, 3.0)
    assert "2 steps are too few to learn to copy" in "\n".join(said.err)
    assert set(slow) == {16}


@pytest.mark.parametrize("line", [("--steps=2",), ("--epochs=1",), ("--model=Linear", "--minutes=0.001")])
def test_nothing_is_measured_where_there_is_nothing_to_fit(line, slow, photos, tmp_path, copyfold):
    copyfold("train", photos, "--size=16", *line, "--batch=4", "--run", tmp_path / "a").done()
    assert slow == []


@pytest.mark.parametrize(("line", "minutes"), [((), None), (("--minutes=9",), 9.0)])
def test_steps_that_are_named_end_a_training_whatever_a_recipe_s_minutes(
    line, minutes, photos, tmp_path, copyfold
):
    recipe_of_another = tmp_path / "recipe.yaml"
    recipe_of_another.write_text("minutes: 0.0001\nsize: 16\nmodel:\n  class_path: Linear\n")
    given = ("--config", recipe_of_another, "--steps=3", *line)
    said = copyfold("train", photos, *given, "--batch=4", "--run", tmp_path / "a").done()
    found = recipe(tmp_path / "a")
    assert (found["steps"], found["minutes"]) == (3, minutes)
    assert "are over" not in "\n".join(said.err)


def test_what_is_solved_has_no_minutes(slow, photos, tmp_path, copyfold):
    said = copyfold("train", photos, "--solve", "--size=16", "--run", tmp_path / "a")
    said.refused(2, "solve finds PCA, and UNet is not linear: give a Linear")
    assert slow == []


def test_what_it_learned_is_drawn_with_the_threads_of_training(photos, tiny, tmp_path, copyfold, monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    monkeypatch.setattr(illustration, "illustrate", lambda run, photos: seen.append("drawn") or [])
    copyfold("train", photos, *tiny, "--steps=1", "--threads=1", "--run", tmp_path / "a").done()
    assert seen[-3:] == [1, "drawn", 4]


def test_more_minutes_bring_more_steps_to_a_run_that_goes_on(slow, photos, tmp_path, copyfold):
    folder = tmp_path / "r"
    line = ("--size=16", "--model.width=2", "--batch=4", "--minutes=0.0005")
    copyfold("train", photos, *line, "--run", folder, "--no-pictures").done()
    steps = recipe(folder)["steps"]
    assert not (folder / "findings" / "loss.png").exists()
    copyfold("train", "--run", folder, "--resume", "--minutes=0.005", "--no-pictures").done()
    assert recipe(folder)["steps"] == 10 * steps
    copyfold(
        "train", "--run", folder, "--resume", "--minutes=5", f"--steps={10 * steps + 1}", "--no-pictures"
    ).done()
    assert cf.runs.open(folder).history[-1]["step"] == 10 * steps + 1


def test_a_finished_run_is_drawn_once(photos, tiny, tmp_path, copyfold):
    folder = tmp_path / "r"
    line = ("train", photos, *tiny, "--epochs=1", "--run", folder)
    assert copyfold(*line, "--no-pictures").done().out == [str(folder)]
    first = copyfold("train", "--run", folder, "--resume").done()
    assert first.out == [str(folder), *(str(folder / "findings" / name) for name in NAMES)]
    assert "drawing what it learned" in "\n".join(first.err)
    again = copyfold("train", "--run", folder, "--resume").done()
    assert again.out == [str(folder)]
    assert "drawing" not in "\n".join(again.err)
    assert len(copyfold("train", "--run", folder, "--resume", "--epochs=2").done().out) == 4


NAMES = ("loss.png", "denoising-gaussian.png", "denoising-mix.png")
