"""Inversion, the search for an image with a given output: methods, images, and whether it has converged."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from copyfold.measures import distance, noise_level
from copyfold.probes.base import Reading
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import Estimate
from copyfold.studies.lab import Lab
from copyfold.types import Images

SEARCHING = "The search has not converged, so that the error may come from the search and not from the network."
START = 0.7  # of every pixel, in the essay's scripts
STATES = ("trained", "untrained")


def few_images(lab: Lab, x: Images) -> Images:
    """As many images as can be inverted in minutes, evenly spaced: 8 at the cpu budget."""
    return x[:: max(1, len(x) // max(4, lab.budget.measured // 16))]


def at_most(lab: Lab, steps: int) -> int:
    """This many steps, or fewer where the budget is smaller than cpu."""
    return min(steps, lab.budget.scaled(steps))


def plain_descent(lab: Lab) -> Inversion:
    """The plain descent of the essay's script, from a grey image, with the batch statistics of its text."""
    script = Inversion.unet_representations()
    return replace(script, steps=at_most(lab, script.steps), start="constant", mean=START, statistics="batch")


def lbfgs(lab: Lab) -> Inversion:
    """L-BFGS from a grey image, with the statistics of the batch."""
    return Inversion(steps=at_most(lab, 60), start="constant", mean=START, statistics="batch")


def inversion_numbers(readings: list[Reading]) -> dict[str, Estimate]:
    """The numbers of inversions of an output, over all seeds."""
    numbers = [r.numbers for r in readings]
    grey = [torch.full_like(r.images["target"], START) for r in readings]
    gone = [distance(r.images["found"], g) for r, g in zip(readings, grey, strict=True)]
    whole = [distance(r.images["target"], g) for r, g in zip(readings, grey, strict=True)]
    return {
        "noise": statistics.mean([n["noise"] for n in numbers]),
        "noise in the image itself": statistics.mean([noise_level(r.images["found"]) for r in readings]),
        "image distance": statistics.mean([n["image"] for n in numbers]),
        "psnr": statistics.mean([n["psnr"] for n in numbers]),
        "way gone": statistics.ratio(gone, whole),
        "output distance over reference": statistics.ratio(
            [n["layer"] for n in numbers], [n["layer, reference"] for n in numbers]
        ),
    }


def unsettled(readings: Sequence[Reading]) -> Estimate:
    """The distance of the layer's output from its target, over the change that weak noise makes in it."""
    return statistics.ratio(*([r.numbers[k] for r in readings] for k in ("layer", "layer, reference")))
