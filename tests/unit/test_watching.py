"""Callbacks and loggers: what is told of a training as it goes on, and that it changes nothing."""

import importlib.util
import math
import sys

import numpy as np
import pytest
import torch
import yaml
from lightning_fabric.loggers.csv_logs import CSVLogger

import copyfold as cf
from copyfold.data import Photos, scenes
from copyfold.training import TrainState


def photos(count: int = 40) -> Photos:
    return Photos(scenes(count, size=8, channels=1, seed=3), 8)


def fit(folder, norm="batch", **options) -> cf.Run:
    """Ten epochs of four steps at most, of a model with batch norm, which a look in training mode would change."""
    torch.manual_seed(1)
    net = cf.MLP((1, 8, 8), hidden=(16,), latent_dim=8, norm=norm)
    options = {"epochs": 2, "batch": 8, "precision": "32"} | options
    return cf.fit(net, cf.Classical(cf.Gaussian(0.1)), photos(), folder, **options)


def same(a: cf.Run, b: cf.Run) -> bool:
    """Whether two runs have the same bits, in weights and in the log but for the clock."""
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.history] for run in (a, b)]
    weights = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return rows[0] == rows[1] and all(torch.equal(x, y) for x, y in weights)


# ---------------------------------------------------------------- callbacks


def test_callbacks_are_called_at_every_step_epoch_and_save_and_at_the_end(tmp_path):
    told = []
    run = fit(tmp_path / "a", save_steps=6, callbacks=[lambda event, state: told.append((event, state.step))])
    assert [step for event, step in told if event == "step"] == [*range(1, 9)]
    assert [step for event, step in told if event == "epoch"] == [4, 8]
    assert [step for event, step in told if event == "save"] == [0, 6, 8]
    assert told[-1] == ("end", 8)
    assert torch.load(run.checkpoint)["global_step"] == 8


def test_a_callback_sees_the_loss_the_epoch_and_the_log(tmp_path):
    seen = []

    def look(event: str, state: TrainState) -> None:
        if event == "epoch":
            seen.append((state.epoch, state.loss, state.history["held_out_mse"][-1]))
        assert not state.model.training

    run = fit(tmp_path / "a", callbacks=[look])
    assert seen == [
        (epoch, pytest.approx(row["loss"]), pytest.approx(row["held_out_mse"]))
        for epoch, row in enumerate(run.history, 1)
    ]


def test_the_callbacks_of_a_training_with_a_moving_average_see_both_models(tmp_path):
    seen = []

    def look(event: str, state: TrainState) -> None:
        x = torch.rand(4, 1, 8, 8)
        with torch.no_grad():
            seen.append(torch.equal(state.model(x), state.shown(x)))

    run = fit(tmp_path / "a", average=0.9, callbacks=[look])
    assert seen[0]  # at the save before the first step
    assert not seen[-1]
    assert same(run, fit(tmp_path / "b", average=0.9))


def test_callbacks_change_nothing_and_a_resume_is_exact(tmp_path):
    """One that draws, takes gradients and leaves the model in training mode; the same bits, stopped or not."""

    def busy(event: str, state: TrainState) -> None:
        state.model(torch.rand(8, 1, 8, 8)).sum().backward()
        np.random.default_rng().random()
        torch.manual_seed(state.step)
        state.model.train()

    def stop(event: str, state: TrainState) -> None:
        if state.step == 8:
            state.stop()

    plain = fit(tmp_path / "plain", epochs=4)
    assert same(plain, fit(tmp_path / "busy", epochs=4, callbacks=[busy]))
    fit(tmp_path / "parts", epochs=4, callbacks=[busy, stop])
    assert same(plain, fit(tmp_path / "parts", epochs=4, resume=True, callbacks=[busy]))


@pytest.mark.parametrize(("asked", "ended"), [(("step", 3), 3), (("epoch", 4), 4), (("save", 0), 1)])
def test_a_callback_ends_training_after_the_step(tmp_path, asked, ended):
    """As if the plan ended with it: there is a row with held-out numbers, and everything is saved."""
    run = fit(
        tmp_path / "a",
        callbacks=[lambda event, state: state.stop() if (event, state.step) == asked else None],
    )
    assert run.history[-1]["step"] == ended
    assert math.isfinite(run.history[-1]["held_out_loss"])
    assert torch.load(run.checkpoint)["global_step"] == ended


def test_a_callback_that_fails_ends_training_and_nothing_is_saved(tmp_path):
    def broken(event: str, state: TrainState) -> None:
        if state.step == 6:
            raise ValueError("no such file\nand more")

    with pytest.raises(cf.CopyfoldError) as caught:
        fit(tmp_path / "a", callbacks=[broken])
    said = str(caught.value)
    assert said.startswith("the callback test_a_callback_that_fails_")
    assert f"broken failed at step 6: ValueError: no such file; {tmp_path / 'a'} keeps the last checkpoint" in said
    assert "\n" not in said
    assert torch.load(tmp_path / "a" / "last.ckpt")["global_step"] == 0
    assert same(fit(tmp_path / "a", resume=True), fit(tmp_path / "b"))


def test_what_is_no_function_is_refused_before_training(tmp_path):
    with pytest.raises(cf.UsageError, match=r"^callbacks has 3: expected functions"):
        fit(tmp_path / "a", callbacks=[3])
    with pytest.raises(
        cf.UsageError, match=r"^callbacks=.*print.* is invalid: expected a list of functions, callb"
    ):
        fit(tmp_path / "a", callbacks=print)
    assert not (tmp_path / "a").exists()


# ---------------------------------------------------------------- loggers


class Recorded:
    """A logger like Lightning's, of everything that there is to send."""

    def __init__(self) -> None:
        self.rows, self.pictures, self.recipe, self.status, self.saves = [], [], None, [], 0
        self.experiment = self

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))

    def log_hyperparams(self, params):
        self.recipe = params

    def add_image(self, tag, picture, step, dataformats):
        self.pictures.append((tag, step, picture.shape, dataformats))

    def save(self):
        self.saves += 1

    def finalize(self, status):
        self.status.append(status)


def test_a_logger_gets_the_rows_the_recipe_and_pictures(tmp_path):
    logger = Recorded()
    run = fit(tmp_path / "a", log=logger)
    assert [step for step, _ in logger.rows] == [4, 8]
    for (_, sent), row in zip(logger.rows, run.history, strict=True):
        assert sent == {name: pytest.approx(value) for name, value in row.items() if name != "step"}
    assert logger.recipe == run.recipe
    assert run.recipe["log"] is None
    assert (logger.status, logger.saves) == (["success"], 2)
    size = (2 * 96 + 2, 4 * 96 + 3 * 2, 3)  # four are held out; their reconstructions are below them
    assert logger.pictures == [("held_out", 4, size, "HWC"), ("held_out", 8, size, "HWC")]
    assert same(run, fit(tmp_path / "b"))


def test_the_pictures_are_held_out_images_over_what_the_model_makes_of_them(tmp_path):
    logger, kept = Recorded(), []
    logger.add_image = lambda tag, picture, step, dataformats: kept.append(picture)
    run = fit(tmp_path / "a", norm="none", log=logger)
    x = photos().images("held_out")
    with torch.no_grad():
        expected = cf.grid(torch.cat([x, run.model(x)]), columns=4)
    assert np.abs(kept[-1].astype(int) - expected).max() <= 1


def test_lightning_s_csv_logger_writes_the_same_rows(tmp_path):
    run = fit(tmp_path / "a", log=CSVLogger(tmp_path, name="csv", version="one"))
    text = (tmp_path / "csv" / "one" / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(text[0].split(","), line.split(","), strict=True)) for line in text[1:]]
    assert [float(row["step"]) for row in rows] == [4, 8]
    assert [float(row["held_out_mse"]) for row in rows] == pytest.approx(run.history["held_out_mse"])


def test_a_logger_that_fails_is_named(tmp_path):
    logger = Recorded()
    logger.log_metrics = lambda metrics, step: 1 / 0
    with pytest.raises(cf.CopyfoldError, match=r"^the logger Recorded failed at step 4: ZeroDivisionError: "):
        fit(tmp_path / "a", log=logger)
    assert logger.status == ["failed"]


def test_a_logger_that_fails_to_connect_is_named(tmp_path):
    class Offline:
        @property
        def experiment(self):
            raise ConnectionError("no server")

        def log_metrics(self, metrics, step=None):
            pass

    with pytest.raises(
        cf.CopyfoldError, match=r"^the logger Offline failed at step 4: ConnectionError: no server; "
    ):
        fit(tmp_path / "a", log=Offline())


@pytest.mark.parametrize("log", ["wandb", 3, object(), CSVLogger])
def test_what_is_no_logger_is_refused_before_training(tmp_path, log):
    with pytest.raises(cf.UsageError, match=r"is invalid: expected tensorboard, or a logger with log_metrics$"):
        fit(tmp_path / "a", log=log)
    assert not (tmp_path / "a").exists()


def test_without_tensorboard_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(cf.UsageError, match=r"^log='tensorboard' needs .*: pip install copyfold\[tensorboard\]$"):
        fit(tmp_path / "a", log="tensorboard")
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="the extra tensorboard is not installed")
def test_tensorboard_has_rows_and_pictures_also_of_a_training_that_was_resumed(tmp_path):
    fit(tmp_path / "a", epochs=1, log="tensorboard")
    run = fit(tmp_path / "a", epochs=2, log="tensorboard", resume=True)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    assert [event.step for event in found.Scalars("held_out_mse")] == [4, 8]
    assert [event.value for event in found.Scalars("loss")] == pytest.approx(run.history["loss"])
    assert [(image.step, image.width) for image in found.Images("held_out")] == [(4, 390), (8, 390)]
    assert yaml.safe_load((run.folder / "recipe.yaml").read_text())["log"] == "tensorboard"
    assert not (fit(tmp_path / "a", overwrite=True).folder / "tensorboard").exists()
