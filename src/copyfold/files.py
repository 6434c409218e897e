"""Atomic writes: every file is written under a temporary name, flushed to the disk, then renamed."""

import errno
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from copyfold.errors import CopyfoldError

log = logging.getLogger("copyfold")


@contextmanager
def written(path: str | Path) -> Generator[Path]:
    """Yield a temporary path to write to; it is renamed to `path` when the block ends without an error.

    The temporary file is in the same folder and has the same suffix. After an error it is deleted, and a file
    that already had the name `path` is unchanged. Raises CopyfoldError where the disk reports an error.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)  # some libraries write for the owner alone
        temporary.replace(path)
    except OSError as error:
        advice = "free some space and continue with --resume" if error.errno in _FULL else "choose another path"
        raise CopyfoldError(
            f"cannot write {path}: {error.strerror or error}; the file that was there is unchanged; {advice}"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def sweep(folder: str | Path) -> None:
    """Delete the temporary files of killed processes in a folder that no other process is writing to."""
    for path in Path(folder).glob(".*-*"):
        if path.name[1:].partition("-")[0].isdigit():
            path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def locked(path: str | Path, wait: bool = False) -> Generator[None]:
    """Hold a lock file, so that one process writes at a time; the lock ends with its process, the file stays.

    The file contains the process id; its folder is created. Where another process holds the lock, CopyfoldError,
    or with `wait` wait for it. OSError where the file cannot be created or locked.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    lock = FileLock(path, fallback_to_soft=False)  # a soft lock would outlive its process
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        holder = ""
        with suppress(OSError):  # it may have been deleted since
            holder = path.read_text()
        taken = f"{path.parent} is in use by process {holder or 'unknown'}"
        if not wait:
            raise CopyfoldError(f"{taken}: wait for it, or train into another folder with --run") from None
        log.info("%s: waiting for it", taken)
        held = lock.acquire()
    with held:
        with suppress(OSError):  # on a full disk the lock holds without the process id
            path.write_text(str(os.getpid()))
        yield


_UMASK = os.umask(0)
os.umask(_UMASK)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
