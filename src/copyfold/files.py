"""A file is whole or it is not there: every write goes to a temporary name, is flushed, then renamed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from copyfold.errors import CopyfoldError


@contextmanager
def written(path: str | Path) -> Iterator[Path]:
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


_UMASK = os.umask(0)
os.umask(_UMASK)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
