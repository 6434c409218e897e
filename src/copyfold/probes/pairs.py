"""Pairs of found and true images, written to a file: what a network that improves inversions learns from."""

from pathlib import Path

import numpy as np
import torch
from torch import Generator, nn

from copyfold.errors import UsageError, at_least
from copyfold.files import written
from copyfold.probes.base import Reading
from copyfold.probes.inversion import Inversion
from copyfold.types import Images

NAMES = ("found", "target")


def invert_in_batches(probe: Inversion, model: nn.Module, x: Images, rng: Generator, batch: int = 64) -> Reading:
    """The reading of an inversion of many images, `batch` at a time, on the CPU.

    As of all at once, but for random starts and corruptions, which are drawn batch after batch, and for batch
    statistics, which are those of each batch.
    """
    at_least(1, batch=batch)
    if not len(x):
        raise UsageError("0 images are invalid for an inversion: expected at least 1")
    readings = [probe(model, part, rng) for part in x.split(batch)]
    first = readings[0]
    numbers = {name: torch.cat([r.numbers[name].cpu() for r in readings]) for name in first.numbers}
    return Reading(numbers, {name: torch.cat([r.images[name].cpu() for r in readings]) for name in first.images})


def write_pairs(path: str | Path, reading: Reading) -> Path:
    """Write the pairs of an inversion's reading to an .npz file, and return its path.

    Arrays "found" and "target", float32 N x H x W x C, which `Photos(path, column="found")` reads where values are
    in [0, 1], else with a `range`: found images are not clipped unless the inversion clamps. UsageError for
    another ending, or a reading without such images.
    """
    check_pairs(path)
    if missing := [name for name in NAMES if name not in reading.images]:
        raise UsageError(
            f"a reading without {' and '.join(missing)} images has no pairs: expected that of an Inversion"
        )
    found, target = (reading.images[name].detach().float().cpu().permute(0, 2, 3, 1).numpy() for name in NAMES)
    with written(path) as temporary:
        np.savez(temporary, found=found, target=target)
    return Path(path)


def check_pairs(path: str | Path) -> None:
    """UsageError where a path is none of a file of pairs."""
    if Path(path).suffix != ".npz":
        raise UsageError(f"{path} is invalid for pairs: expected an .npz file")
