"""T10: does one random layer's noise follow from its sizes alone?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from copyfold import pictures
from copyfold.claims.representation import SECTION, SHARES
from copyfold.measures import distance, normality
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.random_layers import random_layer, represented
from copyfold.types import Images

DESCENDED = (1 / 4, 1 / 2, 3 / 4)  # the shares at which descent is compared with the closed form


@dataclass(frozen=True)
class LawOfOneLayer(Study):
    r"""The noise in one random layer's representation follows from its sizes alone.

    A random layer maps n numbers to m; rho = m / n. Descent from a_0 to the same output then ends at

        a_g = rho a + (1 - rho) a_0 + sqrt(rho (1 - rho)) rms(a_0 - a) xi        xi ~ N(0, 1) for large n
        ||a_g - a|| = sqrt(1 - rho) ||a_0 - a||

    with a the photograph and a_0 a constant: mostly the start where m is small, noisiest at rho = 1/2, mostly the
    photograph where m is large. "Off" is the relative difference between the closed form a_0 + A^+ A (a - a_0) and
    this law, in the std of the noise and in the length of the error: the mean over photographs and six values of
    rho. Descent by L-BFGS must reach the same a_g, at three of these values.

    Control: a layer that is not random, the means of 2x2 pixels, rho = 1/4. It measures the low frequencies that
    photographs mostly consist of, and should keep far more of them than the law says: its length "over law" is
    then far below 1.

    The first figure shows the std of the noise over rms(a_0 - a) against rho, observed and by the law; the second
    the representations of photographs as rho grows.
    """

    claim: ClassVar[str] = "T10"
    place: ClassVar[str] = f"{SECTION}: the law behind O(x_i, theta) ~ N, which the essay does not give"
    items: ClassVar[tuple[int, ...]] = (84, 142)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "The noise of a random layer can be computed without an experiment, from m, n and the "
        "start.",
        PARTLY: "The law is a guide for a random layer, but not exact at these sizes: look at the numbers.",
        Verdict.DOES_NOT_HOLD: "A random layer on real images does not follow the algebra of random layers.",
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


def _ends(each: Sequence[Estimate]) -> tuple[list[float], list[float], list[float]]:
    return [e.low for e in each], [e.value for e in each], [e.high for e in each]


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
