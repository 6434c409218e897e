"""Batches whose order depends on the seed and the batch number alone, so that a resume continues exactly."""

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from copyfold.errors import UsageError, option
from copyfold.types import Shape


class Pixels(Protocol):
    """Images that are read by their rows: an array N·H·W·C, or what is used like one."""

    def __len__(self) -> int:
        """The number of images."""
        ...

    def __getitem__(self, rows: Any, /) -> Any:
        """The images at an array of row numbers, N·H·W·C."""
        ...


class Batches:
    """Training batches: a pure function of the seed and n, the number of batches so far.

        epoch, position = divmod(n, len(self))

    The order, the flips and the quarter turns of each epoch are drawn by a generator that is seeded by a hash of
    (seed, epoch).
    Iterating yields the rest of the epoch that `n` is in, and advances `n`: set `n` to resume.
    An incomplete last batch is dropped; fewer images than `batch` make one batch of all of them.

    Where `world` processes train together, all draw the same order, and the process of this `rank` reads and
    yields its part of every batch, batch / world images: together they see the same batches as one process.

    Yields stored pixels, uint8 mostly, N·C·H·W, that are views of N·H·W·C memory (channels_last already).
    """

    def __init__(
        self,
        pixels: Pixels,
        batch: int,
        seed: int = 0,
        flip: bool = False,
        rank: int = 0,
        world: int = 1,
        turn: bool = False,
    ) -> None:
        if batch < 1:
            raise UsageError(f"batch={batch} is invalid: expected a number of images, at least 1")
        if len(pixels) == 0:
            raise UsageError("0 images are invalid for batches: expected at least 1")
        if min(batch, len(pixels)) % world:
            raise UsageError(
                f"a batch of {min(batch, len(pixels))} images cannot be shared by {world} processes: "
                f"give a {option('batch')} that is a multiple of {world}, of "
                f"no more than the {len(pixels)} images there are"
            )
        self._pixels = np.asarray(pixels) if isinstance(pixels, np.ndarray) else pixels
        self.batch = min(batch, len(pixels))
        self._part = self.batch // world
        self._first = rank * self._part
        self.seed = seed
        self.flip, self.turn = flip, turn
        self.n = 0

    def __len__(self) -> int:
        return len(self._pixels) // self.batch

    def __iter__(self) -> Iterator[Tensor]:
        epoch, start = divmod(self.n, len(self))
        rng = self._generator(epoch)
        order, flipped = self._draw(rng)
        turns = quarter_turns(len(order), rng) if self.turn else None
        for position in range(start, len(self)):
            begin = position * self.batch + self._first
            span = slice(begin, begin + self._part)
            # NumPy gathers in one thread and in 0.1 ms; torch would wake all of its threads, and wait for them.
            x = torch.from_numpy(self._read(order[span]))
            if self.flip:
                mirror(x, flipped[span])
            if turns is not None:
                rotate(x, turns[span])
            self.n = epoch * len(self) + position + 1
            yield x.permute(0, 3, 1, 2)

    def _draw(self, rng: torch.Generator) -> tuple[np.ndarray, Tensor]:
        """The order of an epoch, and which of its places are mirrored."""
        order = torch.randperm(len(self._pixels), generator=rng)
        return order.numpy(), torch.rand(len(order), generator=rng) < 0.5

    def _read(self, places: np.ndarray) -> np.ndarray:
        """The images at some places of the order, N·H·W·C."""
        return self._pixels[places]

    def _generator(self, epoch: int) -> torch.Generator:
        hashed = hashlib.blake2b(f"{self.seed}/{epoch}".encode(), digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(hashed, "big") >> 1)


def mirror(x: Tensor, which: Tensor) -> None:
    """Mirror some images of N·H·W·C in place."""
    x = x.view(torch.int16) if x.dtype == torch.uint16 else x  # torch puts nothing into a part of a uint16
    x[which] = x[which].flip(2)


def quarter_turns(count: int, rng: torch.Generator) -> Tensor:
    """How many quarter turns each of some images gets: 0 to 3, all equally likely."""
    return torch.randint(4, (count,), generator=rng)


def rotate(x: Tensor, turns: Tensor) -> None:
    """Turn images of N·H·W·C with H = W in place, each by its number of quarter turns."""
    x = x.view(torch.int16) if x.dtype == torch.uint16 else x
    for k in (1, 2, 3):
        x[turns == k] = x[turns == k].rot90(k, (1, 2))


def check_turn(turn: bool, shape: Shape) -> None:
    """UsageError where images are to be turned that are not square."""
    if turn and shape[1] != shape[2]:
        raise UsageError(
            f"{option('turn', True)} is invalid for images of {shape[1]}x{shape[2]}: expected square ones, as a "
            f"turn changes the shape of others; give a {option('size')} of one number, or leave it out"
        )


class Source(Protocol):
    """A source of training batches: `Batches`, or those of a stream."""

    n: int
    """Batches since the start; set it to resume."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        ...

    def __iter__(self) -> Iterator[Tensor]:
        """The rest of the epoch that `n` is in: stored pixels, N·C·H·W."""
        ...
