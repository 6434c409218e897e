"""The model's map applied repeatedly: which images walk, and where they end."""

import torch
from torch import Tensor

from copyfold.models.base import Autoencoder
from copyfold.probes.nearest import neighbours
from copyfold.probes.stability import Stability, rms, spacing
from copyfold.samplers.base import parts
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.networks import BATCH
from copyfold.studies.toolkit.samples import essay_steps
from copyfold.types import Images, Statistics

KNOWN = 4096  # training images at most among which the nearest is searched


def walked(first: Images, end: Images, data: Images) -> Tensor:
    """1 for every image that walked from its first step, by the rule of `Stability`."""
    changed = neighbours(first, data)[1] != neighbours(end, data)[1]
    return ((rms(end, first) > spacing(data) / 2) | changed[:, 0]).float()


def repeated(
    lab: Lab,
    model: Autoencoder,
    x: Images,
    known: Images,
    seed: int,
    statistics: Statistics = "batch",
    values: int = 0,
) -> dict[str, Tensor]:
    """The numbers of `Stability` for every image, batch by batch, and the images "first" and "last"."""
    probe = Stability(essay_steps(lab, 300, 100), values, known, statistics=statistics)
    readings = [probe(model, part, lab.rng(seed, "starts")) for part in parts(x, BATCH)]
    names = [name for name, value in readings[0].numbers.items() if value.dim()]
    found = {name: torch.cat([r.numbers[name] for r in readings]) for name in names}
    return found | {name: torch.cat([r.images[name] for r in readings]) for name in ("first", "last")}
