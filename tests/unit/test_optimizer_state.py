"""A checkpoint is compared with its weights before anything of it is used: a damaged or crafted one is refused."""

import math
import shutil
from dataclasses import dataclass

import pytest
import torch

import copyfold as cf
from copyfold.data import scenes
from copyfold.errors import UsageError
from copyfold.models.dense import MLP
from copyfold.training.optimizer_state import Unfit, check_optimizer, resume_optimizer, settings
from copyfold.training.optimizers import Adam, Muon, Optimizer

PHOTOS = cf.Photos(scenes(40, size=8, channels=1, seed=3), 8)


def fit(folder, epochs=1, optimizer=None, **options):
    torch.manual_seed(1)
    model = cf.MLP((1, 8, 8), (16,), 4)
    given = {"batch": 8, "precision": "32", "progress": False, "keep": 3, "schedule": "constant"} | options
    return cf.fit(model, None, PHOTOS, folder, epochs=epochs, optimizer=optimizer or Adam(), **given)


@dataclass(frozen=True)
class Factored(Optimizer):
    """A user's own optimiser, whose state has other shapes than the weights."""

    def build(self, model, lr, precision):
        return FactoredSteps(model.parameters(), {"lr": lr})


class FactoredSteps(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                rows = weight.grad.flatten(1).square().mean(1) if weight.dim() > 1 else weight.grad.square()
                state["rows"] = state.get("rows", torch.zeros_like(rows)) + rows
                state["count"] = state.get("count", 0) + 1
                if state["count"] > 2:
                    state["late"] = torch.zeros(())
                scale = state["rows"].sqrt() + 1e-8
                weight -= group["lr"] * weight.grad / (scale.view(-1, *[1] * (weight.dim() - 1)))


OPTIMIZERS = {"Adam": Adam(), "AdamW": Adam(decay=0.1), "Muon": Muon(), "own": Factored()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_an_optimiser_itself_wrote_is_resumed_exactly(name, tmp_path):
    optimizer = OPTIMIZERS[name]
    whole = fit(tmp_path / "whole", 3, optimizer)
    fit(tmp_path / "parts", 1, optimizer)
    parts = fit(tmp_path / "parts", 3, optimizer, resume=True)
    for key, tensor in whole.model.state_dict().items():
        assert tensor.equal(parts.model.state_dict()[key]), key


MOMENTS = {
    "smaller": lambda value: torch.zeros(1),
    "larger": lambda value: torch.zeros(*value.shape, 2),
    "transposed": lambda value: value.T.contiguous(),
    "of another dtype": lambda value: value.double(),
    "of whole numbers": lambda value: value.long(),
    "complex": lambda value: value.to(torch.complex64),
    "sparse": lambda value: value.to_sparse(),
    "without memory": lambda value: value.to("meta"),
    "a number": lambda value: 0.0,
}
"""What stands in the place of a moment."""

OTHERS = {
    "a step of many numbers": lambda kept: kept["state"][0].update(step=torch.zeros(5)),
    "without a step": lambda kept: kept["state"][0].pop("step"),
    "one more": lambda kept: kept["state"][0].update(max_exp_avg_sq=torch.zeros(2)),
    "of more weights": lambda kept: kept["state"].update({999: kept["state"][0]}),
    "of fewer weights": lambda kept: kept["param_groups"][0]["params"].pop(),
    "of one weight twice": lambda kept: kept["param_groups"][0].update(
        params=[0] * len(kept["param_groups"][0]["params"])
    ),
    "a list": lambda kept: kept["state"].update({0: [1, 2]}),
    "no dictionary": lambda kept: kept.update(state=3),
    "no groups": lambda kept: kept.pop("param_groups"),
    "an option more": lambda kept: kept["param_groups"][0].update(momenta=1),
    "an option of words": lambda kept: kept["param_groups"][0].update(eps="x"),
    "options of words": lambda kept: kept["param_groups"][0].update(betas=("x", 0.9)),
}
"""What else is done to the state of an optimiser."""


def spoiled(kept, how):
    """The checkpoint, with one thing in the optimiser's state that does not fit."""
    (state,) = kept["optimizer_states"]
    if how in OTHERS:
        OTHERS[how](state)
        return
    first = state["state"][0]
    moment = next(name for name, value in first.items() if isinstance(value, torch.Tensor) and value.dim())
    first[moment] = MOMENTS[how](first[moment])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each optimiser."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPYFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))
        return {
            name: fit(tmp_path_factory.mktemp("runs") / name, optimizer=OPTIMIZERS[name]).folder
            for name in ("Adam", "Muon")
        }


@pytest.mark.parametrize("how", [*MOMENTS, *OTHERS])
@pytest.mark.parametrize("name", ["Adam", "Muon"])
def test_a_state_that_does_not_fit_the_weights_is_refused_before_use(name, how, runs, tmp_path):
    folder = shutil.copytree(runs[name], tmp_path / "run")
    kept = torch.load(folder / "last.ckpt", weights_only=True)
    spoiled(kept, how)
    (folder / "last.ckpt").unlink()  # a name of the newest of checkpoints/ too
    torch.save(kept, folder / "last.ckpt")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    newest = max((folder / "checkpoints").iterdir())
    with pytest.raises(UsageError) as said:
        fit(folder, 2, OPTIMIZERS[name], resume=True)
    assert str(folder / "last.ckpt") in str(said.value)
    assert f"cp {newest} {folder / 'last.ckpt'}" in str(said.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    shutil.copy(newest, folder / "last.ckpt")  # as it says
    assert fit(folder, 2, OPTIMIZERS[name], resume=True).history[-1]["epoch"] == 2


OPTIONS = [
    ("Adam", "differentiable", True),
    ("Adam", "maximize", True),
    ("Adam", "amsgrad", True),
    ("Adam", "foreach", True),
    ("Adam", "fused", False),
    ("Adam", "eps", -1.0),
    ("Adam", "betas", (0.9, 0.5)),
    ("Adam", "initial_lr", math.nan),
    ("Adam", "lr", -1.0),
    ("Muon", "iterations", 10**9),
    ("Muon", "iterations", 2.5),
    ("Muon", "matrices", False),
    ("Muon", "amsgrad", True),
    ("Muon", "momentum", 1.5),
    ("Muon", "lr", math.inf),
]
"""Options of a group that no step of training makes."""


@pytest.mark.parametrize(("name", "option", "value"), OPTIONS)
def test_an_option_that_is_not_the_recipe_s_is_refused(name, option, value, runs, tmp_path):
    folder = shutil.copytree(runs[name], tmp_path / "run")
    kept = torch.load(folder / "last.ckpt", weights_only=True)
    group = kept["optimizer_states"][0]["param_groups"][0]
    own, group[option] = group[option], value
    torch.save(kept, folder / "last.ckpt")
    shutil.rmtree(folder / "checkpoints")
    right = "a finite number from 0" if option == "lr" else f"the recipe {own!r}"
    with pytest.raises(UsageError) as said:
        fit(folder, 2, OPTIMIZERS[name], resume=True)
    assert f"last.ckpt has {option} = {value!r} in its optimiser, and " in str(said.value)
    assert f"{right}: " in str(said.value)


def test_a_resume_has_the_options_that_are_given_now(runs, tmp_path):
    folder = shutil.copytree(runs["Muon"], tmp_path / "run")
    fit(folder, 2, Muon(iterations=3, momentum=0.8), resume=True, lr=1e-4)
    group = torch.load(folder / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"][0]
    assert [group[name] for name in ("iterations", "momentum", "initial_lr")] == [3, 0.8, 1e-4]


@dataclass(frozen=True)
class Warming(Optimizer):
    """A user's own optimiser, whose steps change an option of its group."""

    def build(self, model, lr, precision):
        return WarmingSteps([{"params": list(model.parameters()), "count": 0}], lr)


class WarmingSteps(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            group["count"] += 1
        return super().step(closure)


def test_an_option_that_steps_of_ones_own_change_is_taken_over(tmp_path):
    fit(tmp_path / "run", 1, Warming())
    run = fit(tmp_path / "run", 3, Warming(), resume=True)
    kept = torch.load(run.checkpoint, weights_only=True)
    assert kept["optimizer_states"][0]["param_groups"][0]["count"] == kept["global_step"]


def test_the_sentence_names_what_does_not_fit(runs, tmp_path):
    folder = shutil.copytree(runs["Adam"], tmp_path / "run")
    kept = torch.load(folder / "last.ckpt", weights_only=True)
    spoiled(kept, "smaller")
    torch.save(kept, folder / "last.ckpt")
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(
        UsageError, match=r"exp_avg = \(1,\) torch.float32 of a weight of \(16, 64\) in its optimiser.*cf\.load\("
    ):
        fit(folder, 2, resume=True)


def test_tensors_that_share_memory_or_lie_otherwise_are_copied_as_their_weights_lie():
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    weight = convolution.weight
    made = torch.optim.Adam([weight], fused=True)
    weight.grad = torch.randn_like(weight)
    made.step()
    kept, before = made.state_dict(), settings(torch.optim.Adam([weight], fused=True))
    state = kept["state"][0]
    plain = {name: state[name].contiguous() for name in ("exp_avg", "exp_avg_sq")}  # another order in memory
    one = {name: torch.ones(1).expand(weight.shape) for name in ("exp_avg", "exp_avg_sq")}  # one number for all
    for moments in (plain, one):
        again = torch.optim.Adam([weight], fused=True)
        resume_optimizer(again, {**kept, "state": {0: state | moments}}, before)
        for name, value in moments.items():
            assert again.state[weight][name].stride() == weight.stride()
            assert again.state[weight][name].equal(value)
            assert again.state[weight][name].untyped_storage().nbytes() >= weight.nbytes


def test_the_comparison_leaves_the_weights_as_they_are():
    torch.manual_seed(0)
    model = MLP((1, 8, 8), (4,), 2)
    made = Adam(decay=0.5).build(model, 0.1, "32")
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    made.step()
    before, kept = [weight.clone() for weight in model.parameters()], made.state_dict()
    check_optimizer(Adam(decay=0.5).build(model, 0.1, "32"), kept, settings(made))
    assert all(map(torch.equal, before, model.parameters()))
    assert all(weight.grad is None for weight in model.parameters())
    kept["state"][0]["exp_avg"] = torch.zeros(1)
    with pytest.raises(Unfit):
        check_optimizer(Adam(decay=0.5).build(model, 0.1, "32"), kept, settings(made))
    assert all(map(torch.equal, before, model.parameters()))


PARTS = {
    "global_step": ["x", -1, None, 1.5],
    "seconds": ["x", None],
    "lowest": [None, torch.zeros(2)],
    "state_dict": [3, {}, {0: 1}, {"model.a": 3}],
    "optimizer_states": [[], {}, [3]],
    "average": [{"a": 1}, 3],
    "early_stopping": [3, {"patience": "x"}, {"a": 1}],
    "tally": [{}, {"sums": {}, "counts": {"a": 1}}, {"sums": {"a": torch.zeros(2, 2)}, "counts": {"a": 1}}, 3],
    "precision": [3],
}


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_other_kinds_are_refused(part, runs, tmp_path):
    folder = shutil.copytree(runs["Adam"], tmp_path / "run")
    whole = torch.load(folder / "last.ckpt", weights_only=True)
    shutil.rmtree(folder / "checkpoints")
    for value in [*PARTS[part], ...]:
        kept = dict(whole) | {part: value}
        if value is ...:
            del kept[part]
        torch.save(kept, folder / "last.ckpt")
        with pytest.raises(UsageError, match=r"last\.ckpt .*overwrite=True"):
            fit(folder, 2, resume=True)


def test_averages_of_other_weights_are_refused(tmp_path):
    run = fit(tmp_path / "run", average=0.9)
    whole = torch.load(run.checkpoint, weights_only=True)
    name = next(name for name in whole["average"] if name.endswith("weight"))
    for value in (torch.zeros(1), 3, None):
        kept = whole | {"average": whole["average"] | {name: value}}
        run.checkpoint.unlink()
        torch.save(kept, run.checkpoint)
        with pytest.raises(UsageError, match="has an average of other weights: continue from the newest"):
            fit(run.folder, 2, average=0.9, resume=True)


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_damaged_checkpoint_names_the_newest_that_is_whole(damage, runs, tmp_path):
    folder = shutil.copytree(runs["Adam"], tmp_path / "run")
    whole = (folder / "last.ckpt").read_bytes()
    newest, *_ = sorted((folder / "checkpoints").iterdir(), reverse=True)
    older = folder / "checkpoints" / "step-000000001.ckpt"
    older.write_bytes(whole)
    for path in (folder / "last.ckpt", newest):  # one file under two names
        path.write_bytes({"empty": b"", "cut": whole[:1000], "text": b"hello"}[damage])
    with pytest.raises(UsageError) as said:
        fit(folder, 2, resume=True)
    assert f"last.ckpt cannot be read ({'it is empty' if damage == 'empty' else ''}" in str(said.value)
    assert f"cp {older} {folder / 'last.ckpt'}, then resume=True again" in str(said.value)
    assert "()" not in str(said.value)
