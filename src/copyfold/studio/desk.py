"""Heavy work: one command at a time, each a process of its own, a few waiting, and the rest told to come back."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from copyfold.cli import _imports
from copyfold.errors import CopyfoldError

WAITING = 4
"""Actions that wait for the one that runs."""

LONGEST = 1800.0
"""Seconds after which a command is ended, so that the others get their turn."""

PAUSE = 0.4


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code, and the lines that it wrote to stdout and stderr."""

    code: int
    out: list[str]
    err: list[str]

    @property
    def files(self) -> list[Path]:
        """The files that it says it has made."""
        return [Path(line) for line in self.out if "\t" not in line and Path(line).is_file()]

    @property
    def message(self) -> str:
        """What a person is told: what went wrong, or the last of what it said."""
        said = [line.removeprefix("copyfold: ") for line in self.err if line.startswith("copyfold: ")]
        if self.code:
            return said[-1] if said else self.err[-1] if self.err else f"it ended with exit code {self.code}"
        return "  \n".join(self.err[-3:])


class Desk:
    """One command at a time; those that wait are told how many are before them."""

    def __init__(self, folder: Path, waiting: int = WAITING) -> None:
        self.folder, self.waiting = folder, waiting
        self._tickets: list[object] = []
        self._lock = threading.Lock()

    def work(self, words: Sequence[str]) -> Generator["str | Done"]:
        """Run `copyfold WORDS` in the root: yield what it does as sentences, at last how it ended.

        CopyfoldError where too many wait. The process ends with the generator.
        """
        with self._turn() as ticket:
            yield from self._before(ticket)
            yield from _running(words, self.folder)

    @contextmanager
    def _turn(self) -> Generator[object]:
        ticket = object()
        with self._lock:
            if len(self._tickets) > self.waiting:
                raise CopyfoldError(
                    f"queue full: one action is running and {self.waiting} wait for it; try again in a minute"
                )
            self._tickets.append(ticket)
        try:
            yield ticket
        finally:
            with self._lock:
                self._tickets.remove(ticket)

    def _before(self, ticket: object) -> Iterator[str]:
        """Wait for one's turn."""
        while True:
            with self._lock:
                before = self._tickets.index(ticket)
            if not before:
                return
            yield f"waiting: {before} {'action is' if before == 1 else 'actions are'} before this one"
            time.sleep(PAUSE)


def environment() -> dict[str, str]:
    """What a command's process is told: nothing leaves the machine, and what can be imported here can be there."""
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}


def line(words: Sequence[str]) -> list[str]:
    """The command as a process."""
    return [sys.executable, "-m", "copyfold", *words, *imports()]


def imports() -> list[str]:
    """The words that import what --import was given to the studio."""
    return [f"{_imports.FLAG}={name}" for name in _imports.given]


def _running(words: Sequence[str], folder: Path) -> Iterator["str | Done"]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(  # noqa: S603 - our own command; no shell reads the words
            line(words), stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=environment()
        )
        began = time.monotonic()
        try:
            while process.poll() is None:
                if time.monotonic() - began > LONGEST:
                    raise CopyfoldError(f"stopped after {LONGEST / 60:.0f} minutes: run it in a terminal instead")
                said = _lines(err)
                yield said[-1] if said else f"working: {time.monotonic() - began:.0f} s"
                time.sleep(PAUSE)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        yield Done(process.returncode, _lines(out), _lines(err))


def _lines(file: IO[bytes]) -> list[str]:
    """The lines that a process has written so far; the last million bytes at most."""
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, 1_000_000, max(0, size - 1_000_000))
    return data.decode("utf-8", "replace").splitlines()
