"""The essay's theory of where the noise of a representation comes from: random layers that lose dimensions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from copyfold import pictures
from copyfold.corruptions import noise_like, uniform_like
from copyfold.data import Photos
from copyfold.measures import distance, flatness, kurtosis, normality
from copyfold.models.base import Autoencoder
from copyfold.models.blocks import BatchNorm
from copyfold.models.dense import Linear
from copyfold.probes.base import Reading
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.networks import unet
from copyfold.types import Images

SECTION = 'essay, "Why Noninvertibility introduces Gaussian Noise in Input Representations"'
SHOWN = 8
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8)  # m / n, the numbers of a layer's output over its input's
NARROW = SHARES[0]
DESCENDED = (1 / 4, 1 / 2, 3 / 4)  # the shares at which descent is held against the closed form


@dataclass(frozen=True)
class LooksGaussian(Study):
    r"""The representation of an input by an untrained model that narrows is normal.

    A random layer A has m outputs for the n numbers of an image a; a_g is what descent from a_0 finds to have the
    same output as a. Descent never leaves the row space of A, so that a_g = a_0 + A^+ A (a - a_0), computed as it
    stands. The essay has m much smaller than n and begins with a constant: n / 16 decides. Measured are the
    distance of the values from a normal distribution (Kolmogorov's; 0.06 for uniform ones) and the flatness of the
    spectrum (0.561 for white noise), of the representation a_g and of its error a_g - a. "Network" is the output
    of the untrained plain U-Net by L-BFGS, with running statistics taken from training photographs.

    Controls: a uniform and a normal start, whose own noise stays in a_g; exact normal noise, the best that can be
    measured at this size; the photographs themselves. "Image in" is the share of the energy of a_g - a_0, or of
    a_g - a, that is a multiple of a - a_0: the picture in the noise. "Unsettled" is how far the network's output
    still is from the one that is sought, over what noise of std 1/18 changes in it.

    In the first figure, rows from the top: photographs, and what stands for them from each start, by the layer and
    by the network. The second shows the distance from normal, from the constant start, against m / n.
    """

    claim: ClassVar[str] = "T9"
    place: ClassVar[str] = f"{SECTION}: O(x_i, theta) ~ N, before the first equation"
    items: ClassVar[tuple[int, ...]] = (80, 142)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "New layers that narrow make Gaussian noise: a noisy representation tells of a lost input.",
        Verdict.MIXED: "Some of it is Gaussian noise and some is not: what a narrow layer keeps, what it loses "
        "and what a network does look different. How noisy it looks does not say how much is lost.",
        Verdict.FAILS: "New layers make no Gaussian noise: what looks so was in the start.",
    }

    normality_of_the_representation: Below = Below(0.03)
    flatness_of_the_representation: Above = Above(0.5)
    normality_of_the_error: Below = Below(0.03)
    normality_of_the_network: Below = Below(0.03)

    def measure(self, lab: Lab) -> Finding:
        """Represent photographs by random layers and networks, and look at what came of them."""
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
        """What the output of an untrained U-Net takes for x, for every seed."""
        descend = Inversion(steps=lab.budget.scaled(50), first=start)
        seen = lab.images(photos, "train")
        models = [settled(lab.untrained(unet(lab), photos, seed), seen) for seed in lab.seeds]
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


@dataclass(frozen=True)
class LawOfOneLayer(Study):
    r"""How noisy one random layer's representation is follows from its sizes alone.

    Of n numbers a random layer keeps m, rho = m / n. Descent from a_0 on its output then ends at

        a_g = rho a + (1 - rho) a_0 + sqrt(rho (1 - rho)) rms(a_0 - a) xi        xi ~ N(0, 1) for large n
        ||a_g - a|| = sqrt(1 - rho) ||a_0 - a||

    with a the photograph and a_0 a constant: mostly the start where m is small, noisiest at one half, mostly the
    photograph where m is large. "Off" is the relative distance of what the closed form a_0 + A^+ A (a - a_0) has
    from this, of the noise's std and of the length of the error: the mean over photographs and six values of rho.
    Descent by L-BFGS must come to the same a_g, at three of them.

    Control: a layer that is not random, the means of 2x2 pixels, rho = 1/4. It sees what photographs are made of,
    and should keep far more of them than the law says: its length "over law" is then far below 1.

    The first figure shows the std of the noise over rms(a_0 - a) against rho, observed and by the law; the second
    what stands for the photographs as rho grows.
    """

    claim: ClassVar[str] = "T10"
    place: ClassVar[str] = f"{SECTION}: the law behind O(x_i, theta) ~ N, which the essay does not give"
    items: ClassVar[tuple[int, ...]] = (84, 142)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "The noise of a random layer needs no experiment: it follows from m, n and the start.",
        Verdict.MIXED: "The law is a guide for a random layer, but not exact at these sizes: look at the numbers.",
        Verdict.FAILS: "A random layer on real images does not do what the algebra of random layers says.",
    }

    noise_off: Below = Below(0.05)
    length_off: Below = Below(0.05)
    descent_off: Below = Below(0.01)

    def measure(self, lab: Lab) -> Finding:
        """Represent photographs in closed form and by descent, and compare with the law."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        start, few = torch.full_like(x, 0.7), max(SHOWN, len(x) // 8)
        numbers, rows = {}, {"photographs": x[:SHOWN]}
        off, apart = {"noise": [], "length": []}, []
        for share in SHARES:
            layers = [random_layer(lab, photos, share, seed) for seed in lab.seeds]
            found = [represented(layer.weight, x, start) for layer in layers]
            ratios = [over_law(a, x, start, share) for a in found]
            for what in off:
                numbers[f"{what} over law, rho {share:g}"] = statistics.mean([r[what] for r in ratios])
                off[what].append(torch.stack([(r[what] - 1).abs() for r in ratios]))
            left = [a - share * x - (1 - share) * start for a in found]
            numbers[f"normality of the noise, rho {share:g}"] = statistics.mean([normality(r) for r in left])
            rows[f"rho = {share:g}"] = found[0][:SHOWN]
            if share in DESCENDED:
                descend = Inversion(steps=lab.budget.scaled(100), first=start[:few])
                models = [nn.Sequential(nn.Flatten(), layer) for layer in layers]
                reached = [descend(model, x[:few], lab.rng(0)).images["found"] for model in models]
                apart.append(
                    torch.stack(
                        [
                            distance(b, a[:few]) / distance(a[:few], start[:few])
                            for a, b in zip(found, reached, strict=True)
                        ]
                    )
                )
        numbers |= {f"{what} off": statistics.mean(list(torch.stack(each).mean(0))) for what, each in off.items()}
        numbers["descent off"] = statistics.mean(list(torch.stack(apart).mean(0)))
        blocks = start + F.interpolate(F.avg_pool2d(x - start, 2), scale_factor=2.0)
        for what, ratio in over_law(blocks, x, start, 1 / 4).items():
            numbers[f"{what} over law, means of 2x2 pixels"] = statistics.mean([ratio])
        return Finding(numbers, {"law": self._figure(numbers), "images": pictures.comparison(rows)})

    def _figure(self, numbers: Mapping[str, Estimate]) -> Any:
        """Noise against rho, by the law and as observed."""
        law = [math.sqrt(s * (1 - s)) for s in SHARES]
        seen = [numbers[f"noise over law, rho {share:g}"] for share in SHARES]
        low, value, high = ([law[i] * v for i, v in enumerate(ends)] for ends in _ends(seen))
        fine = [i / 100 for i in range(101)]
        return pictures.curves(
            {"sqrt(rho (1 - rho))": (fine, [math.sqrt(s * (1 - s)) for s in fine]), "observed": (SHARES, value)},
            "rho = m / n", "std of the noise / rms(a_0 - a)", bands={"observed": (low, high)},
            dots={"observed"},
        )  # fmt: skip


def represented(weight: Tensor, x: Images, start: Images) -> Images:
    """Where descent from `start` on a linear layer's output ends: a_0 + A^+ A (a - a_0), for A of full rank."""
    a = weight.detach().double()
    away = (x - start).flatten(1).double()
    kept = torch.linalg.solve(a @ a.T, a @ away.T)
    return (start.flatten(1).double() + kept.T @ a).view_as(x).to(x)


@torch.no_grad()
def settled(model: Autoencoder, x: Images) -> Autoencoder:
    """The model with the running averages of these images, so that first weights can be looked at with them."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    former = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # what is recorded is this batch's alone
    with model.using("batch"):
        model.train()(x)
    for norm, momentum in zip(norms, former, strict=True):
        norm.momentum = momentum
    return model.eval()


def unsettled(readings: Sequence[Reading]) -> Estimate:
    """How far the layer still is from its answer, over what a little noise would change in it."""
    return statistics.ratio(*([r.numbers[k] for r in readings] for k in ("layer", "layer, reference")))


def _starts(x: Images, rng: Generator) -> dict[str, Images]:
    """Where descent begins: constant, uniform, and normal as the essay's scripts have it."""
    return {
        "constant": torch.full_like(x, 0.7),
        "uniform": uniform_like(x, rng),
        "normal": noise_like(x, 0.7, 1 / 20, rng),
    }


def random_layer(lab: Lab, photos: Photos, share: float, seed: int) -> nn.Linear:
    """An untrained layer with so many outputs for each number of an image."""
    make = partial(Linear, latent_dim=max(1, round(share * prod(photos.shape))))
    return lab.untrained(make, photos, seed).encoder[1]


def _anatomy(name: str, found: list[Images], x: Images, start: Images) -> dict[str, Estimate]:
    """How noisy representations and their errors are, and how much of the image is in them."""
    numbers: dict[str, Estimate] = {}
    for what, away in (("representation", start), ("error", x)):
        parts = [a - away for a in found]
        share = [F.cosine_similarity(p.flatten(1), (x - start).flatten(1)).square() for p in parts]
        numbers |= _looks(f"of the {what}, {name}", found if what == "representation" else parts)
        numbers[f"image in the {what}, {name}"] = statistics.mean(share)
    return numbers


def _ends(each: Sequence[Estimate]) -> tuple[list[float], list[float], list[float]]:
    return [e.low for e in each], [e.value for e in each], [e.high for e in each]


def _looks(name: str, images: list[Images]) -> dict[str, Estimate]:
    """The noise meter's numbers of images, for every seed."""
    meters = {"normality": normality, "kurtosis": kurtosis, "flatness": flatness}
    return {f"{what} {name}": statistics.mean([meter(i) for i in images]) for what, meter in meters.items()}


def _rms(x: Images) -> Tensor:
    return x.flatten(1).square().mean(1).sqrt()


def over_law(found: Images, x: Images, start: Images, share: float) -> dict[str, Tensor]:
    """The noise's std and the error's length over what the law of one layer says, of each image."""
    left = found - share * x - (1 - share) * start
    noise = math.sqrt(share * (1 - share)) * _rms(start - x)
    return {
        "noise": _rms(left) / noise,
        "length": distance(found, x) / (math.sqrt(1 - share) * distance(start, x)),
    }
