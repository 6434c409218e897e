"""Encoded images of an epoch in the order of a stream, from any place in it."""

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Self

from copyfold.data.reading.parallel import dismiss
from copyfold.data.reading.shards import Coded, Shards
from copyfold.data.reading.shuffling import AT_ONCE, Piece, Place, exchange, interleaved

Found = tuple[Place, Coded]
"""An encoded image, and where it was."""

READERS = 4  # threads that read ahead: what they wait for is a disk or a network


def encoded(shards: Shards, pieces: list[Piece], buffer: int, start: int, rng: random.Random) -> Iterator[Found]:
    """The images of some pieces, shuffled by a buffer of `buffer` images, from the start-th on.

    Images before are counted, not read; their rows are skipped where a row group has others that are needed.
    """
    rng.shuffle(pieces)
    places = interleaved(pieces)
    waiting = list(islice(places, buffer))
    for _ in range(start):
        exchange(waiting, next(places, None), rng)
    with Reading(shards) as read:
        held = read.all(waiting)
        while held:
            place = next(places, None)
            yield exchange(held, None if place is None else read(place), rng)


class Reading:
    """Encoded images by their place, as long as those of a piece are asked for in rising order.

    It keeps the 16 pieces open that were asked for last; `interleaved` never needs more.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._open: OrderedDict[Piece, Callable[[int], Coded]] = OrderedDict()
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="copyfold-shards")

    def __call__(self, place: Place) -> Found:
        """One image."""
        piece, row = place
        if piece not in self._open:
            self._open[piece] = self._shards.open(piece.part, self._pool)
        self._open.move_to_end(piece)
        if len(self._open) > AT_ONCE:
            self._open.popitem(last=False)
        return place, self._open[piece](row)

    def all(self, places: list[Place]) -> list[Found]:
        """Many images in their order, read piece by piece."""
        found: dict[Place, Coded] = {}
        for place in sorted(places, key=lambda place: (place[0].part, place[0].rows.start, place[1])):
            found[place] = self(place)[1]
        return [(place, found.pop(place)) for place in places]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        dismiss(self._pool)
        self._open.clear()
