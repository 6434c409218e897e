"""A file is whole or it is not there: every write goes to a temporary name, is flushed, then renamed."""

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
    """Yield a temporary path to write to; when the block ends well, it takes the name `path`.

    The temporary file lies in the same folder and keeps the suffix. Whatever goes wrong, nothing of it stays
    and a file that was already called `path` is untouched. Raises CopyfoldError where the disk refuses.
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
        advice = "free some space and go on with --resume" if error.errno in _FULL else "choose another place"
        raise CopyfoldError(
            f"cannot write {path}: {error.strerror or error}; what was there before is untouched; {advice}"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def sweep(folder: str | Path) -> None:
    """Delete what killed processes left half written in a folder that nobody else writes to now."""
    for path in Path(folder).glob(".*-*"):
        if path.name[1:].partition("-")[0].isdigit():
            path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file, UTF-8, or leave the old one as it was."""
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def locked(path: str | Path, wait: bool = False) -> Generator[None]:
    """Hold a lock file for one writer; the lock dies with its process, the file stays.

    The file holds the number of that process; its folder is made. Where another holds the lock: CopyfoldError, or
    with `wait` its end is waited for. OSError where there can be no such file, or no lock on it.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    lock = FileLock(path, fallback_to_soft=False)  # a soft one would outlive its process
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        holder = ""
        with suppress(OSError):  # it may be gone by now
            holder = path.read_text()
        taken = f"{path.parent} is in use by process {holder or 'unknown'}"
        if not wait:
            raise CopyfoldError(f"{taken}: wait for it, or train into another folder with --run") from None
        log.info("%s: waiting for it", taken)
        held = lock.acquire()
    with held:
        with suppress(OSError):  # on a full disk the lock holds without the number
            path.write_text(str(os.getpid()))
        yield


_UMASK = os.umask(0)
os.umask(_UMASK)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
