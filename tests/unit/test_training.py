"""Training: reproducible, logged, evaluated on held-out images, and refused with invalid options."""

import csv
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch
import yaml

import copyfold as cf
from copyfold.data import Photos, scenes
from copyfold.training import distributed, fitting, stopping
from copyfold.training.loss import Tally
from copyfold.training.metrics_log import Pace
from copyfold.training.plan import Plan, layout, resolve
from copyfold.training.randomness import hashed
from copyfold.training.stopping import Clock


def photos(count: int = 40, **options) -> Photos:
    return Photos(scenes(count, size=8, channels=1, seed=3), 8, **options)


def model(**options) -> cf.MLP:
    torch.manual_seed(1)
    return cf.MLP((1, 8, 8), hidden=(16,), latent_dim=8, norm="batch", **options)


def fit(folder, *, net=None, seen=None, **options):
    options = {"epochs": 2, "batch": 8, "precision": "32", "schedule": "constant"} | options
    return cf.fit(net or model(), cf.Classical(cf.Gaussian(0.1)), seen or photos(), folder, **options)


def test_the_run_has_the_trained_model(tmp_path):
    net = model()
    before = [p.clone() for p in net.parameters()]
    run = fit(tmp_path / "a", net=net)
    assert not net.training
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    x = photos().images("held_out")
    assert torch.equal(run.model(x), net(x))
    for name in ("recipe.yaml", "log.csv", "data.json", "env.json", "last.ckpt"):
        assert (run.folder / name).stat().st_size > 0
    card = (run.folder / "model" / "README.md").read_text()
    assert "sum over pixels" in card
    assert "fidelity(D(z), x)" in card
    assert json.loads((run.folder / "data.json").read_text())["train"] == 36


def test_the_log_has_one_row_per_epoch_with_every_term_also_held_out(tmp_path):
    run = fit(tmp_path / "a", epochs=3)
    rows = run.history
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for name in ("loss", "fidelity", "held_out_loss", "held_out_fidelity", "held_out_mse", "held_out_psnr"):
        assert all(name in row for row in rows)
    assert all(row["loss"] == pytest.approx(row["fidelity"]) for row in rows)
    assert rows[-1]["seconds"] > rows[0]["seconds"]
    with (run.folder / "log.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    assert run.series("held_out_mse")[0] == [4, 8, 12]


def test_the_logged_error_is_that_of_the_model(tmp_path):
    """held_out_mse again, by hand, on the same images: without corruption it must agree."""
    net = cf.MLP((1, 8, 8), hidden=(16,), latent_dim=8)
    run = cf.fit(net, cf.Classical(), photos(), tmp_path / "a", epochs=2, batch=8, precision="32")
    x = photos().images("held_out")[: len(photos().held_out)]
    with torch.no_grad():
        found = (run.model(x) - x).square().mean()
    assert run.history[-1]["held_out_mse"] == pytest.approx(found.item(), rel=1e-4)
    assert run.history[-1]["held_out_fidelity"] == pytest.approx(found.item() * 64 / 2, rel=1e-4)


def test_the_held_out_loss_of_an_unchanging_model_is_constant(tmp_path):
    """Whatever was drawn before: with another corruption at every look, best/ would be chosen by chance."""
    run = fit(tmp_path / "a", net=plain(), epochs=3, lr=1e-30)
    assert len({row["loss"] for row in run.history}) == 3  # of other images, otherwise corrupted
    assert len({row["held_out_loss"] for row in run.history}) == 1


def test_evaluation_on_held_out_images_does_not_change_the_model(tmp_path):
    """Also what its norms record: with other held-out images the same model comes out."""
    other = photos()
    other.held_out = 255 - other.held_out
    runs = [fit(tmp_path / "a"), fit(tmp_path / "b", seen=other)]
    assert runs[0].history[-1]["held_out_loss"] != runs[1].history[-1]["held_out_loss"]
    assert alike(*runs)


def test_held_out_losses_use_the_full_weight_during_warm_up(tmp_path):
    objective = cf.Classical(penalties=(cf.Divergence(warm_up=1000),))
    net = cf.Variational(plain(), latent_dim=4)
    (row,) = cf.fit(net, objective, photos(), tmp_path / "a", epochs=1, batch=8, precision="32").history
    assert 0 < row["Divergence"] < 0.01 * row["held_out_Divergence"]


def test_training_lowers_the_loss(tmp_path):
    run = fit(tmp_path / "a", epochs=20, lr=1e-2)
    assert run.history[-1]["held_out_mse"] < 0.5 * run.history[0]["held_out_mse"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    runs = [fit(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    first, again, other = ([*run.model.parameters()] for run in runs)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_resumed_training_continues_its_log_and_its_weights(tmp_path):
    whole = fit(tmp_path / "whole", epochs=4)
    fit(tmp_path / "part", epochs=2)
    part = fit(tmp_path / "part", epochs=4, resume=True)
    assert [row["step"] for row in part.history] == [row["step"] for row in whole.history]
    pairs = zip(whole.model.parameters(), part.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_resume_continues_the_clock_and_the_lowest_loss(tmp_path):
    run = fit(tmp_path / "a")
    state = torch.load(run.checkpoint, weights_only=True)
    torch.save(state | {"seconds": 1000.0, "lowest": 0.0}, run.checkpoint)
    best = (run.folder / "best" / "model.safetensors").read_bytes()
    again = fit(tmp_path / "a", epochs=4, resume=True)
    assert [row["seconds"] > 1000 for row in again.history] == [False, False, True, True]
    assert (run.folder / "best" / "model.safetensors").read_bytes() == best


def test_every_seed_step_and_process_has_its_own_random_numbers():
    seeds = [hashed(seed, step, rank) for seed in range(4) for step in range(-1, 6) for rank in range(3)]
    assert len(set(seeds)) == len(seeds)


def test_resuming_a_finished_training_changes_nothing(tmp_path):
    fit(tmp_path / "a")
    before = (tmp_path / "a" / "last.ckpt").read_bytes()
    again = fit(tmp_path / "a", resume=True)
    assert (tmp_path / "a" / "last.ckpt").read_bytes() == before
    assert len(again.history) == 2


def test_minutes_end_a_training(tmp_path):
    run = fit(tmp_path / "a", epochs=None, minutes=0.02)
    assert run.history[-1]["seconds"] >= 1.1
    assert (run.folder / "last.ckpt").is_file()
    steps = [row["step"] for row in run.history]
    assert steps == sorted(set(steps))


def test_the_recipe_has_every_option(tmp_path):
    run = fit(tmp_path / "a", lr=0.02, seen=photos(flip=True))
    recipe = yaml.safe_load((run.folder / "recipe.yaml").read_text())
    assert recipe == run.recipe
    assert recipe["model"]["class_path"] == "MLP"
    assert recipe["model"]["init_args"]["hidden"] == [16]
    assert recipe["objective"]["init_args"]["corruption"] == {"class_path": "Gaussian", "init_args": {"std": 0.1}}
    assert (recipe["lr"], recipe["batch"], recipe["epochs"], recipe["flip"]) == (0.02, 8, 2, True)
    assert recipe["precision"] == "32"


def test_invalid_options_are_refused_before_anything_is_written(tmp_path):
    for options in (
        {"epochs": 0},
        {"batch": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"minutes": -1.0},
        {"seed": -1},
    ):
        with pytest.raises(cf.UsageError):
            fit(tmp_path / "a", **options)
    with pytest.raises(cf.UsageError, match="float16"):
        fit(tmp_path / "a", precision="float16")
    with pytest.raises(cf.UsageError, match=r"\(1, 4, 4\)"):
        fit(tmp_path / "a", net=cf.MLP.tiny())
    with pytest.raises(cf.UsageError, match="sigmoid"):
        cf.fit(model(), cf.Classical(fidelity=cf.Bernoulli()), photos(), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_nan_loss_keeps_the_last_good_state(tmp_path):
    with pytest.raises(cf.Diverged, match="lower lr"):
        fit(tmp_path / "a", lr=1e30)
    kept = cf.load(tmp_path / "a")
    assert all(p.isfinite().all() for p in kept.parameters())
    state = torch.load(tmp_path / "a" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(t.isfinite().all() for t in state.values())


def test_fit_works_in_a_thread_of_its_own(tmp_path):
    thread = threading.Thread(target=fit, args=(tmp_path / "a",))
    thread.start()
    thread.join()
    assert cf.runs.open(tmp_path / "a").history


def test_trainings_in_two_threads_run_one_after_the_other_and_are_those_of_one(tmp_path, caplog):
    caplog.set_level("INFO", "copyfold")
    alone, times, begun = fit(tmp_path / "alone"), [], threading.Event()

    def first(event, state):
        begun.set()
        if event == "step" and state.step == 1:
            time.sleep(0.2)
        times.append("first")

    def second():
        begun.wait()
        fit(tmp_path / "b", net=nets[1], callbacks=[lambda *_: times.append("second")])

    other, seen = threading.Thread(target=second), photos()
    nets = [model(), model()]
    other.start()
    run = fit(tmp_path / "a", net=nets[0], seen=seen, callbacks=[first])
    other.join()
    assert times == sorted(times)
    assert "another thread of this process is training" in caplog.text
    for folder in (run.folder, tmp_path / "b"):
        found = cf.load(folder).state_dict()
        assert all(torch.equal(found[name], value) for name, value in alone.model.state_dict().items())


def test_a_training_may_train_within_a_callback(tmp_path):
    inner = []
    fit(
        tmp_path / "a", epochs=1, callbacks=[lambda event, _: event == "end" and inner.append(fit(tmp_path / "b"))]
    )
    assert inner[0].history


def test_the_held_out_error_is_of_all_held_out_images(tmp_path):
    seen = cf.Photos(scenes(100, size=8, channels=1, seed=3), 8)
    run = fit(tmp_path / "a", seen=seen, net=cf.MLP((1, 8, 8), (16,), 8), batch=6, epochs=1)
    x = seen.images("held_out")
    assert len(x) == 10  # one batch of 6, and 4 more
    plain = cf.fit(cf.MLP((1, 8, 8), (16,), 8), None, seen, tmp_path / "b", batch=6, epochs=1, precision="32")
    with torch.no_grad():
        found = (plain.model(x) - x).square().mean().item()
    assert plain.history[-1]["held_out_mse"] == pytest.approx(found, rel=1e-4)
    assert run.history[-1]["held_out_loss"] > 0


def test_a_tally_weighs_means_by_the_images_they_are_of():
    tally = Tally()
    tally.add({"mse": torch.tensor(1.0)}, 3)
    tally.add({"mse": torch.tensor(5.0)}, 1)
    assert tally.take() == {"mse": 2.0}


def test_progress_is_reported(tmp_path):
    told = []
    run = fit(tmp_path / "a", progress=lambda *args: told.append(args))
    assert [(what, done, total) for what, done, total, _ in told] == [("training", n, 8) for n in range(1, 9)]
    assert [numbers["epoch"] for *_, numbers in told] == [n / 4 for n in range(1, 9)]
    assert ["held_out_mse" in numbers for *_, numbers in told] == [n >= 4 for n in range(1, 9)]
    for row in run.history:  # the loss as a number, of a step that ends an epoch that of the row
        numbers = told[int(row["step"]) - 1][-1]
        assert [numbers["loss"], numbers["held_out_mse"]] == pytest.approx([row["loss"], row["held_out_mse"]])


def test_progress_by_the_clock_is_told_in_seconds(tmp_path):
    told = []
    fit(tmp_path / "a", epochs=None, minutes=1 / 60, progress=lambda *args: told.append(args))
    assert {(what, total) for what, _, total, _ in told} == {("training (seconds)", 1)}
    assert [numbers["step"] for *_, numbers in told] == [*range(1, len(told) + 1)]


def test_nothing_is_printed(tmp_path, capfd):
    fit(tmp_path / "a")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("norm", "expected"), [("batch", torch.channels_last), ("group", torch.contiguous_format)]
)
def test_the_layout_is_chosen_by_the_norm(norm, expected, caplog, tmp_path):
    caplog.set_level(logging.INFO, "copyfold")
    net = cf.UNet((1, 8, 8), width=2, depth=1, norm=norm)
    assert layout(net, torch.device("cpu")) == expected
    fit(tmp_path / "a", net=net, epochs=1)
    assert ("channels last" in caplog.text) == (norm == "batch")
    assert layout(model(), torch.device("cpu")) == torch.contiguous_format


def test_precision_is_decided_from_the_hardware(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert resolve("auto") == "bf16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert resolve("auto") == "32"
    assert resolve("bf16") == "bf16"


def test_a_tally_is_a_mean_by_name():
    tally = Tally()
    for value in (1.0, 2.0, 6.0):
        tally.add({"a": torch.tensor(value)})
    tally.add({"b": torch.tensor(5.0)})
    assert tally.take() == {"a": 3.0, "b": 5.0}
    assert tally.take() == {}


# ---------------------------------------------------------------- the learning rate


def test_a_schedule_rises_and_ends_at_zero_unless_it_is_constant():
    constant = Plan(schedule="constant")
    assert {constant.pace(step, done) for step, done in ((0, 0.0), (50, 0.3), (9999, 1.0))} == {1.0}
    assert Plan(schedule="cosine").pace(0, 0.01) == pytest.approx(0.2, rel=1e-3)  # a twentieth of a short plan
    cosine, linear = Plan(schedule="cosine"), Plan(schedule="linear")
    for plan in (cosine, linear):
        assert plan.pace(0, 0.0) == pytest.approx(1e-2)
        assert plan.pace(500, 0.0) == pytest.approx(1.0)
        assert plan.pace(500, 0.5) == pytest.approx(0.5)
        assert plan.pace(500, 1.0) == plan.pace(500, 1.2) == pytest.approx(0.0)
    assert cosine.pace(500, 1 / 3) == pytest.approx(0.75)
    assert linear.pace(500, 1 / 3) == pytest.approx(2 / 3)
    with pytest.raises(cf.UsageError, match="constant, linear, cosine"):
        Plan(schedule="sine")  # type: ignore[arg-type]


def test_progress_is_counted_in_epochs_or_minutes_whichever_ends_first():
    assert Clock(None, before=1e6).done(8, Plan(epochs=4), length=4) == 0.5
    assert Clock(2, before=30).done(8, Plan(minutes=2), length=4) == pytest.approx(0.25, abs=1e-3)
    both = Plan(epochs=4, minutes=2)
    found = [Clock(2, before=seconds).done(8, both, length=4) for seconds in (30, 90)]
    assert found == [0.5, pytest.approx(0.75, abs=1e-3)]


def test_a_cosine_schedule_resumes_exactly(tmp_path):
    """The rate is a function of the step: half a training and its resume leave what one training does."""
    calls = []

    def stop(*_):
        calls.append(1)
        if len(calls) == 6:  # within the second of four epochs
            signal.raise_signal(signal.SIGTERM)

    whole = fit(tmp_path / "whole", epochs=4, schedule="cosine")
    with pytest.raises(cf.training.Stopped):
        fit(tmp_path / "parts", epochs=4, schedule="cosine", progress=stop)
    parts = fit(tmp_path / "parts", epochs=4, schedule="cosine", resume=True)
    steps = [row["step"] for row in parts.history]
    assert steps == sorted(steps)
    assert steps[-1] == 16
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_code_statistics_are_logged_and_summarised_at_the_end(tmp_path, caplog):
    caplog.set_level(logging.INFO, "copyfold")
    net = cf.Variational(cf.MLP((1, 8, 8), hidden=(16,), output="sigmoid"), latent_dim=6)
    objective = cf.Classical(fidelity=cf.Bernoulli(), penalties=(cf.Divergence(beta=100.0),))
    run = cf.fit(net, objective, photos(), tmp_path / "run", epochs=2, batch=8, precision="32")
    assert all("held_out_active_units" in row for row in run.history)
    assert run.history[-1]["held_out_active_units"] < 6  # a beta of 100 leaves little
    assert len(json.loads((run.folder / "findings" / "codes.json").read_text())["kl"]) == 6
    assert any("of 6 latent dimensions are inactive" in record.getMessage() for record in caplog.records)


def test_a_code_of_maps_has_statistics_where_it_has_a_penalty(tmp_path):
    paying = cf.Classical(penalties=(cf.L1(),))
    run = cf.fit(cf.Conv((1, 8, 8), (4, 4)), paying, photos(), tmp_path / "a", epochs=1, batch=8, precision="32")
    assert "held_out_dead_units" in run.history[-1]
    run = cf.fit(cf.Conv((1, 8, 8), (4, 4)), None, photos(), tmp_path / "b", epochs=1, batch=8, precision="32")
    assert not [name for name in run.history[-1] if name.endswith("units")]
    assert not (run.folder / "findings" / "codes.json").exists()


# ---------------------------------------------------------------- what a plan can say beside that


def weights(run: cf.runs.Run) -> dict[str, torch.Tensor]:
    return run.model.state_dict()


def alike(a: cf.runs.Run, b: cf.runs.Run) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


def plain() -> cf.MLP:
    torch.manual_seed(1)
    return cf.MLP((1, 8, 8), hidden=(16,), latent_dim=8, norm="none")


def clean(folder, net, **options):
    options = {"epochs": 2, "batch": 8, "precision": "32", "schedule": "constant"} | options
    return cf.fit(net, cf.Classical(), photos(), folder, **options)


def test_a_batch_in_parts_gives_the_gradient_of_the_whole(tmp_path):
    whole, parts = (clean(tmp_path / str(n), plain(), clip=1e9, accumulate=n) for n in (1, 4))
    for a, b in zip(weights(whole).values(), weights(parts).values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert [row["step"] for row in parts.history] == [row["step"] for row in whole.history]
    for name in ("loss", "gradient_norm"):  # Adam's own steps do not tell how long a gradient is
        assert parts.history[-1][name] == pytest.approx(whole.history[-1][name], rel=1e-4)


def test_every_part_of_a_batch_has_its_own_corruption(tmp_path):
    drawn = []

    class Noted(cf.Gaussian):
        def __call__(self, x, rng=None):
            noisy = super().__call__(x, rng)
            drawn.append((noisy - x).flatten())
            return noisy

    cf.fit(
        plain(), cf.Classical(Noted()), photos(), tmp_path / "a", epochs=1, batch=8, accumulate=2, precision="32"
    )
    del drawn[0]  # the objective has a user's class in it, and is run once before training
    assert len(drawn) == 4 * 2 + 1  # and the held-out images
    assert torch.pdist(torch.stack(drawn)).min() > 1


@pytest.mark.parametrize("make", [model, lambda: cf.UNet((1, 8, 8), width=4, depth=1)])
def test_recomputation_gives_the_same_gradient(make, tmp_path):
    """The same bits, those that the norms record too."""
    runs = []
    for name, again in (("a", False), ("b", True)):
        torch.manual_seed(2)
        runs.append(fit(tmp_path / name, net=make(), recompute=again))
    assert alike(*runs)


def test_recomputation_ends_with_the_training(tmp_path):
    net = model()
    fit(tmp_path / "a", net=net, recompute=True)
    assert not [part for part in net.modules() if "forward" in vars(part)]


def test_a_gradient_is_clipped_and_its_norm_logged(tmp_path):
    free, long, short = (fit(tmp_path / str(clip), clip=clip, epochs=1) for clip in (None, 1e9, 1e-3))
    assert alike(free, long)
    assert not alike(free, short)
    assert long.history[0]["gradient_norm"] > 0
    assert "gradient_norm" not in free.history[0]


def test_the_average_of_the_weights_follows_its_formula(tmp_path):
    """Against the checkpoints of every step of the same training, averaged by hand."""
    each = fit(tmp_path / "each", net=plain(), save_steps=1, keep=100, epochs=2)
    steps = sorted((each.folder / "checkpoints").iterdir())
    states = [torch.load(path, weights_only=True)["state_dict"] for path in steps]
    assert len(states) == 9  # before the first step, and after each of eight
    expected = {name: tensor.double() for name, tensor in states[1].items()}
    for state in states[2:]:
        expected = {name: 0.9 * tensor + 0.1 * state[name] for name, tensor in expected.items()}
    averaged = fit(tmp_path / "averaged", net=plain(), average=0.9, epochs=2)
    for name, tensor in weights(averaged).items():
        assert torch.allclose(tensor.double(), expected[f"model.{name}"], atol=1e-6)
    kept = torch.load(averaged.checkpoint, weights_only=True)
    assert all(torch.equal(t, states[-1][name]) for name, t in kept["state_dict"].items())


def test_the_held_out_loss_is_that_of_the_averaged_weights(tmp_path):
    run = cf.fit(plain(), None, photos(), tmp_path / "a", epochs=3, batch=8, precision="32", average=0.9)
    x = photos().images("held_out")
    with torch.no_grad():
        found = (run.model(x) - x).square().mean().item()
    assert run.history[-1]["held_out_mse"] == pytest.approx(found, rel=1e-4)


def test_an_average_resumes_and_cannot_be_dropped_by_mistake(tmp_path):
    whole = fit(tmp_path / "whole", epochs=4, average=0.9)
    fit(tmp_path / "part", epochs=2, average=0.9)
    with pytest.raises(cf.UsageError, match="average"):
        fit(tmp_path / "part", epochs=4, resume=True)
    assert alike(whole, fit(tmp_path / "part", epochs=4, average=0.9, resume=True))


def test_patience_stops_a_training_whose_loss_does_not_fall(tmp_path, caplog):
    caplog.set_level(logging.INFO, "copyfold")
    run = fit(tmp_path / "a", epochs=40, lr=0.3, patience=2)
    losses = run.series("held_out_loss")[1]
    assert len(losses) < 40
    assert min(losses[-2:]) >= min(losses)
    assert losses.index(min(losses)) == len(losses) - 3
    assert "has not fallen for 2 epochs" in caplog.text
    state = torch.load(run.checkpoint, weights_only=True)
    assert state["global_step"] == run.history[-1]["step"]
    again = fit(tmp_path / "a", epochs=40, lr=0.3, patience=2, resume=True)
    assert len(again.history) == len(losses)
    assert "give more patience than 2" in caplog.text


def test_best_is_the_model_of_the_lowest_held_out_loss(tmp_path):
    run = cf.fit(
        model(), None, photos(), tmp_path / "a", epochs=12, batch=8, precision="32", lr=0.1, schedule="constant"
    )
    best = cf.load(run.folder / "best")
    x = photos().images("held_out")
    with torch.no_grad(), best.using("running"):
        found = (best(x) - x).square().mean().item()
    errors = run.series("held_out_mse")[1]
    assert found == pytest.approx(min(errors), rel=1e-4)
    assert errors[-1] > min(errors)  # or it would be the last model


def test_keep_limits_the_number_of_checkpoints(tmp_path):
    run = fit(tmp_path / "a", epochs=3, save_steps=5, keep=2)
    kept = sorted(path.name for path in (run.folder / "checkpoints").iterdir())
    assert kept == ["step-000000010.ckpt", "step-000000012.ckpt"]
    (run.folder / "last.ckpt").write_bytes((run.folder / "checkpoints" / kept[0]).read_bytes())
    assert alike(fit(tmp_path / "a", epochs=3, resume=True), fit(tmp_path / "b", epochs=3))


def test_a_full_disk_is_reported_before_anything_is_overwritten(tmp_path, monkeypatch):
    fit(tmp_path / "a", epochs=1)
    before = (tmp_path / "a" / "last.ckpt").read_bytes()
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(cf.CopyfoldError, match="MB free and a checkpoint needs"):
        fit(tmp_path / "a", epochs=2, resume=True)
    assert (tmp_path / "a" / "last.ckpt").read_bytes() == before


def test_the_number_of_threads_is_set_and_restored(tmp_path):
    former, seen = torch.get_num_threads(), set()
    fit(tmp_path / "a", threads=1, progress=lambda *_: seen.add(torch.get_num_threads()))
    assert seen == {1}
    assert torch.get_num_threads() == former


def test_a_truncated_row_of_the_log_is_ignored(tmp_path):
    run = fit(tmp_path / "a")
    path = run.folder / "log.csv"
    path.write_bytes(path.read_bytes()[:-5])
    assert [row["step"] for row in run.history] == [4]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"devices": 2, "batch": 7}, "multiple of 2"),
        ({"accumulate": 3, "batch": 8}, "multiple of 3"),
        ({"sync": True}, "give devices"),
        ({"average": 1.0}, "average=1.0 is invalid: expected a number above 0 and below 1"),
        ({"clip": 0.0}, "above 0"),
        ({"minutes": "3"}, "minutes='3' is invalid: expected a number above 0"),
        ({"keep": 0}, "at least 1"),
        ({"patience": 0}, "at least 1"),
        ({"save_minutes": -1.0}, "expected a number of at least 0"),
        ({"batch": 64, "accumulate": 8}, "fewer than a batch"),
        ({"net": model(), "statistics": "running"}, "running averages"),
    ],
)
def test_invalid_plans_are_refused(options, said, tmp_path):
    if options.pop("statistics", None):
        options["net"].statistics, options["recompute"] = "running", True
    with pytest.raises(cf.UsageError, match=said):
        fit(tmp_path / "a", **options)


def test_a_compiled_model_and_a_penalty_on_a_gradient_are_refused(tmp_path):
    penalised = cf.Classical(penalties=(cf.Contraction(),))
    with pytest.raises(cf.UsageError, match="leave out compile"):
        cf.fit(plain(), penalised, photos(), tmp_path / "a", epochs=1, compile=True)


@pytest.mark.parametrize("precision", ["tf32", "16"])
def test_options_that_need_a_gpu_are_refused_without_one(precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(cf.UsageError, match="CUDA"):
        resolve(precision)


def test_a_falling_training_speed_is_reported_once(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "copyfold")
    clock = iter([i * 0.01 for i in range(41)] + [1.0 + i for i in range(81)])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    pace = Pace()
    for _ in range(120):
        pace.tick()
    assert caplog.text.count("a step takes") == 1
    assert "threads" in caplog.text


def test_the_clock_of_a_training_starts_at_its_first_step(tmp_path, monkeypatch):
    """What takes long before it, as starting processes does, is none of its minutes."""
    now, layout = [1000.0], fitting.layout
    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def slow(*given):
        now[0] += 100
        return layout(*given)

    monkeypatch.setattr(fitting, "layout", slow)
    assert fit(tmp_path / "a", epochs=1).history[-1]["seconds"] == 0.0


def test_an_interrupted_training_resumes_with_the_same_means_and_best(tmp_path):
    """The row that is written at the stop is one more; those after it are the same."""
    told = []

    def stop(*_):
        told.append(1)
        if len(told) == 6:  # within the second of four epochs
            signal.raise_signal(signal.SIGTERM)

    whole = fit(tmp_path / "whole", epochs=4)
    with pytest.raises(cf.training.Stopped):
        fit(tmp_path / "parts", epochs=4, progress=stop)
    parts = fit(tmp_path / "parts", epochs=4, resume=True)
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in parts.history if row["step"] != 6]
    assert len(rows) == len(parts.history) - 1
    assert rows == [{k: v for k, v in row.items() if k != "seconds"} for row in whole.history]
    best = [(run.folder / "best" / "model.safetensors").read_bytes() for run in (whole, parts)]
    assert best[0] == best[1]


@pytest.mark.parametrize("name", ["layout", "range", "masks", "crop"])
def test_fit_says_where_an_argument_of_photos_goes(name, tmp_path):
    with pytest.raises(
        cf.UsageError, match=rf"no argument '{name}', .*: give photos=Photos\(source, {name}=\.\.\.\)"
    ):
        cf.fit(cf.MLP((1, 8, 8), [4], 2), run=tmp_path / "run", **{name: 1})


def test_one_process_in_an_allocation_of_slurm_is_no_task_of_it(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_NAME", "night")
    assert cf.fit(cf.MLP((1, 8, 8), [4], 2), run=tmp_path / "run", steps=2).history[-1]["step"] == 2


def test_a_training_that_cannot_begin_overwrites_nothing(monkeypatch, tmp_path):
    def fails(*args, **given):
        raise RuntimeError("no device")

    run = cf.fit(cf.MLP((1, 8, 8), [4], 2), run=tmp_path / "run", steps=2)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr("lightning_fabric.Fabric.launch", fails)
        with pytest.raises(RuntimeError, match="no device"):
            cf.fit(cf.MLP((1, 8, 8), [4], 2), run=run.folder, steps=3, overwrite=True)
    after = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path in before}
    assert after == before
    again = cf.fit(cf.MLP((1, 8, 8), [4], 2), run=run.folder, steps=3, overwrite=True)
    assert [row["step"] for row in again.history] == [3]


def test_a_rank_that_is_no_number_is_refused_and_the_screen_speaks(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "x")
    for devices in (1, 2):  # of one process too, as Fabric reads it then
        with pytest.raises(cf.UsageError, match=r"^LOCAL_RANK=x in the environment is invalid: expected a number"):
            distributed.rank(Plan(devices=devices))
    said = [sys.executable, "-c", "from copyfold.screen import FIRST; print(FIRST)"]
    for name, value, first in (("RANK", "x", "True"), ("RANK", "00", "True"), ("SLURM_PROCID", "10", "False")):
        environment = {k: v for k, v in os.environ.items() if k != "LOCAL_RANK"} | {name: value}
        assert (
            subprocess.run(said, env=environment, capture_output=True, text=True, check=True).stdout
            == f"{first}\n"
        )
