"""Inversion, the search for an image with a given output: methods, images, and whether it has converged."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Generator, nn

from copyfold.corruptions import noise_like
from copyfold.measures import distance, noise_level, psnr
from copyfold.probes.base import Reading, still, tap
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import Estimate
from copyfold.studies.lab import Lab
from copyfold.types import Images, Statistics

SEARCHING = "The search has not converged, so that the error may come from the search and not from the network."
START = 0.7  # of every pixel, in the essay's scripts
STATES = ("trained", "untrained")
MOST = 2000  # steps of a search at the cpu budget
ENOUGH = 0.1  # of the reference distance: a search that comes so near at the layer has an answer
LOOK = 20  # steps from one look at the distance to the next


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


def representation(
    lab: Lab, model: nn.Module, layer: str, x: Images, rng: Generator, statistics: Statistics = "running"
) -> Reading:
    """What a layer represents, by the one protocol of all claims: an image found for the layer's output of each x.

    Adam with a rate from 0.03 to 0.003, from a grey image, for up to 2,000 steps (fewer at a smaller budget),
    until at the layer every image is nearer to its target than a tenth of the reference: the change that noise of
    std 1/18 in the image makes there. An image whose search does not come so near has no answer: it says that one
    was hard to find, not what the layer represents. With batch `statistics`, which the images share, give 64
    of them or more.

    Numbers per image: "answer", 1 or 0; "error", the distance from x per value, "psnr" in dB and "noise" (std of
    white noise in the difference), all NaN where there is no answer; "layer over reference", the distance that is
    left; "reference", that of the noise itself per value. For all: "steps". Images: "target" and "found". Take
    medians over images (`statistics.median`), and count the answers (`statistics.fraction`).
    """
    near = x + noise_like(x, 0.0, 1 / 18, rng)
    with still(model, statistics), torch.no_grad():
        target, beside = (tap(model, layer, a) for a in (x, near))
    reference = distance(beside, target)
    search = Inversion(
        layer, at_most(lab, MOST), "adam", rate=(0.03, 0.003),
        start="constant", mean=START, statistics=statistics,
    )  # fmt: skip
    found, left, steps = x, torch.full_like(reference, math.inf), 0
    for steps, found in enumerate(search.film(model, x, rng), 1):
        if steps % LOOK == 0 or steps == search.steps:
            with still(model, statistics), torch.no_grad():
                left = distance(tap(model, layer, found), target) / reference
            if bool((left < ENOUGH).all()):
                break
    answer, size = left < ENOUGH, math.sqrt(x[0].numel())
    numbers = {"error": distance(found, x) / size, "psnr": psnr(found, x), "noise": noise_level(found - x)}
    numbers = {name: value.where(answer, math.nan) for name, value in numbers.items()}
    numbers |= {"answer": answer.float(), "layer over reference": left, "steps": torch.tensor(float(steps))}
    return Reading(numbers | {"reference": distance(near, x) / size}, {"target": x, "found": found})
