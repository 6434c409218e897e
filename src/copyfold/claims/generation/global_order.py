"""The essay's samples from noise: whose style they have, and what gives them a global order."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Generator, Tensor

from copyfold import pictures
from copyfold.claims.generation.more_compute_better_samples import SECTION
from copyfold.corruptions import Mix, noise_like
from copyfold.models.attention import AttentionUNet
from copyfold.models.base import Autoencoder
from copyfold.models.conv import Conv
from copyfold.probes.base import still
from copyfold.samplers.renoising import Renoising
from copyfold.samplers.walk import Walk
from copyfold.studies import statistics
from copyfold.studies.base import Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts, samples
from copyfold.studies.toolkit.networks import BATCH, hidden, restored, unet
from copyfold.studies.toolkit.samples import (
    LEARNED,
    REFERENCE,
    SHOWN,
    essay_steps,
    from_noise,
    geometric_mean,
    last,
    mean,
    normal_images,
    order_error,
)
from copyfold.types import Film, Images

DRAWS = 8  # random directions that a Jacobian is looked at in
ALIKE = "plain", "twice the width"  # networks of one architecture


@dataclass(frozen=True)
class StyleOfTheManifold(Study):
    r"""Samples have the style of the manifold that the network learned.

    Three U-Nets learn the same photographs: plain, with the essay's hidden module, and twice as wide. Each makes
    walks with noise (50 steps, 300 at the gpu budget), samples (30 steps) and denoised photographs (half noise).
    Style is the distance of patches at all levels of a pyramid but the coarsest, which has the layout. For each
    network,

        d(its walks or denoised photographs, its samples) / d(those of the other networks, its samples)

    with geometric means over the ways, the other networks and all three: 1 where no network leaves a mark of its
    own, even if the walks of one are farther from all samples than those of another.

    Controls: the same ratio where the "networks" are the seeds of the plain one, which has no interval as there is
    one such comparison: where it is as far below 1, style is of a training and its chance, and not of an
    architecture; and of the plain one and the one twice as wide alone, which are of one architecture.

    In the figure a block of three rows is a network; the film is the hidden module's, 200 steps from noise.
    """

    claim: ClassVar[str] = "T19"
    place: ClassVar[str] = f"{SECTION}: the walk beside the samples, and the U-Net with a hidden MLP"
    items: ClassVar[tuple[int, ...]] = (117, 119, 120, 121, 147)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "What a sampler makes bears the network's mark: to change the look, change the network.",
        Verdict.FAILS: "The way images are made marks them more than the network does: styles are the sampler's.",
    }

    within_over_between_networks: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Make images in three ways with three networks, and compare them with all samples."""
        photos = lab.photos("landscapes", lab.budget.large)
        x = lab.images(photos, count=max(SHOWN, lab.budget.measured // 2))
        kinds: dict[str, Make] = {
            "plain": unet(lab, large=True),
            "hidden module": hidden(lab, large=True),
            "twice the width": unet(lab, large=True, width=2 * lab.budget.slim),
        }

        def look(seed: int) -> tuple[dict[str, float], dict[str, dict[str, Images]], Autoencoder]:
            models = {name: lab.trained(make, photos, seed) for name, make in kinds.items()}
            made = {name: self._made(lab, model, x, seed) for name, model in models.items()}
            all_three = closeness(made, lab.rng(seed, "patches"))
            alike = closeness({name: made[name] for name in ALIKE}, lab.rng(seed, "patches"))
            ratios = {f"within over between, {name}": v for name, v in all_three.items()}
            ratios["within over between networks"] = geometric_mean(all_three.values())
            ratios[f"within over between, {' and '.join(ALIKE)} alone"] = geometric_mean(alike.values())
            return ratios, made, models["hidden module"]

        found = lab.each(look)
        numbers, made, model = samples.pooled([f[0] for f in found]), found[0][1], found[0][2]
        if len(found) > 1:
            seeds = closeness({str(i): f[1]["plain"] for i, f in enumerate(found)}, lab.rng(0, "patches"))
            value, each = geometric_mean(seeds.values()), tuple(seeds.values())
            numbers["within over between, seeds of the plain one"] = Estimate(value, -math.inf, math.inf, 1, each)
        rows: dict[str, Images] = {}
        for name, images in made.items():
            rows |= {f"{name}: {kind}": shown[:SHOWN] for kind, shown in images.items()}
        long = Renoising(essay_steps(lab, 200))
        frames = samples.thinned(from_noise(lab, model, SHOWN, 0, long), long.steps)
        films: dict[str, Film] = {"hidden-module-200-steps": frames}
        return Finding(numbers, {"styles": pictures.comparison(rows)}, films)

    def _made(self, lab: Lab, model: Autoencoder, x: Images, seed: int) -> dict[str, Images]:
        """What one network makes in each way."""
        walk = Walk(essay_steps(lab, 300, 50), samples.EPSILON)
        return {
            "walk": last(samples.film(walk, model, x, lab.rng(seed, "walk"))),
            "samples": last(from_noise(lab, model, len(x), seed)),
            "denoised": restored(model, Mix()(x, lab.rng(seed, "mix"))),
        }


@dataclass(frozen=True)
class GlobalOrder(Study):
    """A hidden module, one more level, or attention gives samples a global order.

    U-Nets learn the same photographs: plain, one level deeper, with the essay's hidden module (fully connected),
    and with linear attention on its skips. Order is measured in samples of 30 steps: the correlations of
    brightness in cells half of the side or more apart, over all samples, as root mean square difference from those
    of training photographs: an order that is too strong, as of samples that are all alike, errs as one that is too
    weak does. The numbers are this error over the plain network's.

    Controls: one convolution and one up-convolution, in whose output no pixel depends on far ones of the input; a
    normal distribution of pixels (the linear model), which is given the correlations; as many held-out photographs
    ("real"), about the least that can be had; and what the order is to come from: how much a corner of the output
    depends on the opposite corner of the input over how much on its own, by the Jacobian with running statistics.

    In the first figure are the errors, in the second the dependence on the opposite corner (no mark where there is
    none), in the third samples from the same noise, a row for each network.
    """

    claim: ClassVar[str] = "T20"
    place: ClassVar[str] = f"{SECTION}: the paragraphs on disorganisation, convolutions and far pixels"
    items: ClassVar[tuple[int, ...]] = (27, 122, 148)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Whatever lets far pixels know of each other helps the whole picture: give it room.",
        Verdict.MIXED: "Not every far sight makes order: take the network whose error falls.",
        Verdict.FAILS: "Far sight in the network is not what orders samples here: disorder has another cause.",
    }

    order_error_hidden_module_over_plain: Below = Below(1.0)
    order_error_deeper_over_plain: Below = Below(1.0)
    order_error_attention_over_plain: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Sample with each, correlate far parts, differentiate."""
        slim, photos = lab.budget.slim, lab.photos("landscapes", lab.budget.large)
        x, reference = lab.images(photos), lab.images(photos, "train", REFERENCE)
        count = len(x)  # as fewer images have a larger error
        learned = lab.images(photos, "train", LEARNED)
        attentive = partial(AttentionUNet, width=slim, depth=lab.budget.depth + 1, heads=2, dim_head=16)
        kinds: dict[str, Make] = {
            "shallow": partial(Conv, channels=[slim]),
            "plain": unet(lab, large=True),
            "deeper": samples.deeper(lab),
            "hidden module": hidden(lab, large=True),
            "attention": attentive,
        }

        def look(seed: int) -> tuple[dict[str, float], dict[str, Tensor], dict[str, Images]]:
            models = {name: lab.trained(make, photos, seed) for name, make in kinds.items()}
            sets = {name: last(from_noise(lab, model, count, seed)) for name, model in models.items()}
            sets["linear model"] = normal_images(learned, count, lab.rng(seed, "gaussian"))
            sets["real"] = x
            found = {f"order error, {name}": order_error(images, reference) for name, images in sets.items()}
            for name in ("hidden module", "deeper", "attention"):
                ratio = found[f"order error, {name}"] / found["order error, plain"]
                found[f"order error {name} over plain"] = ratio
            few, signs = x[: 2 * BATCH], {name: lab.rng(seed, "corner") for name in models}
            corners = {name: corner_dependence(model, few, signs[name]) for name, model in models.items()}
            return found, corners, {name: images[:SHOWN] for name, images in sets.items()}

        found = lab.each(look)
        numbers = samples.pooled([f[0] for f in found])
        errors = {name: numbers[f"order error, {name}"] for name in found[0][2]}
        corners = {name: statistics.mean([f[1][name] for f in found]) for name in kinds}
        numbers |= {f"opposite corner over own, {name}": e for name, e in corners.items()}
        figures = {
            "errors": charts.intervals(errors, "error of the correlations of far parts"),
            "corners": charts.intervals(corners, "dependence on the opposite corner, over its own", logx=True),
            "samples": pictures.comparison(found[0][2]),
        }
        return Finding(numbers, figures)


def closeness(made: Mapping[str, Mapping[str, Images]], rng: Generator) -> dict[str, float]:
    """How near in style a network's other images are to its samples, over how near those of other networks are.

    One number for each network, of its images by kind. The places of patches are the same for every pair.
    """
    state = rng.get_state()

    def distance(a: Images, b: Images) -> float:
        each = samples.levels(a, b, rng.set_state(state))
        return mean(each[:-1] or each)

    found: dict[str, float] = {}
    for name, own in made.items():
        near = {
            key: geometric_mean(distance(y, own["samples"]) for kind, y in other.items() if kind != "samples")
            for key, other in made.items()
        }
        found[name] = near.pop(name) / geometric_mean(near.values())
    return found


def corner_dependence(model: Autoencoder, x: Images, rng: Generator) -> Tensor:
    r"""How much a corner of the output depends on the opposite corner of x, over how much on its own; per image.

        ||d out[A] / d x[B]||_F / ||d out[A] / d x[A]||_F        A, B: an eighth of the side, opposite corners

    Both norms by Hutchinson's estimate with the same random signs.
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
