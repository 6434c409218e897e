"""T29: the essay's argument that a perfect copy would denoise without training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from copyfold.claims.attention import SECTION, STEPS
from copyfold.corruptions import Gaussian, Mix, noise_like
from copyfold.measures import mse
from copyfold.objectives.base import Classical
from copyfold.probes.baselines import PCAWiener, linear_filter
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.attention import single_attention
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.denoising import FITTED
from copyfold.studies.toolkit.networks import restored
from copyfold.types import Images

STD = 0.2
MIX = Mix(0.5)


@dataclass(frozen=True)
class PerfectCopyDoesNothing(Study):
    """A perfect copy has the denoising loss of the corruption itself, ||x~ - x||^2.

    The loss of the identity on images with noise of std 0.2 is compared with its closed form, std^2 per value. The
    essay concludes that such a model infers the corruption without training; but its loss is the loss of doing
    nothing, and the least loss is that of the posterior mean, E[x | x~]. So the claim also requires lower losses
    for two others: one linear attention between convolutions, trained to denoise; and E[x | x~] for images drawn
    from a known Gaussian, whose mean and covariance are those of landscapes, where the least loss is the sum of l
    std^2 / (l + std^2) over the variances l.

    Controls: the same network trained to copy for the same number of steps, whose loss should be that of the
    identity; a 7x7 linear filter, which a denoiser should beat; and the essay's mix, whose closed form includes
    the shift of brightness.

    In the first figure 1 is the perfect copy. In the second, rows from the top: clean, noisy, and the output of
    each.
    """

    claim: ClassVar[str] = "T29"
    place: ClassVar[str] = f"{SECTION}: L = ||x~ - x||^2 and the sentence after it"
    items: ClassVar[tuple[int, ...]] = (153,)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "A copy infers nothing about the corruption: its loss is the baseline of denoising, and "
        "not an ability that comes without training.",
        PARTLY: "The loss is that of the corruption, but what should be below it is not, or the reverse.",
        Verdict.DOES_NOT_HOLD: "The loss of a copy is not what the formula says.",
    }

    copy_off_closed_form: Below = Below(0.01)
    denoiser_over_copy: Below = Below(1.0)
    optimum_over_copy: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Compare losses on photographs, and on a known Gaussian."""
        photos, noise = lab.photos("landscapes"), Gaussian(STD)
        x, reference = lab.images(photos), lab.images(photos, "train", FITTED)
        law = PCAWiener.fit(reference, 0)

        def measure(seed: int) -> dict[str, Images]:
            make, steps = single_attention("softmax"), lab.budget.scaled(STEPS)
            copier = lab.trained(make, photos, seed, steps=steps)
            denoiser = lab.trained(make, photos, seed, steps=steps, objective=Classical(noise))
            rng = lab.rng(seed, "noise")
            noisy, drawn = noise(x, rng), gaussian_images(law, x, rng)
            corrupted = noise(drawn, rng)
            return {
                "noisy": noisy,
                "copier": restored(copier, noisy),
                "denoiser": restored(denoiser, noisy),
                "filter": linear_filter(noise(reference, rng), reference, noisy),
                "mixed": MIX(x, rng),
                "drawn": drawn,
                "corrupted": corrupted,
                "optimum": law(corrupted, STD),
            }

        found = lab.each(measure)
        known = {name: [mse(f[name], f["drawn"]) for f in found] for name in ("corrupted", "optimum")}
        errors = {
            name: [mse(f[name], x) for f in found] for name in ("noisy", "mixed", "copier", "denoiser", "filter")
        }
        mixed = 0.5**2 * ((x - MIX.mean).square().mean((1, 2, 3)) + MIX.std**2)
        least = (law.variances * STD**2 / (law.variances + STD**2)).sum().item() / x[0].numel()
        over = {name: statistics.ratio(errors[name], errors["noisy"]) for name in ("denoiser", "copier", "filter")}
        over["optimum"] = statistics.ratio(known["optimum"], known["corrupted"])
        numbers = {f"{name} over copy": e for name, e in over.items()} | {
            "copy off closed form": off(errors["noisy"], [torch.full_like(mixed, STD**2)] * len(found)),
            "copy off closed form, mix": off(errors["mixed"], [mixed] * len(found)),
            "optimum off closed form": off(known["optimum"], [torch.full_like(mixed, least)] * len(found)),
            "copy over optimum": statistics.ratio(known["corrupted"], known["optimum"]),
        }
        return Finding(numbers, self._figures(over, x, found[0]))

    def _figures(self, over: dict[str, Estimate], x: Images, made: dict[str, Images]) -> dict[str, Any]:
        """Every loss over that of a perfect copy; and the outputs of each network for noisy photographs."""
        names = {
            "optimum": "E[x | x~], known Gaussian", "denoiser": "trained to denoise", "copier": "trained to copy",
            "filter": "7x7 filter",
        }  # fmt: skip
        shown = {names[k]: e for k, e in over.items()}
        figure = charts.intervals(
            shown, "squared error, ratio to a perfect copy", {"a perfect copy, which does nothing": 1.0}, logx=True
        )
        looks = {"clean": x, "noisy": made["noisy"]}
        looks |= {names[k]: made[k] for k in ("copier", "denoiser", "filter")}
        return {"losses": figure, "images": first_images(looks)}


def gaussian_images(law: PCAWiener, like: Images, rng: Generator) -> Images:
    """Draws from the normal distribution with this mean and these principal components."""
    weights = noise_like(like.new_zeros(len(like), len(law.variances)), rng=rng) * law.variances.sqrt()
    return (law.mean + weights @ law.directions.T).reshape(like.shape)


def off(measured: list[Tensor], expected: list[Tensor]) -> Estimate:
    """How far a mean is from what it should be, relative to that."""
    return statistics.estimate(lambda a, b: (a / b - 1).abs(), measured, expected)
