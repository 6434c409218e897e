"""T18: does more compute (width, depth or longer training) make better samples?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from copyfold import pictures
from copyfold.claims.generation import MEASURES, SECTION
from copyfold.corruptions import Mix
from copyfold.models.base import Autoencoder
from copyfold.probes.base import still
from copyfold.studies.base import PARTLY, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import samples
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import BATCH, restored, unet
from copyfold.studies.toolkit.samples import LEARNED, from_noise, last, normal_images
from copyfold.types import Images

HEAVY = 0.2  # of an image, that is left in heavy noise


@dataclass(frozen=True)
class MoreComputeBetterSamples(Study):
    """Wider and deeper networks, and longer training, make visibly better samples.

    The essay says so of tenfold compute, of width and of depth; an earlier version of it says that with more
    compute the images are "not much better". The U-Net is trained at half, one and two times its width, one level
    deeper, and, separately, ten times as long as at first. Samples of 30 steps are compared with training
    photographs as in the study of one pass (iterating-beats-one-pass). The numbers are ratios of patch distances:
    twice over half the width, deeper over plain, the most training over the least. More than "not much better" is
    taken as below 0.9.

    Controls: the Frechet distance in the code of another encoder, which measures layout where patches measure
    detail; a normal distribution of pixels (the linear model), which needs no training; held-out photographs.

    The first figure shows the distance against the compute of the training, a line for each way to spend more of
    it. The second shows samples from the same noise, a row for each network. The third shows the same photographs
    in half and in heavy noise, restored after the least and the most training.
    """

    claim: ClassVar[str] = "T18"
    place: ClassVar[str] = f"{SECTION}: one 3060 against four V100, and the wide U-Net; earlier form, Conclusion"
    items: ClassVar[tuple[int, ...]] = (106, 107, 118, 121, 122, 148, 157)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "The essay's newer version is right: in every way of spending compute, samples get better.",
        PARTLY: "Only some ways to spend compute help: use the one whose line falls.",
        Verdict.DOES_NOT_HOLD: "The earlier version is right: more of the same gives no better samples at this "
        "size.",
    }

    patch_distance_twice_over_half_the_width: Below = Below(0.9)
    patch_distance_deeper_over_plain: Below = Below(0.9)
    patch_distance_most_over_least_training: Below = Below(0.9)

    def measure(self, lab: Lab) -> Finding:
        """Train each, sample from the same noise, compare with the data."""
        side, count = lab.budget.large, lab.budget.measured
        photos, by = lab.photos("landscapes", side), samples.judge(lab, side)
        learned, x = lab.images(photos, "train", LEARNED), lab.images(photos, count=SHOWN)
        kinds = networks(lab)
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
            rows = self._denoised(lab, {name: models[name] for name in (trainings[0], trainings[-1])}, x, seed)
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

    def _denoised(self, lab: Lab, models: dict[str, Autoencoder], x: Images, seed: int) -> dict[str, Images]:
        """Photographs in half and in heavy noise, and each model's restorations."""
        rows = {"photograph": x}
        for keep in (0.5, HEAVY):
            noisy = Mix(keep)(x, lab.rng(seed, "mix"))
            rows[f"{keep:g} of it kept"] = noisy
            rows |= {f"{keep:g} kept, after {name}": restored(model, noisy) for name, model in models.items()}
        return rows

    def _curves(self, lines: Mapping[str, list[str]], numbers: Mapping[str, Estimate]) -> Any:
        """The patch distance against the compute, with controls that need no training as level lines."""
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


def networks(lab: Lab) -> dict[str, Make]:
    """The U-Net in every size, by name."""
    return {
        "half the width": unet(lab, large=True, width=lab.budget.slim // 2),
        "plain": unet(lab, large=True),
        "twice the width": unet(lab, large=True, width=2 * lab.budget.slim),
        "deeper": samples.deeper(lab),
    }


@torch.no_grad()
def petaflops(model: Autoencoder, steps: int) -> float:
    """PFLOP of a training of this many batches of 16: a step costs three times a forward pass."""
    few = torch.zeros(2, *model.shape, device=next(model.parameters()).device)
    with still(model), FlopCounterMode(display=False) as counter:
        model(few)
    return 3 * counter.get_total_flops() / len(few) * BATCH * steps / 1e15
