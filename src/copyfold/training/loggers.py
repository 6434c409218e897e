"""Rows of the log and reconstructions, sent to TensorBoard or to a logger with Lightning's interface."""

import importlib.util
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, Protocol, TypeAlias

import torch

from copyfold import pictures
from copyfold.errors import UsageError
from copyfold.runs import Row, Run
from copyfold.training.callbacks import named
from copyfold.training.state import TrainState
from copyfold.types import Images


class Logger(Protocol):
    """The least that a logger must have; Lightning's loggers do.

    Where it has these too, `log_hyperparams(params)` is called once with the recipe, `save()` with every
    checkpoint, `finalize(status)` at the end, with "success", "failed", or "aborted" by a signal, and
    `experiment.add_image(tag, picture, step, dataformats="HWC")` with pictures, as TensorBoard's writer has it.
    """

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> Any:
        """Take numbers by name at a step."""
        ...


Log: TypeAlias = Literal["tensorboard"] | Logger


def check(log: Log | None) -> None:
    """Refuse what is no logger, and TensorBoard where it is not installed."""
    if log is None:
        return
    if isinstance(log, str):
        if log != "tensorboard":
            raise UsageError(f"log={log!r} is invalid: expected tensorboard, or a logger with log_metrics")
        if importlib.util.find_spec("tensorboard") is None:
            raise UsageError("log='tensorboard' needs TensorBoard: pip install copyfold[tensorboard]")
    elif isinstance(log, type) or not callable(getattr(log, "log_metrics", None)):
        raise UsageError(f"log={log!r} is invalid: expected tensorboard, or a logger with log_metrics")


class Sent:
    """Sends rows and pictures to a logger, if there is one: from the first process alone."""

    def __init__(self, log: Log | None, state: TrainState, run: Run) -> None:
        self.state, self.run = state, run
        self.logger: Any = _tensorboard(run, state.step) if isinstance(log, str) else log
        self.what = f"the logger {type(self.logger).__name__}"

    @property
    def takes_pictures(self) -> bool:
        """Whether the logger shows pictures."""
        with named(self.what, self.state, self.run):  # a logger may connect to its server only here
            return callable(getattr(getattr(self.logger, "experiment", None), "add_image", None))

    def recipe(self, recipe: Mapping[str, Any]) -> None:
        """Send every choice that makes the run."""
        with named(self.what, self.state, self.run), suppress(NotImplementedError):  # as Lightning's CSVLogger
            self._call("log_hyperparams", dict(recipe))

    def row(self, row: Row) -> None:
        """Send a row of the log."""
        numbers = {name: value for name, value in row.items() if name != "step"}
        if self.logger is not None:
            with named(self.what, self.state, self.run):
                self.logger.log_metrics(numbers, step=int(row["step"]))

    def reconstructions(self, x: Images, y: Images) -> None:
        """Send images, and under each what the model makes of it."""
        with named(self.what, self.state, self.run):
            picture = pictures.grid(torch.cat([x, y]).float(), columns=len(x))
            self.logger.experiment.add_image("held_out", picture, self.state.step, dataformats="HWC")

    def save(self) -> None:
        """Write everything to the disk."""
        with named(self.what, self.state, self.run):
            self._call("save")

    @contextmanager
    def finalized(self) -> Generator[None]:
        """Finalize the logger after a with-block, with how it ended."""
        try:
            yield
        except BaseException:
            with suppress(Exception):  # the first error is the one to report
                self._call("finalize", "failed")
            raise
        with named(self.what, self.state, self.run):
            self._call("finalize", "aborted" if self.state.clock.signum else "success")

    def _call(self, name: str, *arguments: Any) -> None:
        """Call a method of the logger, where it has it."""
        if (method := getattr(self.logger, name, None)) is not None:
            method(*arguments)


def _tensorboard(run: Run, step: int) -> Any:
    """Lightning's logger, in the run's folder; rows after this step, of an earlier process, are dropped."""
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    return TensorBoardLogger(
        run.folder, name="tensorboard", version="", default_hp_metric=False, purge_step=step + 1 if step else None
    )
