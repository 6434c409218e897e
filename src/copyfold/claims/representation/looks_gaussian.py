"""T9: do random layers that narrow make representations that look like Gaussian noise?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Generator

from copyfold import pictures
from copyfold.claims.representation import SECTION, SHARES
from copyfold.corruptions import noise_like, uniform_like
from copyfold.data import Photos
from copyfold.measures import flatness, kurtosis, normality
from copyfold.probes.base import Reading
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import unet, with_running_averages
from copyfold.studies.toolkit.random_layers import random_layer, represented
from copyfold.studies.toolkit.search import unsettled
from copyfold.types import Images

NARROW = SHARES[0]


@dataclass(frozen=True)
class LooksGaussian(Study):
    r"""The representation of an input by an untrained narrowing model is Gaussian.

    A random layer A has m outputs for the n numbers of an image a; a_g is the image with the same output as a that
    descent from a_0 finds. Descent only moves in the row space of A, so that a_g = a_0 + A^+ A (a - a_0), which is
    computed directly. The essay has m much smaller than n and starts from a constant: n / 16 decides. Measured are
    the distance of the values from a normal distribution (Kolmogorov's; 0.06 for uniform ones) and the flatness of
    the spectrum (0.561 for white noise), of the representation a_g and of its error a_g - a. "Network" is the
    representation by the output of the untrained plain U-Net, found by L-BFGS, with running statistics of training
    photographs.

    Controls: a uniform and a normal start, whose own noise stays in a_g; exact normal noise, the best possible
    value at this size; the photographs themselves. "Image in" is the share of the energy of a_g - a_0, or of a_g -
    a, that is a multiple of a - a_0: the image within the noise. "Unsettled" is the distance of the network's
    output from the target output, over the change by noise of std 1/18.

    In the first figure, rows from the top: photographs, and their representations from each start, by the layer
    and by the network. The second shows, for the constant start, the distance from normal against m / n.
    """

    claim: ClassVar[str] = "T9"
    place: ClassVar[str] = f"{SECTION}: O(x_i, theta) ~ N, before the first equation"
    items: ClassVar[tuple[int, ...]] = (80, 142)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Untrained layers that narrow make Gaussian noise: a noisy representation means a lost "
        "input.",
        PARTLY: "Some of it is Gaussian noise and some is not: what a narrow layer keeps, what it "
        "loses, and the representation by a network look different. How noisy it looks does not say how much "
        "is lost.",
        Verdict.DOES_NOT_HOLD: "Untrained layers make no Gaussian noise: what looked like it came from the start.",
    }

    normality_of_the_representation: Below = Below(0.03)
    flatness_of_the_representation: Above = Above(0.5)
    normality_of_the_error: Below = Below(0.03)
    normality_of_the_network: Below = Below(0.03)

    def measure(self, lab: Lab) -> Finding:
        """Represent photographs by random layers and networks, and measure the noise."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        starts = _starts(x, lab.rng(0, "starts"))
        narrow = [random_layer(lab, photos, NARROW, seed) for seed in lab.seeds]
        numbers = _looks("of photographs", [x]) | _looks(
            "of exact noise", [noise_like(x, rng=lab.rng(0, "white"))]
        )
        rows = {"photographs": x[:SHOWN]}
        for name, start in starts.items():
            found = [represented(layer.weight, x, start) for layer in narrow]
            numbers |= _anatomy(f"{name} start", found, x, start)
            rows[f"m = n / 16, {name} start"] = found[0][:SHOWN]
        few = max(SHOWN, len(x) // 8)
        for name in ("constant", "normal"):
            readings = self._by_network(lab, photos, x[:few], starts[name][:few])
            found = [reading.images["found"] for reading in readings]
            numbers |= _anatomy(f"network, {name} start", found, x[:few], starts[name][:few])
            numbers[f"unsettled, network, {name} start"] = unsettled(readings)
            rows[f"untrained U-Net, {name} start"] = found[0][:SHOWN]
        for what in (
            "normality of the representation",
            "flatness of the representation",
            "normality of the error",
        ):
            numbers[what] = numbers[f"{what}, constant start"]
        numbers["normality of the network"] = numbers["normality of the representation, network, constant start"]
        curve = self._against_width(lab, photos, x, starts["constant"])
        return Finding(numbers, {"images": pictures.comparison(rows), "normality": curve})

    def _by_network(self, lab: Lab, photos: Photos, x: Images, start: Images) -> list[Reading]:
        """Representations of x by the output of an untrained U-Net, for every seed."""
        descend = Inversion(steps=lab.budget.scaled(50), first=start)
        seen = lab.images(photos, "train")
        models = [with_running_averages(lab.untrained(unet(lab), photos, seed), seen) for seed in lab.seeds]
        return [descend(model, x, lab.rng(0)) for model in models]

    def _against_width(self, lab: Lab, photos: Photos, x: Images, start: Images) -> Any:
        """A figure of the distance from normal against m / n."""
        lines: dict[str, list[Estimate]] = {"representation a_g": [], "error a_g - a": [], "photographs": []}
        for share in SHARES:
            found = [represented(random_layer(lab, photos, share, s).weight, x, start) for s in lab.seeds]
            of = (found, [a - x for a in found], [x])
            for line, images in zip(lines.values(), of, strict=True):
                line.append(statistics.mean([normality(i) for i in images]))
        along = {name: (SHARES, line) for name, line in lines.items()}
        return charts.curves(along, "m / n", "distance from a normal distribution")


def _starts(x: Images, rng: Generator) -> dict[str, Images]:
    """The starts of descent: constant, uniform, and normal as in the essay's scripts."""
    return {
        "constant": torch.full_like(x, 0.7),
        "uniform": uniform_like(x, rng),
        "normal": noise_like(x, 0.7, 1 / 20, rng),
    }


def _anatomy(name: str, found: list[Images], x: Images, start: Images) -> dict[str, Estimate]:
    """How noisy representations and their errors are, and how much of the image is in them."""
    numbers: dict[str, Estimate] = {}
    for what, away in (("representation", start), ("error", x)):
        parts = [a - away for a in found]
        share = [F.cosine_similarity(p.flatten(1), (x - start).flatten(1)).square() for p in parts]
        numbers |= _looks(f"of the {what}, {name}", found if what == "representation" else parts)
        numbers[f"image in the {what}, {name}"] = statistics.mean(share)
    return numbers


def _looks(name: str, images: list[Images]) -> dict[str, Estimate]:
    """The noise measures of images, for every seed."""
    meters = {"normality": normality, "kurtosis": kurtosis, "flatness": flatness}
    return {f"{what} {name}": statistics.mean([meter(i) for i in images]) for what, meter in meters.items()}
