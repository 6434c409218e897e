"""What is in a source of images, every one of them decoded: the answer to `copyfold data`."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from copyfold.data.reading.decoding import Header, Refused
from copyfold.data.reading.opening import Given, recognise
from copyfold.data.reading.parallel import cores, in_order
from copyfold.data.reading.preparation import PIECE
from copyfold.data.reading.sizes import Aim, Sides, simple, written
from copyfold.data.reading.sources import Source
from copyfold.data.reading.values import Outside, Seen, Values, number
from copyfold.types import Progress

Span = tuple[int, int, int]
"""Smallest, median and largest."""


@dataclass(frozen=True)
class Survey:
    """What is in a source, as found by decoding all of it.

    `width` and `height` are in pixels (smallest, median, largest); `size` is what `Photos` starts from where none
    is asked for, before it is moved to one that the model takes: a side, or height and width; 0 without an image.
    """

    kind: str
    where: str
    count: int
    splits: dict[str, int]
    width: Span
    height: Span
    size: int | Sides
    modes: dict[str, int]
    classes: dict[str, int] | None
    value_range: tuple[float, float] | None
    notes: tuple[str, ...]
    """Sentences about the values: a range to give, pixels that miss."""
    unreadable: tuple[tuple[str, str], ...]
    animated: int = 0

    def lines(self) -> list[str]:
        """Return it as sentences."""
        lines = [f"{self.where}: {self.kind}, {_many(self.count, 'image')}"]
        if set(self.splits) != {""}:
            lines.append("splits: " + _counts(self.splits))
        if self.size:
            taken = self.size if isinstance(self.size, int) else written(self.size)
            for name, (low, middle, high) in (("width", self.width), ("height", self.height)):
                spread = f"{low} pixels" if low == high else f"{low} to {high} pixels, median {middle}"
                lines.append(f"{name}: {spread}")
            lines += [f"modes: {_counts(self.modes)}", f"size taken where none is given: about {taken}"]
        if self.classes is not None:
            lines.append(f"{_many(len(self.classes), 'class', 'classes')}: {_counts(self.classes)}")
        if self.value_range is not None:
            lines.append("values: {} to {}".format(*map(number, self.value_range)))
        if self.animated:
            lines.append(f"{_many(self.animated, 'animation')}: the first frame of each is the image")
        lines += self.notes
        lines.append(f"{_many(len(self.unreadable), 'image')} cannot be read")
        return lines + [f"{name} {reason}" for name, reason in self.unreadable]


def survey(source: Given = None, layout: str | None = None, progress: Progress | None = None) -> Survey:
    """Look at every image of a source; raises DataError where it is not a source or contains no images.

    Unreadable images are part of the answer, not an error, and so are the values of an array, whatever they
    are.
    """
    with recognise(source, layout) as opened:
        listing = opened.listing()
        values = Seen()
        seen = list(_look(opened, len(listing.names), values, progress))
        good = [header for header in seen if isinstance(header, Header)]
        aim = Aim.of([(header.height, header.width) for header in good])
        classes = None
        if listing.labels is not None:
            names = listing.classes or [str(label) for label in range(max(listing.labels) + 1)]
            counted = Counter(listing.labels)
            classes = {name: counted[number] for number, name in enumerate(names)}
        return Survey(
            kind=opened.kind,
            where=opened.where,
            count=len(seen),
            splits={name: len(indices) for name, indices in listing.splits.items()},
            width=_span([header.width for header in good]),
            height=_span([header.height for header in good]),
            size=opened.side or (simple(aim.size) if good else 0),
            modes=dict(Counter(header.mode for header in good).most_common()),
            classes=classes,
            value_range=opened.value_range(),
            notes=(*([values.advice] if values.advice else []), *values.notes()),
            unreadable=tuple(
                (name, reason) for name, reason in zip(listing.names, seen, strict=True) if isinstance(reason, str)
            ),
            animated=sum(header.animated for header in good),
        )


def _look(source: Source, count: int, seen: Seen, progress: Progress | None) -> Iterator[Header | str]:
    """Size and mode of every image after decoding it, or the reason why that failed."""
    coded = source.value_range() is None
    values = Values(missing=source.has_missing(np.arange(count)))

    def look(piece: range) -> list[Header | str]:
        found: list[Header | str] = []
        for index in piece:
            try:
                image = source.read(index, None)  # the header alone would not show that the rest is missing
                with suppress(*([] if coded else [Outside])):  # an array's values are described, whatever they are
                    values.look(image, seen)
                found.append(source.header(index))
            except Refused as error:
                found.append(str(error))
        return found

    done = 0
    for found in in_order(look, [range(k, min(k + PIECE, count)) for k in range(0, count, PIECE)], cores()):
        done += len(found)
        if progress is not None:
            progress("looking at images", done, count, {})
        yield from found


def _span(values: list[int]) -> Span:
    return (min(values), int(np.median(values)), max(values)) if values else (0, 0, 0)


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name or 'all'} {count:,}" for name, count in counts.items())
