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
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.types import Float

STDS = (0.4, 0.2, 0.1)  # of the noise, in the plane; the last decides
STEPS, POINTS = 3000, 512


@dataclass(frozen=True)
class FollowsTheScore(Study):
    """A denoising autoencoder's change r(x) - x is the score times sigma^2.

    A perceptron r learns to remove noise of std sigma from points of the plane, drawn from eight Gaussians on a
    circle, a known density. The notes say that its residual becomes the score, the gradient of log p; Tweedie's
    formula is r(x) - x = sigma^2 grad log p_sigma(x) for the best r, with p_sigma the density of the noisy points.
    Measured on a grid where that density is not negligible: the cosine between both sides, and the slope of the
    left on the right side, for sigma = 0.4, 0.2 and 0.1; the smallest decides.

    Controls: the best linear denoiser, which only shrinks towards the mean; the best possible denoiser and the
    score of the points without noise, which shows the effect of sigma going to 0; the slope on the score alone,
    which is near sigma^2 and not near 1; and the residual of training, r(x + noise) - x, which is no vector field:
    for the best possible denoiser its mean is 0 for every input. At the smallest sigma, ten times the training is
    measured too, to distinguish what the network has not learned yet from an error of the formula.

    The first figure shows the arrows over points of the density; the curves show the cosines against sigma.
    """

    claim: ClassVar[str] = "T31"
    place: ClassVar[str] = f"{DENOISING}: e(x) ~ grad log p(x), and the vector field"
    items: ClassVar[tuple[int, ...]] = (56, 133, 153)
    data: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "A trained denoiser knows the direction in which the density of the data rises: divide "
        "its change by sigma^2.",
        PARTLY: "The arrows have the right direction and another length: good for moving to higher "
        "density, not for a likelihood.",
        Verdict.DOES_NOT_HOLD: "After this training a network is not near the best denoiser where noise is weak; "
        "see the control of ten times the training.",
    }

    cosine: Above = Above(0.95)
    slope_error: Below = Below(0.1)

    def measure(self, lab: Lab) -> Finding:
        """Train in the plane, and compare the two vector fields."""
        density = ring(count=8, radius=1.0, std=0.15)
        numbers: dict[str, Estimate] = {}
        points = field = score = torch.empty(0)
        for std in STDS:
            models = lab.each(lambda seed, std=std: denoiser(lab, density, std, seed))
            points = places(density, std)
            score = std**2 * density.score(points, std)
            fields = [moved(model, points) - points for model in models]
            field, bare = fields[0], density.score(points)
            numbers |= {
                f"cosine, std {std}": cosine(fields, score),
                f"slope, std {std}": slope(fields, score),
                f"cosine with the score of the data, std {std}": cosine(fields, bare),
                f"slope by the score alone, std {std}": slope(fields, bare),
                f"cosine with the score of the data, best possible, std {std}": cosine([score], bare),
                f"slope by sigma^2 times it, best possible, std {std}": slope([score], std**2 * bare),
                f"cosine, best linear, std {std}": cosine([_pulled(density, points, std)], score),
            }
            numbers |= self._in_training(lab, models, density, std)
            if std == STDS[-1]:
                long = lab.each(lambda seed, std=std: denoiser(lab, density, std, seed, times=10))
                fields_then = [moved(model, points) - points for model in long]
                numbers |= {
                    "cosine, ten times of the training": cosine(fields_then, score),
                    "slope, ten times of the training": slope(fields_then, score),
                }
                numbers["cosine"] = numbers[f"cosine, std {std}"]
                off = [_products(f, score) for f in fields]
                numbers["slope error"] = statistics.estimate(
                    lambda a, b: (a / b - 1).abs(), [a for a, _, _ in off], [b for _, _, b in off]
                )
        arrows = {"learned: r(x) - x": field, "sigma² times the score": score}
        title = f"Eight Gaussians, noise of std {STDS[-1]}"
        over = density.sample(1500, lab.rng(0, "shown"))
        return Finding(
            numbers,
            {
                "arrows": pictures.arrows(points, arrows, over, title, "first number of x", "second number of x"),
                "cosines": self._curves(numbers),
            },
        )

    def _in_training(
        self, lab: Lab, models: Sequence[MLP], density: GaussianMixture, std: float
    ) -> dict[str, Estimate]:
        """For new noisy points: the residual of training, and the loss over the least possible one."""
        clean = density.sample(1024, lab.rng(0, "clean"))
        noisy = clean + noise_like(clean, 0.0, std, lab.rng(0, "noise"))
        score = std**2 * density.score(noisy, std)
        left = [moved(model, noisy) - clean for model in models]
        least = [(noisy + score - clean).square().sum(1)] * len(models)
        return {
            f"cosine of the residual of training, std {std}": cosine(left, score),
            f"error over the least possible, std {std}": statistics.ratio(
                [e.square().sum(1) for e in left], least
            ),
        }

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
        along["network, ten times of the training"] = [STDS[-1]], [numbers["cosine, ten times of the training"]]
        xlabel, ylabel = "std of the noise; the circle has radius 1", "cosine of r(x) - x and the score"
        return charts.curves(along, xlabel, ylabel, logx=True)


def denoiser(lab: Lab, density: GaussianMixture, std: float, seed: int, times: int = 1) -> MLP:
    """A small network trained to remove noise of this std from points of the plane."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MLP((1, 1, 2), hidden=[64], latent_dim=64, activation="tanh", code_activation="tanh")
        objective, steps = Classical(corruption=Gaussian(std)), times * min(10_000, lab.budget.scaled(STEPS))
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
    return statistics.estimate(lambda fs, ff, ss: fs / (ff * ss).sqrt(), *map(list, zip(*sums, strict=True)))


def slope(fields: Sequence[Tensor], score: Tensor) -> Estimate:
    """sum f s / sum s^2: the factor of s that is nearest to f, by least squares."""
    sums = [_products(field, score) for field in fields]
    return statistics.ratio([fs for fs, _, _ in sums], [ss for _, _, ss in sums])


def _products(field: Tensor, score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (field * score).sum(1), field.square().sum(1), score.square().sum(1)


def _pulled(density: GaussianMixture, points: Tensor, std: float) -> Tensor:
    """What the best linear denoiser does on a circle around 0: shrink by var / (var + std^2)."""
    variance = density.means.square().mean() + density.std**2
    return -points * std**2 / (variance + std**2)
