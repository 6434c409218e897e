"""Where outliers begin: a threshold from normal images, with the rate of false alarms that it has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from copyfold.errors import UsageError, option

NEEDED = 3.0
"""Normal images times the rate, at least: with fewer, that none is above a threshold says little of its rate."""

RATES = (0.05, 0.1, 0.2)
"""Rates of which the smallest that is possible is taken where none is named."""


@dataclass(frozen=True)
class Threshold:
    """A score above which an image is an outlier, and how often a normal one is."""

    value: float
    rate: float
    """The share of normal images that are above it, as asked for."""
    low: float
    high: float
    """The 95 % interval of that share, as the normal images are a sample."""
    count: int
    """The normal images that it is of."""

    def __str__(self) -> str:
        """The threshold in words."""
        return (
            f"{self.value:.4g}, above which {self.rate:.3g} of normal images are (95 % interval {self.low:.3g} to "
            f"{self.high:.3g}, from {self.count:,} held-out normal images)"
        )


def needed(rate: float) -> int:
    """How many normal images a threshold of this rate needs."""
    return math.ceil(NEEDED / rate - 1e-9)


def check_rate(rate: float, count: int, share: str = "") -> None:
    """UsageError where a rate is none, or needs more normal images than there are; `share` says of what."""
    if not 0 < rate < 1:
        raise UsageError(
            f"{option('rate', rate)} is invalid: expected a share of normal images, above 0 and below 1"
        )
    if count < needed(rate):
        possible = f"give {option('rate', math.ceil(1000 * NEEDED / count) / 1000)}, or " if count > NEEDED else ""
        raise UsageError(
            f"too few normal images for a rate of {100 * rate:.3g} %: {needed(rate)} are needed, and {count} are "
            f"held out{share}: {possible}give more ({option('normal')})"
        )


def usual_rate(count: int) -> tuple[float | None, str]:
    """The rate that is taken where none is named, and why: the smallest of 5, 10 and 20 % that is possible.

    It follows from the number of held-out normal images alone and not from their scores, so that its threshold
    means what `threshold` says. None where there are too few for each of them.
    """
    takes = ", ".join(f"{needed(rate)} for {100 * rate:.0f} %" for rate in RATES)
    for rate in RATES:
        if needed(rate) <= count:
            return rate, (
                f"the rate of the threshold is {100 * rate:.0f} %, since {count:,} normal images are held out (it "
                f"takes {takes}; {option('rate')} chooses)"
            )
    return None, (
        f"the images are ranked, and none is called an outlier: a threshold takes more than the {count:,} normal "
        f"images that are held out ({takes}): give more ({option('normal')})"
    )


def threshold(scores: Sequence[float] | np.ndarray, rate: float) -> Threshold:
    r"""The threshold that a normal image exceeds with a probability of at most `rate`.

        value = the k-th largest of n scores,   k = floor(rate (n + 1)),   share above it ~ Beta(k, n + 1 - k)

    `scores` are those of n normal images that nothing else was learned from, independent of each other. Whatever
    their distribution, the share of normal images above the value has the mean k / (n + 1) <= rate over such
    samples, and this Beta distribution (Wilks, 1941, "Determination of sample sizes for setting tolerance
    limits"), from which the 95 % interval is taken. UsageError where there are fewer than 3 / rate scores.
    """
    from scipy.special import betaincinv

    found = np.sort(np.asarray(scores, dtype=np.float64))
    n = len(found)
    check_rate(rate, n)
    k = int(rate * (n + 1) + 1e-9)
    low, high = (float(betaincinv(k, n + 1 - k, q)) for q in (0.025, 0.975))
    return Threshold(float(found[n - k]), rate, low, high, n)


def p_values(scores: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The share of normal images that score at least as high: (1 + above) / (n + 1)."""
    ordered = np.sort(normal)
    above = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return (1 + above) / (len(ordered) + 1)
