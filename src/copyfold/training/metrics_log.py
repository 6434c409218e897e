"""The rows of a run's log.csv, and the evaluation on held-out images for them."""

import logging
import math
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from copyfold import runs
from copyfold.data.sampling import DIAGNOSED, EVALUATED, SHOWN, as_images, stratified
from copyfold.errors import Diverged, option
from copyfold.measures import filled
from copyfold.probes.base import still
from copyfold.probes.latent import CodeStatistics
from copyfold.training.loggers import Sent
from copyfold.training.loss import Loss, Tally, to_images
from copyfold.training.plan import Plan
from copyfold.training.randomness import hashed, seeded
from copyfold.training.running_averages import RunningAverages
from copyfold.training.state import TrainState

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger("copyfold")

LOGGED = ("active_units", "dead_units", "always_on_units", "saturation")
ROW_STEPS = 100  # a row of the log at least this often
SLOW, PACES = 10, 20  # a slowdown: median of 20 steps above 10 times the usual one


class MetricsLog:
    """Writes a row of the log now and then, with the held-out loss at the end of every epoch.

    Where there are several processes, the numbers of training are means over all of them; the first process
    alone looks at the held-out images, and writes.
    """

    def __init__(
        self,
        run: runs.Run,
        state: TrainState,
        loss: Loss,
        averages: RunningAverages,
        held_out: np.ndarray,
        plan: Plan,
        fabric: "Fabric",
        length: int,
        sent: Sent,
    ) -> None:
        self.run, self.state, self.loss, self.plan, self.fabric = run, state, loss, plan, fabric
        self.averages, self.sent = averages, sent
        self.length = length  # batches in an epoch
        self.held_out = held_out[stratified(len(held_out), EVALUATED)]  # in every row of every run the same
        vector = [len(shape) for shape in state.model.code_shapes()] == [1]
        # maps only where they are meant to be so
        self.diagnosed = vector or bool(getattr(loss.objective, "penalties", ()))
        self.codes: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] | None = None  # weights of the lowest held-out loss, where not saved yet
        self.pace = Pace()
        # those after the checkpoint that training goes on from are dropped
        rows = [row for row in run.history if row["step"] <= state.step] if state.step else []
        self.rows = state.history = runs.History(rows)
        self.error = next((row["held_out_mse"] for row in reversed(rows) if "held_out_mse" in row), None)
        self.names: list[str] = []  # the columns of log.csv; empty until the file is rewritten

    def stepped(self, ended: bool) -> None:
        """Write a row at the end of an epoch and every hundred steps; time the step."""
        self.pace.tick()
        step = self.state.step % self.length
        if ended:
            self.row(held_out=True)
            if self.state.early_stopping is not None:
                self.state.early_stopping.judge(self.rows[-1]["held_out_loss"])
        elif step % ROW_STEPS == 0 and self.length - step >= ROW_STEPS // 2:
            self.row()

    @property
    def stopped_early(self) -> bool:
        """Whether the held-out loss has not fallen for the plan's `patience`; if so, log it."""
        stopping = self.state.early_stopping
        if stopping is None or not stopping.over:
            return False
        log.info(
            "the held-out loss has not fallen for %d epochs, so training ends; best/ has the lowest",
            stopping.waited,
        )
        return True

    def progress(self) -> tuple[str, int, int, runs.Row]:
        """How far training is: what, done and total in steps or else in seconds, and the numbers so far."""
        state = self.state
        found = {"epoch": state.epoch, "loss": state.loss, "held_out_mse": self.error}
        numbers = {name: value for name, value in found.items() if value is not None}
        if (last := self.plan.last(self.length)) is not None:
            return "training", state.step, last, numbers
        assert self.plan.minutes is not None
        total = round(60 * self.plan.minutes)
        return "training (seconds)", round(state.clock.seconds), total, {"step": state.step, **numbers}

    def row(self, held_out: bool = False, aside: bool = False) -> None:
        """Write a row of the log: means since the last one. Diverged where a loss is NaN or infinite.

        Held-out images are measured as the model is saved: with running averages, estimated again, from a share of
        what was trained on in this epoch, so that no row depends on where training ends.

        A row that is `aside` is written where training was stopped. It does not change the state: the means
        continue, and best/ is not updated, so that a resumed training ends like one that was not stopped.
        """
        state = self.state
        tally = Tally(dict(state.tally.sums), dict(state.tally.counts)) if aside else state.tally
        row = {"epoch": state.step / self.length, "step": state.step, "seconds": state.clock.seconds}
        tally.average(self.fabric)
        row |= tally.take()
        if not math.isfinite(row.get("loss", 0.0)):
            raise Diverged(f"the loss became {row['loss']} by step {state.step}")
        if held_out and len(self.held_out):
            row |= self.fabric.broadcast(self._held_out_row(keep=not aside) if self.fabric.is_global_zero else {})
        state.loss, self.error = row.get("loss", state.loss), row.get("held_out_mse", self.error)
        self._write(row)
        self.pace.pause()
        if not math.isfinite(row.get("held_out_loss", 0.0)):
            raise Diverged(f"the held-out loss became {row['held_out_loss']} at step {state.step}")

    def flush(self) -> None:
        """Write every row to the disk."""
        self.names = self.run.write_history(self.rows)

    def _write(self, row: runs.Row) -> None:
        """Append a row, or merge it into an existing row of the same step."""
        again = bool(self.rows) and self.rows[-1]["step"] == row["step"]
        self.rows.append((self.rows.pop() if again else {}) | row)
        if not self.fabric.is_global_zero:
            return
        if again or not row.keys() <= set(self.names):
            self.flush()
        else:
            self.run.append_history(row, self.names)
        self.sent.row(row)

    @torch.no_grad()
    def _held_out_row(self, keep: bool) -> runs.Row:
        """The numbers on held-out images; with `keep`, the weights of the lowest loss so far are stored."""
        steps = (self.state.step - 1) % self.length + 1
        with self.averages.estimated(self.state.shown, steps * self.plan.batch):
            if self.sent.takes_pictures:
                self.sent.reconstructions(*self._reconstructed())
            found = self.evaluate() | self._diagnose()
            if keep and found["loss"] < self.state.lowest:
                self.state.lowest = found["loss"]
                weights = self.state.shown.state_dict()
                self.best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
        return {f"held_out_{name}": value for name, value in found.items()}

    @torch.no_grad()
    def evaluate(self) -> runs.Row:
        """The objective on the held-out images, 512 at most, with running averages: none depends on another."""
        model, device, tally = self.state.shown, self.fabric.device, Tally()
        seeded(hashed(self.plan.seed, -1), device)  # the same corruption every time
        training = model.training
        model.eval()
        for pixels in np.array_split(self.held_out, math.ceil(len(self.held_out) / self.plan.batch)):
            batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
            x = to_images(batch.to(device), self.loss.layout)
            watch: dict[str, Tensor] = {}
            with self.fabric.autocast(), model.using("running"):
                terms = self.loss.objective(model, x, watch)
            tally.add({"loss": torch.stack(list(terms.values())).sum()} | terms | watch, len(pixels))
        model.train(training)
        return tally.take()

    def _reconstructed(self) -> tuple[Tensor, Tensor]:
        """Some held-out images, the same each time, and what the model makes of them."""
        x = as_images(self.held_out[stratified(len(self.held_out), SHOWN)]).to(self.fabric.device)
        with still(self.state.shown), self.fabric.autocast():  # running averages: no image depends on another
            return x, self.state.shown(filled(x))

    def _diagnose(self) -> runs.Row:
        """CodeStatistics on some held-out images, with running averages as in all numbers of them."""
        chosen = stratified(len(self.held_out), DIAGNOSED)
        pixels = torch.from_numpy(self.held_out[chosen]).permute(0, 3, 1, 2)
        if not self.diagnosed or len(pixels) < 2:
            return {}
        model, training = self.state.shown, self.state.shown.training
        x = to_images(pixels.to(self.fabric.device), torch.contiguous_format)
        model.eval()
        with self.fabric.autocast():
            probe = CodeStatistics("running", max(2, self.plan.batch))
            self.codes = probe(model, x, torch.Generator()).numbers
        model.train(training)
        return {name: value.item() for name, value in self.codes.items() if value.dim() == 0 and name in LOGGED}


class Pace:
    """Logs once when steps take ten times as long as before: another program is using the same cores."""

    def __init__(self) -> None:
        self.before: float | None = None
        self.taken: list[float] = []
        self.usual = math.inf
        self.said = False

    def pause(self) -> None:
        """Exclude the time until the next step."""
        self.before = None

    def tick(self) -> None:
        """Record the time of a step."""
        now = time.monotonic()
        if self.before is not None:
            self.taken.append(now - self.before)
        self.before = now
        if len(self.taken) < PACES:
            return
        pace, self.taken = statistics.median(self.taken), []
        if pace > SLOW * self.usual and not self.said:
            self.said = True
            log.info(
                "a step takes %.2g s and took %.2g s before: another program is using the same cores; "
                f"wait for it, or continue with {option('resume', True)} and a smaller {option('threads')}",
                pace,
                self.usual,
            )
        self.usual = min(self.usual, pace)
