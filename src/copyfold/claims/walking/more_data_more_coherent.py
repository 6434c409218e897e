"""T14: are walks more coherent if the model learned from more images?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Generator

from copyfold import pictures
from copyfold.claims.walking import SECTION
from copyfold.models.base import Autoencoder
from copyfold.probes.stability import rms
from copyfold.samplers.walk import Walk
from copyfold.studies.base import PARTLY, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts, samples
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import unet
from copyfold.studies.toolkit.samples import EPSILON, REFERENCE, film, levels
from copyfold.types import Film, Images

FEW = 256  # images, the essay's smaller set
SIZES: dict[str, tuple[int | None, ...]] = {"landscapes": (FEW, None), "cifar10": (FEW, 2048, None)}


@dataclass(frozen=True)
class MoreDataMoreCoherent(Study):
    """Walks on a manifold learned from more images are more coherent.

    The U-Net learns from 256 or from all landscapes, and from 256, 2,048 or all images of CIFAR-10, each for
    equally many batches. All walk from the same held-out images with the essay's noise, 100 steps (300 at the gpu
    budget). Two measures of the whole image are taken at the ends, both as distances from training images: of the
    patches at the coarsest level of a pyramid, and of the correlations of brightness between distant parts. The
    number is the distance for all images over that for 256. These 256 are the same for all seeds: the interval
    does not include the variation from their choice.

    Controls: the number of batches and the size of the images are the same here (the essay halves the size with
    eight times the data, and smaller images are easier); the held-out images that the walks start from ("real"),
    whose distance is about the least possible for this number of images; the walks' first step, which is a copy;
    and the displacement from it, since a walk that does not move keeps the order of its photograph.

    In two figures each column shows the last steps of walks from the image at its top, one for each model. The
    third shows the distances of every model, for patches in units of the data's std, and those of real images.
    """

    claim: ClassVar[str] = "T14"
    place: ClassVar[str] = f"{SECTION}: the second film, 2,048 in place of 256 images"
    items: ClassVar[tuple[int, ...]] = (5, 111, 112, 146)
    data: ClassVar[tuple[str, ...]] = ("landscapes", "cifar10")
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "More images give a better manifold for the same compute.",
        PARTLY: "More images help on some sets or by some measures of coherence: look at the four numbers.",
        Verdict.DOES_NOT_HOLD: "A few hundred images teach this network as much about the whole image as all do: "
        "what it learns is local, or the effect in the essay came from the smaller images.",
    }

    coarse_patch_distance_landscapes: Below = Below(1.0)
    far_correlation_error_landscapes: Below = Below(1.0)
    coarse_patch_distance_cifar10: Below = Below(1.0)
    far_correlation_error_cifar10: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Train on few and on many, walk, compare with training images of the whole set."""
        numbers: dict[str, Estimate] = {}
        figures: dict[str, Any] = {}
        films: dict[str, Film] = {}
        walk = Walk(samples.essay_steps(lab, 300, 100), EPSILON)
        for name in SIZES:
            found = lab.each(lambda seed, name=name: self._walks(lab, name, walk, seed))
            numbers |= samples.pooled([f[0] for f in found])
            rows, models = found[0][1:]
            figures[f"walks-{name}"] = pictures.comparison(rows)
            if name == "landscapes":
                start = next(iter(rows.values()))
                for size, model in models.items():
                    frames = film(walk, model, start, lab.rng(0, "film"))
                    films[f"walk-{size}"] = samples.thinned(frames, walk.steps)
        shown = {}
        for what in ("coarse patch distance", "far correlation error"):
            for name, limits in SIZES.items():
                shown[f"{what}: {name}, real"] = numbers[f"{what}, {name}, real"]
                for size in (limit or "all" for limit in limits):
                    shown[f"{what}: {name}, {size} images"] = numbers[f"{what}, {name}, {size}, end"]
        figures["coherence"] = charts.intervals(shown, "distance from training images")
        return Finding(numbers, figures, films)

    def _walks(
        self, lab: Lab, name: str, walk: Walk, seed: int
    ) -> tuple[dict[str, float], dict[str, Images], dict[str, Autoencoder]]:
        """The numbers of one seed on one set, its first walks, and the models that walked."""
        large = name == "landscapes"
        side = lab.budget.large if large else lab.budget.side
        whole = lab.photos(name, side)
        x = lab.images(whole, count=max(SHOWN, lab.budget.measured // 2))
        reference = lab.images(whole, "train", REFERENCE)
        steps = lab.whole(whole, lab.budget.steps)
        real = _coherence(x, reference, lab.rng(seed, "patches"))
        numbers = {f"{what}, {name}, real": value for what, value in real.items()}
        rows, models = {"start": x[:SHOWN]}, {}
        for limit in SIZES[name]:
            size = str(limit or "all")
            if limit and lab.budget.limit:  # of few images, fewer still
                limit = min(limit, lab.budget.limit // 2)
            model = lab.trained(unet(lab, large=large), lab.photos(name, side, limit), seed, steps=steps)
            ends = pictures.evenly(walk.steps, 2)
            frames = pictures.sampled(film(walk, model, x, lab.rng(seed, "walk")), ends)
            for when, images in zip(("first step", "end"), frames, strict=True):
                coherence = _coherence(images, reference, lab.rng(seed, "patches"))
                numbers |= {f"{what}, {name}, {size}, {when}": value for what, value in coherence.items()}
            numbers[f"displacement, {name}, {size}"] = rms(frames[-1], frames[0]).mean().item()
            rows[f"end, {size} images"], models[size] = frames[-1][:SHOWN], model
        for what in real:
            few = numbers[f"{what}, {name}, {FEW}, end"]
            numbers[f"{what} {name}"] = numbers[f"{what}, {name}, all, end"] / few
            for size in (size for size in SIZES[name] if size and size != FEW):
                numbers[f"{what} {name}, {size} over {FEW}"] = numbers[f"{what}, {name}, {size}, end"] / few
        return numbers, rows, models


def _coherence(x: Images, reference: Images, rng: Generator) -> dict[str, float]:
    """Two distances of whole images: of the coarsest patches, and of the correlations of far parts."""
    return {
        "coarse patch distance": levels(x, reference, rng)[-1],
        "far correlation error": samples.order_error(x, reference),
    }
