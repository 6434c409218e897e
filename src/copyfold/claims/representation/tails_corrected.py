"""The tail bounds of spheres and normal distributions, as printed and corrected."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from copyfold import pictures
from copyfold.claims.representation import SECTION
from copyfold.corruptions import noise_like
from copyfold.measures import normality
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab

DRAWS = 20_000  # points of the sphere
TOLD = 10  # expected points beyond a bound, below which their share is chance
SIZES = (2, 3, 10, 100, 1000)  # dimensions of it
REACHES = tuple(i / 20 for i in range(1, 20))  # distances from the origin
MIDDLE = 100  # the dimension that is shown
Lines: TypeAlias = dict[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class TailsCorrected(Study):
    r"""The printed tail bounds of sphere and normal are wrong; the corrected ones hold.

    Points are drawn on the unit sphere and in the unit ball of n dimensions, n from 2 to 1000; eps is .05 to .95.

        printed:    vol(|x| > eps) <= 2 exp(-n eps^2 / 4) v_n        P(|x - mu| > eps) = exp(-2 n eps^2)
        corrected:  P(|x_i| > eps) <= 2 exp(-n eps^2 / 2)            erfc(eps / (std sqrt 2)),   std^2 = 1 / n

    The first printed bound is for the distance from a half of the ball and not from the origin; the second is
    Hoeffding's for means. "Over corrected" is the largest ratio of a sampled tail (sphere, ball, normal) to the
    corrected bound, over all n and those eps for which the bound allows 10 of the 20,000 points or more, since a
    single point would break a smaller bound by chance. "Over printed" is the ratio at n = 100, for the ball's
    volume beyond eps = 1/2 and for the normal's tail beyond one std. No bound shows that a coordinate becomes
    normal; the distance of sqrt(n) x_1 from a normal distribution, at n = 1000, shows it (Poincare and Borel).

    Controls: n = 2, where a coordinate is far from normal; and a random sign times 1/sqrt(n) ("coins"), which
    obeys the corrected bound at every eps and is not normal: tail bounds cannot show what the essay concludes from
    them.

    The first figure shows tails against eps at n = 100. The second shows the distance from normal, and the cosine
    of two random directions, against n.
    """

    claim: ClassVar[str] = "tails"
    place: ClassVar[str] = f"{SECTION}: vol(d) <= 2 exp(-n eps^2 / 4) v_n, and p(|x - mu| > eps) = exp(-2 n eps^2)"
    items: ClassVar[tuple[int, ...]] = (142, 145)
    data: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "A coordinate in many free dimensions is normal, by another proof than the essay's: use "
        "this with std 1 / sqrt(n - m) of the length, and not the printed tails.",
        PARTLY: "Not every correction holds as stated: look at the numbers before using a formula.",
        Verdict.DOES_NOT_HOLD: "The printed formulas are right as they are.",
    }

    tail_over_corrected: Below = Below(1.0)
    volume_over_printed: Above = Above(1.0)
    normal_tail_over_printed: Above = Above(1.0)
    distance_from_normal: Below = Below(0.02)

    def measure(self, lab: Lab) -> Finding:
        """Draw points, and count those in the tails."""
        drawn = [{n: points(n, lab.rng(seed, f"points {n}")) for n in SIZES} for seed in lab.seeds]
        one = [d[MIDDLE] for d in drawn]
        volume, hoeffding = _printed_volume(MIDDLE, 0.5), _printed_normal(MIDDLE, MIDDLE**-0.5)
        samples: dict[str, list[float]] = {
            "tail over corrected": [
                max(over_corrected(n, d[n][of]) for n in SIZES for of in ("sphere", "ball", "normal"))
                for d in drawn
            ],
            "volume over printed": [beyond(p["radius"], 0.5) / volume for p in one],
            "normal tail over printed": [beyond(p["normal"], MIDDLE**-0.5) / hoeffding for p in one],
            "distance from normal": [from_normal(d[SIZES[-1]]["sphere"]) for d in drawn],
        }
        for n in SIZES:
            of = [d[n] for d in drawn]
            samples |= {
                f"distance from normal, n = {n}": [from_normal(p["sphere"]) for p in of],
                f"cosine over 1/sqrt(n), n = {n}": [_rms(p["cosine"]) * n**0.5 for p in of],
                f"n times the variance, sphere, n = {n}": [n * _rms(p["sphere"]) ** 2 for p in of],
                f"n + 2 times the variance, ball, n = {n}": [(n + 2) * _rms(p["ball"]) ** 2 for p in of],
                f"share of eps that break the printed bound, n = {n}": [self._broken(n, p) for p in of],
            }
        coins = [noise_like(torch.empty(DRAWS), rng=lab.rng(s, "coins")).sign() * MIDDLE**-0.5 for s in lab.seeds]
        samples["tail over corrected, coins"] = [over_corrected(MIDDLE, c) for c in coins]
        samples["distance from normal, coins"] = [from_normal(c) for c in coins]
        numbers = {name: statistics.over_seeds(values) for name, values in samples.items()}
        tails = pictures.curves(_tails(one[0]), f"eps (n = {MIDDLE})", "share of points beyond eps", logy=True)
        limit = pictures.curves(_limit(numbers), "n", "distance, or cosine", logx=True, logy=True)
        return Finding(numbers, {"tails": tails, "normal": limit})

    def _broken(self, n: int, drawn: Mapping[str, Tensor]) -> float:
        """The share of eps at which more of the ball's volume is beyond eps than the printed bound allows."""
        return sum(beyond(drawn["radius"], e) > _printed_volume(n, e) for e in REACHES) / len(REACHES)


def _tails(drawn: Mapping[str, Tensor]) -> Lines:
    """Tails against eps, as far as this number of draws can resolve them."""
    lines = {
        "coordinate on the sphere, drawn": [beyond(drawn["sphere"], e) for e in REACHES],
        "2 exp(-n eps^2 / 2), corrected": [corrected(MIDDLE, e) for e in REACHES],
        "exp(-2 n eps^2), printed": [_printed_normal(MIDDLE, e) for e in REACHES],
        "volume beyond eps, drawn": [beyond(drawn["radius"], e) for e in REACHES],
        "2 exp(-n eps^2 / 4), printed": [_printed_volume(MIDDLE, e) for e in REACHES],
    }
    seen = {
        name: [(e, y) for e, y in zip(REACHES, ys, strict=True) if y > 1 / DRAWS] for name, ys in lines.items()
    }
    return {name: ([e for e, _ in each], [y for _, y in each]) for name, each in seen.items()}


def _limit(numbers: Mapping[str, Estimate]) -> Lines:
    """The distance from normal, and the cosine of random directions, against n."""
    far = [numbers[f"distance from normal, n = {n}"].value for n in SIZES]
    cosines = [numbers[f"cosine over 1/sqrt(n), n = {n}"].value * n**-0.5 for n in SIZES]
    return {
        "sqrt(n) x_1, distance from normal": (SIZES, far),
        f"the same of {DRAWS:,} normal draws": (SIZES, [0.62 * DRAWS**-0.5] * len(SIZES)),
        "cosine of two directions, rms": (SIZES, cosines),
        "1 / sqrt(n)": (SIZES, [n**-0.5 for n in SIZES]),
    }


def points(n: int, rng: Generator) -> dict[str, Tensor]:
    """Draws in n dimensions.

    A coordinate on the unit "sphere" and in the "ball", the "radius" in the ball, a "normal" number of variance
    1/n, and the "cosine" of two random directions.
    """
    on = F.normalize(torch.randn(DRAWS, n, generator=rng))
    first, radius = on[:, 0].clone(), torch.rand(DRAWS, generator=rng) ** (1 / n)
    cosine = (on[: DRAWS // 2] * on[DRAWS // 2 :]).sum(1)
    normal = torch.randn(DRAWS, generator=rng) * n**-0.5
    return {"sphere": first, "ball": first * radius, "radius": radius, "normal": normal, "cosine": cosine}


def beyond(values: Tensor, eps: float) -> float:
    """The share of values farther than eps from 0."""
    return (values.abs() > eps).double().mean().item()


def corrected(n: int, eps: float) -> float:
    """The corrected bound of a coordinate's tail."""
    return 2 * math.exp(-n * eps**2 / 2)


def over_corrected(n: int, tail: Tensor) -> float:
    """The largest ratio of a sampled tail to its corrected bound, where this number of draws can resolve it."""
    bounds = {e: corrected(n, e) for e in REACHES}
    return max(beyond(tail, e) / bound for e, bound in bounds.items() if bound * len(tail) >= TOLD)


def _printed_volume(n: int, eps: float) -> float:
    """The essay's bound on the share of a ball's volume that is farther than eps from the origin."""
    return 2 * math.exp(-n * eps**2 / 4)


def _printed_normal(n: int, eps: float) -> float:
    """The essay's tail of a normal distribution."""
    return math.exp(-2 * n * eps**2)


def _rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


def from_normal(values: Tensor) -> float:
    """The distance of values from a normal distribution with their variance."""
    return normality(values.view(1, 1, 1, -1)).item()
