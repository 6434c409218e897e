"""Progress, drawn: the only module below the command line that knows of a screen, and the only door to rich.

A bar on a terminal and in a notebook; elsewhere, as in a log file, a plain line now and then. All on stderr.
"""

import html
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from copyfold.types import Progress

FIRST = not any(os.environ.get(name, "").strip("0").isdecimal() for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
"""Of several processes that train together, one speaks: the one whose numbers are 0, or none."""

DRAWN = 0.1  # seconds from one drawing of a bar to the next
MOMENT = 0.5  # seconds that work takes before a bar is worth drawing
BAR = 28  # characters of a line for the bar itself, the count and the time left, at least
LINE = 60.0  # seconds from one line to the next, at least


def say(line: str) -> None:
    """Write a line to stderr, as it is now; one that is full or was closed loses the line, and ends no work."""
    if sys.stderr is not None:  # print would take stdout then
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)


@contextmanager
def told(progress: Progress | bool | None, stays: bool = False) -> Generator[Progress | None]:
    """What the argument `progress` of a function means: whom to tell.

    A callable is told itself. None draws a bar where a person sees one, on a terminal or in a notebook, and
    nothing elsewhere; True draws a bar, or elsewhere lines; False draws nothing. Where a bar does not stay it is
    drawn only if the work takes longer than a moment.
    """
    if callable(progress):
        yield progress
    elif progress or (progress is None and (_notebook() or _terminal())):
        with ExitStack() as stack:
            yield stack.enter_context(drawn(stays)) if stays else _later(stack)
    else:
        yield None


@contextmanager
def drawn(stays: bool = False) -> Generator[Progress]:
    """Draw what is told: a bar for every kind of work, or `Lines`; nothing in other processes than the first.

    The bars are gone at the end, unless each `stays`.
    """
    if not FIRST:
        yield _nothing
    elif _notebook():
        bars = _Notebook()
        try:
            yield bars
        finally:
            if not stays:
                bars.clear()
    elif _terminal() and (bars := _bars(stays)) is not None:
        with bars:
            yield _throttled(_on(bars))
    else:
        yield Lines()


class Lines:
    """A plain line on stderr, at most one a minute; of work that has epochs where one ends, or after two minutes.

    `reading images: 5,000 of 20,000, 1:02, 3:06 left`: the time since the work began, and the time that is left
    at the pace so far, in minutes and seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now, self.last = now, now()
        self.pace = _Pace()
        self.epoch: int | None = None

    def __call__(self, what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Write a line if it is time for one."""
        now = self.now()
        times = self.pace(what, done, total, now)
        rest = LINE
        if "epoch" in numbers:
            epoch = int(numbers["epoch"])
            within, self.epoch = epoch == (epoch if self.epoch is None else self.epoch), epoch
            rest = 2 * LINE if within else LINE
        if now - self.last < rest:
            return
        self.last = now
        say(f"{what}: {', '.join([f'{done:,} of {total:,}', *_parts(numbers), *times])}")


class _Pace:
    """How long each kind of work takes; it begins anew where less is done than before, or the whole differs."""

    def __init__(self) -> None:
        self.begun: dict[str, tuple[float, int]] = {}
        self.seen: dict[str, tuple[int, int]] = {}

    def __call__(self, what: str, done: int, total: int, now: float) -> list[str]:
        """The time since it began, and the time that is left at the pace so far, once there is one."""
        before = self.seen.get(what, (0, total))
        if what not in self.begun or done < before[0] or total != before[1]:
            self.begun[what] = now, done
        self.seen[what] = done, total
        since, first = self.begun[what]
        passed = now - since
        left = [f"{_clock(passed * (total - done) / (done - first))} left"] if done > first else []
        return [_clock(passed), *left]


class _Notebook:
    """A bar for every kind of work in the output of a notebook's cell, which needs no widgets."""

    def __init__(self) -> None:
        self.bars: dict[str, Any] = {}
        self.pace = _Pace()
        self.last = 0.0

    def __call__(self, what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Draw it again, a few times a second."""
        from IPython.display import HTML, display  # pyright: ignore[reportMissingImports]

        now = time.monotonic()
        times = self.pace(what, done, total, now)
        if what in self.bars and done < total and now - self.last < 2 * DRAWN:
            return
        self.last = now
        said = ", ".join([f"{done:,} of {total:,}", *_parts(numbers), *times])
        whole = f'<progress value="{done}" max="{total}"></progress>'
        drawing = HTML(f"{html.escape(what)} {whole} {html.escape(said)}")
        if what in self.bars:
            self.bars[what].update(drawing)
        else:
            self.bars[what] = display(drawing, display_id=True)

    def clear(self) -> None:
        """Leave nothing of the bars."""
        from IPython.display import HTML  # pyright: ignore[reportMissingImports]

        for bar in self.bars.values():
            bar.update(HTML(""))


def _later(stack: ExitStack) -> Progress:
    """Draw, into a stack, only once the work has taken a moment: most of it has not."""
    began, shown = time.monotonic(), None

    def tell(what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        nonlocal shown
        if shown is None and time.monotonic() - began >= MOMENT:
            shown = stack.enter_context(drawn())
        if shown is not None:
            shown(what, done, total, numbers)

    return tell


def _notebook() -> bool:
    """Whether this is a notebook, whose shell has a kernel; IPython is not imported for it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _terminal() -> bool:
    """Whether stderr is a terminal; it may be None, where a program has no console."""
    return bool(sys.stderr and sys.stderr.isatty())


def _bars(stays: bool) -> Any:
    """Bars of rich's, or None where it is not installed: training an array can do without."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
    except ModuleNotFoundError:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Bars(*columns, TextColumn("{task.fields[said]}"), console=Console(stderr=True), transient=not stays)


def _on(bars: Any) -> Progress:
    """Draw on rich's bars."""
    tasks: dict[str, Any] = {}
    seen: dict[str, int] = {}

    def show(what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total, said="")
        elif done < seen[what]:  # another work of this kind
            bars.reset(tasks[what])
        seen[what] = done
        parts = _parts(numbers)
        while parts and len(", ".join(parts)) > bars.console.width - len(what) - BAR:
            del parts[0]  # the loss comes last
        bars.update(tasks[what], completed=done, total=total, said=", ".join(parts))

    return show


def _throttled(show: Progress) -> Progress:
    """Pass on the first of each kind of work, the last, and between them a few a second: a step takes less."""
    last: dict[str, float] = {}

    def throttled(what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        now = time.monotonic()
        if done >= total or now - last.get(what, 0.0) >= DRAWN:
            last[what] = now
            show(what, done, total, numbers)

    return throttled


def _nothing(what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
    """Draw nothing."""


def _parts(numbers: Mapping[str, float]) -> list[str]:
    """The numbers as words: `loss 12.3`, `held-out mse 0.012`."""
    words = {name: name.replace("held_out", "held-out").replace("_", " ") for name in numbers}
    return [f"{words[name]} {_plain(value)}" for name, value in numbers.items()]


def _plain(value: float) -> str:
    """A number in few digits; a whole one with all of its own."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def _clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
