"""Trainings: processes of their own, one at a time, in a queue on the disk that a killed studio finds again.

ROOT/.studio/NUMBER.json says what is to be trained: the words of the command, and once it was started the process,
with the moment that it began, so that another process of that number is not taken for it. Beside it stand .out and
.err, where the process writes to. The run itself is in its folder, as of any training.
"""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from copyfold.errors import CopyfoldError, UsageError
from copyfold.files import locked, write_text
from copyfold.studio.desk import environment, line

KEPT = 30
"""Trainings that have ended, of which the queue remembers how."""

WAITING = 20
PULSE = 0.5


@dataclass(frozen=True)
class Job:
    """A training that was asked for."""

    number: int
    run: str
    words: tuple[str, ...]
    process: int | None = None
    began: str = ""
    """When the process began, as the system counts."""
    stopped: bool = False
    """Whether it was asked to stop."""


class Trainings:
    """The queue of trainings below a root. One studio holds it at a time."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / ".studio"
        self._lock = threading.RLock()
        self._mine: dict[int, subprocess.Popen[bytes]] = {}
        self._closed = threading.Event()
        self._stack = ExitStack()
        try:
            self._stack.enter_context(locked(self.folder / ".lock"))
        except CopyfoldError:
            raise UsageError(f"another studio works in {root}: use that one, or give another --root") from None
        self._thread = threading.Thread(target=self._go_on, name="trainings", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the queue; what is being trained goes on."""
        self._closed.set()
        self._thread.join()
        self._stack.close()

    def jobs(self) -> list[Job]:
        """Every training in the queue and those that have ended, in their order."""
        found: list[Job] = []
        for file in self.folder.glob("*.json"):
            with suppress(OSError, ValueError, TypeError, KeyError):
                read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
                found.append(replace(Job(**read), words=tuple(map(str, read["words"]))))
        return sorted(found, key=lambda job: job.number)

    def add(self, run: str, words: Sequence[str]) -> Job:
        """Ask for a training; UsageError where the run is in the queue, CopyfoldError where that is full."""
        with self._lock:
            jobs = self.jobs()
            open_ = [job for job in jobs if self.state(job) in ("waiting", "running")]
            if any(job.run == run for job in open_):
                raise UsageError(f"{run} is in the queue already")
            if len(open_) > WAITING:
                raise CopyfoldError(f"queue full: {WAITING} trainings wait; stop one of them first")
            job = Job(max((job.number for job in jobs), default=0) + 1, run, tuple(words))
            self._write(job)
            self._forget([job for job in jobs if job not in open_][:-KEPT])
            return job

    def stop(self, run: str) -> str:
        """Have a training save and end, or take one that waits out of the queue; says which."""
        with self._lock:
            for job in self.jobs():
                if job.run == run and self.state(job) == "waiting":
                    self._forget([job])
                    return f"{run} is out of the queue"
                if job.run == run and self.state(job) == "running" and job.process:
                    self._write(replace(job, stopped=True))
                    os.kill(job.process, signal.SIGINT)
                    return f"{run} saves and stops"
        raise UsageError(f"{run} is not being trained")

    def state(self, job: Job) -> str:
        """waiting, running, done, stopped, or failed."""
        if job.process is None:
            return "waiting"
        if self._runs(job):
            return "running"
        if self.said(job, "out"):
            return "done"
        return "stopped" if job.stopped or not self.said(job, "err") else "failed"

    def said(self, job: Job, which: str) -> list[str]:
        """What the process of a training has written, to out or err: the last lines."""
        try:
            data = self._file(job, which).read_bytes()[-100_000:]
        except OSError:
            return []
        return data.decode("utf-8", "replace").splitlines()

    def _go_on(self) -> None:
        """Start the next training whenever none runs."""
        while not self._closed.wait(PULSE):
            with self._lock, suppress(OSError):
                states = [(self.state(job), job) for job in self.jobs()]
                if any(state == "running" for state, _ in states):
                    continue
                for state, job in states:
                    if state == "waiting":
                        self._start(job)
                        break

    def _start(self, job: Job) -> None:
        with self._file(job, "out").open("wb") as out, self._file(job, "err").open("wb") as err:
            process = subprocess.Popen(  # noqa: S603 - our own command; no shell reads the words
                line(job.words),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.root,
                env=environment(),
                start_new_session=True,  # so that it outlives the studio, and the terminal
            )
        self._mine[process.pid] = process
        self._write(replace(job, process=process.pid, began=_began(process.pid)))

    def _runs(self, job: Job) -> bool:
        assert job.process is not None
        if (mine := self._mine.get(job.process)) is not None:
            return mine.poll() is None
        return _began(job.process) == job.began != ""

    def _write(self, job: Job) -> None:
        write_text(self.folder / f"{job.number}.json", json.dumps(asdict(job)) + "\n")

    def _file(self, job: Job, which: str) -> Path:
        return self.folder / f"{job.number}.{which}"

    def _forget(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            for which in ("json", "out", "err"):
                self._file(job, which).unlink(missing_ok=True)


def _began(process: int) -> str:
    """When a process began, as the system says it; "" where there is none, or it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return _by_ps(process) if not Path("/proc/self").exists() else ""
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def _by_ps(process: int) -> str:
    """The same where there is no /proc."""
    asked = ["ps", "-o", "lstart=", "-p", str(process)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
