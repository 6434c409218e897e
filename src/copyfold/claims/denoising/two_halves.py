"""Our own: do two denoisers become one function as their training sets grow?"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from copyfold import pictures
from copyfold.corruptions import Gaussian
from copyfold.data import Photos
from copyfold.data.sampling import as_images
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Classical
from copyfold.probes.base import Reading
from copyfold.probes.baselines import PCAWiener
from copyfold.probes.nearest import neighbours
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import LARGE, restored, unet
from copyfold.studies.toolkit.notes import fashion
from copyfold.studies.toolkit.representations import paired
from copyfold.studies.toolkit.represented import SEED
from copyfold.training.in_memory import fit_array
from copyfold.training.plan import Plan
from copyfold.types import Images

SIZES = {10: 1500, 100: 1000, 1000: 1250, 20_000: 2500}
"""Images of a half, and the batches of 64 that are learned of it, or of 10, at the cpu budget."""
BATCH, PASSES = 64, 8  # images of a batch; how often every image of a half is seen, at least
NOISE = Gaussian(0.5)  # stronger than an image's own std, so that much of an output is what was learned
OTHER, AGAIN = 1000, 2000  # added to the seed: of the denoiser of the other half, and of the same half again
PAIRS = {"halves": "B", "seeds": "A again"}
"""What A, the denoiser of one half, is compared with."""


@dataclass(frozen=True)
class TwoHalves(Study):
    r"""Denoisers of disjoint halves of a large set give the same outputs.

    Kadkhodaie, Guth, Simoncelli and Mallat found it for diffusion models: with few images each denoiser remembers
    its own, and with many both are one function, that of the density and not of the images. Here two halves of N =
    10, 100, 1,000 and 20,000 images of Fashion-MNIST are drawn without an image in common. Two U-Nets of width 16
    and depth 2, with skips and without norm, learn to remove noise of std 0.5 from one half each, A and B, with
    other weights and other noise. All have the time to remember: the largest half is seen 8 times, in 2,500
    batches of 64, the next 80 and 640 times, the smallest 1,500 times. On the same new noisy images, held out from
    both, their outputs f_A and f_B are compared:

        unlikeness = E ||f_A - f_B||^2 / E (||f_A - m||^2 + ||f_B - m||^2)        m: their mean output

    0 for one function, about 1 for outputs that have nothing in common. Two numbers decide:

    - "unlikeness many over few": with the largest halves over that with the smallest, below a half. The claim is a
      fall, and less than half of it would be no transition from one to the other.
    - "halves over seeds many": E ||f_A - f_B||^2 over the same of A and a denoiser of A's own half with B's seed
      changed once more, below 1.25, with the largest halves. If what the seed and what the half change add up, the
      half then adds less than a quarter of what the seed does.

    Neither threshold is from the paper, which has none of these numbers.

    Controls: every image of the largest halves must be seen 8 times, or there was no chance to remember it; with
    the smallest halves the second number must be above 1.25, or no network remembers its half and there is nothing
    to leave behind; the largest halves' denoisers must be better than the best linear one (PCA and the Wiener
    filter of whole images), as two blanks are alike too; and untrained networks must be twice as unlike. Memory is
    shown: the share of outputs nearer to an image of the own half than to any of the other (a half by chance), the
    ratio of these distances, and the error on new images over that on its own.

    Redesigned before it was measured: all halves had 1,800 batches of 16, in which the largest is seen 1.4 times.

    The curve shows the unlikeness against N, of halves and of seeds. In the pictures, rows from the top: new
    images, the same with noise, and the outputs of A and B for each N.
    """

    claim: ClassVar[str] = "two-halves"
    place: ClassVar[str] = (
        "our own; after Kadkhodaie, Guth, Simoncelli and Mallat, Generalization in diffusion models arises from "
        "geometry-adaptive harmonic representations (2024, arXiv:2310.02557), figure 1"
    )
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    asked: ClassVar[str] = (
        "From how many training images on does a denoiser give what any other set of as many images would have "
        "taught it, and no longer what it remembers?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Train the denoiser twice, on disjoint halves: where the outputs agree as two seeds do, "
        "which images it had no longer matters, and the result is not memory.",
        PARTLY: "Look at the curve: halves become more alike or as alike as seeds, but not both; more images "
        "would still change the result.",
        Verdict.DOES_NOT_HOLD: "Do not take a denoiser of this many images for that of the density: another half "
        "gives another function.",
        Verdict.UNDECIDED: "Train the denoiser twice, on disjoint halves, before trusting what it fills in.",
    }
    seeds: ClassVar[int] = 8
    controls: ClassVar[Mapping[str, Control]] = {
        "passes over the largest half": (
            Above(PASSES - 0.01),
            "The largest halves are seen too seldom to be remembered, so that seeds and halves are alike.",
        ),
        "halves over seeds few": (Above(1.25), "Seeds differ as much with the smallest halves: none remembers."),
        "error over linear filter many": (Below(1.0), "The largest halves teach no more than a linear filter."),
        "unlikeness many over untrained": (Below(0.5), "Networks that have learned nothing are about as alike."),
    }

    unlikeness_many_over_few: Below = Below(0.5)
    halves_over_seeds_many: Below = Below(1.25)

    def measure(self, lab: Lab) -> Finding:
        """Train three denoisers for every size of the halves, and compare their outputs."""
        photos = fashion(lab)
        x = lab.images(photos)
        sizes = dict.fromkeys(min(size, len(photos) // 2) for size in SIZES)
        each = {n: lab.by_seed(lambda seed, n=n: _look(lab, photos, x, n, seed), f"of-{n}") for n in sizes}
        common = paired(lab, {f"halves of {n}": of for n, of in each.items()})
        found = dict(zip(each, common.values(), strict=True))
        numbers, ends = _numbers(found), (min(found), max(found))
        names = {"halves": "disjoint halves", "seeds": "the same half, other seeds"}
        along: dict[str, tuple[Sequence[float], Sequence[Estimate]]] = {
            name: (list(found), [numbers[f"unlikeness, {pair}, {n}"] for n in found])
            for pair, name in names.items()
        }
        rows = {"new images": x[:SHOWN], "with noise": found[ends[1]][0].images["noisy"]}
        for n, readings in found.items():
            rows |= {f"{name}, N = {n}": readings[0].images[name] for name in ("A", "B")}
        ylabel = "unlikeness of outputs for new noisy images"
        return Finding(
            numbers,
            {
                "unlikeness": charts.curves(along, "images of a half, N", ylabel, logx=True, logy=True),
                "images": pictures.comparison(rows),
            },
            came_out=f"With halves of {ends[1]:,} images two denoisers are "
            f"{numbers['unlikeness many over few'].value:.2g} times as unlike as with {ends[0]}, and differ "
            f"{numbers['halves over seeds many'].value:.3g} times as much as two seeds of one half.",
            captions={
                "unlikeness": "How unlike the outputs of two denoisers are, against the images that each learned: "
                "0 is one function, 1 nothing in common",
                "images": "New images, the same with noise, and what denoisers of disjoint halves make of them",
            },
        )


def _numbers(found: Mapping[int, Sequence[Reading]]) -> dict[str, Estimate]:
    """All numbers: those that decide, then the same for every size of the halves."""
    few, many = found[min(found)], found[max(found)]

    def over(a: Sequence[Reading], pair: str, b: Sequence[Reading], other: str) -> Estimate:
        samples = [of(r, f"{what}, {p}") for r, p in ((a, pair), (b, other)) for what in ("apart", "spread")]
        return statistics.estimate(lambda a, b, c, d: (a / b) / (c / d), *samples, scale="log")

    def beyond(readings: Sequence[Reading]) -> Estimate:
        return statistics.ratio(of(readings, "apart, halves"), of(readings, "apart, seeds"))

    def over_linear(readings: Sequence[Reading]) -> Estimate:
        return statistics.ratio(of(readings, "error"), of(many, "error, linear filter"))

    numbers = {
        "unlikeness many over few": over(many, "halves", few, "halves"),
        "halves over seeds many": beyond(many),
        "halves over seeds few": beyond(few),
        "error over linear filter many": over_linear(many),
        "unlikeness many over untrained": over(many, "halves", many, "untrained"),
        "unlikeness, untrained": unlikeness(many, "untrained"),
        "passes over the largest half": _passes(many),
    }
    for n, readings in found.items():
        numbers |= {f"unlikeness, {pair}, {n}": unlikeness(readings, pair) for pair in PAIRS}
        new_over_own = [r.numbers["new over own error"].item() for r in readings]
        numbers |= {
            f"halves over seeds, {n}": beyond(readings),
            f"own half nearer, {n}": statistics.fraction(of(readings, "own half nearer")),
            f"distance to own over other half, {n}": statistics.ratio(
                of(readings, "distance to own half"), of(readings, "distance to other half")
            ),
            f"error on new over own images, {n}": statistics.over_seeds(new_over_own, "log"),
            f"error over linear filter, {n}": over_linear(readings),
            f"passes, {n}": _passes(readings),
        }
    return numbers


def of(readings: Sequence[Reading], what: str) -> list[Tensor]:
    """One number of every reading."""
    return [r.numbers[what] for r in readings]


def _passes(readings: Sequence[Reading]) -> Estimate:
    """How often every image of a half was learned from: the same for all seeds, so that it needs no interval."""
    each = [r.numbers["passes"].item() for r in readings]
    return Estimate(each[0], min(each), max(each), len(each), tuple(each))


def unlikeness(readings: Sequence[Reading], pair: str) -> Estimate:
    """The squared distance of two outputs over that of both from their mean."""
    return statistics.ratio(of(readings, f"apart, {pair}"), of(readings, f"spread, {pair}"))


def compared(a: Images, b: Images) -> dict[str, Tensor]:
    """Of two denoisers' outputs, per image: ||a - b||^2, and ||a - m||^2 + ||b - m||^2; m is their mean output."""
    middle = ((a.mean(0) + b.mean(0)) / 2).expand_as(a)
    return {"apart": mse(a, b), "spread": mse(a, middle) + mse(b, middle)}


def halves(photos: Photos, count: int, rng: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of training images, two parts without an image in common; larger ones contain smaller."""
    order = torch.randperm(len(photos), generator=rng)
    a, b = (order[start::2][:count].sort().values.numpy() for start in (0, 1))
    return photos.train[a], photos.train[b]


def denoiser(lab: Lab, photos: Photos, pixels: np.ndarray, seed: int) -> Autoencoder:
    """A network that has learned to remove the noise from these images alone."""
    model = lab.untrained(_network(lab), photos, seed)
    start = time.monotonic()
    plan = Plan(steps=steps(lab, len(pixels)), batch=min(BATCH, len(pixels)), seed=seed)
    fit_array(model, Classical(NOISE), np.asarray(pixels), plan)
    took = time.monotonic() - start
    lab.spent, lab.waited = lab.spent + took, lab.waited + took
    return model.to(lab.device)


def steps(lab: Lab, count: int) -> int:
    """Batches that are learned of so many images: as many as of the next larger half that is listed."""
    return lab.budget.scaled(
        next((number for size, number in SIZES.items() if count <= size), max(SIZES.values()))
    )


def _network(lab: Lab) -> Any:
    return unet(lab, depth=2, width=lab.budget.width // 2, skips="concat", norm="none")


def _look(lab: Lab, photos: Photos, x: Images, count: int, seed: int) -> Reading:
    """The denoisers of one seed with halves of so many images, and how alike their outputs for new images are."""
    own, other = halves(photos, count, lab.rng(seed, "halves"))
    models = {
        "A": denoiser(lab, photos, own, seed),
        "B": denoiser(lab, photos, other, seed + OTHER),
        "A again": denoiser(lab, photos, own, seed + AGAIN),
    }
    noisy = NOISE(x, lab.rng(seed, "noise"))
    outputs = {name: restored(model, noisy, LARGE) for name, model in models.items()}
    passes = steps(lab, count) * min(BATCH, count) / count
    numbers = {"passes": torch.tensor(passes), SEED: torch.tensor(float(seed))}
    for pair, rival in PAIRS.items():
        numbers |= {f"{what}, {pair}": v for what, v in compared(outputs["A"], outputs[rival]).items()}
    blank = [restored(lab.untrained(_network(lab), photos, s), noisy, LARGE) for s in (seed, seed + OTHER)]
    numbers |= {f"{what}, untrained": value for what, value in compared(*blank).items()}
    mine, theirs = (as_images(pixels).to(lab.device) for pixels in (own, other))
    near = {
        "own": neighbours(outputs["A"], mine)[0][:, 0],
        "other": neighbours(outputs["A"], theirs)[0][:, 0],
    }
    numbers |= {f"distance to {name} half": distance for name, distance in near.items()}
    numbers |= {"own half nearer": (near["own"] < near["other"]).float(), "error": mse(outputs["A"], x)}
    linear = PCAWiener.fit(mine, side=0)(noisy, float(NOISE.std))  # pyright: ignore[reportArgumentType]
    numbers["error, linear filter"] = mse(linear, x)
    seen = mine[: len(x)]
    again = restored(models["A"], NOISE(seen, lab.rng(seed, "noise of own")), LARGE)
    numbers["new over own error"] = numbers["error"].mean() / mse(again, seen).mean()
    images = {"noisy": noisy, "A": outputs["A"], "B": outputs["B"]}
    return Reading(numbers, {name: y[:SHOWN] for name, y in images.items()})
