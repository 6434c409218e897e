"""T20: what gives samples a global order?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Generator, Tensor

from copyfold import pictures
from copyfold.claims.generation import SECTION
from copyfold.corruptions import noise_like
from copyfold.models.attention import AttentionUNet
from copyfold.models.base import Autoencoder
from copyfold.models.conv import Conv
from copyfold.probes.base import Reading, still
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import QUALITY, Lab, Make
from copyfold.studies.toolkit import charts, samples
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import copying, left, qualities
from copyfold.studies.toolkit.denoising import mean_image
from copyfold.studies.toolkit.networks import BATCH, LARGE, unet
from copyfold.studies.toolkit.samples import (
    COARSE,
    LEARNED,
    REFERENCE,
    from_noise,
    last,
    normal_images,
    order_error,
)
from copyfold.types import Images

DRAWS = 8  # random directions for estimates of a Jacobian
PLAIN, DEEPER, HIDDEN, ATTENTION = "plain", "deeper", "hidden module", "attention"
ATTENDED = samples.BRIEF
"""Batches at the cpu budget after which attention copies about as well as the plain network at its end."""
PLAINS = {246: "plain, 246 batches", samples.BRIEF: f"plain, {samples.BRIEF} batches"}


@dataclass(frozen=True)
class GlobalOrder(Study):
    """A hidden module, one more level, or attention gives samples a global order.

    U-Nets without skips learn the same photographs of 32 pixels, for 2,460 batches of 16: plain (two levels), one
    level deeper, with the essay's hidden module (fully connected), and with linear attention on the skips; the
    hidden module for 984, as these photographs are too few for it to gain by more; and attention for 164, as it
    copies almost perfectly after 2,460, better than any network without skips. What copies worse lets less of the
    noise through, and makes other samples for that alone. So the plain network is trained for 2,460, 246 and 164
    batches, and each of the others is compared with the plain one that leaves about as much as it does, the
    nearest of the three by ratio. Order is measured in samples of 30 steps, with the
    statistics of batches of 64, clipped to [0, 1]: correlations of brightness between cells half of the side or
    more apart, over all samples. The error is their root mean square difference from those of training
    photographs, so that too strong an order is an error as too weak a one is. The three numbers are this error
    over that of the plain network that copies as well, each below 1. The claim presupposes that the plain network
    leaves at most 3 % of held-out images, the deeper one and that with attention at most 10 %, and that with the
    hidden module, which ends at about 8 %, at most 12.7 %, as PCA of 32 components does: what a network that
    only knows the coarse image makes is in order by that.

    Controls: each and the plain network that it is compared with must leave nearly as much, within a factor of
    two; the plain network's error must be above that of as many held-out photographs, about the least
    possible, or there is nothing to gain; and samples must vary about their mean by more than a tenth of what
    photographs do, since correlations do not see it where all are nearly one image. Shown: the same errors over
    that of the plain network at its end; one convolution and one up-convolution, in whose output no pixel depends
    on far ones of the input; a normal distribution of pixels (the linear model), which has the right correlations
    by construction; photographs blurred to the sharpness of each network's samples, whose order is that of
    photographs; and the supposed cause of the order: how much a corner of the output depends on the opposite
    corner of the input, over how much on its own, by the Jacobian with running statistics.

    What changed: the old networks, of 64 pixels, left 13 % and more, and ratios were averaged as they are, with
    intervals down to -3; they are averaged by their logarithms. All were compared with the plain network at its
    end, which copied better. The verdict was UNDECIDED; thresholds are the old.

    The first figure shows the errors, the second the dependence on the opposite corner (no mark where there is
    none), the third samples from the same noise, a row for each network.
    """

    claim: ClassVar[str] = "T20"
    place: ClassVar[str] = f"{SECTION}: the paragraphs on disorganisation, convolutions and far pixels"
    items: ClassVar[tuple[int, ...]] = (27, 122, 148)
    asked: ClassVar[str] = (
        "Do images made from noise get a better order as a whole if something in the network connects distant "
        "pixels?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Include whatever connects distant pixels: it improves the whole picture.",
        PARTLY: "Take the network whose error falls: not every connection of distant pixels gives order.",
        Verdict.DOES_NOT_HOLD: "Do not connect distant pixels for the order of samples: disorder has another "
        "cause.",
        Verdict.UNDECIDED: "Measure more seeds before choosing an architecture by this: they differ as much.",
        Verdict.NOT_IN_REGIME: "Ask again of networks that copy: some of these only know the coarse image. The "
        "hidden module needs more images, not more batches.",
    }
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {
        PLAIN: Regime(0.03),
        DEEPER: Regime(0.1),
        HIDDEN: Regime(COARSE),
        ATTENTION: Regime(0.1),
    }
    controls: ClassVar[Mapping[str, Control]] = (
        {"order error plain over real": (Above(1.0), "The plain network's samples are in order already.")}
        | {
            f"left, {name} over plain as good, either way": (
                Below(2.0),
                "No plain network copies about as well, and better or worse copies alone make other samples.",
            )
            for name in (DEEPER, HIDDEN, ATTENTION)
        }
        | {
            f"variance of samples over that of photographs, {name}": (
                Above(0.1),
                "Its samples are nearly one image, of which correlations say nothing.",
            )
            for name in (PLAIN, DEEPER, HIDDEN, ATTENTION)
        }
    )

    order_error_hidden_module_over_plain_as_good: Below = Below(1.0)
    order_error_deeper_over_plain_as_good: Below = Below(1.0)
    order_error_attention_over_plain_as_good: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Sample with each, correlate far parts, differentiate."""
        found = lab.by_seed(lambda seed: _look(lab, seed))
        numbers = samples.pooled(samples.read(found))
        errors = {n.removeprefix("order error, "): e for n, e in numbers.items() if n.startswith("order error, ")}
        corners = {name: statistics.mean([r.numbers[f"corner, {name}"] for r in found]) for name in networks(lab)}
        numbers |= {f"opposite corner over own, {name}": e for name, e in corners.items()}
        said = ", ".join(
            f"{numbers[f'order error {name} over plain as good'].value:.2g} with {words}"
            for name, words in ((DEEPER, "one more level"), (HIDDEN, "a hidden module"), (ATTENTION, "attention"))
        )
        return Finding(
            numbers,
            {
                "errors": charts.intervals(errors, "error of the correlations of far parts"),
                "corners": charts.intervals(corners, "dependence on the opposite corner, over its own", logx=True),
                "samples": pictures.comparison(found[0].images),
            },
            copying=qualities(found),
            came_out=f"The error of the order of samples, over a plain network's that copies as well, is {said}.",
            captions={
                "errors": "How far correlations between distant parts of samples are from those of photographs",
                "corners": "How much a corner of the output depends on the opposite corner of the input",
                "samples": "Images that each network makes from the same noise, and photographs",
            },
        )


def networks(lab: Lab) -> dict[str, Make]:
    """The networks by name, the one without far dependence first."""
    width = lab.budget.width
    return {
        "shallow": partial(Conv, channels=[width]),
        PLAIN: unet(lab, depth=2),
        DEEPER: unet(lab, depth=3),
        HIDDEN: samples.hidden_module(lab),
        ATTENTION: partial(AttentionUNet, width=width, depth=2, heads=2, dim_head=16),
    }


def _look(lab: Lab, seed: int) -> Reading:
    """One seed: samples of every network, their order, and the dependence of far corners."""
    photos = lab.photos("landscapes")
    x, reference = lab.images(photos), lab.images(photos, "train", REFERENCE)
    count = len(x)  # as fewer images have a larger error
    briefly = {ATTENTION: lab.budget.scaled(ATTENDED)}
    models = {
        name: samples.hidden_copier(lab, seed)
        if name == HIDDEN
        else lab.trained(make, photos, seed, steps=briefly.get(name), **QUALITY)
        for name, make in networks(lab).items()
    } | {name: samples.plain(lab, seed, steps) for steps, name in PLAINS.items()}
    mean = mean_image(lab, photos)
    leave = {name: left(model, x, mean) for name, model in models.items()}
    sets = {name: last(from_noise(lab, model, count, seed, batch=LARGE)) for name, model in models.items()}
    sets["linear model"] = normal_images(lab.images(photos, "train", LEARNED), count, lab.rng(seed, "gaussian"))
    sets["real"] = x
    sets = {name: samples.as_shown(images) for name, images in sets.items()}
    blurred = {f"photographs as sharp as {name}": samples.blurred_to(x, sets[name]) for name in models}
    found = {f"order error, {name}": order_error(images, reference) for name, images in (sets | blurred).items()}
    for name in (HIDDEN, DEEPER, ATTENTION):
        own, as_good = found[f"order error, {name}"], as_good_as(leave[name], leave)
        found[f"order error {name} over plain as good"] = own / found[f"order error, {as_good}"]
        found[f"order error {name} over plain"] = own / found[f"order error, {PLAIN}"]
        ratio = leave[name] / leave[as_good]
        found[f"left, {name} over plain as good, either way"] = max(ratio, 1 / ratio)
    for name in models:
        varied = samples.variance(sets[name]) / samples.variance(x)
        found[f"variance of samples over that of photographs, {name}"] = varied
    found["order error plain over real"] = found[f"order error, {PLAIN}"] / found["order error, real"]
    numbers = samples.kept(found)
    for name, model in models.items():
        numbers[f"corner, {name}"] = corner_dependence(model, x[: 2 * BATCH], lab.rng(seed, "corner"))
        numbers |= copying(lab, name, model, photos)
    return Reading(numbers, {name: images[:SHOWN] for name, images in sets.items()})


def as_good_as(wanted: float, leave: Mapping[str, float]) -> str:
    """Of the plain networks, the one that leaves about as much as is wanted: the nearest by ratio."""
    return min((PLAIN, *PLAINS.values()), key=lambda name: abs(math.log(leave[name] / wanted)))


def corner_dependence(model: Autoencoder, x: Images, rng: Generator) -> Tensor:
    r"""Dependence of an output corner on the opposite corner of x, over that on its own corner; per image.

        ||d out[A] / d x[B]||_F / ||d out[A] / d x[A]||_F        A, B: an eighth of the side, opposite corners

    Both norms are Hutchinson's estimates with the same random signs.
    """
    corner = max(1, min(x.shape[2:]) // 8)
    own, far = torch.zeros(2, len(x), device=x.device)
    with still(model, "running"):
        pull = torch.func.vjp(model, x)[1]
        for _ in range(DRAWS):
            v = torch.zeros_like(x)
            v[..., :corner, :corner] = noise_like(x, rng=rng)[..., :corner, :corner].sign()
            pulled = pull(v)[0].detach()
            own += pulled[..., :corner, :corner].square().flatten(1).sum(1)
            far += pulled[..., -corner:, -corner:].square().flatten(1).sum(1)
    return (far / own.clamp(min=1e-30)).sqrt()
