"""What a run must not lose: rows of its log, checkpoints, the model."""

import hashlib
import math
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback

from copyfold import runs
from copyfold.data import Batches, Photos
from copyfold.errors import CopyfoldError, Diverged, UsageError
from copyfold.files import written
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.probes.latent import CodeStatistics
from copyfold.training.courier import Tally, to_images
from copyfold.training.plan import Plan
from copyfold.types import Diagnostics, Progress

SAVE_SECONDS = 60.0  # what a crash can cost at the most
HELD_OUT_IMAGES = 512  # enough for two digits of a mean, and cheap
DIAGNOSED = 256  # held-out images whose codes are looked at
LOGGED = ("active_units", "dead_units", "always_on_units", "saturation")
ROW_STEPS = 100  # a row of the log at least this often


class Keeper(Callback):
    """Keeps what a run must not lose: rows of the log, checkpoints, the model; and stops when it is time.

    Randomness is a function of (seed, step): every step seeds torch anew, so a resumed run draws what it would
    have drawn. Checkpoints are written within an epoch and at its end, never on its last batch: there, Lightning
    would count the epoch as unfinished.
    """

    def __init__(
        self,
        run: runs.Run,
        model: Autoencoder,
        objective: Objective,
        photos: Photos,
        plan: Plan,
        progress: Progress | None,
    ) -> None:
        self.run, self.model, self.objective, self.plan, self.progress = run, model, objective, plan, progress
        self.source = Batches(photos.train, plan.batch, plan.seed, photos.flip)
        self.held_out = photos.held_out[:HELD_OUT_IMAGES]
        vector = [len(shape) for shape in model.code_shapes()] == [1]
        self.diagnosed = vector or bool(
            getattr(objective, "penalties", ())
        )  # maps only where they are meant to be so
        self.codes: dict[str, torch.Tensor] = {}
        self.signum = 0
        self.rows: list[runs.Row] = []
        self.before = 0.0  # seconds of training before this start
        self.started = self.saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a resume counted in."""
        return self.before + time.monotonic() - self.started

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must know beside the weights."""
        return {"seconds": self.seconds, "batches": len(self.source)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting from there."""
        self.before = float(state_dict["seconds"])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Go on from the step of the checkpoint, or save the very first state so that there is one."""
        self.source.n = trainer.global_step
        self.rows = [row for row in self.run.history if row["step"] <= trainer.global_step]
        self.started = time.monotonic()
        if trainer.global_step == 0:
            self.save(trainer)

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Make this step's randomness a function of the seed and the step, and set its learning rate."""
        torch.manual_seed(_hash(self.plan.seed, trainer.global_step))
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self.plan.rate(trainer.global_step, self.done(trainer.global_step))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a row and save now and then; stop where a signal or the clock says so."""
        self.show(trainer)
        if batch_idx + 1 >= len(self.source):
            return  # the epoch's end does it
        if self.over():
            self.row(trainer, pl_module, held_out=True)
            self.save(trainer)
            trainer.should_stop = True
            return
        if (batch_idx + 1) % ROW_STEPS == 0 and len(self.source) - batch_idx > ROW_STEPS // 2:
            self.row(trainer, pl_module)
        if time.monotonic() - self.saved > SAVE_SECONDS:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """A row with the held-out loss; save if it is time or the last chance."""
        if trainer.should_stop:
            return  # stopped within the epoch, and saved there
        self.row(trainer, pl_module, held_out=True)
        last = trainer.current_epoch + 1 == self.plan.epochs or self.over()
        if last or time.monotonic() - self.saved > SAVE_SECONDS:
            self.save(trainer)
        trainer.should_stop = last

    def done(self, step: int) -> float:
        """The share of the plan that is behind a step; by the clock where the plan has minutes."""
        epochs = step / (self.plan.epochs * len(self.source)) if self.plan.epochs else 0.0
        return max(epochs, self.seconds / 60 / self.plan.minutes if self.plan.minutes else 0.0)

    def over(self) -> bool:
        """Whether a signal came or the minutes are spent."""
        return bool(self.signum) or (self.plan.minutes is not None and self.seconds >= 60 * self.plan.minutes)

    def show(self, trainer: lightning.Trainer) -> None:
        """Tell whoever watches how far training is."""
        if self.progress is None:
            return
        what = f"training, loss {self.rows[-1]['loss']:.4g}" if self.rows else "training"
        if self.plan.epochs is None:
            assert self.plan.minutes is not None
            self.progress(what, round(self.seconds), round(60 * self.plan.minutes))
        else:
            self.progress(what, trainer.global_step, self.plan.epochs * len(self.source))

    def row(self, trainer: lightning.Trainer, module: Any, held_out: bool = False) -> None:
        """Write a row of the log: means since the last one."""
        begin = {"epoch": trainer.global_step / len(self.source), "step": trainer.global_step}
        row = begin | {"seconds": self.seconds} | module.tally.take()
        if held_out and len(self.held_out):
            found = self.evaluate(trainer, module) | self.diagnose(trainer)
            row |= {f"held_out_{name}": value for name, value in found.items()}
        self.rows.append(row)
        self.run.write_history(self.rows)
        if not math.isfinite(row.get("held_out_loss", 0.0)):
            raise Diverged(f"the held-out loss became {row['held_out_loss']} at step {trainer.global_step}")

    @torch.no_grad()
    def evaluate(self, trainer: lightning.Trainer, module: Any) -> runs.Row:
        """The objective on held-out images, as the model is trained but recording nothing."""
        tally, size = Tally(), min(self.plan.batch, len(self.held_out))
        torch.manual_seed(_hash(self.plan.seed, -1))  # the same corruption every time
        self.model.eval()
        statistics = self.model.statistics if size > 1 else "running"  # one image has none of its own
        for start in range(0, len(self.held_out) - size + 1, size):
            batch = torch.from_numpy(self.held_out[start : start + size].copy()).permute(0, 3, 1, 2)
            x = to_images(batch.to(trainer.strategy.root_device), module.layout)
            watch: Diagnostics = {}
            with trainer.precision_plugin.forward_context(), self.model.using(statistics):
                terms = self.objective(self.model, x, watch)
            tally.add({"loss": torch.stack(list(terms.values())).sum()} | terms | watch)
        self.model.train()
        return tally.take()

    @torch.no_grad()
    def diagnose(self, trainer: lightning.Trainer) -> runs.Row:
        """What the numbers of a code do on some held-out images."""
        pixels = torch.from_numpy(self.held_out[:DIAGNOSED].copy()).permute(0, 3, 1, 2)
        if not self.diagnosed or len(pixels) < 2:
            return {}
        x = to_images(pixels.to(trainer.strategy.root_device), torch.contiguous_format)
        self.model.eval()
        with trainer.precision_plugin.forward_context():
            probe = CodeStatistics(self.model.statistics, max(2, self.plan.batch))
            self.codes = probe(self.model, x, torch.Generator()).numbers
        self.model.train()
        return {name: value.item() for name, value in self.codes.items() if value.dim() == 0 and name in LOGGED}

    def save(self, trainer: lightning.Trainer) -> None:
        """Write last.ckpt and model/, each whole or as it was; Diverged where a weight is not a number."""
        if not all(tensor.isfinite().all() for tensor in self.model.state_dict().values()):
            raise Diverged(f"a weight stopped being a number at step {trainer.global_step}")
        trainer.save_checkpoint(self.run.checkpoint)
        self.model.save(self.run.folder / "model")
        self.saved = time.monotonic()


class WholeFiles(CheckpointIO):
    """Checkpoints that are whole or not there, and that are read without running code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside the target, flush, rename."""
        try:
            with written(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:  # torch hides what the disk said
            raise CopyfoldError(
                f"cannot write {path}: {error}; the checkpoint before it is untouched; free some space and "
                "go on with --resume"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> Any:
        """Read plain types and tensors only."""
        try:
            return torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:
            raise UsageError(f"{path} cannot be read ({error}); start anew with --overwrite") from error

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def _hash(seed: int, step: int) -> int:
    """A seed for one step that has nothing to do with that of the next."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=8).digest(), "little") >> 1
