"""T13: does a walk on the learned manifold explore it through images that resemble the data?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from copyfold import pictures
from copyfold.claims.walking import SECTION
from copyfold.corruptions import Gaussian, noise_like
from copyfold.data import Photos
from copyfold.measures import mse
from copyfold.models.base import Autoencoder, flat
from copyfold.probes.base import Reading, still
from copyfold.probes.nearest import neighbours
from copyfold.samplers.base import parts, unflatten
from copyfold.samplers.fitted import FittedGaussian
from copyfold.samplers.walk import DirectedWalk, Walk
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Estimate, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts, samples, walks
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import copying, qualities
from copyfold.studies.toolkit.networks import LARGE
from copyfold.studies.toolkit.samples import EPSILON, film, last, levels, mean
from copyfold.studies.toolkit.walks import FATES, GOOD, NAMES, NOISY, SETS, STEPS
from copyfold.types import Images

MANY, NAME = SETS[-1], NAMES[GOOD]
ESSAY = "batches of 64"
BIG = "larger images"


@dataclass(frozen=True)
class ManifoldWalk(Study):
    r"""A walk on the learned manifold goes through images that resemble the data.

    A U-Net of depth 2 learns landscapes of 64 pixels a side until 2 % of held-out ones is left, where copies look
    like their photographs. 64 of its training images are then mapped repeatedly, with noise on the code, h[n+1] =
    E(D(h[n])) + 0.2 xi, for 300 steps, with the statistics of batches of 64. Two numbers decide, both of these
    walks. Exploring is the share of walks that do not escape (a value below -1 or above 2) and end farther from
    their first step than half the median distance of a training image to the nearest other, or nearest to another:
    above 0.5, most of them. Resembling the data is the distance of patches of 7 pixels of the ends that did not
    escape from those of the training images, the mean over three levels of a pyramid (fine detail, texture, and at
    16 pixels tone and contrast), over that of images decoded from random codes, each number normal with its own
    mean and std: below 0.5, at most half as far. It does not see how an image is composed; that is another study
    (more-data-more-coherent).

    Controls: the mean photograph, noise in pixels, as large as the displacement of the walks, and images of random
    codes with the covariance of those of photographs must be farther from the data in their patches than the walks
    are: that independent random codes are far is little, as they have lost the layout of every code. And the ends
    must differ: their median squared distance from their mean must be above 0.1 of that of photographs, or the
    walks have decayed to one image. Shown beside them: the same walk, with noise in the same proportion to the
    spread of the code, on PCA, which nothing brings back; the directed walk to another photograph, halfway; and
    held-out photographs. All are clipped to [0, 1], as they are shown. And walks at 16 pixels, of networks that
    memorised 256 photographs, as many as the essay's, at five qualities of the copies; their patches are not
    measured, as images of that side have the level of tone and contrast alone.

    What changed: the old study walked from held-out photographs under networks that left about 13 %. A third
    number, the distance to the nearest training photograph, decided; it is shown only, as the mean photograph
    meets it. The verdict was MIXED. The other two thresholds are the old ones.

    In the first figure each column is a walk, with the training photograph nearest to its end, and the controls.
    The second shows the patch distances of all, the third what became of the walks at 16 pixels at every quality.
    """

    claim: ClassVar[str] = "T13"
    place: ClassVar[str] = f"{SECTION}: the equations of h[n+1] and g[n+1], and the first film"
    items: ClassVar[tuple[int, ...]] = (88, 92, 100, 101, 111, 146)
    asked: ClassVar[str] = (
        "Can a plain autoencoder be explored by feeding its output back with a little noise on the code, and are "
        "the images on the way like the data?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Walk from an image with a little noise on the code to make images with the detail and the "
        "tones of the data: random codes, also with the covariance of real ones, are farther from it.",
        PARTLY: "It moves, or it keeps the detail and the tones of the data, but not both: what looks like "
        "exploring may be decay.",
        Verdict.DOES_NOT_HOLD: "Do not explore this way: walks keep little more of the detail and the tones of "
        "the data than random codes do, or most do not lead elsewhere.",
        Verdict.UNDECIDED: "Look at the walks of several networks before relying on them: they differ too much, "
        "or something simpler comes as near to the data.",
        Verdict.NOT_IN_REGIME: "Train longer before asking: what a network that does not copy makes of an image "
        "is its error.",
    }
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {BIG: Regime(0.03)}
    controls: ClassVar[Mapping[str, Control]] = {
        "patch distance over mean photograph": (Below(1.0), "The mean photograph is as near to the data."),
        "patch distance over noise in pixels": (Below(1.0), "Noise of that size is as near to the data."),
        "patch distance over codes of their covariance": (
            Below(1.0),
            "Random codes with the covariance of photographs' are as near to the data.",
        ),
        "variance of the ends over that of photographs": (Above(0.1), "The walks have decayed to one image."),
    }

    patch_distance_over_random_codes: Below = Below(0.5)
    walking: Above = Above(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Walk from training images, and measure where the walks are."""
        photos = lab.photos("landscapes", lab.budget.large)
        x = lab.images(photos, "train", walks.measured(lab))

        found = lab.by_seed(lambda seed: _look(lab, photos, x, seed), "large")
        small = lab.by_seed(lambda seed: _picked(walks.walks(lab, MANY, seed)), "small")
        names = [name.removeprefix("patches; ") for name in found[0].numbers if name.startswith("patches; ")]
        patches = {name: [r.numbers[f"patches; {name}"].item() for r in found] for name in names}
        usual = [mse(x, x.mean(0).expand_as(x)).cpu()] * len(found)
        numbers = {
            f"patch distance over {name}": statistics.ratio_over_seeds(patches["walk"], patches[name])
            for name in names
            if name != "walk"
        }
        numbers |= {fate: walks.share(found, fate) for fate in FATES if fate != "cycling"}
        apart = [r.numbers["apart"] for r in found]
        numbers["variance of the ends over that of photographs"] = statistics.ratio_of_medians(apart, usual)
        for name in names:
            numbers[f"patch distance, {name}"] = statistics.over_seeds(patches[name], "log")
            numbers[f"nearest distance, {name}"] = statistics.median(
                [r.numbers[f"nearest; {name}"] for r in found]
            )
        spreads = [r.numbers["noise over the spread of the codes"].item() for r in found]
        numbers["noise over the spread of the codes"] = statistics.over_seeds(spreads, "log")
        numbers |= _shares(small)
        steps = [n + 1 for n in walks.marks(lab)]
        strip = found[0].images["strip"].unflatten(0, (len(steps), -1))
        return Finding(
            numbers,
            self._figures(found[0], x[:SHOWN], steps, strip, numbers, names),
            {"walk": iter(strip)},
            notes=tuple(walks.unreached({MANY: small})),
            copying=qualities(found) | qualities(small),
            came_out=(
                f"{numbers['walking'].value:.0%} of the walks end elsewhere without escaping, and their patches "
                f"are {numbers['patch distance over random codes'].value:.2g} times as far from the data's as "
                f"those of random codes, {numbers['patch distance over mean photograph'].value:.2g} times as far "
                "as those of the mean photograph."
            ),
            captions={
                "walk": "Walks from training images, step by step, the training photograph nearest to the end of "
                "each, and images made in simpler ways",
                "patches": "How far the patches of each kind of images are from those of the training images",
                "fates": f"What became of walks with noise at {walks.SIDE} pixels, against what was left of the "
                f"{MANY} training images when the network was looked at",
            },
        )

    def _figures(
        self,
        first: Reading,
        x: Images,
        steps: list[int],
        strip: Tensor,
        numbers: Mapping[str, Estimate],
        names: list[str],
    ) -> dict[str, Any]:
        """The walks of the first seed and what to compare them with; distances; fates against quality."""
        rows = {"training image": x}
        for i in dict.fromkeys((0, len(steps) // 30, len(steps) // 10, len(steps) // 3, len(steps) - 1)):
            rows[f"step {steps[i]}"] = strip[i]
        shown = (
            "nearest training photograph",
            "directed walk, halfway",
            "random codes",
            "codes of their covariance",
        )
        rows |= {name: first.images[name] for name in (*shown, "walk on PCA")}
        distances = {name: numbers[f"patch distance, {name}"] for name in names}
        lines = {
            fate: (list(NAMES), [numbers[f"{fate}, {name}"] for name in NAMES.values()])
            for fate in FATES
            if fate != "cycling"  # with noise nothing returns exactly
        }
        return {
            "walk": pictures.comparison(rows),
            "patches": charts.intervals(distances, "patch distance from training images, in their std", logx=True),
            "fates": charts.curves(
                lines, "left of the training images, share of variance", "share of the walks", logx=True,
                ylim=(0, 1.02),
            ),
        }  # fmt: skip


def _look(lab: Lab, photos: Photos, x: Images, seed: int) -> Reading:
    """One seed: the walks, what they are compared with, and how far all of it is from training images."""
    model, known = samples.large_copier(lab, seed), lab.images(photos, "train", len(photos))
    reference = lab.images(photos, "train", samples.REFERENCE)
    frames = walks.strip(lab, model, x, seed, "batch", LARGE, EPSILON)
    found = walks.became(frames[0], frames[-1], torch.zeros(len(x)), known)
    sets, spread = _sets(lab, model, photos, x, seed, frames[-1], found)
    numbers = copying(lab, BIG, model, photos) | {name: found[name] for name in (*FATES, "apart")}
    numbers["noise over the spread of the codes"] = torch.tensor(EPSILON / spread)
    for name, images in sets.items():  # of the walk those that did not escape, at its number of images
        near = neighbours(images, known)[0][:, 0]
        if name == "walk":  # NaN of those that escaped
            near = found["near"].masked_scatter(~found["near"].isnan(), near)
        numbers[f"nearest; {name}"] = near
        distance = mean(levels(images, reference, lab.rng(seed, "patches")))
        numbers[f"patches; {name}"] = torch.tensor(distance)
    images = {name: images[:SHOWN] for name, images in sets.items()} | {"strip": walks.shown(frames)}
    nearest = known[neighbours(walks.within(frames[-1][:SHOWN]), known)[1][:, 0]]  # of those in the strip
    return Reading(numbers, images | {"nearest training photograph": nearest})


def _picked(reading: Reading) -> Reading:
    """What this claim keeps of the shared measurement: the walks with noise."""
    numbers = {
        name: value
        for name, value in reading.numbers.items()
        if name.startswith(("copying", "left;")) or f"{NOISY};" in name
    }
    return Reading(numbers, {})


def _shares(found: list[Reading]) -> dict[str, Estimate]:
    """What became of the walks at 16 pixels at every quality, and with other statistics at 1 %."""
    numbers = {
        f"{fate}, {name}": walks.share(found, f"{fate}{NOISY}; {name}; training; {ESSAY}")
        for name in NAMES.values()
        for fate in FATES
        if fate != "cycling"
    }
    for way in walks.WAYS:
        for fate in ("walking", "escaping"):
            numbers[f"{fate}, {NAME}, {way}"] = walks.share(found, f"{fate}{NOISY}; {NAME}; training; {way}")
    return numbers


def _sets(
    lab: Lab, model: Autoencoder, photos: Photos, x: Images, seed: int, end: Images, found: Mapping[str, Tensor]
) -> tuple[dict[str, Images], float]:
    """The ends of the walks that did not escape, what they are compared with, and the spread of the codes."""
    rng, steps = lab.rng(seed, "controls"), samples.essay_steps(lab, STEPS)
    reference = lab.images(photos, "train", samples.REFERENCE)
    kept = found["escaping"] == 0
    kept = kept if kept.any() else ~kept
    moved = found["moved"][kept].square().mean().sqrt().item()
    spread = samples.code_spread(model, x)
    directed = DirectedWalk(samples.essay_steps(lab, 60))
    aimed = film(directed, model, x, rng, LARGE)
    same = Walk(steps, EPSILON / spread, relative=True)
    sets = {
        "walk": end[kept],
        "random codes": random_codes(model, reference, len(x), rng),
        "codes of their covariance": last(film(FittedGaussian(reference, LARGE), model, x, rng, LARGE)),
        "noise in pixels": Gaussian(moved)(x, rng),
        "mean photograph": reference.mean(0).expand_as(x),
        "directed walk, halfway": pictures.sampled(aimed, [directed.steps // 2 - 1])[0],
        "walk on PCA": last(film(same, walks.pca(lab, photos), x, rng, LARGE)),
        "held-out photographs": lab.images(photos, count=len(x)),
    }
    return {name: samples.as_shown(images) for name, images in sets.items()}, spread


@torch.no_grad()
def random_codes(model: Autoencoder, reference: Images, count: int, rng: Generator) -> Images:
    """Decode codes whose numbers are independent and normal, each with its mean and std over the reference."""
    with still(model, "batch"):
        like = model.encode(reference[:LARGE])
        codes = torch.cat([flat(model.encode(part)) for part in parts(reference, LARGE)])
        drawn = codes.mean(0) + codes.std(0) * noise_like(codes.new_empty(count, codes.shape[1]), rng=rng)
        return torch.cat([model.decode(unflatten(part, like)) for part in parts(drawn, LARGE)])
