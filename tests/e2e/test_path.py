"""The path of a user on the command line: from a folder of photographs to a model and its pictures."""

import csv
import json
import shutil
from pathlib import Path

import av
import pytest
import torch
import yaml
from PIL import Image

import copyfold as cf


def weights(run):
    return (run / "model" / "model.safetensors").read_bytes()


def log(run):
    """The rows of the log, without the seconds."""
    with (run / "log.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def size(picture):
    with Image.open(picture) as image:
        image.load()
        return image.size


# ---------------------------------------------------------------- train


def test_training_on_a_folder_writes_a_complete_run(run, photos):
    files = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file() and not p.name.startswith(".")}
    assert files == {
        "best/config.json", "best/model.safetensors", "model/config.json", "model/model.safetensors",
        "model/README.md", "recipe.yaml", "log.csv", "data.json",
        "env.json", "last.ckpt", "findings/loss.png", "findings/denoising-gaussian.png",
        "findings/denoising-mix.png",
    }  # fmt: skip
    rows = log(run)
    assert [row["step"] for row in rows] == ["2", "4"]
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("loss", "fidelity", "mse", "psnr"):
        assert all(float(row[name]) == float(row[name]) for row in rows), name
        assert all(float(row[f"held_out_{name}"]) > -99 for row in rows), name
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recipe["data"] == str(photos)
    assert recipe["model"]["init_args"]["width"] == 4
    data = json.loads((run / "data.json").read_text())
    assert (data["shape"], data["train"], data["held_out"]) == ([3, 16, 16], 36, 4)
    assert json.loads((run / "env.json").read_text())["torch"] == torch.__version__
    assert "UNet" in (run / "model" / "README.md").read_text()
    assert all(min(size(p)) > 100 for p in (run / "findings").iterdir())


def test_the_model_of_a_run_is_loaded_and_works(run):
    model = cf.load(run)
    assert model.shape == (3, 16, 16)
    assert model(torch.rand(2, 3, 16, 16)).isfinite().all()
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 4


def test_a_recipe_repeats_its_run_exactly(run, tmp_path, copyfold):
    again = tmp_path / "again"
    copyfold("train", "--config", run / "recipe.yaml", "--run", again).done()
    assert weights(again) == weights(run)
    assert log(again) == log(run)
    assert (again / "recipe.yaml").read_text() == (run / "recipe.yaml").read_text()


def test_flags_override_a_recipe_in_any_order(run, photos, tmp_path, copyfold):
    flags = ("--epochs=1", "--model.width=2", photos / "sub")
    for name, line in {
        "a": (*flags, "--config", run / "recipe.yaml"),
        "b": (f"--config={run / 'recipe.yaml'}", *flags),
    }.items():
        copyfold("train", *line, "--run", tmp_path / name).done()
        recipe = yaml.safe_load((tmp_path / name / "recipe.yaml").read_text())
        assert recipe["data"] == str(photos / "sub")
        assert recipe["epochs"] == 1
        assert recipe["model"]["init_args"]["width"] == 2
        assert recipe["model"]["init_args"]["depth"] == 2
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_another_class_than_the_recipe_s_gets_its_own_defaults(photos, tmp_path, copyfold):
    noisy, folder = ("--objective.corruption=Gaussian", "--objective.corruption.std=0.1"), tmp_path / "r"
    recipe = tmp_path / "r" / "recipe.yaml"
    copyfold("train", photos, "--size=8", "--model=Conv", "--model.channels=[4]", "--model.norm=batch", *noisy,
             "--epochs=1", "--run", folder).done()  # fmt: skip
    for name, flags in {"a": ("--model=MLP", "--objective.corruption=Blur"),
                        "b": ("--objective.corruption", "Blur", "--model", "MLP")}.items():  # fmt: skip
        copyfold("train", "--config", recipe, *flags, "--run", tmp_path / name).done()
        assert cf.load(tmp_path / name).config == cf.MLP((3, 8, 8)).config
        made = yaml.safe_load((tmp_path / name / "recipe.yaml").read_text())["objective"]["init_args"]
        assert made["corruption"] == {"class_path": "Blur", "init_args": {"kernel": 19, "std": 8.0}}
    same = ("--model=Conv", "--objective.corruption=Gaussian")
    copyfold("train", "--config", recipe, *same, "--run", tmp_path / "c").done()
    assert (tmp_path / "c" / "recipe.yaml").read_text() == recipe.read_text()


MODELS = {
    "concat": ("--size=16", "--model.width=4", "--model.depth=2", "--model.skips=concat"),
    "middle": (
        "--size=64", "--model.width=2", "--model.middle=Affine", "--model.middle.hidden=8",
        "--model.middle.latent_dim=4",
    ),
    "conv": ("--size=16", "--model=Conv", "--model.channels=[4,8]"),
    "mlp": ("--size=16", "--model=MLP", "--model.hidden=[16]", "--model.latent_dim=4"),
    "linear": ("--size=16", "--model=Linear", "--model.latent_dim=4"),
    "other objective": (
        "--size=16", "--model=Linear", "--model.output=sigmoid", "--objective.corruption=Gaussian",
        "--objective.corruption.std=0.1", "--objective.fidelity=Bernoulli",
    ),
}  # fmt: skip


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_every_architecture_trains_and_samples(options, photos, tmp_path, copyfold):
    folder, out = tmp_path / "r", tmp_path / "made.png"
    copyfold("train", photos, *options, "--limit=20", "--epochs=1", "--run", folder).done()
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    given = dict(option.removeprefix("--").split("=") for option in options)
    model, objective = recipe["model"], recipe["objective"]["init_args"]
    assert model["class_path"] == given.get("model", "UNet")
    if "model.middle" in given:
        assert model["init_args"]["middle"]["init_args"] == {
            "hidden": 8,
            "latent_dim": 4,
            "activation": "identity",
        }
    if "objective.fidelity" in given:
        assert objective["corruption"] == {"class_path": "Gaussian", "init_args": {"std": 0.1}}
        assert objective["fidelity"] == {"class_path": "Bernoulli"}
        assert model["init_args"]["output"] == "sigmoid"
    copyfold("sample", folder, "--sampler.steps=2", "--count=4", "--out", out).done()
    copyfold("sample", folder, "--sampler=Walk", "--sampler.steps=2", "--out", tmp_path / "walk.png").done()
    assert min(size(out)) > 16


@pytest.mark.parametrize(
    "form",
    [
        ("--objective.penalties+=L1", "--objective.penalties.weight=0.1"),
        ("--objective.penalties", "[{class_path: L1, init_args: {weight: 0.1}}]"),
    ],
    ids=["one flag each", "a list"],
)
def test_penalties_are_added_by_flags(form, photos, tmp_path, copyfold):
    folder = tmp_path / "r"
    copyfold("train", photos, "--size=8", "--model=Linear", *form, "--epochs=1", "--run", folder).done()
    penalties = yaml.safe_load((folder / "recipe.yaml").read_text())["objective"]["init_args"]["penalties"]
    assert penalties == [{"class_path": "L1", "init_args": {"weight": 0.1}}]
    row = log(folder)[0]
    assert float(row["loss"]) == pytest.approx(float(row["fidelity"]) + float(row["L1"]), rel=1e-5)
    again = tmp_path / "again"
    copyfold("train", "--config", folder / "recipe.yaml", "--run", again).done()
    assert weights(again) == weights(folder)


def test_limit_reduces_the_number_of_images(photos, tiny, tmp_path, copyfold):
    copyfold("train", photos, *tiny, "--limit=20", "--epochs=1", "--run", tmp_path / "r").done()
    assert json.loads((tmp_path / "r" / "data.json").read_text())["train"] == 20
    assert log(tmp_path / "r")[-1]["step"] == "1"


def test_flip_mirrors_images_in_training(run, photos, tiny, tmp_path, copyfold):
    copyfold("train", photos, *tiny, "--flip", "--epochs=2", "--run", tmp_path / "r").done()
    assert yaml.safe_load((tmp_path / "r" / "recipe.yaml").read_text())["flip"] is True
    assert weights(tmp_path / "r") != weights(run)


def test_another_seed_gives_other_weights(run, photos, tiny, tmp_path, copyfold):
    copyfold("train", photos, *tiny, "--seed=1", "--epochs=2", "--run", tmp_path / "r").done()
    assert weights(tmp_path / "r") != weights(run)


def test_minutes_end_a_training(photos, tiny, tmp_path, copyfold):
    copyfold("train", photos, *tiny, "--minutes=0.003", "--steps=1000000", "--run", tmp_path / "r").done()
    recipe = yaml.safe_load((tmp_path / "r" / "recipe.yaml").read_text())
    assert (recipe["epochs"], recipe["minutes"]) == (None, 0.003)
    state = torch.load(tmp_path / "r" / "last.ckpt", weights_only=True)
    assert 1.15 * 0.18 <= state["seconds"] < 30
    assert state["global_step"] == cf.runs.open(tmp_path / "r").history[-1]["step"] > 0
    said = copyfold("train", "--run", tmp_path / "r", "--resume").done()
    assert "finished already: give more --minutes" in "\n".join(said.err)


@pytest.mark.parametrize("count", [1, 10])
@pytest.mark.parametrize("depth", [1, 4])
def test_a_few_photographs_are_enough(count, depth, photos, tmp_path, copyfold):
    """One image is held out, or the only one is; with depth 4 there is one position to take statistics over."""
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(photos.glob("*.*"))[:count]:
        shutil.copy(path, few)
    line = (
        "train",
        few,
        "--size=16",
        "--model.width=2",
        f"--model.depth={depth}",
        "--epochs=2",
        "--run",
        tmp_path / "r",
    )
    if depth == 4 and count < 3:  # one image to train on
        copyfold(*line).refused(2, "undefined for one value per channel", "a batch of 2 or more")
        return
    copyfold(*line).done()
    assert float(log(tmp_path / "r")[-1]["held_out_loss"]) > 0


def test_a_run_without_a_name_gets_a_unique_one(photos, tmp_path, monkeypatch, copyfold):
    monkeypatch.chdir(tmp_path)
    said = copyfold("train", photos, "--size=8", "--model=Linear", "--epochs=1").done()
    assert [str(folder) for folder in Path("runs").iterdir()] == [said.out[0]]
    assert said.out[0].startswith("runs/linear-")


# ---------------------------------------------------------------- resume, overwrite


def test_a_resume_gives_the_weights_of_an_uninterrupted_training(run, copied, photos, tiny, tmp_path, copyfold):
    whole = tmp_path / "whole"
    copyfold("train", photos, *tiny, "--epochs=4", "--run", whole).done()
    copyfold("train", "--run", copied, "--resume", "--epochs=4").done()
    assert weights(copied) == weights(whole) != weights(run)
    assert [row["step"] for row in log(copied)] == ["2", "4", "6", "8"]
    assert log(copied) == log(whole)
    assert (copied / "recipe.yaml").read_text() == (whole / "recipe.yaml").read_text()


def test_resuming_a_finished_run_changes_nothing(copied, run, copyfold):
    for epochs in ((), ("--epochs=2",), ("--epochs=1",)):
        said = copyfold("train", "--run", copied, "--resume", *epochs).done()
        assert "finished already: give more --epochs" in "\n".join(said.err)
    for name in ("recipe.yaml", "log.csv", "last.ckpt", "model/model.safetensors"):
        assert (copied / name).read_bytes() == (run / name).read_bytes(), name


def test_a_resume_without_a_checkpoint_starts_from_scratch(run, copied, tmp_path, photos, tiny, copyfold):
    (copied / "last.ckpt").unlink()
    copyfold("train", "--run", copied, "--resume").done()
    assert weights(copied) == weights(run)
    assert log(copied) == log(run)
    copyfold("train", photos, *tiny, "--epochs=2", "--run", tmp_path / "new", "--resume").done()
    assert weights(tmp_path / "new") == weights(run)


def test_a_resume_uses_a_new_learning_rate(copied, copyfold):
    copyfold("train", "--run", copied, "--resume", "--epochs=3", "--lr=1e-12").done()
    rows = log(copied)
    assert float(rows[2]["held_out_loss"]) == pytest.approx(float(rows[1]["held_out_loss"]), rel=1e-5)
    assert yaml.safe_load((copied / "recipe.yaml").read_text())["lr"] == 1e-12


@pytest.mark.parametrize("option", ["--model.width=8", "--model=Linear", "--batch=8", "--limit=20"])
def test_a_resume_with_another_model_is_refused_and_leaves_the_run(option, copied, run, copyfold):
    copyfold("train", "--run", copied, "--resume", "--epochs=3", option).refused(2, "last.ckpt", "--overwrite")
    for name in ("recipe.yaml", "log.csv", "last.ckpt", "model/model.safetensors"):
        assert (copied / name).read_bytes() == (run / name).read_bytes(), name


def test_overwrite_deletes_a_run_and_no_other_files(copied, photos, tiny, copyfold):
    (copied / "films").mkdir()
    (copied / "films" / "old.png").write_bytes(b"old")
    (copied / "notes.txt").write_text("mine")
    copyfold("train", photos, *tiny, "--epochs=1", "--run", copied).refused(2, "not empty", "--overwrite")
    copyfold("train", photos, *tiny, "--epochs=1", "--run", copied, "--overwrite").done()
    assert [row["step"] for row in log(copied)] == ["2"]
    assert not (copied / "films").exists()
    assert (copied / "notes.txt").read_text() == "mine"


# ---------------------------------------------------------------- sample


@pytest.mark.parametrize("sampler", ["Renoising", "Walk"])
def test_samples_are_pictures_and_films_and_depend_on_the_seed(sampler, run, tmp_path, copyfold):
    line = ("sample", run, "--sampler", sampler, "--sampler.steps=3", "--count=4")
    for kind in ("png", "gif", "mp4"):
        once, twice, other = (tmp_path / f"{name}.{kind}" for name in "abc")
        assert copyfold(*line, "--seed=5", "--out", once).done().out == [str(once)]
        copyfold(*line, "--seed=5", "--out", twice).done()
        copyfold(*line, "--seed=6", "--out", other).done()
        assert once.read_bytes() != other.read_bytes()
        assert kind == "mp4" or once.read_bytes() == twice.read_bytes()  # x264 is not exact to the byte
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames >= 3
    with av.open(tmp_path / "a.mp4") as film:
        assert sum(1 for _ in film.decode(video=0)) >= 3


def test_steps_and_count_are_used(run, tmp_path, copyfold):
    for steps, count in ((2, 4), (5, 9)):
        out = tmp_path / f"{steps}.gif"
        copyfold("sample", run, f"--sampler.steps={steps}", f"--count={count}", "--out", out).done()
    assert size(tmp_path / "5.gif") > size(tmp_path / "2.gif")
    with Image.open(tmp_path / "2.gif") as few, Image.open(tmp_path / "5.gif") as many:
        assert many.n_frames - few.n_frames == 3


def test_a_walk_starts_from_photographs(run, photos, tmp_path, copyfold):
    line = ("sample", run, "--sampler=Walk", "--sampler.steps=1", "--sampler.std=0", "--count=4")
    for name, where in {"own": (), "all": ("--start", photos), "sub": ("--start", photos / "sub")}.items():
        copyfold(*line, *where, "--out", tmp_path / f"{name}.png").done()
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in ("own", "all", "sub")]
    assert len(set(pictures)) == 3


def test_samples_are_written_into_the_run_by_default(copied, copyfold):
    said = copyfold("sample", copied, "--sampler.steps=1", "--statistics=running").done()
    assert said.out == [str(copied / "films" / "renoising.png")]
    assert (copied / "films" / "renoising.png").is_file()


# ---------------------------------------------------------------- denoise, data, help


def test_denoised_photographs_keep_names_sizes_and_formats(run, photos, tmp_path, copyfold):
    single = photos / "03.png"
    said = copyfold("denoise", run, photos / "sub", single, "--out", tmp_path / "out").done()
    sources = {p.relative_to(photos / "sub"): p for p in (photos / "sub").rglob("*.*")} | {"03.png": single}
    assert len(said.out) == len(sources) == 27
    for name, source in sources.items():
        with Image.open(source) as before, Image.open(tmp_path / "out" / name) as after:
            assert (after.size, after.mode, after.format) == (before.size, before.mode, before.format), name
            assert after.tobytes() != before.tobytes()


def test_denoise_uses_running_or_batch_statistics(run, photos, tmp_path, copyfold):
    two = (photos / "00.png", photos / "03.png")
    for kind, warnings in (("running", 0), ("batch", 1)):
        said = copyfold("denoise", run, *two, "--statistics", kind, "--out", tmp_path / kind).done().err
        assert sum("batch statistics are its own alone" in line for line in said) == warnings
    assert (tmp_path / "running" / "03.png").read_bytes() != (tmp_path / "batch" / "03.png").read_bytes()


def test_data_describes_a_folder(photos, copyfold):
    said = "\n".join(copyfold("data", photos).done().out)
    for words in (str(photos), "40 images", "RGB 30", "L 10", "0 images cannot be read"):
        assert words in said
    assert "1,797 images" in copyfold("data").done().out[0]


def test_help_lists_every_command(copyfold):
    said = "\n".join(copyfold("--help").done().out)
    for name in ("train", "sample", "denoise", "data", "exit codes"):
        assert name in said
    for name, word in {"train": "--epochs", "sample": "--sampler", "denoise": "--out", "data": "--layout"}.items():
        said = copyfold(name, "--help").done()
        assert word in "\n".join(said.out)
        assert not said.err
    assert "--model.width" in "\n".join(copyfold("train", "--model.help=UNet").done().out)
    assert copyfold("--version").done().out == [f"copyfold {cf.__version__}"]


def test_the_installed_command_prints_only_its_result(run, photos, tmp_path, start, ended):
    made, out = tmp_path / "made.mp4", tmp_path / "out"
    commands = [
        start("sample", run, "--sampler.steps=2", "--count=4", "--out", made),
        start("denoise", run, photos / "03.png", "--out", out),
    ]
    said = [ended(command).done() for command in commands]
    assert [s.out for s in said] == [[str(made)], [str(out / "03.png")]]
    assert said[0].err == []
    assert said[1].err == [f"{photos / '03.png'}: noise of std 0.0 of 255, as estimated"]
