"""The shuffled order of a stream, computed with integers alone, without reading any image.

A stream is read in pieces, several in turn (`interleaved`), through a shuffle buffer; images are drawn from it at
random (`exchange`). Both are functions of the pieces and a generator. To resume in the middle of an epoch, the
order is computed up to there: which images are in the buffer is known before any of them is read.
"""

import hashlib
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 16
"""Pieces that are read in turn."""


@dataclass(frozen=True)
class Piece:
    """Images that are read one after another: rows of a part of the source, such as a row group of a file."""

    part: int
    rows: range


Place = tuple[Piece, int]
"""Where an image is: the piece that it is read with, and its row in the part."""


def generator(*parts: object) -> random.Random:
    """A generator that follows from what the parts say."""
    return random.Random(number(*parts))


def number(*parts: object) -> int:
    """63 bits that follow from what the parts say."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def interleaved(pieces: Iterable[Piece]) -> Iterator[Place]:
    """The places of 16 pieces in turn; where one ends, the next that waits follows."""
    waiting = iter(pieces)
    turns = deque(_places(piece) for piece in islice(waiting, AT_ONCE))
    while turns:
        current = turns.popleft()
        if (place := next(current, None)) is not None:
            yield place
            turns.append(current)
        elif (piece := next(waiting, None)) is not None:
            turns.appendleft(_places(piece))


def exchange(buffer: list[T], item: T | None, rng: random.Random) -> T:
    """Remove a random element of the buffer, and put the item, where there is one, in its place."""
    k = int(rng.random() * len(buffer))
    taken = buffer[k]
    if item is None:
        item = buffer.pop()
        if k == len(buffer):
            return taken
    buffer[k] = item
    return taken


def shared(pieces: Sequence[Piece], rank: int, world: int, rng: random.Random) -> list[Piece]:
    """What one of `world` processes reads in an epoch; to be called with the same rng in all of them.

    Together they read everything once, each as many images as the others, or one more. Of every `world` pieces
    that follow each other each process is dealt one, so that none gets a class for itself where a source is
    sorted. Where the pieces are too few to deal, every process takes each world-th image of all of them, and
    reads past the others' without decoding them.
    """
    if len(pieces) < AT_ONCE * world:
        pieces = [replace(piece, rows=piece.rows[k::world]) for piece in pieces for k in range(world)]
    hands: list[list[Piece]] = [[] for _ in range(world)]
    for start in range(0, len(pieces), world):
        dealt = pieces[start : start + world]
        for hand, piece in zip(rng.sample(hands, world), dealt, strict=False):
            hand.append(piece)
    # Hands differ in their number of images: lay them one behind the other, and cut that into equal lengths.
    total = sum(len(piece.rows) for piece in pieces)
    line = (piece for hand in hands for piece in hand)
    return list(_between(line, total * rank // world, total * (rank + 1) // world))


def without(pieces: Iterable[Piece], places: Iterable[Place]) -> list[Piece]:
    """The pieces less those places, which are at the beginnings of pieces."""
    taken: dict[Piece, int] = {}
    for piece, _ in places:
        taken[piece] = taken.get(piece, 0) + 1
    rest = (replace(piece, rows=piece.rows[taken.get(piece, 0) :]) for piece in pieces)
    return [piece for piece in rest if piece.rows]


def _places(piece: Piece) -> Iterator[Place]:
    return ((piece, row) for row in piece.rows)


def _between(line: Iterable[Piece], start: int, stop: int) -> Iterator[Piece]:
    at = 0
    for piece in line:
        if rows := piece.rows[max(0, start - at) : max(0, stop - at)]:
            yield replace(piece, rows=rows)
        at += len(piece.rows)
