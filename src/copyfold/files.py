"""Atomic writes: every file is written under a temporary name, flushed to the disk, then renamed.

Guards for what is read: a file, and no pipe or device, of at most so many bytes. And names of files as text: a
name is bytes, which need not be UTF-8.
"""

import codecs
import errno
import json
import logging
import os
import re
import shutil
import socket
import stat
import sys
import zlib
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, cast

from copyfold.errors import CopyfoldError, UsageError, option

log = logging.getLogger("copyfold")


RECIPE = 16_000
"""Characters of a recipe, above which it is not read: it has about 1,000, and libyaml crashes on 20,000 levels."""


FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of the errors of a disk, or a share of one, that is full."""


class Full(CopyfoldError):
    """A disk, or a share of one, that is full: other files cannot be written either."""


@contextmanager
def written(path: str | Path) -> Generator[Path]:
    """Yield a temporary path to write to; it is renamed to `path` when the block ends without an error.

    The temporary file is in the same folder and has the same suffix, and a short name, for which there is room
    wherever there is room for `path`. After an error it is deleted, and a file that already had the name `path` is
    unchanged. Raises CopyfoldError where the disk reports an error, Full where it is full.
    """
    path = Path(path)
    suffix = path.suffix if len(path.suffix) <= LONGEST else ""
    temporary = path.with_name(f".{mark()}{zlib.crc32(os.fsencode(path)):08x}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_dead(path.parent)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)  # some libraries write for the owner alone
        temporary.replace(path)
    except OSError as error:
        full = error.errno in FULL
        advice = f"free some space and continue with {option('resume', True)}" if full else "choose another path"
        raise (Full if full else CopyfoldError)(
            f"cannot write {path}: {error.strerror or error}; the file that was there is unchanged; {advice}"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def copied(source: str | Path, path: str | Path) -> None:
    """Copy the content of a file; see `written`."""
    with written(path) as temporary:
        shutil.copyfile(source, temporary)


def regular(path: str | os.PathLike[str]) -> None:
    """OSError where there is no file to read at a path: reading a pipe or a device may never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        kind = "a folder" if os.path.isdir(path) else "a pipe, a device or a socket"
        raise OSError(errno.EINVAL, f"it is {kind}, not a file")
    if not os.access(path, os.R_OK):  # libraries in other languages say that there is none
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def binary(path: str | os.PathLike[str]) -> BinaryIO:
    """A file opened to be read as bytes; OSError as of `regular`."""
    regular(path)
    return open(path, "rb")


def check_file(path: str | Path) -> None:
    """UsageError where no file can be written by this name: before the work whose result it takes."""
    if Path(path).is_dir():
        raise UsageError(f"{path} is a folder: give the name of a file")
    check_folder(Path(path).parent)


def check_folder(path: str | Path, given: str = "name") -> None:
    """UsageError where there can be no folder of this name, which was `given`."""
    for place in (Path(path), *Path(path).parents):
        if place.is_dir():
            return
        if place.exists() or place.is_symlink():  # one to nothing, or to itself
            raise UsageError(f"{place} is no folder: give another {given}")


def real(path: str | Path) -> Path:
    """Where a path leads, over all links; one that leads to itself is left as it is, where Path.resolve raises."""
    return Path(os.path.realpath(path))


def reason(error: Exception) -> str:
    """What an error says of a file; where the system raised it, without number and path."""
    return getattr(error, "strerror", None) or str(error)


def small_text(path: str | Path, most: int) -> str:
    """The text of a file, in UTF-8; OSError as of `regular`, ValueError where it has more than `most` bytes."""
    with binary(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return data.decode("utf-8")


def recipe_from(text: str) -> dict[str, Any]:
    """The options in the YAML of a recipe; ValueError where it is none, or would fill the memory or the stack."""
    import yaml

    try:
        if aliases(text):
            raise ValueError("it uses YAML aliases, which are not allowed in a recipe")
        found = yaml.safe_load(text)
        too_large = huge(found)
    except (RecursionError, yaml.YAMLError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, dict):
        raise ValueError("it is not a recipe: expected YAML of the form option: value")
    if too_large:
        raise ValueError("it has a whole number of more than 308 digits")
    return cast("dict[str, Any]", found)


def huge(value: Any) -> bool:
    """Whether a value, or one in it, is a whole number that is larger than any float; Python may not write it."""
    if isinstance(value, dict):
        return any(map(huge, chain.from_iterable(cast("dict[Any, Any]", value).items())))
    if isinstance(value, list | tuple | set):
        return any(map(huge, cast("list[Any]", value)))
    return isinstance(value, int) and abs(value) > sys.float_info.max


def small_json(path: str | Path, most: int) -> dict[str, Any]:
    """An object in JSON; OSError and ValueError as of `small_text`, ValueError too where it is none."""
    try:
        found = json.loads(small_text(path, most))
        if huge(found):
            raise ValueError("it has a whole number of more than 308 digits")
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object")
    return cast("dict[str, Any]", found)


def recipe_text(options: Mapping[str, Any]) -> str:
    """A recipe as YAML, from which `recipe_from` makes the options again: without aliases."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(dict(options), Dumper=Plain, sort_keys=False)


def aliases(text: str) -> bool:
    """Whether YAML uses aliases, with which a few lines can fill all memory."""
    import yaml

    if "*" not in text or "&" not in text:
        return False
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if len(text) <= RECIPE else yaml.SafeLoader
    try:
        return any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, fast))
    except yaml.YAMLError:
        return False


def absolute(path: str | os.PathLike[str]) -> Path:
    """The absolute path, ~ and ~user expanded; a user that there is not is a name like any other."""
    return Path(os.path.abspath(os.path.expanduser(path)))


@contextmanager
def plain(path: Path) -> Generator[Path]:
    """A path to the same file for libraries that take UTF-8 only: where its folder is not, through a link to it.

    The name of the file itself must be UTF-8, as that of a temporary file is. The link is gone afterwards.
    """
    if readable(str(path)) == str(path):
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / "link"
        link.symlink_to(real(path.parent), target_is_directory=True)
        yield link / path.name


def sweep(folder: str | Path) -> None:
    """Delete the temporary files of killed processes in a folder that no other process is writing to."""
    for path in Path(folder).glob(".*-*"):
        if path.name[1:].partition("-")[0].isdigit():
            path.unlink(missing_ok=True)


def mark() -> str:
    """Of this process and this machine: what a killed process left is known by the mark in its name."""
    return f"{os.getpid()}-{_HOST:08x}"


def is_dead(name: str) -> bool:
    """Whether a name begins with the `mark` of a process of this machine that is no more."""
    process, _, rest = name.partition("-")
    return process.isdecimal() and rest.startswith(f"{_HOST:08x}") and not _alive(int(process))


@cache
def _sweep_dead(folder: Path) -> None:
    """Delete the temporary files of processes of this machine that are no more; once for each folder."""
    for path in folder.glob(f".*-{_HOST:08x}*"):
        if is_dead(path.name[1:]):
            path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user, or no number of a process
        return True
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8; bytes of names that are none as \\xe9."""
    write_texts({path: text})


def write_texts(texts: Mapping[str | Path, str]) -> None:
    """Write text files that belong together, as `write_text` does; none is renamed before all are written."""
    with ExitStack() as stack:
        for path, text in texts.items():
            stack.enter_context(written(path)).write_bytes(text.encode("utf-8", ESCAPED))


def readable(text: str) -> str:
    r"""Text that can be drawn and written: bytes of names of files that are no UTF-8 as \xe9."""
    return text.encode("utf-8", ESCAPED).decode()


def escaped(name: str) -> str:
    r"""The name of a file as text that UTF-8 can write, from which `unescaped` makes the name again.

    A byte that is no UTF-8 becomes \xe9, and a backslash two; all other names stay as they are.
    """
    return name.replace("\\", "\\\\").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def unescaped(text: str) -> str:
    r"""The name of which `escaped` has made a text."""

    def byte(match: re.Match[bytes]) -> bytes:
        return bytes.fromhex(match[1].decode()) if match[1] else b"\\"

    data = re.sub(rb"\\(?:x([0-9a-f]{2})|\\)", byte, text.encode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "surrogateescape")


def _name_bytes(error: UnicodeError) -> tuple[bytes, int]:
    """An error handler for encoding: what cannot be encoded as the bytes that it has in names of files."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    data = (bytes([ord(c) - 0xDC00]) if _is_byte(c) else c.encode("utf-8", "replace") for c in part)
    return b"".join(data), error.end


def _name_escapes(error: UnicodeError) -> tuple[str, int]:
    r"""Another, which writes bytes of names that are no UTF-8 as \xe9, and other characters as Python does."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(f"\\x{ord(c) - 0xDC00:02x}" if _is_byte(c) else ascii(c)[1:-1] for c in part), error.end


def _is_byte(character: str) -> bool:
    """Whether it stands for a byte of a name that is no UTF-8, as Python has these."""
    return 0xDC80 <= ord(character) <= 0xDCFF


@contextmanager
def locked(path: str | Path, wait: bool | float = False) -> Generator[None]:
    """Hold a lock file, so that one process writes at a time; the lock ends with its process, the file stays.

    The file contains the process id; its folder is created. Where another process holds the lock, CopyfoldError,
    or with `wait` wait for it; a number is the seconds to wait at most. OSError where the file cannot be created
    or locked.
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
        if wait:
            log.info("%s: waiting for it", taken)
        try:
            held = lock.acquire(timeout=-1 if wait is True else float(wait))
        except Timeout:
            raise CopyfoldError(
                f"{taken}: wait for it, or train into another folder with {option('run')}"
            ) from None
    with held:
        with suppress(OSError):  # on a full disk the lock holds without the process id
            path.write_text(str(os.getpid()))
        yield


_HOST = zlib.crc32(socket.gethostname().encode())
"""Of this machine: temporary files of others, on a disk that they share, have other names."""

_UMASK = os.umask(0)
os.umask(_UMASK)
LONGEST = 16
"""Characters of a suffix that the temporary file has too."""

NAMES, ESCAPED = "copyfold.names", "copyfold.escaped"
"""Error handlers for encoding text with names of files in it: as their own bytes, or readable."""

codecs.register_error(NAMES, _name_bytes)
codecs.register_error(ESCAPED, _name_escapes)
