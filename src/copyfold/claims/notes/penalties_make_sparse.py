"""Do the L1 and KL penalties make few units respond to an image?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.measures import kurtosis, mse
from copyfold.models.base import Autoencoder
from copyfold.probes.latent import CodeStatistics
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.codes import copy_errors, flat_codes
from copyfold.studies.toolkit.notes import UNITS, fashion, sparse_models
from copyfold.types import Images


@dataclass(frozen=True)
class PenaltiesMakeSparse(Study):
    """L1 and KL penalties make few of 300 units respond to an image.

    The notes' perceptron with a code of 300 logistic units learns Fashion-MNIST by the cross-entropy for 10
    epochs: without a penalty, with lambda ||z||_1, and with lambda sum_k KL(p || q_k), q_k the mean activation of
    unit k in the batch and p = 0.1. A unit is on where it is above a tenth of the largest value of the code; the
    number is the share of units that are on for held-out images, over that without a penalty.

    Controls: the network without a penalty; and its error when only as many of its units are kept for each image
    as are on with the penalty, those farthest from their mean, and the others are set to their mean: if its error
    were no larger, no penalty would be needed. The excess kurtosis of an image's activations is high where a few
    units stand out. Dead units are on for no image.

    The maps have an image in each row and a unit in each column, dark where it is off. The histograms show all
    activations, with counts on a logarithmic scale.
    """

    claim: ClassVar[str] = "sparse"
    place: ClassVar[str] = 'notes on Murphy, "20.3.4 Sparse autoencoders", and the figure of 300 units'
    items: ClassVar[tuple[int, ...]] = (44, 45, 134, 154)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Either penalty gives a code of which few units are on at a time.",
        PARTLY: "One penalty makes codes sparse and the other does not: a mean can be low without any "
        "unit being off.",
        Verdict.DOES_NOT_HOLD: "With the notes' weights neither makes codes sparse: use larger ones.",
    }

    units_on_l1_over_none: Below = Below(0.5)
    units_on_kl_over_none: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Count the units that are on."""
        x, seen = (lab.images(fashion(lab), which) for which in ("held_out", "train"))
        models = lab.each(lambda seed: sparse_models(lab, seed))
        reads = {name: [CodeStatistics()(of[name], x, lab.rng(0)).numbers for of in models] for name in models[0]}
        codes = {name: [flat_codes(of[name], x) for of in models] for name in models[0]}
        errors = {name: copy_errors([of[name] for of in models], x) for name in models[0]}
        on = {name: [float(read["on"].mean()) for read in each] for name, each in reads.items()}
        numbers: dict[str, Estimate] = {}
        for name, each in reads.items():
            numbers |= {
                f"units on, {name}": statistics.over_seeds(on[name]),
                f"mean activation, {name}": statistics.over_seeds([float(r["mean"].mean()) for r in each]),
                f"dead units, {name}": statistics.over_seeds([r["dead_units"].item() for r in each]),
                f"kurtosis, {name}": statistics.mean([kurtosis(z[:, None, None]) for z in codes[name]]),
            }
        free = "no penalty"
        for name in ("L1", "KL"):
            shares = [a / b for a, b in zip(on[name], on[free], strict=True)]
            few = [
                mse(kept(of[free], x, flat_codes(of[free], seen).mean(0), max(1, round(UNITS * share))), x)
                for of, share in zip(models, on[name], strict=True)
            ]
            numbers |= {
                f"units on {name.lower()} over none": statistics.over_seeds(shares, "log"),
                f"error over no penalty, {name}": statistics.ratio(errors[name], errors[free]),
                f"error of as many units without a penalty over {name}": statistics.ratio(few, errors[name]),
            }
        maps = {name: each[0][:64] for name, each in codes.items()}
        spread = {name: each[0].flatten() for name, each in codes.items()}
        return Finding(
            numbers,
            {
                "activations": pictures.heatmaps(maps, "unit", "image", scale="activation"),
                "histograms": pictures.histograms(spread, "activation", logy=True),
            },
        )


@torch.no_grad()
def kept(model: Autoencoder, x: Images, mean: Tensor, count: int) -> Images:
    """The output from `count` units of each image, those farthest from their mean; the others are set to it."""
    z = flat_codes(model, x)
    far = (z - mean).abs()
    least = far.topk(min(count, z.shape[1]), dim=1).values[:, -1:]
    return model.decode(torch.where(far >= least, z, mean))
