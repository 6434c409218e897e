"""T31: does a denoising autoencoder's change follow the score of the density?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.notes import DENOISING
from copyfold.corruptions import Gaussian, noise_like
from copyfold.data.synthetic import GaussianMixture, ring
from copyfold.models.dense import MLP
from copyfold.objectives.base import Classical
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.types import Float

STDS = (0.4, 0.2, 0.1)  # of the noise, in the plane; the last decides
STEPS, POINTS = 30_000, 512
SHORT = 10  # a training of a tenth of these steps is shown too: it was the old study's


@dataclass(frozen=True)
class FollowsTheScore(Study):
    """A denoising autoencoder's change r(x) - x is the score times sigma^2.

    A perceptron r learns, in 30,000 batches of 512, to remove noise of std sigma from points of the plane, drawn
    from eight Gaussians on a circle, a known density. The notes say that its residual becomes the score, the
    gradient of log p; Tweedie's formula is r(x) - x = sigma^2 grad log p_sigma(x) for the best r, with p_sigma the
    density of the noisy points. Measured on a grid where that density is not negligible: the cosine between both
    sides, and the slope of the left on the right side, for sigma = 0.4, 0.2 and 0.1; the smallest decides, as the
    notes' formula is one of weak noise.

    Controls: the best linear denoiser, which only shrinks towards the mean, and the untrained network must miss
    the threshold of the cosine, or it takes no learned density to meet it. Shown: the best possible denoiser and
    the score of the points without noise, which shows the effect of sigma going to 0; the slope on the score
    alone, which is near sigma^2 and not near 1; the residual of training, r(x + noise) - x, which is no vector
    field: for the best possible denoiser its mean is 0 for every input; the error over the least possible; and the
    same after a tenth of the training.

    What changed: the old study trained for 3,000 batches, and its verdict, FAILS, was that of a short training: at
    the smallest sigma its error was 14 % above the least possible, and ten times the training met both thresholds.
    They are the old ones, the number of batches is the longer training's, and the controls count.

    The first figure shows the arrows over points of the density; the curves show the cosines against sigma.
    """

    claim: ClassVar[str] = "T31"
    place: ClassVar[str] = f"{DENOISING}: e(x) ~ grad log p(x), and the vector field"
    items: ClassVar[tuple[int, ...]] = (56, 133, 153)
    data: ClassVar[tuple[str, ...]] = ()
    asked: ClassVar[str] = (
        "Does the change that a trained denoiser makes to a point say in which direction, and how steeply, the "
        "density of the data rises there?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Divide a denoiser's change by sigma^2 to get the score: it knows the direction in which "
        "the density of the data rises; weak noise takes a long training.",
        PARTLY: "Use the arrows' direction and not their length: good for moving to higher density, not for a "
        "likelihood.",
        Verdict.DOES_NOT_HOLD: "Do not take a denoiser's change for the score where noise is weak: after this "
        "training it is not near the best denoiser.",
        Verdict.UNDECIDED: "Train for longer before using the change as a score, and compare with the least "
        "possible error.",
    }
    seeds: ClassVar[int] = 8
    controls: ClassVar[Mapping[str, Control]] = {
        "cosine, best linear": (Below(0.95), "Shrinking towards the mean meets the threshold too."),
        "cosine, untrained": (Below(0.95), "The network meets the threshold without having learned anything."),
    }

    cosine: Above = Above(0.95)
    slope_error: Below = Below(0.1)

    def measure(self, lab: Lab) -> Finding:
        """Train in the plane, and compare the two vector fields."""
        density = ring(count=8, radius=1.0, std=0.15)
        found = lab.by_seed(lambda seed: _look(lab, density, seed))
        numbers: dict[str, Estimate] = {}
        for std in STDS:
            points = places(density, std)
            score = std**2 * density.score(points, std)
            bare = density.score(points)
            fields = [r.numbers[f"field, std {std}"] for r in found]
            numbers |= {
                f"cosine, std {std}": cosine(fields, score),
                f"slope, std {std}": slope(fields, score),
                f"cosine with the score of the data, std {std}": cosine(fields, bare),
                f"slope by the score alone, std {std}": slope(fields, bare),
                f"cosine with the score of the data, best possible, std {std}": cosine([score], bare),
                f"slope by sigma^2 times it, best possible, std {std}": slope([score], std**2 * bare),
                f"cosine, best linear, std {std}": cosine([_pulled(density, points, std)], score),
                f"cosine of the residual of training, std {std}": statistics.estimate(
                    _cosine, *([r.numbers[f"{what}, std {std}"] for r in found] for what in TRAINING)
                ),
                f"error over the least possible, std {std}": statistics.ratio(
                    [r.numbers[f"error, std {std}"] for r in found],
                    [r.numbers[f"least, std {std}"] for r in found],
                ),
            }
        std, points = STDS[-1], places(density, STDS[-1])
        score = std**2 * density.score(points, std)
        fields = [r.numbers[f"field, std {std}"] for r in found]
        off = [_products(f, score) for f in fields]
        for when in ("untrained", "a tenth of the training"):
            then = [r.numbers[f"field, {when}"] for r in found]
            numbers |= {f"cosine, {when}": cosine(then, score), f"slope, {when}": slope(then, score)}
        numbers |= {
            "cosine": numbers[f"cosine, std {std}"],
            "slope error": statistics.estimate(
                lambda a, b: (a / b - 1).abs(), [a for a, _, _ in off], [b for _, _, b in off]
            ),
            "cosine, best linear": numbers[f"cosine, best linear, std {std}"],
        }
        arrows = {"learned: r(x) - x": fields[0], "sigma² times the score": score}
        title = f"Eight Gaussians, noise of std {std}"
        over = density.sample(1500, lab.rng(0, "shown"))
        return Finding(
            numbers,
            {
                "arrows": pictures.arrows(points, arrows, over, title, "first number of x", "second number of x"),
                "cosines": self._curves(numbers),
            },
            came_out=f"With noise of std {std} the cosine of a denoiser's change and the score is "
            f"{numbers['cosine'].value:.3g}, and the slope is off by {numbers['slope error'].value:.1%}.",
            captions={
                "arrows": f"What the network does to points, and {std:g}² times the score, over points of the "
                "density",
                "cosines": "The cosine of a network's change and the score, against the std of the noise",
            },
        )

    def _curves(self, numbers: Mapping[str, Estimate]) -> Any:
        """The cosines against sigma."""
        lines = {
            "network, score of the noisy points": "cosine",
            "network, score of the data": "cosine with the score of the data",
            "best possible, score of the data": "cosine with the score of the data, best possible",
            "best linear, score of the noisy points": "cosine, best linear",
        }
        along: dict[str, tuple[Sequence[float], Sequence[Estimate]]] = {
            name: (STDS, [numbers[f"{what}, std {std}"] for std in STDS]) for name, what in lines.items()
        }
        along["network, a tenth of the training"] = [STDS[-1]], [numbers["cosine, a tenth of the training"]]
        xlabel, ylabel = "std of the noise; the circle has radius 1", "cosine of r(x) - x and the score"
        return charts.curves(along, xlabel, ylabel, logx=True)


TRAINING = ("residual and score", "residual squared", "score squared")
"""The products that the cosine of the residual of training is made of, of each noisy point."""


def _look(lab: Lab, density: GaussianMixture, seed: int) -> Reading:
    """One seed's networks: their changes on the grid, and what they leave of new noisy points."""
    numbers: dict[str, Tensor] = {}
    clean = density.sample(1024, lab.rng(0, "clean"))
    for std in STDS:
        model, points = denoiser(lab, density, std, seed), places(density, std)
        noisy = clean + noise_like(clean, 0.0, std, lab.rng(0, "noise"))
        score = std**2 * density.score(noisy, std)
        residual = moved(model, noisy) - clean
        numbers |= {
            f"field, std {std}": moved(model, points) - points,
            f"error, std {std}": residual.square().sum(1),
            f"least, std {std}": (noisy + score - clean).square().sum(1),
        }
        parts = zip(TRAINING, _products(residual, score), strict=True)
        numbers |= {f"{what}, std {std}": product for what, product in parts}
    points = places(density, STDS[-1])
    for when, share in (("untrained", 0.0), ("a tenth of the training", 1 / SHORT)):
        model = denoiser(lab, density, STDS[-1], seed, share)
        numbers[f"field, {when}"] = moved(model, points) - points
    return Reading(numbers, {})


def denoiser(lab: Lab, density: GaussianMixture, std: float, seed: int, share: float = 1.0) -> MLP:
    """A small network that removes noise of this std from points of the plane, after this share of the batches."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MLP((1, 1, 2), hidden=[64], latent_dim=64, activation="tanh", code_activation="tanh")
        objective, steps = Classical(corruption=Gaussian(std)), round(share * min(STEPS, lab.budget.scaled(STEPS)))
        optimizer = torch.optim.Adam(model.parameters())
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / steps)
            x = density.sample(POINTS).float().view(-1, 1, 1, 2)
            optimizer.zero_grad()
            torch.stack(list(objective(model, x).values())).sum().backward()
            optimizer.step()
    return model.eval()


def places(density: GaussianMixture, std: float) -> Float[Tensor, "n 2"]:
    """A grid over the plane, where the density of the noisy points is at least a twentieth of its largest."""
    axis = torch.linspace(-1.8, 1.8, 25, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    found = density.log_prob(points, std)
    return points[found > found.max() - 3]


@torch.no_grad()
def moved(model: MLP, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
    """The network's outputs for points."""
    return model(points.float().view(-1, 1, 1, 2)).view(-1, 2).to(points)


def cosine(fields: Sequence[Tensor], score: Tensor) -> Estimate:
    """sum f s / sqrt(sum f^2 sum s^2), over all points."""
    sums = [_products(field, score) for field in fields]
    return statistics.estimate(_cosine, *map(list, zip(*sums, strict=True)))


def slope(fields: Sequence[Tensor], score: Tensor) -> Estimate:
    """sum f s / sum s^2: the factor of s that is nearest to f, by least squares."""
    sums = [_products(field, score) for field in fields]
    return statistics.ratio([fs for fs, _, _ in sums], [ss for _, _, ss in sums])


def _cosine(fs: Tensor, ff: Tensor, ss: Tensor) -> Tensor:
    return fs / (ff * ss).sqrt()


def _products(field: Tensor, score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (field * score).sum(1), field.square().sum(1), score.square().sum(1)


def _pulled(density: GaussianMixture, points: Tensor, std: float) -> Tensor:
    """What the best linear denoiser does on a circle around 0: shrink by var / (var + std^2)."""
    variance = density.means.square().mean() + density.std**2
    return -points * std**2 / (variance + std**2)
