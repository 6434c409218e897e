"""The recipes of copyfold, and wrapped models, given by flags."""

import json
import shlex

import pytest
import yaml

from copyfold import catalogue, runs
from copyfold.cli import _parsing, train
from copyfold.training.optimizers import Adam, Muon

RECIPES = _parsing.recipes()
FAST = ("--epochs=1", "--limit=32", "--precision=32")


def test_the_recipes_of_the_texts_exist():
    assert set(RECIPES) == {
        "plain", "overcomplete", "denoising", "masking", "denoiser", "noisy-only", "prior", "defects",
        "contractive", "l1-sparse", "kl-sparse", "vae", "beta-vae", "unet", "unet-wide", "unet-deep",
        "unet-hidden", "attention", "essay",
    }  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_comment_and_builds(name):
    text = (_parsing.RECIPES / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    options, _ = train._options([f"--config={name}"])
    model = train._architecture(options.model, options.core)
    options.objective.check(model((1, 64, 64)))
    assert {"model"} <= set(yaml.safe_load(text))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_copyfold_names_the_optimiser_of_its_rate(name, caplog):
    caplog.set_level("INFO", "copyfold")
    given = yaml.safe_load((_parsing.RECIPES / f"{name}.yaml").read_text())
    assert "lr" not in given or "optimizer" in given
    options, _ = train._options([f"--config={name}"])
    assert options.schedule == given.get("schedule", "cosine")
    assert not caplog.messages


@pytest.mark.parametrize(
    ("recipe", "flags", "optimizer", "schedule", "told"),
    [
        ("lr: 0.001\nschedule: constant", (), Adam(), "constant", True),  # as version 0.1 wrote it
        ("lr: 0.001", (), Adam(), "constant", True),
        ("lr: 0.001", ("--schedule=linear", "--lr=0.1"), Adam(), "linear", True),
        ("lr: 0.001", ("--optimizer=Muon",), Muon(), "cosine", False),
        ("lr: 0.001", ("--optimizer.decay=0.1", "--optimizer=Adam"), Adam(decay=0.1), "cosine", False),
        ("lr: 0.001", ("--config=essay",), Adam(), "constant", False),
        ("lr: 0.001\noptimizer: Muon", (), Muon(), "cosine", False),
        ("lr: null", (), None, "cosine", False),
        ("batch: 8", ("--lr=0.001",), None, "cosine", False),
    ],
)
def test_a_rate_without_an_optimiser_in_a_recipe_is_of_adam(
    recipe, flags, optimizer, schedule, told, tmp_path, caplog
):
    caplog.set_level("INFO", "copyfold")
    (tmp_path / "old.yaml").write_text(f"{recipe}\n")
    options, _ = train._options([f"--config={tmp_path / 'old.yaml'}", *flags])
    assert (options.optimizer, options.schedule) == (optimizer, schedule)
    assert ("old.yaml has lr and no optimizer" in caplog.text) == told


def test_a_recipe_is_trained_by_its_name_and_overridden_by_flags(copyfold, tmp_path):
    said = copyfold("train", "--config", "vae", "--model.latent_dim=3", "--run", tmp_path / "run", *FAST).done()
    run = runs.open(tmp_path / "run")
    assert run.recipe["model"] == {"class_path": "Variational", "init_args": {"latent_dim": 3}}
    assert run.recipe["core"]["class_path"] == "Conv"
    assert run.model.latent_dim == 3
    row = run.history[-1]
    assert {"held_out_Divergence", "held_out_active_units", "held_out_outside"} <= set(row)
    codes = json.loads((tmp_path / "run" / "findings" / "codes.json").read_text())
    assert len(codes["kl"]) == 3
    assert any("latent dimensions" in line for line in said.err) == (row["held_out_active_units"] < 3)


def test_the_recipe_of_a_run_with_a_core_trains_it_again(copyfold, tmp_path):
    flags = ("--model=Variational", "--core=MLP", "--core.hidden=[12]", "--objective.penalties=[Divergence]")
    copyfold("train", *flags, "--run", tmp_path / "a", *FAST).done()
    copyfold("train", "--config", tmp_path / "a" / "recipe.yaml", "--run", tmp_path / "b").done()
    first, second = (runs.open(tmp_path / name) for name in "ab")
    assert first.recipe == second.recipe
    assert second.model.core.hidden == (12,)
    weights = [run.model.state_dict() for run in (first, second)]
    assert all((weights[0][k] == weights[1][k]).all() for k in weights[0])
    copyfold("train", "--run", tmp_path / "a", "--resume", "--epochs=2").done()


def test_a_denoising_contractive_variational_autoencoder_is_one_command_line(copyfold, tmp_path):
    flags = (
        "--model=Variational", "--core=MLP", "--objective.corruption=Gaussian",
        "--objective.corruption.std=[0.1,0.4]", "--objective.penalties=[Divergence,Contraction]",
    )  # fmt: skip
    copyfold("train", *flags, "--run", tmp_path / "run", *FAST).done()
    run = runs.open(tmp_path / "run")
    assert run.recipe["objective"]["init_args"]["corruption"]["init_args"]["std"] == [0.1, 0.4]
    assert {"fidelity", "Divergence", "Contraction"} <= set(run.history[-1])


def described(*words):
    """The objective and the architecture that a command line means."""
    options, _ = train._options(words)
    return catalogue.describe(options.objective), options.model.func.__name__, options.model.keywords


NOISY = "{class_path: Classical, init_args: {corruption: {class_path: Gaussian, init_args: {std: 5e-1}}}}"


@pytest.mark.parametrize(
    "line",
    [
        "--model.channels=[4] --model=Conv --objective.corruption.std=0.5 --objective.corruption=Gaussian",
        "--model=MLP --model Conv --model.channels [4] "
        "--objective.corruption Gaussian --objective.corruption.std .5",
        f"'--model={{class_path: Conv, init_args: {{channels: [4]}}}}' '--objective={NOISY}'",
        "--model copyfold.models.conv.Conv --model.channels=[] --model.channels+=4 "
        "--objective.corruption copyfold.Gaussian --objective.corruption.std=0.5",
    ],
)
def test_one_choice_can_be_written_in_many_ways(line):
    objective, name, options = described(*shlex.split(line))
    assert (name, list(options), list(options["channels"])) == ("Conv", ["channels"], [4])
    assert objective["init_args"]["corruption"] == {"class_path": "Gaussian", "init_args": {"std": 0.5}}


def test_an_option_after_an_added_item_belongs_to_that_item():
    words = ("+=L1", ".weight=0.1", "+=KLSparsity", ".target=0.2", ".weight=3")
    objective, _, _ = described(*(f"--objective.penalties{word}" for word in words))
    assert objective["init_args"]["penalties"] == [
        {"class_path": "L1", "init_args": {"weight": 0.1}},
        {"class_path": "KLSparsity", "init_args": {"weight": 3.0, "target": 0.2}},
    ]


def test_later_recipes_override_earlier_ones():
    objective, name, options = described(
        "--config=vae", "--config", "plain", "--core=null", "--model.latent_dim=3"
    )
    assert (name, options) == ("MLP", {"hidden": [512], "latent_dim": 3})
    assert objective["init_args"]["penalties"][0]["class_path"] == "Divergence"
    assert described("--model=UNet", "--model.middle=Affine", "--model.middle=null")[2] == {"middle": None}


def test_the_cosine_schedule_is_an_option_and_recorded_in_the_recipe(copyfold, tmp_path):
    copyfold("train", "--config=plain", "--schedule=cosine", "--run", tmp_path / "run", *FAST).done()
    assert runs.open(tmp_path / "run").recipe["schedule"] == "cosine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--config=vea",), ("neither a file nor a recipe", "did you mean vae?")),
        (("--model=Variational",), ("Variational wraps another autoencoder", "--core")),
        (("--core=MLP",), ("UNet", "--core")),
        (("--model=Variational", "--core=UNet", "--core.skips=concat"), ("Variational", 'skips="none"')),
        (("--objective.penalties=[Divergence]",), ("Divergence", "--core UNet")),
        (("--objective.penalties=[Contraction]",), ("Contraction", "--model.statistics running")),
        (("--objective.penalties=[KLSparsity]", "--model=MLP"), ("KLSparsity", "--model.code_activation sigmoid")),
        (("--objective.fidelity=Bernoulli",), ("Bernoulli", "--model.output sigmoid")),
        (("--schedule=sine",), ("--schedule", "cosine")),
    ],
)
def test_what_cannot_be_is_refused_before_training(copyfold, tmp_path, arguments, words):
    copyfold("train", *arguments, "--run", tmp_path / "run", *FAST).refused(2, *words)
    assert not (tmp_path / "run" / "log.csv").exists()


def test_a_resume_keeps_items_added_to_a_list(photos, tiny, tmp_path, copyfold):
    recipe = tmp_path / "k.yaml"
    recipe.write_text("objective: {class_path: Classical, init_args: {penalties: [{class_path: L1}]}}\n")
    line = ("--objective.penalties+=Divergence", "--run", tmp_path / "r")
    model = ("--model=Variational", "--core=MLP", "--core.hidden=[4]", "--size=8")
    copyfold("train", photos, "--config", recipe, *model, *line, "--epochs=1").done()
    copyfold("train", "--resume", *line, "--epochs=2").done()
    found = yaml.safe_load((tmp_path / "r" / "recipe.yaml").read_text())["objective"]["init_args"]["penalties"]
    assert [one["class_path"] for one in found] == ["L1", "Divergence"]


def test_a_recipe_cannot_overwrite_a_run(run, tmp_path, copyfold):
    for body in ("overwrite: true", f"run: {run}", "resume: true"):
        (tmp_path / "r.yaml").write_text(body)
        copyfold("train", "--config", tmp_path / "r.yaml").refused(
            2, "is not allowed in a recipe", "on the command line"
        )


def test_an_ambiguous_option_of_a_list_is_refused(copyfold):
    line = ("train", "--objective.penalties=[L1,KLSparsity]", "--objective.penalties.weight=3")
    copyfold(*line).refused(2, "is ambiguous: L1 and KLSparsity have it", "class_path: L1")
