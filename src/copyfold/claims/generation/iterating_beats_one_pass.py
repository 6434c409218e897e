"""T17: does repeated denoising make better images than one pass over noise?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from copyfold import pictures
from copyfold.claims.generation import MEASURES, SECTION
from copyfold.corruptions import Blur
from copyfold.models.base import Autoencoder
from copyfold.probes.nearest import neighbours
from copyfold.samplers.renoising import Ramp, Renoising
from copyfold.studies.base import PARTLY, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts, samples
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import unet
from copyfold.studies.toolkit.samples import LEARNED, REFERENCE, essay_steps, from_noise, last, normal_images
from copyfold.types import Film, Images


@dataclass(frozen=True)
class IteratingBeatsOnePass(Study):
    """One pass over noise gives no realistic image; repeated denoising comes near.

    The essay's U-Net without skips learns to copy photographs. From noise N(0.7, 0.2^2) it makes images in N = 1,
    30 and 200 steps of a[n+1] = c D(E(a[n])) + (1 - c) eta, c = n / N, with the statistics of the batch. Each set
    is compared with training photographs by the distance of patches (sliced Wasserstein, mean over the levels of a
    pyramid) and by the Frechet distance in the code of a separately trained encoder, the same for all. The numbers
    are those of 30 steps over those of one pass, and the patch distance of 30 steps over that of a linear model's
    images.

    Controls: the linear model, a normal distribution with the mean and covariance of photographs, which is fitted
    in a second: realistic images should be nearer; blurred photographs; the mean photograph; held-out photographs
    ("real"), whose distance is about the least possible for this number of images.

    The first figure is the essay's strip: each column is an image as it forms, with its nearest training
    photograph. In the second each row is one kind of images; "growing" continues at twice the side. The third
    shows their distances: of patches, in units of the data's std; of codes, in units of their variance.
    """

    claim: ClassVar[str] = "T17"
    place: ClassVar[str] = f"{SECTION}: the equation of a[n+1], 30 and 200 steps"
    items: ClassVar[tuple[int, ...]] = (95, 96, 97, 98, 101, 108, 115, 116, 147)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "An autoencoder trained to copy can generate: repeated denoising is better than one "
        "pass and than a linear model of the images.",
        PARTLY: "Repeating changes the images, but does not improve them by every measure, or not "
        "beyond a normal distribution of pixels without a network.",
        Verdict.DOES_NOT_HOLD: "The first pass is the best, and a linear model is better than both.",
    }

    patch_distance_over_one_pass: Below = Below(1.0)
    Frechet_distance_over_one_pass: Below = Below(1.0)
    patch_distance_over_linear_model: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Sample in 1, 30 and 200 steps, and compare with the data."""
        side, count = lab.budget.large, lab.budget.measured
        photos, by = lab.photos("landscapes", side), samples.judge(lab, side)
        reference, held_out = lab.images(photos, "train", REFERENCE), lab.images(photos)
        learned = lab.images(photos, "train", LEARNED)
        short, long = (Renoising(essay_steps(lab, n)) for n in (30, 200))
        blur = Blur(2 * round(3 * side / 32) + 1, side / 32)
        fixed = {"blurred photographs": blur(held_out), "mean photograph": reference.mean(0).expand_as(held_out)}

        def look(seed: int) -> tuple[dict[str, float], dict[str, Images], Autoencoder]:
            model = lab.trained(unet(lab, large=True), photos, seed)
            sets = {
                "one pass": last(from_noise(lab, model, count, seed, Renoising(1))),
                "30 steps": last(from_noise(lab, model, count, seed, short)),
                "200 steps": last(from_noise(lab, model, count, seed, long)),
                "linear model": normal_images(learned, count, lab.rng(seed, "gaussian")),
            } | fixed
            found = samples.judged(lab, by, sets, side, seed)
            for what in MEASURES:
                for other in ("one pass", "linear model"):
                    found[f"{what} over {other}"] = found[f"{what}, 30 steps"] / found[f"{what}, {other}"]
            return found, {name: images[:SHOWN] for name, images in sets.items()}, model

        found = lab.each(look)
        numbers = samples.pooled([f[0] for f in found])
        shown, model = found[0][1:]
        rows = {"held-out photographs": held_out[:SHOWN]} | shown
        rows["growing"] = last(from_noise(lab, model, SHOWN, 0, growing(short.steps, side)))
        values = {f"{what}, {name}": numbers[f"{what}, {name}"] for what in MEASURES for name in ("real", *shown)}
        figures = {
            "strip": self._strip(lab, model, short),
            "kinds": pictures.comparison(rows),
            "distances": charts.intervals(values, "distance from training photographs", logx=True),
        }
        films: dict[str, Film] = {"200-steps": samples.thinned(from_noise(lab, model, SHOWN, 0, long), long.steps)}
        return Finding(numbers, figures, films)

    def _strip(self, lab: Lab, model: Autoencoder, sampler: Renoising) -> Any:
        """Images of one film as they form."""
        photos = lab.photos("landscapes", lab.budget.large)
        known = lab.images(photos, "train", len(photos))
        marks = pictures.evenly(sampler.steps, 5)
        frames = pictures.sampled(from_noise(lab, model, SHOWN, 0, sampler), marks)
        rows = {f"step {n + 1} of {sampler.steps}": frame for n, frame in zip(marks, frames, strict=True)}
        rows["nearest training photograph"] = known[neighbours(frames[-1], known)[1][:, 0]]
        return pictures.comparison(rows)


def growing(steps: int, side: int) -> Renoising:
    """The scripts' film that continues at twice the side after two thirds of its steps."""
    return Renoising(steps, schedule=Ramp(-(-steps * 4 // 3)), grow=((max(2, steps * 2 // 3), 2 * side),))
