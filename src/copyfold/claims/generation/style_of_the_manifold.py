"""T19: do samples have a style of the network that made them?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator

from copyfold import pictures
from copyfold.claims.generation import SECTION
from copyfold.corruptions import Mix
from copyfold.models.base import Autoencoder
from copyfold.samplers.renoising import Renoising
from copyfold.samplers.walk import Walk
from copyfold.studies.base import Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import samples
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import hidden, restored, unet
from copyfold.studies.toolkit.samples import essay_steps, from_noise, geometric_mean, last, mean
from copyfold.types import Film, Images

ALIKE = "plain", "twice the width"  # networks of one architecture


@dataclass(frozen=True)
class StyleOfTheManifold(Study):
    r"""Samples have the style of the manifold that the network learned.

    Three U-Nets learn the same photographs: plain, with the essay's hidden module, and twice as wide. Each makes
    walks with noise (50 steps, 300 at the gpu budget), samples (30 steps) and denoised photographs (half noise).
    Style is measured by the distance of patches at all levels of a pyramid but the coarsest, which shows the
    layout. For each network,

        d(its walks or denoised photographs, its samples) / d(those of the other networks, its samples)

    with geometric means over walks and denoised photographs, over the other networks, and over all three: 1 where
    no network has a style of its own, even if the walks of one are farther from all samples than those of another.

    Controls: the same ratio with the seeds of the plain network as the "networks", without an interval since there
    is only one such comparison: if it is as far below 1, style comes from the chance of a training and not from
    the architecture; and the ratio for the plain one and the one twice as wide alone, which share an architecture.

    In the figure each block of three rows is a network; the film is made by the one with the hidden module, 200
    steps from noise.
    """

    claim: ClassVar[str] = "T19"
    place: ClassVar[str] = f"{SECTION}: the walk beside the samples, and the U-Net with a hidden MLP"
    items: ClassVar[tuple[int, ...]] = (117, 119, 120, 121, 147)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "What a sampler makes has the style of the network: to change the look, change the "
        "network.",
        Verdict.DOES_NOT_HOLD: "The sampler shapes the images more than the network does: the style is the "
        "sampler's.",
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
        """The images of one network, made in each way."""
        walk = Walk(essay_steps(lab, 300, 50), samples.EPSILON)
        return {
            "walk": last(samples.film(walk, model, x, lab.rng(seed, "walk"))),
            "samples": last(from_noise(lab, model, len(x), seed)),
            "denoised": restored(model, Mix()(x, lab.rng(seed, "mix"))),
        }


def closeness(made: Mapping[str, Mapping[str, Images]], rng: Generator) -> dict[str, float]:
    """Style distance of a network's other images to its samples, over that of other networks' images.

    One number for each network, of its images by kind. The positions of patches are the same for every pair.
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
