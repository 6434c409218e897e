"""Images decoded once: entries in a folder of the user's, each whole or not there at all.

An entry is a folder named by a hash of everything that went into it. It holds meta.json, and pixels.npy where
the meta gives a shape. It is written under another name and renamed, so that neither a kill nor a second
process that makes the same entry can leave half of one. The meta has digests of the pixels, some of which are
checked whenever an entry is opened: what a bad disk or another program has changed is made again, not used.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from copyfold.data.reading import digests
from copyfold.errors import CopyfoldError
from copyfold.files import FULL, absolute, is_dead, locked, mark, reason

log = logging.getLogger("copyfold")

VERSION = 3
"""To be raised whenever the same source and arguments would give other pixels."""

CHECK = "COPYFOLD_CHECK_CACHE"
"""The environment variable that has every block of an entry checked when it is opened, unless it is 0."""

UNFINISHED = ".making-"
DAY = 24 * 3600.0
CHUNK = 2**20  # bytes


def folder() -> Path:
    """The folder of the cache, which is made: $COPYFOLD_CACHE, or copyfold in the user's own cache folder."""
    root = _root()
    root.mkdir(parents=True, exist_ok=True)
    return root


def _root() -> Path:
    if chosen := os.environ.get("COPYFOLD_CACHE"):
        return absolute(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "copyfold"


def key(*parts: object) -> str:
    """A hexadecimal name for whatever the parts say."""
    return hashlib.blake2b(json.dumps([VERSION, *parts]).encode(), digest_size=16).hexdigest()


def digest(lines: Iterable[str]) -> str:
    """A hexadecimal name for many lines of text."""
    state = hashlib.blake2b(digest_size=16)
    for line in lines:
        state.update(line.encode(errors="surrogateescape") + b"\n")
    return state.hexdigest()


def unfinished() -> str:
    """What the names of this process's unfinished entries begin with."""
    return f"{UNFINISHED}{mark()}-"


def recall(name: str) -> dict[str, Any] | None:
    """The meta of an entry that is there and whole, else None.

    One whose files are damaged is deleted, with a warning. Some blocks of the pixels are looked at, which takes
    some 10 ms; all of them where COPYFOLD_CHECK_CACHE=1.
    """
    with space():
        entry = folder() / name
    meta = None
    try:
        meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
        wrong = _damage(pixels(name), meta) if "shape" in meta else ""
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
        wrong = f"it cannot be read, {type(error).__name__}"
    if not wrong:
        return meta
    log.warning(
        "the cache entry %s is damaged (%s), so it is not used and made again: check the disk; %s=1 checks every "
        "block of the entries that a command opens, and not a few",
        entry, wrong, CHECK,
    )  # fmt: skip
    with space():
        _discard(entry)
    return None


def _damage(found: np.ndarray, meta: dict[str, Any]) -> str:
    """What is wrong with the pixels of an entry; "" where nothing is."""
    if found.shape != tuple(meta["shape"]):
        return "it has another shape than its meta.json says"
    bad = digests.damaged(found, meta["digests"], os.environ.get(CHECK, "0") not in ("", "0"))
    return "" if bad is None else f"block {bad} of its pixels is not as it was written"


@contextmanager
def alone(name: str) -> Generator[None]:
    """Make an entry within a with-block while others that want it wait; the lock dies with its process."""
    with ExitStack() as stack:
        with space():
            path = folder() / f".lock-{name}"
            stack.enter_context(locked(path, wait=True))
        stack.callback(path.unlink, missing_ok=True)
        yield


def pixels(name: str) -> np.ndarray:
    """The images of an entry, N·H·W·C, memory-mapped; writing to them changes only this process's memory."""
    # Copy on write, because torch refuses to share memory that it may not write to.
    return np.load(folder() / name / "pixels.npy", mmap_mode="c", allow_pickle=False)


@dataclass(frozen=True)
class Mapped:
    """Where pixels lie that are memory-mapped: what is pickled in their place, for a worker to map them again."""

    file: str
    offset: int
    shape: tuple[int, ...]
    dtype: str

    def mapped(self) -> np.ndarray:
        """The pixels; raises CopyfoldError where the file is gone."""
        try:
            return np.memmap(self.file, self.dtype, "c", self.offset, self.shape)
        except (OSError, ValueError) as error:
            raise CopyfoldError(f"the cached images are gone: {error}; read the photos again") from None


def where(array: np.ndarray) -> Mapped | None:
    """The place of pixels that `pixels` has mapped, or of some in a row; None for those in memory."""
    whole: Any = array
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    if not isinstance(whole, np.memmap) or whole.filename is None or not array.size:
        return None
    if not array.flags.c_contiguous:
        return None
    address = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return Mapped(str(whole.filename), whole.offset + address, array.shape, array.dtype.str)


def store(name: str | None, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Make an entry: `make` fills a temporary folder and returns the meta.

    `name` None takes the fingerprint in the meta: some of what goes into it may be known only at the end.

    Raises CopyfoldError where the folder cannot be written, a full disk for one, and leaves nothing behind.
    """
    with space():
        root = folder()
        _sweep(root)
        making = Path(tempfile.mkdtemp(prefix=unfinished(), dir=root))
        try:
            meta = make(making)
            if (making / "pixels.npy").exists():
                written = np.load(making / "pixels.npy", mmap_mode="r", allow_pickle=False)
                meta["digests"] = digests.of_blocks(written)
            with open(making / "meta.json", "w", encoding="utf-8") as file:
                json.dump(meta, file)
                file.flush()
                os.fsync(file.fileno())
            _put(making, root / (name or meta["fingerprint"]))
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return meta


def write_pixels(place: Path, blocks: Iterator[np.ndarray], most: int) -> tuple[int, ...]:
    """Write blocks of images one after another into place/pixels.npy; returns the shape of the whole.

    `most` is the number of images at most. Blocks of pictures are grey (1 channel) or in colour (3); from the
    first in colour on, the whole is. Written, not mapped: on a full disk a write to mapped memory kills the
    process, where a plain write raises.
    """
    count, start, tail, kind = 0, 0, (), np.dtype(np.uint8)
    with open(place / "pixels.npy", "w+b") as file:
        for block in blocks:
            if not tail:
                tail, kind = block.shape[1:], block.dtype
                start = npy_header(file, (most, *tail), kind)
            elif tail[2] < block.shape[3]:
                tail = block.shape[1:]
                colour(file, start, count * prod(tail) * kind.itemsize, kind)
            file.write(np.ascontiguousarray(np.broadcast_to(block, (len(block), *tail))).data)
            count += len(block)
        if tail:
            file.seek(0)
            # NumPy leaves room in the header for a longer first axis, so a shorter one keeps its length.
            if npy_header(file, (count, *tail), kind) != start:
                raise CopyfoldError("NumPy changed the length of a .npy header; this is a fault in copyfold")
        file.flush()
        os.fsync(file.fileno())
    return count, *tail


def colour(file: IO[bytes], start: int, length: int, kind: np.dtype) -> None:
    """Write every value of the file from `start` on three times, in place, to be `length` bytes.

    From the last to the first, so that none is overwritten before it is read.
    """
    for place in reversed(range(0, length // 3, CHUNK)):
        file.seek(start + place)
        grey = np.frombuffer(file.read(min(CHUNK, length // 3 - place)), kind)
        file.seek(start + 3 * place)
        file.write(np.repeat(grey, 3).data)
    file.seek(start + length)


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one behind it, says that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def space() -> Generator[None]:
    """A context in which failing to write the cache becomes one line that says what to do."""
    try:
        yield
    except CopyfoldError:
        raise
    except OSError as error:
        advice = "make room, or " if is_full(error) else ""
        raise CopyfoldError(
            f"the image cache {_root()} cannot be written: {reason(error)}; {advice}point COPYFOLD_CACHE to "
            "another folder"
        ) from None


def npy_header(file: IO[bytes], shape: tuple[int, ...], kind: np.dtype) -> int:
    """Write the header of a .npy file; returns its length, which is the same for any first axis."""
    form = {"descr": kind.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, form)
    return file.tell()


def _put(making: Path, entry: Path) -> None:
    """Rename into place; where another process was faster its entry is as good, unless it is broken."""
    for _ in range(3):
        try:
            os.rename(making, entry)
            return
        except OSError:
            if recall(entry.name) is not None:
                return
            _discard(entry)
    os.rename(making, entry)


def _discard(entry: Path) -> None:
    """Delete an entry, after moving it away: no process ever finds half of one."""
    broken = Path(tempfile.mkdtemp(prefix=unfinished(), dir=entry.parent))
    try:
        os.rename(entry, broken / "broken")
    except FileNotFoundError:  # someone else has moved it away
        pass
    finally:
        shutil.rmtree(broken, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove what killed processes left behind; those of other machines, which are not known, a day after."""
    for leftover in root.glob(f"{UNFINISHED}*"):
        try:
            if is_dead(leftover.name.removeprefix(UNFINISHED)) or time.time() - leftover.stat().st_mtime > DAY:
                shutil.rmtree(leftover, ignore_errors=True)
        except OSError:
            continue
