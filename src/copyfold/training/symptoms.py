"""Warnings about a training, from the rows of its log; nothing is said of what went well."""

from collections.abc import Sequence
from itertools import pairwise

import torch

from copyfold.errors import option
from copyfold.runs import Row
from copyfold.types import Images

UNLEARNED = 0.15
"""Of the variance of held-out images: where more is left, few copies of photographs are recognised."""
ALIKE = 1.1
"""Times what PCA leaves with as many numbers as the code has: no longer training brings such a code much more."""
COMPONENTS = 100
"""Principal components to compare with where the code has more numbers than the images have."""
RELAPSE = 3
"""Times the lowest held-out error: more than the noise of training."""
OVERFIT = 2.0
"""Times the training error: a tenth of the images, held out, differs from the rest by chance by much less."""
RISEN = 1.1
"""Times its own lowest value: the held-out error goes up and down by some per cent from epoch to epoch."""
JUMP, JUMPS, MEANT = 2.0, 3, 10
"""Times the loss before, how often, and steps that a row must be a mean of: one hard batch may double it."""


def not_learned(
    rows: list[Row],
    variance: float,
    components: int,
    linear: float,
    whole_code: bool,
    faster: Sequence[str] = (),
) -> list[str]:
    """A warning where the copy leaves more of the variance than 15 %, and more than PCA does, or its equal.

    `variance` is the squared error per pixel of the mean training image on held-out images; `linear` is what
    `components` principal components leave of it, which are as many as the code has numbers where `whole_code`.
    `faster` are the options that may be smaller, so that steps are faster.
    """
    errors = _column(rows, "held_out_mse")
    if not errors or variance <= 0:
        return []
    left = errors[-1][1] / variance
    if left <= max(UNLEARNED, linear * (ALIKE if whole_code else 1)):
        return []
    share = f"{left:.0%}" if left < 1 else "all, and more,"
    of_code = ", as many as the code has numbers," if whole_code else ""
    return [
        f"it has not yet learned to copy: {share} of the held-out images' variance is left, and {components} "
        f"principal components{of_code} leave {linear:.0%}: train longer (more "
        f"{option('minutes')}, {option('steps')} or {option('epochs')})"
        + (f", or with a smaller {' or '.join(faster)}, whose steps are faster" if faster else "")
    ]


def overfitting(rows: list[Row]) -> list[str]:
    """A warning where the held-out error is twice that of training, and has risen since it was lowest."""
    held_out, training = _column(rows, "held_out_mse"), _column(rows, "mse")
    if not held_out or not training:
        return []
    lowest_step, lowest = min(held_out, key=lambda point: point[1])
    last, seen = held_out[-1][1], training[-1][1]
    if last <= OVERFIT * seen or last <= RISEN * lowest:
        return []
    return [
        f"it overfits: the error per pixel is {last:.3g} on held-out images and "
        f"{seen:.3g} on training images, and was {lowest:.3g} at step {lowest_step:.0f}: best/ has the weights of "
        f"the lowest loss; give more images, {option('flip', True)}, or {option('patience', 10)}"
    ]


def relapse(rows: list[Row], lr: float | None) -> list[str]:
    """A warning where the held-out error rose far above its lowest, as when all units of a layer died."""
    errors = _column(rows, "held_out_mse")
    if not errors:
        return []
    step, best = min(errors, key=lambda point: point[1])
    if errors[-1][1] <= RELAPSE * best:
        return []
    return [
        f"training became unstable: the held-out error per pixel is {errors[-1][1]:.3g}, and was "
        f"{best:.3g} at step {step:.0f}: train again with an {option('lr')} below {lr:g}, or with a norm"
    ]


def jumps(rows: list[Row], lr: float | None) -> list[str]:
    """A warning where the loss doubled from one row to the next three times: the learning rate is too large."""
    losses = _column(rows, "loss")
    steps = [0.0, *(step for step, _ in losses)]
    means = [loss for (step, loss), before in zip(losses, steps, strict=False) if step - before >= MEANT]
    count = sum(after > JUMP * before > 0 for before, after in pairwise(means))
    if count < JUMPS:
        return []
    return [
        f"the loss doubled {count} times from one row of log.csv to the "
        f"next: train with an {option('lr')} below {lr:g}"
    ]


def pca_left(training: Images, held_out: Images, components: int) -> tuple[float, float]:
    """The variance of held-out images about the mean training image, per pixel, and the share that PCA leaves.

    The directions are those of the training images given, fewer than `components` where there are not so many.
    """
    mean = training.flatten(1).mean(0)
    rows, others = training.flatten(1) - mean, held_out.flatten(1) - mean
    variance = others.square().mean().item()
    if rows.shape[0] <= rows.shape[1]:  # the smaller matrix has the same eigenvalues
        squares, u = torch.linalg.eigh((rows @ rows.T).double())
        directions = rows.T.double() @ u[:, -components:]
        directions /= squares[-components:].clamp(min=1e-12).sqrt()
    else:
        squares, directions = torch.linalg.eigh((rows.T @ rows).double())
        directions = directions[:, -components:]
    directions = directions[:, squares[-components:] > 1e-9 * squares[-1].clamp(min=1e-12)]
    kept = (others.double() @ directions).square().sum().item() / others.numel()
    return variance, 1 - kept / variance if variance > 0 else 0.0


def _column(rows: list[Row], name: str) -> list[tuple[float, float]]:
    """Steps and values of a column, where there is one."""
    return [(row["step"], row[name]) for row in rows if name in row]
