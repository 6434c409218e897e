"""Checkpoints, written atomically, and the models that are saved with them."""

import logging
import math
import os
import shlex
import shutil
import time
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from copyfold import runs
from copyfold.errors import LARGEST, CopyfoldError, Diverged, UsageError, option
from copyfold.files import binary, reason, written
from copyfold.models.base import Autoencoder
from copyfold.training.early_stopping import EarlyStopping
from copyfold.training.metrics_log import MetricsLog
from copyfold.training.optimizer_state import Unfit, check_optimizer, is_plain
from copyfold.training.plan import Plan, optimizer_of
from copyfold.training.running_averages import RunningAverages
from copyfold.training.state import TrainState
from copyfold.training.unpickling import check_pickle

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger("copyfold")

PARTS: dict[str, Any] = {
    "global_step": int,
    "seconds": (int, float),
    "lowest": (int, float),
    "batches": int,
    "state_dict": dict,
    "optimizer_states": list,
    "optimizer_settings": list,
    "average": (dict, type(None)),
    "early_stopping": (dict, type(None)),
    "tally": dict,
    "precision": (dict, type(None)),
}
"""What a checkpoint has, and of which types."""

SPACE = 1.1  # times the size of what is saved must be free on the disk


class Checkpoints:
    """Saves a training: last.ckpt, those before it, model/ and best/."""

    def __init__(
        self,
        run: runs.Run,
        state: TrainState,
        averages: RunningAverages,
        plan: Plan,
        fabric: "Fabric",
        log: MetricsLog,
        batches: int,
    ) -> None:
        self.run, self.state, self.averages, self.plan = run, state, averages, plan
        self.fabric, self.log = fabric, log
        self.batches = batches  # in an epoch
        self.saved, self.saved_step = time.monotonic(), state.step

    @property
    def due(self) -> bool:
        """Whether `save_minutes` have passed since the last checkpoint."""
        return time.monotonic() - self.saved > 60 * self.plan.save_minutes

    def save(self, final: bool = False) -> None:
        """Write best/, model/ and last.ckpt atomically; Diverged where a weight is NaN or infinite.

        model/ has running averages estimated again, of a share of what was trained on since the last time, or of
        all of it where this is the `final` one; last.ckpt has those of training.

        The checkpoint is written last, so that what it refers to is on the disk whenever the process is killed.
        """
        state = self.state
        weights = state.model.state_dict()
        if not state.finite:
            raise Diverged(f"a weight became NaN or infinite by step {state.step}")
        sums = state.tally.gathered(self.fabric)
        if self.fabric.is_global_zero:
            copies = 5 + (state.average is not None)  # weights, the optimiser's two moments, model/, best/
            self._require_space(copies * sum(tensor.nbytes for tensor in weights.values()))
            self.log.flush()
            self.log.sent.save()
            if self.log.best is not None:
                state.model.save(self.run.folder / "best", self.log.best)
            steps = state.step - (0 if final else self.saved_step)
            with self.averages.estimated(state.shown, steps * self.plan.batch, final):
                state.shown.save(self.run.folder / "model")
            scale = self.fabric.strategy.precision.state_dict()  # of the loss, in float16
            tally = {"sums": sums, "counts": state.tally.counts}
            _write(self.run, state.state_dict() | {"tally": tally, "batches": self.batches, "precision": scale})
            self._keep()
        self.fabric.barrier()
        self.log.best = None
        self.saved, self.saved_step = time.monotonic(), state.step
        self.log.pace.pause()

    def _require_space(self, size: int) -> None:
        """CopyfoldError where the disk has not enough space for `size` bytes."""
        free, needed = shutil.disk_usage(self.run.folder).free, SPACE * size
        if free < needed:
            raise CopyfoldError(
                f"{self.run.folder} has {free / 1e6:,.0f} MB free and a checkpoint needs {needed / 1e6:,.0f}: "
                f"the last checkpoint is unchanged; free some space and continue with {option('resume', True)}"
            )

    def _keep(self) -> None:
        """Keep this checkpoint beside those before it, as many as the plan says."""
        if self.plan.keep == 1:
            return
        folder = self.run.folder / "checkpoints"
        folder.mkdir(exist_ok=True)
        kept = folder / f"step-{self.state.step:09d}.ckpt"
        kept.unlink(missing_ok=True)
        os.link(self.run.checkpoint, kept)  # the next last.ckpt replaces the name, not the data, of this one
        for old in sorted(folder.glob("step-*.ckpt"))[: -self.plan.keep]:
            old.unlink()


def _write(run: runs.Run, checkpoint: dict[str, Any]) -> None:
    """Write beside last.ckpt, flush, rename."""
    try:
        with written(run.checkpoint) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)
    except RuntimeError as error:  # torch hides the disk's error
        raise CopyfoldError(
            f"cannot write {run.checkpoint}: {error}; the checkpoint before it is unchanged; free some space and "
            f"continue with {option('resume', True)}"
        ) from error


def read(run: runs.Run, model: Autoencoder, plan: Plan, batches: int) -> dict[str, Any]:
    """The checkpoint of a run, plain types and tensors only; its weights are loaded into the model.

    UsageError where training cannot continue from it: damaged, of another model, or of other epochs.
    """
    path = run.checkpoint
    try:
        kept = _loaded(path)
    except Unfit as error:
        raise UsageError(f"{path} {error}: {_instead(run)}") from None
    try:
        weights = {k.removeprefix("model."): v for k, v in kept["state_dict"].items()}
        if other := _other_dtype(weights, model.state_dict()):
            raise UsageError(f"{path} has {other}: {_instead(run)}")
        model.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError):
        raise UsageError(
            f"{path} is of another model: leave out {option('model')} to continue "
            f"with it, or start again with {option('overwrite', True)}"
        ) from None
    if (expected := kept["batches"]) != batches:
        raise UsageError(
            f"{path} is of epochs of {expected} batches, and these images make {batches}: continue with the same "
            f"{option('batch')}, or start again with {option('overwrite', True)}"
        )
    if (averaged := kept["average"] is not None) != (plan.average is not None):
        raise UsageError(
            f"{path} has {'an' if averaged else 'no'} average of the weights: continue "
            f"{'with' if averaged else 'without'} {option('average')}, "
            f"or start again with {option('overwrite', True)}"
        )
    if averaged and not _averages(kept["average"], model):
        raise UsageError(f"{path} has an average of other weights: {_instead(run)}")
    return kept


def check_state(run: runs.Run, kept: dict[str, Any], model: Autoencoder, plan: Plan) -> None:
    """UsageError where what a checkpoint's optimiser remembers does not fit the weights; see `check_optimizer`."""

    own: Any = run.recipe.get("optimizer") if (run.folder / "recipe.yaml").is_file() else None
    name = str(own.get("class_path", "")) if isinstance(own, dict) else ""

    def check(kept: dict[str, Any]) -> None:
        check_optimizer(optimizer_of(model, plan), kept["optimizer_states"][0], kept["optimizer_settings"], name)

    try:
        check(kept)
    except Unfit as error:
        raise UsageError(f"{run.checkpoint} {error}: {_instead(run, check)}") from None


def _instead(run: runs.Run, usable: Callable[[dict[str, Any]], object] = bool) -> str:
    """What to do where last.ckpt cannot be used: the newest of those kept beside it that can be, if there is one.

    `usable` raises Unfit where one that can be read cannot be used.
    """
    for kept in sorted((run.folder / "checkpoints").glob("step-*.ckpt"), reverse=True):
        try:
            usable(_loaded(kept))
        except Unfit:
            continue
        words = shlex.join(["cp", str(kept), str(run.checkpoint)])
        again = option("resume", True)
        return f"continue from the newest of its checkpoints/ that is whole: {words}, then {again} again"
    return (
        f"train a new run with the weights of its model/, by fit(cf.load({str(run.folder)!r}), photos=...) in "
        f"Python, or start again with {option('overwrite', True)}"
    )


def _loaded(path: Path) -> dict[str, Any]:
    """A checkpoint whose parts are of the right types; Unfit where it is none."""
    try:
        with binary(path) as file:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
            if sum(m.file_size for m in members) > path.stat().st_size or any(m.compress_type for m in members):
                raise Unfit("is compressed, and may be larger than the memory: torch.save compresses nothing")
            check_pickle(file)
            kept: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Unfit:
        raise
    except Exception as error:  # whatever a damaged file raises
        empty = path.is_file() and not path.stat().st_size
        why = "it is empty" if empty else reason(error).partition("\n")[0] or type(error).__name__
        raise Unfit(f"cannot be read ({why})") from None
    try:
        if missing := PARTS.keys() - kept.keys():
            raise Unfit(f"is not a checkpoint of copyfold, it has no {min(missing)}")
        wrong = [name for name, kinds in PARTS.items() if not isinstance(kept[name], kinds)]
        sums, counts, stopping = kept["tally"]["sums"], kept["tally"]["counts"], kept["early_stopping"] or {}
        if sums.keys() != counts.keys() or not _sums(list(sums.values())):
            wrong.append("tally")
        positive = [kept["global_step"], kept["seconds"], *counts.values()]
        numbers = [*positive, kept["batches"], kept["lowest"], *stopping.values()]
        if not all(map(_storable, numbers)) or not all(0 <= number < math.inf for number in positive):
            wrong.append("one of the numbers")
        elif not all(counts.values()):
            wrong.append("tally")
        if not stopping.keys() <= {field.name for field in fields(EarlyStopping)}:
            wrong.append("early_stopping")
        if wrong or len(kept["optimizer_states"]) != 1:
            raise Unfit(
                f"is not a checkpoint of copyfold: {', '.join(wrong) or 'optimizer_states'} is something else"
            )
    except (AttributeError, KeyError, TypeError):
        raise Unfit("is not a checkpoint of copyfold") from None
    return kept


def _storable(value: Any) -> bool:
    """Whether it is a number, infinite or one that 64 bits hold."""
    if isinstance(value, int):
        return abs(value) <= LARGEST
    return isinstance(value, float) and not math.isnan(value)


def _sums(values: list[Any]) -> bool:
    """Whether they are sums of a tally: one real number each, or one each of every process, all of them stored."""
    plain = all(
        is_plain(value)
        and value.dim() <= 1
        and not value.is_complex()
        and value.nbytes <= value.untyped_storage().nbytes()  # a stride of 0 makes one number many
        for value in values
    )
    counts = {value.numel() for value in values} if plain else set[int]()
    return plain and len(counts) <= 1 and 0 not in counts


def _other_dtype(weights: dict[str, Any], expected: dict[str, Any]) -> str:
    """The first of some weights that is of another type than it should be, in words; "" where none is."""
    for name, wanted in expected.items():
        value = weights.get(name, wanted)
        if isinstance(wanted, Tensor) and not (is_plain(value) and value.dtype == wanted.dtype):
            found = value.dtype if isinstance(value, Tensor) else type(value).__name__
            return f"{name[:40]} as {found}, and not as {wanted.dtype}"
    return ""


def _averages(kept: dict[str, Any], model: Autoencoder) -> bool:
    """Whether averaged weights are of this model."""
    expected: dict[str, Any] = {f"module.{name}": value for name, value in model.state_dict().items()}
    expected["n_averaged"] = torch.zeros((), dtype=torch.long)
    if kept.keys() != expected.keys() or _other_dtype(kept, expected):
        return False
    return all(kept[name].shape == value.shape for name, value in expected.items() if isinstance(value, Tensor))


def finished(run: runs.Run, kept: dict[str, Any], plan: Plan, batches: int) -> bool:
    """Whether a checkpoint is already at the end of the plan; if so, log it."""
    ends = {
        "epochs": (kept["global_step"] / batches, plan.epochs),
        "steps": (kept["global_step"], plan.steps),
        "minutes": (kept["seconds"] / 60, plan.limit),
        "patience": ((kept["early_stopping"] or {}).get("waited", 0), plan.patience),
    }
    for name, (done, planned) in ends.items():
        if planned is not None and done >= planned:
            more = f"{option(name)} than {getattr(plan, name):g}"
            if name == "steps" and plan.minutes is not None:  # on the command line more steps come with them
                more = f"{option('minutes')} than {plan.minutes:g}, or {more},"
            log.info("%s is finished already: give more %s to continue", run.folder, more)
            return True
    return False
