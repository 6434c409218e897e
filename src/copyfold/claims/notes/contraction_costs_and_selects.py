"""The notes' sections on contraction and sparsity."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.notes.linear_is_pca import (
    BATCH,
    CROSS_ENTROPY,
    EPOCHS,
    SHOWN,
    coded,
    copy_errors,
    costs,
    fashion,
    learned,
    output,
    pca,
)
from copyfold.data import Photos
from copyfold.measures import kurtosis, mse
from copyfold.models.base import Autoencoder, flat
from copyfold.models.dense import MLP
from copyfold.objectives.base import Classical, Penalty
from copyfold.objectives.fidelities import Bernoulli
from copyfold.objectives.penalties import L1, Contraction, Estimator, KLSparsity
from copyfold.probes.geometry import SpectralNorm
from copyfold.probes.latent import CodeStatistics
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.types import Images, Shape

UNITS, TARGET = 300, 0.1
TINY = torch.finfo(torch.float32).tiny


def logistic(hidden: tuple[int, ...]) -> Make:
    """The notes' perceptron with 300 logistic units for a code."""
    return partial(
        MLP, hidden=hidden, latent_dim=UNITS, activation="selu", code_activation="sigmoid", output="sigmoid"
    )


def penalised(penalty: Penalty | None) -> Classical:
    """The cross-entropy with this penalty."""
    return CROSS_ENTROPY if penalty is None else Classical(fidelity=Bernoulli(), penalties=[penalty])


def sparsities(shape: Shape) -> dict[str, Penalty | None]:
    """With the weights of the notes' companion notebook; its loss is a mean over pixels, ours a sum."""
    return {"no penalty": None, "L1": L1(1e-3 * prod(shape)), "KL": KLSparsity(0.05 * prod(shape), TARGET)}


@dataclass(frozen=True)
class ContractionCostsAndSelects(Study):
    """Contraction makes few units respond to the main variation, and costs time.

    A code of 300 logistic units of one layer learns Fashion-MNIST by the cross-entropy for 10 epochs, once with
    the penalty ||J||_F^2 of its Jacobian J = dE/dx (weight 1, Hutchinson's estimate). Held out, J v is how the
    units answer a change of the image along v, the first principal component of the training images; with a_k =
    (J v)_k^2, (sum_k a_k)^2 / sum_k a_k^2 counts the units that do. The cost is of a step of training with every
    row of J, over a plain step, in turns on the same machine, the median of several rounds.

    Controls: the network before training; the other two ways to the same penalty, whose cost stands beside;
    ||J||^2 over the variance of the codes, as a norm falls already where codes are only made smaller, which no
    decoder minds; the error of reconstruction.

    The curves have the share of the answer that so many units give, the strongest of each image first: the higher
    at the left, the fewer respond. Where the largest singular value is below 1, the encoder is a contraction.
    """

    claim: ClassVar[str] = "contractive"
    place: ClassVar[str] = 'notes on Murphy, "20.3.3 Contractive autoencoders": the last two paragraphs'
    items: ClassVar[tuple[int, ...]] = (59, 154, 155)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "The penalty selects a few units, and its price is time: estimate it, do not compute it.",
        Verdict.MIXED: "Look which part failed: where it is the units, the penalty makes all answers small and "
        "selects none; where it is the time, there is no reason to avoid it.",
        Verdict.FAILS: "It neither selects units nor costs much: what it does is to make codes small.",
    }

    responding_units_over_plain: Below = Below(0.5)
    cost_of_exact_jacobian: Above = Above(2.0)

    def measure(self, lab: Lab) -> Finding:
        """Train both, differentiate, and take the time."""
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
        errors = {name: copy_errors([of[name] for of in models], x) for name in models[0]}
        numbers = {
            "responding units over plain": statistics.ratio(
                *(_of(read[n], "units") for n in ("contractive", "plain"))
            ),
            "error over plain": statistics.ratio(errors["contractive"], errors["plain"]),
            "squared norm over plain": statistics.ratio(*(_of(read[n], "norm") for n in ("contractive", "plain"))),
            "squared norm over variance, over plain": statistics.estimate(
                lambda norm, spread, other, others: norm * others / (spread * other),
                *(_of(read[name], what) for name in ("contractive", "plain") for what in ("norm", "spread")),
            ),
        }
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
        order = list(range(1, UNITS + 1))
        lines = {
            name: (order, torch.stack([r["ranked"] for r in each]).mean((0, 1)).cumsum(0))
            for name, each in read.items()
        }
        curve = pictures.curves(
            lines,
            "units, the strongest of each image first",
            "share of the answer, all together",
            logx=True,
        )
        rows = {"clean": x[:SHOWN]} | {name: output(of, x[:SHOWN]) for name, of in models[0].items()}
        return Finding(numbers, {"units": curve, "images": pictures.comparison(rows)})

    def _costs(self, lab: Lab, make: Make, photos: Photos) -> dict[str, Estimate]:
        """A step with each estimator over a plain one, timed as often as there are seeds."""
        estimators: dict[str, Estimator] = {
            "exact jacobian": "exact",
            "estimated jacobian": "hutchinson",
            "closed form": "closed",
        }
        x, model = lab.images(photos, "train", BATCH), partial(lab.untrained, make, photos, 0)
        steps = {"plain": (model(), CROSS_ENTROPY)}
        steps |= {name: (model(), penalised(Contraction(1.0, e))) for name, e in estimators.items()}
        times = [costs(lab, steps, x) for _ in lab.seeds]
        return {f"cost of {name}": statistics.over_seeds([t[name] for t in times]) for name in estimators}


def responses(model: Autoencoder, x: Images, main: Tensor) -> dict[str, Tensor]:
    """What the encoder's Jacobian says of each image; `main` are directions of change, k x D."""
    found = [_responses(model, part, main) for part in x.split(16)]
    read = {name: torch.cat([f[name] for f in found]) for name in found[0]}
    codes = coded(model, x)
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


def sparse_models(lab: Lab, seed: int) -> dict[str, Autoencoder]:
    """The notes' 300 units without a penalty and with each."""
    photos = fashion(lab)
    return {
        name: learned(lab, logistic((100,)), photos, seed, EPOCHS, penalised(penalty))
        for name, penalty in sparsities(photos.shape).items()
    }


@dataclass(frozen=True)
class PenaltiesMakeSparse(Study):
    """L1 and KL penalties make few of 300 units respond to an image.

    The notes' perceptron with a code of 300 logistic units learns Fashion-MNIST by the cross-entropy for 10
    epochs: without a penalty, with lambda ||z||_1, and with lambda sum_k KL(p || q_k), q_k the mean activation of
    unit k in the batch and p = 0.1. A unit is on where it is above a tenth of the largest value of the code; the
    share that is on is of held-out images, over that without a penalty.

    Controls: the network without a penalty; and what it gives back of the image when only as many of its units are
    kept for each image, those farthest from their mean, the others at it, as are on with the penalty: were its
    error no larger, no penalty would be needed. The excess kurtosis of an image's activations is high where a few
    units stand out. Dead units are on for no image.

    The maps have an image in each row and a unit in each column, dark where it is off. The histograms are of all
    activations; they count on a logarithmic scale.
    """

    claim: ClassVar[str] = "sparse"
    place: ClassVar[str] = 'notes on Murphy, "20.3.4 Sparse autoencoders", and the figure of 300 units'
    items: ClassVar[tuple[int, ...]] = (44, 45, 134, 154)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Either penalty gives a code of which few units speak at a time.",
        Verdict.MIXED: "One penalty makes codes sparse and the other does not: a mean can be low without any unit "
        "being off.",
        Verdict.FAILS: "With the notes' weights neither makes codes sparse: give them larger ones.",
    }

    units_on_l1_over_none: Below = Below(0.5)
    units_on_kl_over_none: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Count the units that are on."""
        x, seen = (lab.images(fashion(lab), which) for which in ("held_out", "train"))
        models = lab.each(lambda seed: sparse_models(lab, seed))
        reads = {name: [CodeStatistics()(of[name], x, lab.rng(0)).numbers for of in models] for name in models[0]}
        codes = {name: [coded(of[name], x) for of in models] for name in models[0]}
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
                mse(kept(of[free], x, coded(of[free], seen).mean(0), max(1, round(UNITS * share))), x)
                for of, share in zip(models, on[name], strict=True)
            ]
            numbers |= {
                f"units on {name.lower()} over none": statistics.over_seeds(shares),
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
    """What comes of so many units of each image, those farthest from their mean; the others are at it."""
    z = coded(model, x)
    far = (z - mean).abs()
    least = far.topk(min(count, z.shape[1]), dim=1).values[:, -1:]
    return model.decode(torch.where(far >= least, z, mean))
