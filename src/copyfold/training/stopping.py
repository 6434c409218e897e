"""The end of training: its clock, signals, and the agreement of all processes."""

import signal
import threading
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

import torch

from copyfold import runs
from copyfold.errors import options
from copyfold.training.plan import Plan

if TYPE_CHECKING:
    from lightning_fabric import Fabric


HALF = 0.5  # before it, a slow start would change the bits of a training that ends in time


class Stopped(KeyboardInterrupt):
    """A signal asked training to stop, and everything was saved first. `exit_code` is 128 + the signal."""

    def __init__(self, signum: int, run: runs.Run) -> None:
        self.exit_code = 128 + signum
        super().__init__(
            f"stopped by {signal.Signals(signum).name}; {run.folder} is "
            f"saved: continue with {options(run=str(run.folder), resume=True)}"
        )


@dataclass
class Clock:
    """Seconds of training, those before a resume counted in; and the signal that came, if any."""

    minutes: float | None
    """The minutes at which it ends training."""
    before: float = 0.0
    """Seconds before this process began."""
    agreed: float = 0.0
    """Seconds as all processes agreed on last."""
    signum: int = 0
    stopped: bool = False
    """Whether a callback asked for the end."""
    started: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        """Count from now on."""
        self.started, self.agreed = time.monotonic(), self.before

    def done(self, step: int, plan: Plan, length: int) -> float:
        """The share of a plan that is behind a step, of `length` an epoch.

        By the clock where the plan has minutes and no steps. A plan of steps is the same on every machine that is
        fast enough; where more than half of its limit is spent and the clock is ahead, that leads, so that a
        schedule ends before the limit does.
        """
        last = plan.last(length)
        steps = step / last if last else 0.0
        if plan.limit is None:
            return steps
        spent = (self.seconds if plan.world == 1 else self.agreed) / 60 / plan.limit
        return max(steps, spent if plan.steps is None or spent > HALF else 0.0)

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.before + time.monotonic() - self.started

    @property
    def over(self) -> bool:
        """Whether a signal came, a callback asked for it, or the minutes are spent."""
        spent = self.minutes is not None and self.seconds >= 60 * self.minutes
        return bool(self.signum) or self.stopped or spent


class Signals:
    """Lets the first SIGINT, SIGTERM or SIGHUP end training after this step; a second one is not held back.

    SIGHUP stays ignored where it is, as under nohup.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock, self.former = clock, {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            held = [signal.SIGINT, signal.SIGTERM]
            hangup = getattr(signal, "SIGHUP", None)  # Windows has none
            if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
                held.append(hangup)
            self.former = {int(s): signal.signal(s, self.note) for s in held}

    def __exit__(self, *_: object) -> None:
        for signum, handler in self.former.items():
            signal.signal(signum, handler)

    def note(self, signum: int, frame: FrameType | None) -> None:
        """Remember the signal, for training to end by it."""
        self.clock.signum = signum
        signal.signal(signum, self.former[signum])


class Agreement(NamedTuple):
    """What holds for all processes alike."""

    over: bool
    """A signal came to one of them, a callback stopped training, or the minutes are spent."""
    due: bool
    """A checkpoint is due."""
    diverged: bool
    """A loss was NaN or infinite in one of them."""
    signum: int
    """The signal that came to one of them, if any."""


def agree(fabric: "Fabric", clock: Clock, due: bool, finite: bool) -> Agreement:
    """Take the maxima over all processes; the clock gets the agreed seconds and the signal of any process."""
    said = [float(clock.over), float(due), float(not finite), clock.seconds, float(clock.signum)]
    if fabric.world_size > 1:
        said = fabric.all_reduce(torch.tensor(said, device=fabric.device), reduce_op="max").tolist()  # type: ignore[union-attr]
    clock.agreed, clock.signum = said[3], clock.signum or int(said[4])
    return Agreement(bool(said[0]), bool(said[1]), bool(said[2]), int(said[4]))
