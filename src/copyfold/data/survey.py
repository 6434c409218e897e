"""What is in a source of images, every one of them decoded: the answer to `copyfold data`."""

import hashlib
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from copyfold.data.reading.decoding import Header, Refused
from copyfold.data.reading.opening import Given, recognise
from copyfold.data.reading.parallel import cores, in_order
from copyfold.data.reading.preparation import PIECE, Choice, choose
from copyfold.data.reading.sizes import Aim, Sides, simple, written
from copyfold.data.reading.sources import Listing, Source
from copyfold.data.reading.splits import parted
from copyfold.data.reading.values import Outside, Range, Seen, Values, channels_of, number
from copyfold.errors import DataError
from copyfold.types import Progress

if TYPE_CHECKING:
    from PIL import Image

K = TypeVar("K")
V = TypeVar("V")

Span = tuple[int, int, int]
"""Smallest, median and largest."""

SHOWN = 12  # of what is listed with counts
NAMED = 20  # images that are named one a line
FEW = 10
LARGE = 4  # times the size, from which on scaling loses most of what is in a photograph
DEEP = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16L": 16, "I;16B": 16, "I;16N": 16}  # bits by Pillow's mode
FULL = {1: 255, 8: 255, 16: 65535}  # the largest value by bits; Pillow has 255 for 1 bit


@dataclass(frozen=True)
class Survey:
    """What is in a source, as found by decoding all of it, and what training would take from it.

    `width` and `height` are in pixels (smallest, median, largest); `size` is what `Photos` starts from where none
    is asked for, before it is moved to one that the model takes: a side, or height and width; 0 without an image.
    `duplicates` are the names of images with the same decoded pixels, in groups of two or more.
    """

    kind: str
    where: str
    count: int
    splits: dict[str, int]
    uses: dict[str, str]
    """What each split is for: trained on, held out, not used."""
    width: Span
    height: Span
    shapes: dict[tuple[int, int], int]
    """Images of each width and height, most first."""
    size: int | Sides
    modes: dict[str, int]
    bits: dict[int, tuple[float, float]]
    """Smallest and largest value of encoded images, by their bits a channel."""
    classes: dict[str, int] | None
    unseen: tuple[str, ...]
    """Classes of which no image is trained on."""
    value_range: tuple[float, float] | None
    """Smallest and largest value of arrays."""
    duplicates: tuple[tuple[str, ...], ...]
    distinct: int
    """Images with different pixels."""
    leaked: int
    """Held-out images that are copies of images trained on."""
    unreadable: tuple[tuple[str, str], ...]
    unread: str
    """What lies beside the images and is not read; empty where there is nothing."""
    notes: tuple[str, ...]
    """Sentences on what is taken, and on the values: a range to give, pixels that miss."""
    command: str
    """The command that trains on it, with the range that it needs; empty for what was given from Python, and where
    none trains on it."""
    problem: str
    """Why it cannot be used as it is; empty where it can."""
    hints: tuple[str, ...] = ()
    """Options that are worth adding to the command, a sentence each."""
    animated: int = 0

    def lines(self) -> list[str]:
        """Return it as sentences."""
        lines = [f"{self.where}: {self.kind}, {_many(self.count, 'image')}", *self._parts()]
        if self.size:
            for name, (low, middle, high) in (("width", self.width), ("height", self.height)):
                spread = f"{low} pixels" if low == high else f"{low} to {high} pixels, median {middle}"
                lines.append(f"{name}: {spread}")
            shapes = {f"{width}x{height}": count for (width, height), count in self.shapes.items()}
            lines.append(f"{_many(len(shapes), 'shape')} (width x height): {_counts(shapes)}")
            taken = self.size if isinstance(self.size, int) else f"{written(self.size)} (height x width)"
            lines += [
                f"modes: {_counts(self.modes)}",
                f"size where none is given: about {taken}, or what the minutes of a training allow",
            ]
        if self.value_range is not None:
            lines.append("values: {} to {}".format(*map(number, self.value_range)))
        if self.bits:
            lines.append("values: " + ", ".join(_values(bits, *span) for bits, span in sorted(self.bits.items())))
        if self.animated:
            lines.append(f"{_many(self.animated, 'animation')}: the first frame of each is the image")
        lines += [*self._oddities(), *self.notes]
        if self.unread:
            lines.append(self.unread)
        lines.append(f"{_many(len(self.unreadable), 'image')} cannot be read")
        lines += [f"{name} {reason}" for name, reason in self.unreadable[:NAMED]]
        if len(self.unreadable) > NAMED:
            lines.append(f"and {len(self.unreadable) - NAMED:,} more")
        if self.problem:
            lines.append(f"cannot be trained on as it is: {self.problem}")
        if self.command:
            lines.append(f"to train on it: {self.command}")
            lines += self.hints
        return lines

    def _parts(self) -> Iterator[str]:
        """Splits and classes, as they are used."""
        if set(self.splits) != {""}:
            named = (f"{name or 'all'} {count:,} ({self.uses[name]})" for name, count in self.splits.items())
            yield "splits: " + _cut(list(named))
        if self.classes is not None:
            yield f"{_many(len(self.classes), 'class', 'classes')}: {_counts(self.classes)}"
        if self.unseen:
            yield f"held out, and not trained on: {_cut(self.unseen)}"

    def _oddities(self) -> Iterator[str]:
        """What a person should know of the images as a whole."""
        readable = self.count - len(self.unreadable)
        spans = [self.value_range] if self.value_range is not None else []
        low, high = _around([*spans, *self.bits.values()])
        tops = {FULL.get(bits) for bits in self.bits} | ({255} if spans else set())
        if readable and low == high == 0:
            yield "all images are black"
        elif readable and low == high and high in tops:
            yield "all images are white"
        elif readable > 1 and self.distinct == 1:
            yield "all images are equal, pixel by pixel"
        if self.distinct > 1 and self.duplicates:
            copies = sum(len(group) - 1 for group in self.duplicates)
            said = "is a copy" if copies == 1 else "are copies"
            groups = [" = ".join([*group[:3], *["..."] * (len(group) > 3)]) for group in self.duplicates]
            yield f"{_many(copies, 'image')} {said} of others, pixel by pixel: {_cut(groups, 5)}"
            if self.leaked:
                said = "is a copy" if self.leaked == 1 else "are copies"
                yield f"{_many(self.leaked, 'held-out image')} {said} of images that are trained on"
        if 0 < readable < FEW:
            yield f"only {_many(readable, 'image')}: too few to learn from"


@dataclass(frozen=True)
class _Seen:
    """An image that could be read: its header, a hash of its pixels, and its values by bits, of encoded images.

    Those that need a range are among them: `bare` says so.
    """

    header: Header
    digest: bytes
    channels: int
    bare: bool
    bits: int = 0
    span: tuple[float, float] = (0, 0)


def survey(
    source: Given = None,
    layout: str | None = None,
    progress: Progress | None = None,
    column: str | None = None,
) -> Survey:
    """Look at every image of a source; raises DataError where it is not a source or contains no images.

    Unreadable images are part of the answer, not an error, and so are the values of an array, whatever they
    are.
    """
    with recognise(source, layout, column) as opened:
        listing, values = opened.listing(), Seen()
        seen = list(_look(opened, len(listing.names), values, progress))
        readable = [one for one in seen if isinstance(one, _Seen)]
        bad = {row: one for row, one in enumerate(seen) if isinstance(one, str)}
        good = [one.header for one in readable]
        aim = Aim.of([(header.height, header.width) for header in good])
        digests = _grouped((one.digest, row) for row, one in enumerate(seen) if isinstance(one, _Seen))
        bits = _grouped((one.bits, one.span) for one in readable if one.bits)
        choice = choose(listing, None, 0)
        drawn = choice.said(bad)[:1] if choice.drawn is not None and good else ()
        problem = _problem(opened, readable, values) if good else ""
        needed = values.needed or values.deep
        missing = opened.has_missing(np.arange(len(seen)))
        size = opened.side or (simple(aim.size) if good else 0)
        usable = good and (not problem or (needed and not _problem(opened, readable, values, needed)))
        return Survey(
            kind=opened.kind,
            where=opened.where,
            count=len(seen),
            splits={name: len(indices) for name, indices in listing.splits.items()},
            uses=_uses(listing),
            width=_span([header.width for header in good]),
            height=_span([header.height for header in good]),
            shapes=dict(Counter((header.width, header.height) for header in good).most_common()),
            size=size,
            modes=dict(Counter(header.mode for header in good).most_common()),
            bits={depth: _around(spans) for depth, spans in bits.items()},
            classes=_classes(listing, range(len(seen))),
            unseen=_unseen(listing, choice.train),
            value_range=opened.value_range(),
            duplicates=tuple(
                tuple(listing.names[row] for row in rows) for rows in digests.values() if len(rows) > 1
            ),
            distinct=len(digests),
            leaked=_leaked(digests.values(), choice),
            unreadable=tuple((listing.names[row], reason) for row, reason in bad.items()),
            unread=str(opened.unread or ""),
            notes=(
                *drawn,
                *listing.notes,
                *opened.said,
                *([values.advice] if values.advice and values.advice not in problem else []),
                *(["some of the pixel values are missing (NaN)"] if missing and not values.missing else []),
                *values.notes(),
            ),
            command=_command(source, layout, column, needed, missing, bool(bad)) if usable else "",
            problem=problem,
            hints=_hints(good, bits, values, size) if usable else (),
            animated=sum(header.animated for header in good),
        )


def _look(source: Source, count: int, values: Seen, progress: Progress | None) -> Iterator[_Seen | str]:
    """Every image after decoding it, or the reason why that failed."""
    how = Values(missing=source.has_missing(np.arange(count)))
    coded = source.value_range() is None

    def look(piece: range) -> list[_Seen | str]:
        found: list[_Seen | str] = []
        for index in piece:
            try:
                found.append(_seen(source, index, how, values, coded))
            except Refused as error:
                found.append(str(error))
        return found

    done = 0
    for found in in_order(look, [range(k, min(k + PIECE, count)) for k in range(0, count, PIECE)], cores()):
        done += len(found)
        if progress is not None:
            progress("looking at images", done, count, {})
        yield from found


def _seen(source: Source, index: int, how: Values, values: Seen, coded: bool) -> _Seen:
    header = source.header(index)
    image = source.read(index, None, header.deep)  # the header alone would not show that the rest is missing
    bare = False
    try:
        how.look(image, values)
    except Outside:  # its values are described, whatever they are
        if coded and not np.isfinite(np.asarray(image)).all():
            raise
        bare = True
    if isinstance(image, np.ndarray):
        digest = _digest((image.shape, image.dtype.str), np.ascontiguousarray(image).data.cast("B"))
        bits = 8 * image.dtype.itemsize if coded else 0
        return _Seen(header, digest, image.shape[2], bare, bits, (float(image.min()), float(image.max())))
    shown = image.convert("RGBA" if image.has_transparency_data else "RGB") if image.mode == "P" else image
    digest = _digest((shown.mode, shown.size), shown.tobytes())
    channels = 1 if image.mode in ("L", "LA", "La", *DEEP) else 3
    return _Seen(header, digest, channels, bare, DEEP.get(image.mode, 8), _extremes(shown))


def _digest(what: object, content: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(repr(what).encode(), digest_size=16)
    digest.update(content)
    return digest.digest()


def _extremes(image: "Image.Image") -> tuple[float, float]:
    """Smallest and largest value of all channels but transparency."""
    found = image.getextrema()
    spans = found if isinstance(found[0], tuple) else [found]
    if len(spans) > 1 and image.mode in ("LA", "La", "RGBA", "RGBa"):
        spans = spans[:-1]
    return _around([(float(low), float(high)) for low, high in spans])  # type: ignore[misc]


def _hints(
    good: list[Header], bits: dict[int, list[tuple[float, float]]], values: Seen, size: int | Sides
) -> tuple[str, ...]:
    """Sentences on depth and resolution that training would not use as it is."""
    brightest = max((high for _, high in bits.get(16, [])), default=values.brightest.get("u2", (0.0,))[0])
    found = ["add --bits 16 to keep more than 256 levels of the values"] * (brightest > FULL[8])
    side = size if isinstance(size, int) else min(size)
    if np.median([min(header.height, header.width) for header in good]) >= LARGE * side:
        found.append(
            f"add --crop {side} to train on parts of the images at their own resolution, instead of scaling"
        )
    return tuple(found)


def _problem(source: Source, images: list[_Seen], values: Seen, range: Range | None = None) -> str:
    """Why images cannot be trained on: numbers that need a range and have none, channels of several sets."""
    try:
        source.check(np.arange(len(source.listing().names)), Values(range))
        # Four are three and transparency, but not where a range is given.
        channels_of({3 if image.channels == 4 and range is None else image.channels for image in images})
    except (DataError, Refused) as error:
        return str(error)
    bare = sum(image.bare for image in images) if range is None else 0
    if not bare or values.needed is None:
        return ""
    return f"{_many(bare, 'image')} of {len(images):,} need a range: {values.advice}"


def _command(
    source: Given, layout: str | None, column: str | None, range: Range | None, missing: bool, bad: bool
) -> str:
    """What to type; missing pixels are left out of the loss, as every other loss refuses them."""
    if source is not None and not isinstance(source, str | os.PathLike):
        return ""
    words = ["copyfold", "train"] + ([] if source is None else [os.fspath(source)])
    words += [
        word for flag, value in (("--layout", layout), ("--column", column)) if value for word in (flag, value)
    ]
    if range is not None:
        words += ["--range", *map(number, range)]
    if missing:
        words += ["--objective.fidelity", "Observed"]
    return shlex.join(words + ["--skip-bad"] * bad)


def _uses(listing: Listing) -> dict[str, str]:
    splits = parted(listing.splits)
    held = "held out" if splits.held_out else "trained on, and a tenth held out"
    uses = dict.fromkeys(splits.train, "trained on" if splits.held_out else held)
    return uses | dict.fromkeys(splits.held_out, held) | dict.fromkeys(splits.unused, "not used")


def _classes(listing: Listing, rows: Iterable[int]) -> dict[str, int] | None:
    """Images of every class among some."""
    if listing.labels is None:
        return None
    names = listing.classes or [str(label) for label in range(max(listing.labels, default=-1) + 1)]
    counted = Counter(listing.labels[row] for row in rows)
    return {name: counted[number] for number, name in enumerate(names)}


def _leaked(copies: Iterable[list[int]], choice: Choice) -> int:
    """How many held-out images have a copy among those trained on."""
    train, held_out = set(choice.train.tolist()), set(choice.held_out.tolist())
    groups = [set(rows) for rows in copies if len(rows) > 1]
    return sum(len(rows & held_out) for rows in groups if rows & train)


def _unseen(listing: Listing, train: np.ndarray) -> tuple[str, ...]:
    everything = _classes(listing, range(len(listing.names))) or {}
    trained = _classes(listing, train.tolist()) or {}
    return tuple(name for name, count in everything.items() if count and not trained[name])


def _grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """The values of every key, in their order."""
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def _span(values: list[int]) -> Span:
    return (min(values), int(np.median(values)), max(values)) if values else (0, 0, 0)


def _around(spans: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The smallest span that has all of them; NaN where there is none."""
    spans = list(spans) or [(float("nan"), float("nan"))]
    return min(low for low, _ in spans), max(high for _, high in spans)


def _values(bits: int, low: float, high: float) -> str:
    full = FULL.get(bits)
    said = f"{low:,g} to {high:,g} in {bits} {'bit' if bits == 1 else 'bits'}"
    return said if full is None or high == full else f"{said}, of 0 to {full:,}"


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def _counts(counts: dict[str, int]) -> str:
    return _cut([f"{name or 'all'} {count:,}" for name, count in counts.items()])


def _cut(said: list[str] | tuple[str, ...], most: int = SHOWN) -> str:
    """The first of many, and how many more there are."""
    more = f" and {len(said) - most:,} more" if len(said) > most else ""
    return ", ".join(said[:most]) + more
