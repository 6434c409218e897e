"""Messages of the logger `copyfold` and progress bars, on stderr."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from copyfold.screen import FIRST, say
from copyfold.screen import drawn as progress

__all__ = ["log", "messages", "progress"]

log = logging.getLogger("copyfold")


class _Messages(logging.Handler):
    """Writes to the current `sys.stderr`, which rich replaces while a bar is shown: lines stay above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        say(self.format(record))


@contextmanager
def messages() -> Generator[None]:
    """Show the messages that copyfold logs, one line each, on stderr."""
    handler = _Messages()
    former = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO if FIRST else logging.ERROR)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(former)
