"""Restore a photograph with pixels missing, a blurred or a small one, with a trained denoiser as the prior.

--problem says how the photograph was measured. Inpaint: pixels are missing where the image --mask is black.
Missing: pixels at random places are ignored, to try it. Deblur: after a Gaussian blur. Enlarge: its pixels are
means of blocks. The denoiser is that of the package copyfold-weights, or a run, given before the photograph, of a
convolutional model that was trained to remove noise of many levels (train --config denoiser). What was
measured stays as it is; the rest is sampled, and differs with the seed. The mean of several --samples is closer to
the truth than one of them, and smoother.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from copyfold import catalogue
from copyfold.cli import _classes, _device, _parsing, _screen
from copyfold.corruptions import Gaussian
from copyfold.data.photographs import Photograph, differences
from copyfold.errors import UsageError
from copyfold.files import real
from copyfold.objectives.base import Objective
from copyfold.problems.base import Problem
from copyfold.runs import Run
from copyfold.samplers.ascent import Ascent
from copyfold.types import Statistics

KNOWN = 0.5  # of a mask's pixel, at least where it is known: a mask as JPEG is not quite black


def command(arguments: Sequence[str]) -> int:
    """Restore one image file into another."""
    from copyfold.cli import _denoiser
    from copyfold.inverse import solve_file

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, samples=1, seed=0)
    device = _device.chosen(options.device)
    if options.problem is None:
        raise UsageError(f"restore needs --problem: one of {', '.join(_classes.names(Problem))}")
    denoiser, images = _denoiser.given(options.image, "restore")
    if len(images) != 1 or images[0].is_dir():
        raise UsageError(
            f"{' '.join(map(str, images))} is invalid: expected one image file, after a run or without"
        )
    (photograph,) = images
    out = Path(options.out or Path("restored") / photograph.name)
    if real(out) == real(photograph):
        raise UsageError(f"--out {out} is the photograph, which would be overwritten: give another file")
    if out.suffix.lower() != photograph.suffix.lower():
        raise UsageError(
            f"--out {out} is invalid: the result has the format of {photograph.name}: expected a name that ends "
            f"in {photograph.suffix}"
        )
    problem, model = _masked(options.problem, options.mask), denoiser.model.to(device)
    _denoiser.warn(denoiser, options.statistics)
    levels = "" if denoiser.run is None else _levels(denoiser.run, options.ascent)
    if doubt := levels or options.ascent.doubt(model):
        _screen.log.warning("%s", doubt)
    with _screen.progress() as progress:
        for sentence in (_taken(photograph, options.problem), *differences([photograph])):
            _screen.log.info("%s", sentence)
        solve_file(
            model,
            problem,
            photograph,
            out,
            options.samples,
            range=denoiser.range,
            ascent=options.ascent,
            statistics=options.statistics,
            seed=options.seed,
            progress=progress,
        )
    print(out)
    return 0


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("restore", __doc__)
    parser.usage = (
        "copyfold restore [RUN] PHOTO --problem=CLASS [--problem.OPTION VALUE ...] [--mask FILE] [options]"
    )
    parser.add_argument(
        "image", nargs="+", help="An image file; a run's folder, or hf://owner/name, may stand before it."
    )
    parser.add_choice("--problem", Problem, "How the photograph was measured")
    parser.add_argument(
        "--mask",
        type=str | None,
        help="For Inpaint, an image of the photograph's size: black is missing, white known.",
    )
    parser.add_choice("--ascent", Ascent, "The sampler, and its steps", "Ascent")
    parser.add_argument(
        "--samples", type=int, default=1, help="How many samples to draw, of which the mean is written."
    )
    parser.add_argument("--seed", type=int, default=0, help="The seed of the noise.")
    parser.add_argument("--out", type=str | None, help="The file for the result; restored/PHOTO if omitted.")
    parser.add_argument(
        "--statistics",
        type=Statistics,
        default="running",
        help="The statistics that batch norm uses: running (as in denoise) or batch.",
    )
    _device.flag(parser)
    return parser


def _levels(run: Run, ascent: Ascent) -> str:
    """A warning where the run was not trained on the noise that the ascent goes through; "" where it was."""
    try:
        corruption = getattr(catalogue.build(Objective, run.recipe.get("objective")), "corruption", None)
    except UsageError:  # it says nothing that is known here
        return ""
    if not isinstance(corruption, Gaussian):
        return (
            "this run was not trained to remove white noise, so its images are not to be trusted: train one with "
            "--config denoiser"
        )
    low, high = corruption.std if isinstance(corruption.std, tuple) else (corruption.std, corruption.std)
    without_constants = getattr(run.model, "bias", True) is False  # what it removes grows with the image
    if without_constants or (low <= ascent.to_std and ascent.from_std <= high):
        return ""
    return (
        f"this run was trained on noise of std {low:g} to {high:g}, and is applied to noise of std "
        f"{ascent.to_std:g} to {ascent.from_std:g}: give --ascent.from_std {high:g} --ascent.to_std {low:g}"
    )


def _taken(photograph: Path, problem: Problem) -> str:
    """What is presupposed of the photograph: one that is not so becomes worse."""
    name = type(problem).__name__
    given = ", ".join(f"{key}={value}" for key, value in catalogue.arguments(problem).items() if key != "mask")
    return f"{photograph.name} is taken as what {name}({given}) leaves of an image; see --problem.help {name}"


def _masked(problem: Problem, mask: str | None) -> Problem:
    """The problem with the mask that it needs, read from an image file."""
    takes = [p.name for p in catalogue.parameters(type(problem)) if p.name == "mask"]
    name = type(problem).__name__
    if not takes:
        if mask is not None:
            raise UsageError(f"--mask {mask} is not for {name}: give --problem Inpaint")
        return problem
    if mask is None:
        raise UsageError(f"{name} needs --mask: an image of the photograph's size, black where pixels are missing")
    known = torch.from_numpy(Photograph.read(Path(mask), mask).values.max(2)) >= KNOWN
    missing = 1 - known.float().mean().item()
    if missing in (0, 1):
        raise UsageError(
            f"--mask {mask} has {'no' if missing else 'only'} known pixels: expected black where some miss, "
            "and white elsewhere"
        )
    _screen.log.info("%.1f %% of the pixels are missing", 100 * missing)
    given: dict[str, Any] = {"mask": known}
    return catalogue.changed(problem, **given)
