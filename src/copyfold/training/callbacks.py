"""Callbacks: a user's functions, called during training."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from typing import Any, Literal, TypeAlias

from copyfold.errors import CopyfoldError, UsageError, option
from copyfold.probes.base import still
from copyfold.runs import Run
from copyfold.training.state import TrainState

Event: TypeAlias = Literal["step", "epoch", "save", "end"]
"""After every step, after an epoch and its row of the log, after a checkpoint, and at the end of training."""

Callback: TypeAlias = Callable[[Event, TrainState], object]
"""Called as callback(event, state); `state.stop()` ends training after the step."""


def check(callbacks: Sequence[Callback]) -> None:
    """UsageError for what is no list of functions."""
    if callable(callbacks):
        raise UsageError(f"callbacks={callbacks!r} is invalid: expected a list of functions, callbacks=[f]")
    for callback in callbacks:
        if not callable(callback):
            raise UsageError(f"callbacks has {callback!r}: expected functions, called as callback(event, state)")


class Callbacks:
    """Calls functions with the state of training: in the first of several processes, with models in eval mode.

    Training goes on as without them: modes are restored, gradients are dropped, and every step seeds its own
    random numbers. What a callback changes itself, such as weights, a resumed run does not repeat.
    """

    def __init__(self, functions: Sequence[Callback], state: TrainState, run: Run) -> None:
        self.functions, self.state, self.run = functions, state, run

    def stepped(self, ended: bool) -> None:
        """Call them after a step, and again where an epoch ended with it."""
        if ended:
            self("step", "epoch")
        else:
            self("step")

    def __call__(self, *events: Event) -> None:
        """Call them with each event, in their order; CopyfoldError where one fails, with nothing saved for it."""
        if not self.functions:
            return
        for event, function in product(events, self.functions):
            with ExitStack() as stack:
                for model in {self.state.model, self.state.shown}:
                    stack.enter_context(still(model, model.statistics))
                stack.enter_context(named(f"the callback {_name(function)}", self.state, self.run))
                function(event, self.state)
        self.state.optimizer.zero_grad()


@contextmanager
def named(what: str, state: TrainState, run: Run) -> Generator[None]:
    """Turn an exception within a with-block into an error that names `what`, the step, and how to go on."""
    try:
        yield
    except Exception as error:  # whatever a person's own code raises
        said = (str(error).splitlines() or [""])[0]
        raise CopyfoldError(
            f"{what} failed at step {state.step}: {type(error).__name__}: {said}; {run.folder} keeps the last "
            f"checkpoint: correct it, and go on with {option('resume', True)}"
        ) from error


def _name(function: Any) -> str:
    """What a function is called, or the class of an object that can be called."""
    return getattr(function, "__qualname__", type(function).__name__)
