"""Rows of a run's log, and what is looked at to write them."""

import logging
import math
import statistics
import time
from typing import Any

import lightning
import numpy as np
import torch

from copyfold import runs
from copyfold.data.sampling import DIAGNOSED, EVALUATED, stratified
from copyfold.errors import Diverged
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.probes.latent import CodeStatistics
from copyfold.training.averaging import MovingAverage
from copyfold.training.courier import Tally, to_images
from copyfold.training.ending import Clock
from copyfold.training.patience import Patience
from copyfold.training.plan import Plan
from copyfold.training.randomness import hashed, seeded

log = logging.getLogger("copyfold")

LOGGED = ("active_units", "dead_units", "always_on_units", "saturation")
ROW_STEPS = 100  # a row of the log at least this often
SLOW, PACES = 10, 20  # times the usual step, and how many steps in a row are that


class Logbook:
    """Writes a row of the log now and then, with the held-out loss at the end of every epoch.

    Where there are several processes, the numbers of training are means over all of them; the first process
    alone looks at the held-out images, and writes.
    """

    def __init__(
        self,
        run: runs.Run,
        model: Autoencoder,
        objective: Objective,
        held_out: np.ndarray,
        steps: int,
        clock: Clock,
    ) -> None:
        self.run, self.model, self.objective, self.clock = run, model, objective, clock
        self.plan: Plan = clock.plan
        self.steps = steps  # in an epoch
        self.average = MovingAverage(self.plan.average) if self.plan.average is not None else None
        self.patience = Patience(self.plan.patience) if self.plan.patience is not None else None
        self.held_out = held_out[stratified(len(held_out), EVALUATED)]  # in every row of every run the same
        vector = [len(shape) for shape in model.code_shapes()] == [1]
        # maps only where they are meant to be so
        self.diagnosed = vector or bool(getattr(objective, "penalties", ()))
        self.codes: dict[str, torch.Tensor] = {}
        self.rows: list[runs.Row] = []
        self.lowest = math.inf  # held-out loss
        self.best: dict[str, torch.Tensor] | None = None  # the weights of it, where they are not saved yet
        self.pace = Pace()

    def begin(self, trainer: lightning.Trainer) -> None:
        """Drop the rows after the checkpoint that training goes on from."""
        self.rows = [row for row in self.run.history if row["step"] <= trainer.global_step]
        self.names: list[str] = []  # the columns of log.csv; none, until it is written anew

    def after_step(self, trainer: lightning.Trainer, module: Any, step: int) -> None:
        """Write a row of the training's own numbers, a hundred steps after the last one; mind the pace."""
        self.pace.mind()
        if step % ROW_STEPS == 0 and self.steps - step >= ROW_STEPS // 2:
            self.row(trainer, module)

    def after_epoch(self, trainer: lightning.Trainer, module: Any) -> None:
        """A row with the held-out loss; then ask whether patience has an end."""
        self.row(trainer, module, held_out=True)
        if self.patience is not None:
            self.patience.judge(trainer, module, self.rows[-1]["held_out_loss"])

    def row(self, trainer: lightning.Trainer, module: Any, held_out: bool = False) -> None:
        """Write a row of the log: means since the last one. Diverged where a loss is not a number."""
        step = trainer.global_step
        row = {"epoch": step / self.steps, "step": step, "seconds": self.clock.seconds}
        module.tally.share(lambda means: trainer.strategy.reduce(means, reduce_op="mean"))
        row |= module.tally.take()
        if held_out and len(self.held_out):
            found: runs.Row = {}
            if trainer.is_global_zero:
                found = self.look(trainer, module)
            row |= trainer.strategy.broadcast(found) if self.plan.world > 1 else found
        self._write(row, trainer.is_global_zero)
        self.pace.pause()
        if not math.isfinite(row.get("held_out_loss", 0.0)):
            raise Diverged(f"the held-out loss became {row['held_out_loss']} at step {step}")

    def flush(self) -> None:
        """Have every row on the disk."""
        self.names = self.run.write_history(self.rows)

    def _write(self, row: runs.Row, first: bool) -> None:
        """Add a row; where there is one of this step already, to that."""
        again = bool(self.rows) and self.rows[-1]["step"] == row["step"]
        self.rows.append((self.rows.pop() if again else {}) | row)
        if not first:
            return
        if again or not row.keys() <= set(self.names):
            self.flush()
        else:
            self.run.append_history(row, self.names)

    @torch.no_grad()
    def look(self, trainer: lightning.Trainer, module: Any) -> runs.Row:
        """What a row says of the held-out images, of the average of the weights where there is one."""
        if self.average is not None:
            with self.average.shown(trainer, module):
                return self._look(trainer, module)
        return self._look(trainer, module)

    def _look(self, trainer: lightning.Trainer, module: Any) -> runs.Row:
        found = self.evaluate(trainer, module) | self.diagnose(trainer)
        if found["loss"] < self.lowest:
            self.lowest = found["loss"]
            self.best = {name: t.detach().to("cpu", copy=True) for name, t in self.model.state_dict().items()}
        return {f"held_out_{name}": value for name, value in found.items()}

    def evaluate(self, trainer: lightning.Trainer, module: Any) -> runs.Row:
        """The objective on held-out images, as the model is trained but recording nothing."""
        tally, size = Tally(), min(self.plan.batch, len(self.held_out))
        seeded(hashed(self.plan.seed, -1), trainer.strategy.root_device)  # the same corruption every time
        self.model.eval()
        statistics = self.model.statistics if size > 1 else "running"  # one image has none of its own
        for start in range(0, len(self.held_out) - size + 1, size):
            batch = torch.from_numpy(self.held_out[start : start + size]).permute(0, 3, 1, 2)
            x = to_images(batch.to(trainer.strategy.root_device), module.layout)
            watch: dict[str, torch.Tensor] = {}
            with trainer.precision_plugin.forward_context(), self.model.using(statistics):
                terms = self.objective(self.model, x, watch)
            tally.add({"loss": torch.stack(list(terms.values())).sum()} | terms | watch)
        self.model.train()
        return tally.take()

    def diagnose(self, trainer: lightning.Trainer) -> runs.Row:
        """What the numbers of a code do on some held-out images."""
        chosen = stratified(len(self.held_out), DIAGNOSED)
        pixels = torch.from_numpy(self.held_out[chosen]).permute(0, 3, 1, 2)
        if not self.diagnosed or len(pixels) < 2:
            return {}
        x = to_images(pixels.to(trainer.strategy.root_device), torch.contiguous_format)
        self.model.eval()
        with trainer.precision_plugin.forward_context():
            probe = CodeStatistics(self.model.statistics, max(2, self.plan.batch))
            self.codes = probe(self.model, x, torch.Generator()).numbers
        self.model.train()
        return {name: value.item() for name, value in self.codes.items() if value.dim() == 0 and name in LOGGED}


class Pace:
    """Says once when steps take ten times as long as they did: another program is on the same cores."""

    def __init__(self) -> None:
        self.before: float | None = None
        self.taken: list[float] = []
        self.usual = math.inf
        self.said = False

    def pause(self) -> None:
        """What comes between two steps is none of theirs."""
        self.before = None

    def mind(self) -> None:
        """Note the time of a step."""
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
                "a step takes %.2g s and took %.2g s before: another program is using the same cores, for which "
                "the threads of this one wait; wait for it, or go on with --resume and a smaller --threads",
                pace,
                self.usual,
            )
        self.usual = min(self.usual, pace)
