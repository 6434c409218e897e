"""What does the contractive penalty select, and what does it cost?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.data import Photos
from copyfold.models.base import Autoencoder, flat
from copyfold.objectives.penalties import Contraction, Estimator
from copyfold.probes.geometry import SpectralNorm
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.codes import copy_errors, flat_codes, output, pca
from copyfold.studies.toolkit.costs import step_costs
from copyfold.studies.toolkit.notes import (
    BATCH,
    CROSS_ENTROPY,
    EPOCHS,
    UNITS,
    fashion,
    learned,
    logistic,
    penalised,
)
from copyfold.types import Images

TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class ContractionCostsAndSelects(Study):
    """Contraction makes few units respond to the main variation, and costs time.

    Two autoencoders with a code of one layer of 300 logistic units learn Fashion-MNIST by the cross-entropy for 10
    epochs, one with the penalty ||J||_F^2 on its Jacobian J = dE/dx (weight 1, Hutchinson's estimate). At held-out
    images, J v is the response of the units to a change of the image along v, the first principal component of the
    training images; with a_k = (J v)_k^2, the number of responding units is (sum_k a_k)^2 / sum_k a_k^2. The cost
    is the time of a training step with every row of J computed, over a plain step, alternating on the same
    machine, the median of several rounds.

    Controls: the network before training; the cost of the other two ways to compute the penalty; ||J||^2 over the
    variance of the codes, since the norm already falls if codes are only scaled down, which a decoder can undo;
    the error of reconstruction.

    The curves show the share of the response that comes from this many units, the strongest of each image first:
    the higher at the left, the fewer respond. Where the largest singular value is below 1, the encoder is a
    contraction.
    """

    claim: ClassVar[str] = "contractive"
    place: ClassVar[str] = 'notes on Murphy, "20.3.3 Contractive autoencoders": the last two paragraphs'
    items: ClassVar[tuple[int, ...]] = (43, 59, 154, 155)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "The penalty selects a few units, and it costs time: estimate it, do not compute it "
        "exactly.",
        PARTLY: "See which part failed. If it is the units, the penalty makes all responses small and "
        "selects none; if it is the time, there is no reason to avoid the penalty.",
        Verdict.DOES_NOT_HOLD: "It neither selects units nor costs much: its effect is to make codes small.",
    }

    responding_units_over_plain: Below = Below(0.5)
    cost_of_exact_jacobian: Above = Above(2.0)

    def measure(self, lab: Lab) -> Finding:
        """Train both, differentiate, and measure the time."""
        photos, make = fashion(lab), logistic(())
        x, everything = lab.images(photos), lab.images(photos, "train", len(photos))
        main = pca(everything, 10).encoder[1].weight.detach()
        penalties = {"plain": None, "contractive": Contraction()}
        models = lab.each(
            lambda seed: (
                {
                    name: learned(lab, make, photos, seed, EPOCHS, penalised(penalty))
                    for name, penalty in penalties.items()
                }
                | {"untrained": lab.untrained(make, photos, seed)}
            )
        )
        read = {name: [responses(of[name], x, main) for of in models] for name in models[0]}
        numbers = self._over_plain(read, {name: copy_errors([of[name] for of in models], x) for name in models[0]})
        for name, each in read.items():
            numbers |= {
                f"responding units, {name}": statistics.mean(_of(each, "units")),
                f"directions answered, {name}": statistics.mean(_of(each, "directions")),
                f"share of the answer to 10 components, {name}": statistics.ratio(
                    _of(each, "main"), _of(each, "norm")
                ),
                f"largest singular value, {name}": statistics.mean(
                    [SpectralNorm(20)(of[name], x, lab.rng(0, "v")).numbers["encoder"] for of in models]
                ),
            }
        numbers |= self._costs(lab, make, photos)
        rows = {"clean": x[:SHOWN]} | {name: output(of, x[:SHOWN]) for name, of in models[0].items()}
        return Finding(numbers, {"units": self._curve(read), "images": pictures.comparison(rows)})

    def _over_plain(
        self, read: dict[str, list[dict[str, Tensor]]], errors: dict[str, list[Tensor]]
    ) -> dict[str, Estimate]:
        """The numbers of the network with the penalty over those without."""
        pair = ("contractive", "plain")
        return {
            "responding units over plain": statistics.ratio(*(_of(read[n], "units") for n in pair)),
            "error over plain": statistics.ratio(*(errors[n] for n in pair)),
            "squared norm over plain": statistics.ratio(*(_of(read[n], "norm") for n in pair)),
            "squared norm over variance, over plain": statistics.estimate(
                lambda norm, spread, other, others: norm * others / (spread * other),
                *(_of(read[n], what) for n in pair for what in ("norm", "spread")),
            ),
        }

    def _curve(self, read: dict[str, list[dict[str, Tensor]]]) -> Any:
        """The share of the response that comes from this many units."""
        order = list(range(1, UNITS + 1))
        lines = {
            name: (order, torch.stack([r["ranked"] for r in each]).mean((0, 1)).cumsum(0))
            for name, each in read.items()
        }
        return pictures.curves(
            lines,
            "units, the strongest of each image first",
            "share of the response, cumulative",
            logx=True,
        )

    def _costs(self, lab: Lab, make: Make, photos: Photos) -> dict[str, Estimate]:
        """The time of a step with each estimator over a plain one, once for every seed."""
        estimators: dict[str, Estimator] = {
            "exact jacobian": "exact",
            "estimated jacobian": "hutchinson",
            "closed form": "closed",
        }
        x, model = lab.images(photos, "train", BATCH), partial(lab.untrained, make, photos, 0)
        steps = {"plain": (model(), CROSS_ENTROPY)}
        steps |= {name: (model(), penalised(Contraction(1.0, e))) for name, e in estimators.items()}
        times = [step_costs(lab, steps, x) for _ in lab.seeds]
        return {f"cost of {name}": statistics.over_seeds([t[name] for t in times], "log") for name in estimators}


def responses(model: Autoencoder, x: Images, main: Tensor) -> dict[str, Tensor]:
    """Numbers of the encoder's Jacobian at each image; `main` are directions of change, k x D."""
    found = [_responses(model, part, main) for part in x.split(16)]
    read = {name: torch.cat([f[name] for f in found]) for name in found[0]}
    codes = flat_codes(model, x)
    return read | {"spread": (codes - codes.mean(0)).square().sum(1)}


def _responses(model: Autoencoder, x: Images, main: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        rows = torch.func.vmap(torch.func.jacrev(lambda image: flat(model.encode(image[None]))[0]))(x)
    jacobian = rows.flatten(2)  # b x units x D
    norm, answers = jacobian.square().sum((1, 2)), (jacobian @ main.T).square()
    first = answers[..., 0]
    gram = jacobian @ jacobian.mT
    return {
        "norm": norm,
        "main": answers.sum((1, 2)),
        "units": first.sum(1).square() / first.square().sum(1).clamp(min=TINY),
        "directions": norm.square() / gram.square().sum((1, 2)).clamp(min=TINY),
        "ranked": (first / first.sum(1, keepdim=True).clamp(min=TINY)).sort(1, descending=True).values,
    }


def _of(read: list[dict[str, Tensor]], what: str) -> list[Tensor]:
    return [r[what] for r in read]
