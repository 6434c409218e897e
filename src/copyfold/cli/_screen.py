"""Messages and progress bars, on stderr; no other module writes there."""

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

from copyfold.types import Progress

log = logging.getLogger("copyfold")

FIRST = not any(int(os.environ.get(name) or 0) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
"""Whether this is the first of the processes that train together: it alone shows messages and progress."""


@contextmanager
def messages() -> Generator[None]:
    """Show the messages that copyfold logs, one line each, on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    former = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO if FIRST else logging.ERROR)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(former)


@contextmanager
def progress() -> Generator[Progress]:
    """A progress bar for each kind of work, on stderr; nothing where stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, disable=not (FIRST and console.is_terminal), transient=True) as bars:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            kind = what.split(",")[0]
            if kind not in tasks:
                tasks[kind] = bars.add_task(what, total=total)
            bars.update(tasks[kind], description=what, completed=done, total=total)

        yield show
