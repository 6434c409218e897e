"""What a command says on stderr: the messages of the logger `copyfold`, and progress."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager

from copyfold.screen import FIRST
from copyfold.screen import drawn as progress

__all__ = ["log", "messages", "progress"]

log = logging.getLogger("copyfold")


class _Said(logging.Handler):
    """Writes to stderr as it is at the time: while there is a bar, above that."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def messages() -> Generator[None]:
    """Show what copyfold logs, a line each, on stderr."""
    handler = _Said()
    former = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO if FIRST else logging.ERROR)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(former)
