"""Solve linear inverse problems with the prior in a denoiser: images that agree with a measurement, sampled."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from copyfold.errors import UsageError, at_least
from copyfold.models.base import Autoencoder, class_name
from copyfold.models.checks import check_images, check_model
from copyfold.problems.base import Problem
from copyfold.restoration import applied, change_file
from copyfold.samplers.ascent import Ascent, Denoiser, Step
from copyfold.screen import told
from copyfold.types import Float, Images, Progress, Statistics

__all__ = ["solve"]


@torch.no_grad()
def solve(
    model: Autoencoder | Denoiser,
    problem: Problem,
    measured: Images,
    samples: int = 1,
    *,
    ascent: Ascent | None = None,
    statistics: Statistics = "running",
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> Float[Tensor, "s b c h w"]:
    r"""Images x with A x = m, sampled from the prior that a denoiser has learned; `samples` for every measurement.

        y <- y + h d + g z,   d = (I - M M^T) f(y) + A^+ (m - A y),   f(y) = D(y) - y

    from y = (I - M M^T) mean + A^+ m + from_std z, as `ascent` says. Its last D(y) is projected as well, so that
    every sample is measured as m, up to rounding. The mean of several samples has a smaller squared error than
    one, and their standard deviation says where the measurement leaves the image open:

        x = cf.solve(model, cf.Inpaint(mask), photographs, samples=8)
        x.mean(0), x.std(0)

    `model` is an autoencoder that was trained to denoise at all levels from `ascent.to_std` to `ascent.from_std`,
    for images of any size; a grey one sees colour as `restoration.restore` has it. Or it is a function
    denoise(y, std), which is told the level. `measured` is what `problem.measure` returns: for `Inpaint` images
    with pixels missing, for `Enlarge` small ones. `ascent` is `Ascent()` unless given. The samples are not
    clipped. They are computed one after another, where `measured` is, and are the same for the same seed.

    Kadkhodaie and Simoncelli, "Stochastic solutions for linear inverse problems using the prior implicit in a
    denoiser" (2021, arXiv:2007.13640), algorithm 2. Raises UsageError where the model takes only one size that is
    not that of the images, the problem refuses the measurement, or that is no batch of images in [0, 1].
    """
    at_least(1, samples=samples)
    if isinstance(model, nn.Module | type) or not callable(model):
        check_model(model)
    weight = next(model.parameters(), None) if isinstance(model, Autoencoder) else None
    check_images(measured, weight, missing=True)
    ascent = Ascent() if ascent is None else ascent
    base = torch.full_like(problem.invert(measured), ascent.mean)
    start = base + problem.project(torch.zeros_like(base), base, measured)
    if not start.isfinite().all():
        raise UsageError("pixels are NaN that the problem measures: mask them, or fill them in first")
    denoise = _denoiser(model, start, statistics)
    rng = Generator().manual_seed(seed)
    with told(progress) as tell:
        steps = len(ascent.plan())
        found: list[Images] = []
        for sample in range(samples):
            step = None
            for n, step in enumerate(_ascend(denoise, problem, measured, start, ascent, rng), 1):
                if tell is not None:
                    tell("restoring", sample * steps + n, samples * steps, {"noise": step.planned})
            assert step is not None
            found.append(step.denoised + problem.project(torch.zeros_like(start), step.denoised, measured))
    return torch.stack(found)


def solve_file(
    model: Autoencoder,
    problem: Problem,
    source: Path,
    target: Path,
    samples: int = 1,
    *,
    range: tuple[float, float] | None = None,
    ascent: Ascent | None = None,
    statistics: Statistics = "running",
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> None:
    """Restore the image that a file is a measurement of: the mean of `samples`, in the file's depth and format.

    Errors and `range` as of `restoration.restore_file`. Computed where the model is.
    """
    device = next(model.parameters(), torch.empty(0)).device

    def mean(x: Images) -> Images:
        found = solve(
            model,
            problem,
            x.to(device),
            samples,
            ascent=ascent,
            statistics=statistics,
            seed=seed,
            progress=progress,
        )
        return found.mean(0).clamp(0, 1)

    change_file(mean, source, target, range, model.shape[0])


def _ascend(
    denoise: Denoiser, problem: Problem, m: Images, start: Images, ascent: Ascent, rng: Generator
) -> Iterator[Step]:
    """The steps of an ascent from noise around `start`, under the constraint of a measurement."""
    count, channels, height, width = start.shape
    y = start + ascent.noise(count, (channels, height, width), rng).to(start) - ascent.mean
    return ascent.ascend(denoise, y, rng, lambda f, y: problem.project(f, y, m))


def _denoiser(model: Autoencoder | Denoiser, x: Images, statistics: Statistics) -> Denoiser:
    """A model as a function of images of x's size; UsageError where it takes another size alone."""
    if not isinstance(model, Autoencoder):
        return model
    if model.multiple is None and x.shape[2:] != model.shape[1:]:
        raise UsageError(
            f"this {class_name(model)} only takes images of {model.shape[1]}x{model.shape[2]}, not of "
            f"{x.shape[2]}x{x.shape[3]}: use a convolutional model (train --config denoiser)"
        )
    return lambda y, _: applied(model, y, statistics)
