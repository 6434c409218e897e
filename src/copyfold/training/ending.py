"""When a training ends: its clock, signals, and what all of its processes agree on."""

import signal
import threading
import time
from dataclasses import dataclass, field
from types import FrameType

from copyfold import runs
from copyfold.training.plan import Plan


class Stopped(KeyboardInterrupt):
    """A signal asked training to stop, and everything was saved first. `exit_code` is 128 + the signal."""

    def __init__(self, signum: int, run: runs.Run) -> None:
        self.exit_code = 128 + signum
        super().__init__(f"stopped by {signal.Signals(signum).name}; {run.folder} is saved, go on with --resume")


@dataclass
class Clock:
    """Seconds of training, those before a resume counted in; and the signal that came, if any."""

    plan: Plan
    before: float = 0.0
    signum: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.before + time.monotonic() - self.started

    @property
    def over(self) -> bool:
        """Whether a signal came or the minutes are spent."""
        return bool(self.signum) or (self.plan.minutes is not None and self.seconds >= 60 * self.plan.minutes)

    def done(self, step: int, steps: int, seconds: float) -> float:
        """The share of the plan that is behind a step, of `steps` an epoch; by the clock where it has minutes."""
        epochs = step / (self.plan.epochs * steps) if self.plan.epochs else 0.0
        return max(epochs, seconds / 60 / self.plan.minutes if self.plan.minutes else 0.0)


class Signals:
    """Lets the first SIGINT or SIGTERM end training after this step; a second one is not held back."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.former = clock, {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self.former = {int(s): signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        self.listen()

    def __exit__(self, *_: object) -> None:
        for signum, handler in self.former.items():
            signal.signal(signum, handler)

    def listen(self) -> None:
        """Let both signals be noted; again after Lightning took them, whose way with SIGTERM saves nothing."""
        for signum in self.former:
            signal.signal(signum, self.note)

    def note(self, signum: int, frame: FrameType | None) -> None:
        """Remember the signal, for training to end by it."""
        self.clock.signum = signum
        signal.signal(signum, self.former[signum])
