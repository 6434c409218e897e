"""The essay's samples from noise: one pass against many, and what more compute does for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from copyfold import pictures
from copyfold.corruptions import Blur, Mix
from copyfold.models.base import Autoencoder
from copyfold.probes.base import still
from copyfold.probes.nearest import neighbours
from copyfold.samplers.renoising import Ramp, Renoising
from copyfold.studies.base import Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts, samples
from copyfold.studies.toolkit.networks import BATCH, restored, unet
from copyfold.studies.toolkit.samples import (
    LEARNED,
    REFERENCE,
    SHOWN,
    essay_steps,
    from_noise,
    last,
    normal_images,
)
from copyfold.types import Film, Images

SECTION = 'essay, "Diffusion with no Diffusion"'
HEAVY = 0.2  # of an image, that is left in heavy noise
MEASURES = ("patch distance", "Frechet distance")


@dataclass(frozen=True)
class IteratingBeatsOnePass(Study):
    """One pass over noise gives no realistic image; denoising repeatedly comes near.

    The essay's U-Net without skips learns to copy photographs. From noise N(0.7, 0.2^2) it makes images in N = 1,
    30 and 200 steps of a[n+1] = c D(E(a[n])) + (1 - c) eta, c = n / N, with the statistics of the batch. Each set
    is compared with training photographs by the distance of patches (sliced Wasserstein, mean over the levels of a
    pyramid) and by the Frechet distance in the code of an encoder that is trained apart and the same for all. The
    numbers are those of 30 steps over those of one pass, and over the patch distance of a linear model's images.

    Controls: the linear model, a normal distribution with the mean and covariance of photographs, is fitted in a
    second, and what is called realistic should be nearer; blurred photographs; the mean photograph; held-out
    photographs ("real"), about the least that equally many images can have.

    The first figure is the essay's strip, a column an image as it forms, with its nearest training photograph. In
    the second each row is a kind of images, "growing" going on to twice the side. The third has their distances,
    of patches in the std of the data, and of codes in their variance.
    """

    claim: ClassVar[str] = "T17"
    place: ClassVar[str] = f"{SECTION}: the equation of a[n+1], 30 and 200 steps"
    items: ClassVar[tuple[int, ...]] = (95, 96, 97, 98, 101, 108, 115, 116, 147)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "A copier can be sampled from: repeated denoising goes beyond one pass and beyond a linear "
        "model of the images.",
        Verdict.MIXED: "Repeating changes the images, but not for the better by every measure, or not beyond what "
        "a normal distribution of pixels gives without a network.",
        Verdict.FAILS: "The first pass is as good as it gets, and a linear model is better than both.",
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


@dataclass(frozen=True)
class MoreComputeBetterSamples(Study):
    """Wider and deeper networks, and longer training, make visibly better samples.

    The essay says so of tenfold compute, of width and of depth; its earlier form says of more compute that the
    images are "not much better". The U-Net is trained at half, one and two times its width, one level deeper, and,
    apart from these, for ten times as long as at first. Samples of 30 steps are compared with training photographs
    as in the study of one pass. The numbers are ratios of patch distances: twice over half the width, deeper over
    plain, the most training over the least. To be more than "not much better", they are to be below 0.9.

    Controls: the Frechet distance in the code of another encoder, which sees layout where patches see detail; a
    normal distribution of pixels (the linear model), which costs nothing; held-out photographs.

    The first figure has the distance against the compute of the training, a line for each way to spend more of it.
    The second shows samples from the same noise, a row for each network. In the third the same photographs lie in
    half and in heavy noise, each with what comes back after the least and the most training.
    """

    claim: ClassVar[str] = "T18"
    place: ClassVar[str] = f"{SECTION}: one 3060 against four V100, and the wide U-Net; earlier form, Conclusion"
    items: ClassVar[tuple[int, ...]] = (106, 107, 118, 121, 122, 148, 157)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "The essay's newer form is right: whatever way compute is spent, samples get better.",
        Verdict.MIXED: "Only some ways to spend compute pay: take the line that falls, and leave the others.",
        Verdict.FAILS: "The earlier form is right: more of the same buys no better samples at this size.",
    }

    patch_distance_twice_over_half_the_width: Below = Below(0.9)
    patch_distance_deeper_over_plain: Below = Below(0.9)
    patch_distance_most_over_least_training: Below = Below(0.9)

    def measure(self, lab: Lab) -> Finding:
        """Train each, sample from the same noise, compare with the data."""
        side, count, slim = lab.budget.large, lab.budget.measured, lab.budget.slim
        photos, by = lab.photos("landscapes", side), samples.judge(lab, side)
        learned, x = lab.images(photos, "train", LEARNED), lab.images(photos, count=SHOWN)
        kinds: dict[str, Make] = {
            "half the width": unet(lab, large=True, width=slim // 2),
            "plain": unet(lab, large=True),
            "twice the width": unet(lab, large=True, width=2 * slim),
            "deeper": samples.deeper(lab),
        }
        steps = samples.course(lab, photos)
        trainings = [f"{n} batches" for n in steps]
        ratios = {
            "twice over half the width": ("twice the width", "half the width"),
            "deeper over plain": ("deeper", "plain"),
            "most over least training": (trainings[-1], trainings[0]),
        }

        def look(seed: int) -> tuple[dict[str, float], dict[str, Images], dict[str, Images]]:
            models = {name: lab.trained(make, photos, seed) for name, make in kinds.items()}
            models |= dict(zip(trainings, lab.course(kinds["plain"], photos, seed, steps), strict=True))
            sets = {name: last(from_noise(lab, model, count, seed)) for name, model in models.items()}
            sets["linear model"] = normal_images(learned, count, lab.rng(seed, "gaussian"))
            found = samples.judged(lab, by, sets, side, seed)
            for name, (a, b) in ratios.items():
                found |= {f"{what} {name}": found[f"{what}, {a}"] / found[f"{what}, {b}"] for what in MEASURES}
            lengths = dict.fromkeys(kinds, lab.budget.steps) | dict(zip(trainings, steps, strict=True))
            found |= {f"PFLOP, {name}": petaflops(model, lengths[name]) for name, model in models.items()}
            rows = {"photograph": x}
            for keep in (0.5, HEAVY):
                noisy = Mix(keep)(x, lab.rng(seed, "mix"))
                rows[f"{keep:g} of it kept"] = noisy
                for name in (trainings[0], trainings[-1]):
                    rows[f"{keep:g} kept, after {name}"] = restored(models[name], noisy)
            return found, {name: images[:SHOWN] for name, images in sets.items()}, rows

        found = lab.each(look)
        numbers = samples.pooled([f[0] for f in found])
        _, shown, rows = found[0]
        lines = {
            "width": ["half the width", "plain", "twice the width"],
            "depth": ["plain", "deeper"],
            "training": trainings,
        }
        figures = {
            "compute": self._curves(lines, numbers),
            "samples": pictures.comparison({"held-out photographs": x} | shown),
            "denoised": pictures.comparison(rows),
        }
        return Finding(numbers, figures)

    def _curves(self, lines: Mapping[str, list[str]], numbers: Mapping[str, Estimate]) -> Any:
        """The patch distance against the compute, with what costs nothing as level lines."""
        cost = {name: numbers[f"PFLOP, {name}"].value for names in lines.values() for name in names}
        ends = [min(cost.values()), max(cost.values())]
        drawn = {line: ([cost[name] for name in names], names) for line, names in lines.items()}
        drawn |= {"linear model": (ends, ["linear model"] * 2), "held-out photographs": (ends, ["real"] * 2)}
        series, bands = {}, {}
        for line, (where, names) in drawn.items():
            each = [numbers[f"patch distance, {name}"] for name in names]
            series[line] = (where, [e.value for e in each])
            bands[line] = ([min(e.seeds) for e in each], [max(e.seeds) for e in each])
        return pictures.curves(
            series,
            "compute of the training, PFLOP",
            "patch distance from photographs, in their std",
            bands=bands,
            logx=True,
            title="shaded: from the lowest to the highest seed",
        )


def growing(steps: int, side: int) -> Renoising:
    """The scripts' film that goes on at twice the side, after two thirds of its steps."""
    return Renoising(steps, schedule=Ramp(-(-steps * 4 // 3)), grow=((max(2, steps * 2 // 3), 2 * side),))


@torch.no_grad()
def petaflops(model: Autoencoder, steps: int) -> float:
    """PFLOP of a training of so many batches of 16: a step costs three times what the model's output does."""
    few = torch.zeros(2, *model.shape, device=next(model.parameters()).device)
    with still(model), FlopCounterMode(display=False) as counter:
        model(few)
    return 3 * counter.get_total_flops() / len(few) * BATCH * steps / 1e15
