"""What a run must not lose: checkpoints and the model; and when it is time to stop."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback

from copyfold.data.batches import Source
from copyfold.errors import CopyfoldError, Diverged, UsageError
from copyfold.files import written
from copyfold.training.ending import Signals
from copyfold.training.logbook import Logbook
from copyfold.training.randomness import hashed, seeded
from copyfold.types import Progress

COUNCIL = 10  # steps from one agreement of several processes to the next
ROOM = 1.1  # of the size of what is saved, which must be free before


class Keeper(Callback):
    """Keeps checkpoints and the model, makes every step's randomness, and stops when it is time.

    It is the one callback beside Lightning's own, and calls what else is to be done at these moments: Lightning
    calls each of its two dozen hooks of every callback in every step, whether there is anything in them or not.

    Randomness is a function of (seed, step, rank): every step seeds torch anew, so a resumed run draws what it
    would have drawn. Checkpoints are written after a whole step within an epoch and at its end, never on its
    last batch: there, Lightning would count the epoch as unfinished. What depends on a clock or a signal is
    asked every tenth step where there are several processes, which agree on it, or a GPU, which would wait.
    """

    def __init__(self, logbook: Logbook, source: Source, progress: Progress | None) -> None:
        self.logbook, self.source, self.progress = logbook, source, progress
        self.run, self.model, self.clock, self.plan = logbook.run, logbook.model, logbook.clock, logbook.plan
        self.signals = Signals(self.clock)
        self.seconds = 0.0  # of the clock, as agreed
        self.saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must know beside the weights."""
        return {"seconds": self.clock.seconds, "batches": len(self.source), "lowest": self.logbook.lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting from there."""
        self.clock.before = float(state_dict["seconds"])
        self.logbook.lowest = float(state_dict["lowest"])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Go on from the step of the checkpoint, or save the very first state so that there is one."""
        self.signals.listen()
        self._together(trainer)
        torch.set_num_threads(self.plan.threads or torch.get_num_threads())  # Lightning sets its own, with devices
        self.logbook.begin(trainer)
        self.source.n = trainer.global_step
        self.clock.started = time.monotonic()
        self.seconds = self.clock.seconds
        if trainer.global_step == 0:
            self.save(trainer, pl_module)

    def _together(self, trainer: lightning.Trainer) -> None:
        """Refuse to train where one process goes on from a checkpoint that another does not see."""
        if self.plan.world == 1:
            return
        step = float(trainer.global_step)
        at = torch.tensor([step, -step], device=trainer.strategy.root_device)
        last, first = trainer.strategy.reduce(at, reduce_op="max").tolist()
        if last != -first:
            raise UsageError(
                f"{self.run.folder} is at step {step:.0f} for this process and at another for others: it must be "
                "one folder that all machines see"
            )

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Make this step's randomness a function of the seed and the step, and set its learning rate."""
        step = trainer.global_step
        part = batch_idx % self.plan.accumulate
        seed = hashed(self.plan.seed, step * self.plan.accumulate + part, trainer.global_rank)
        seeded(seed, trainer.strategy.root_device)
        if self.plan.world == 1:
            self.seconds = self.clock.seconds
        done = self.clock.done(step, len(self.source), self.seconds)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self.plan.rate(step, done)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save now and then; stop where a signal or the clock says so."""
        step, part = divmod(batch_idx + 1, self.plan.accumulate)
        if part:
            return
        self.show(trainer)
        if step >= len(self.source):
            return  # the epoch's end does it
        self.logbook.after_step(trainer, pl_module, step)
        alone = self.plan.world == 1 and trainer.strategy.root_device.type == "cpu"  # and never waits to ask
        if not alone and step % COUNCIL and not self._numbered(trainer.global_step):
            return
        over, due = self.agreed(trainer, pl_module)
        if over:
            self.logbook.row(trainer, pl_module, held_out=True)
            trainer.should_stop = True
        if over or due:
            self.save(trainer, pl_module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Write the epoch's row; save if it is time or the last chance."""
        if trainer.should_stop:
            return  # stopped within the epoch, and saved there
        self.logbook.after_epoch(trainer, pl_module)
        over, due = self.agreed(trainer, pl_module)
        trainer.should_stop |= over or trainer.current_epoch + 1 == self.plan.epochs
        if trainer.should_stop or due:
            self.save(trainer, pl_module)

    def agreed(self, trainer: lightning.Trainer, module: Any) -> tuple[bool, bool]:
        """Whether training is over, and whether it is time to save, for all processes alike.

        Diverged where a loss is not a number, in any of them.
        """
        finite = module.finite is None or bool(module.finite)
        module.finite = None
        late = time.monotonic() - self.saved > 60 * self.plan.save_minutes
        said = [float(self.clock.over), late, not finite, self.clock.seconds, self.clock.signum]
        if self.plan.world > 1:
            at = torch.tensor(said, device=trainer.strategy.root_device)
            said = trainer.strategy.reduce(at, reduce_op="max").tolist()
        over, late, diverged, self.seconds = *map(bool, said[:3]), said[3]
        self.clock.signum = self.clock.signum or int(said[4])
        if diverged:
            raise Diverged(f"the loss stopped being a number by step {trainer.global_step}")
        return over, late or self._numbered(trainer.global_step)

    def _numbered(self, step: int) -> bool:
        """Whether a checkpoint is due after this very step."""
        return self.plan.save_steps is not None and step % self.plan.save_steps == 0

    def show(self, trainer: lightning.Trainer) -> None:
        """Tell whoever watches how far training is."""
        if self.progress is None:
            return
        rows = self.logbook.rows
        what = f"training, loss {rows[-1]['loss']:.4g}" if rows else "training"
        if self.plan.epochs is None:
            assert self.plan.minutes is not None
            self.progress(what, round(self.clock.seconds), round(60 * self.plan.minutes))
        else:
            self.progress(what, trainer.global_step, self.plan.epochs * len(self.source))

    def save(self, trainer: lightning.Trainer, module: Any) -> None:
        """Write best/, model/ and last.ckpt, each whole or as it was; Diverged where a weight is not a number.

        The checkpoint comes last: what it says is saved is saved, whenever the process is killed.
        """
        state = self.model.state_dict()
        if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
            raise Diverged(f"a weight stopped being a number by step {trainer.global_step}")
        if trainer.is_global_zero:
            copies = 6 if self.logbook.average else 5  # weights, Adam's two moments, model/, best/; the average
            self._room(copies * sum(tensor.nbytes for tensor in state.values()))
            self.logbook.flush()
            if self.logbook.best is not None:
                self.model.save(self.run.folder / "best", self.logbook.best)
            with self._shown(trainer, module):
                self.model.save(self.run.folder / "model")
        module.tally.share(lambda means: trainer.strategy.reduce(means, reduce_op="mean"))
        trainer.save_checkpoint(self.run.checkpoint)
        if trainer.is_global_zero:
            self._keep(trainer.global_step)
        self.logbook.best = None
        self.saved = time.monotonic()
        self.logbook.pace.pause()

    @contextmanager
    def _shown(self, trainer: lightning.Trainer, module: Any) -> Iterator[None]:
        """The average of the weights in their place, where there is one."""
        if self.logbook.average is None:
            yield
        else:
            with self.logbook.average.shown(trainer, module):
                yield

    def _room(self, size: int) -> None:
        """Refuse to begin what the disk has no room for."""
        free, needed = shutil.disk_usage(self.run.folder).free, ROOM * size
        if free < needed:
            raise CopyfoldError(
                f"{self.run.folder} has {free / 1e6:,.0f} MB free and a checkpoint needs {needed / 1e6:,.0f}: "
                "what was saved before is untouched; free some space and go on with --resume"
            )

    def _keep(self, step: int) -> None:
        """Keep this checkpoint beside those before it, as many as the plan says."""
        if self.plan.keep == 1:
            return
        folder = self.run.folder / "checkpoints"
        folder.mkdir(exist_ok=True)
        kept = folder / f"step-{step:09d}.ckpt"
        kept.unlink(missing_ok=True)
        os.link(self.run.checkpoint, kept)  # the next last.ckpt takes the name, and not the place, of this one
        for old in sorted(folder.glob("step-*.ckpt"))[: -self.plan.keep]:
            old.unlink()


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
            return torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except Exception as error:
            raise UsageError(f"{path} cannot be read ({error}); start anew with --overwrite") from error

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)
