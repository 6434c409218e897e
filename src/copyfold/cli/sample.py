"""Generate images with a trained model: from noise, from sampled codes, or by walking from photographs.

The extension of --out decides what is written: .gif or .mp4 is the film of all frames, .png is a picture. For
samplers that start from noise or sampled codes (Renoising, Ascent, Prior, FittedGaussian, FittedMixture) the
picture is a grid of the last images. For samplers that start from photographs (Walk, DirectedWalk, Interpolation,
PixelInterpolation, Traversal) it is a strip: one row per image, with eight of its frames from left to right.
Samplers that are fitted to images (FittedGaussian, FittedMixture, Traversal) use the run's training images, or
those of --start. A warning says if all generated images are nearly the same, or blank. Ascent says how much
noise it planned and estimated.
"""

from collections.abc import Sequence
from functools import cache, partial
from itertools import starmap
from pathlib import Path

import torch
from jsonargparse import Namespace

from copyfold.cli import _device, _parsing, _photos, _screen
from copyfold.measures import filled, spread
from copyfold.runs import Run
from copyfold.samplers.base import Sampler
from copyfold.types import Film, Images

BLANK = 0.01  # std of the pixels of an image, in [0, 1], below which it looks blank
ALIKE = 1 / 3, 1 / 10  # of the spread of the start images, and of the pixels of an image


def command(arguments: Sequence[str]) -> int:
    """Run the sampler from noise or photographs, and write its picture or film."""
    from copyfold import pictures, runs

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, count=1, seed=0)
    device, run = _device.chosen(options.device), runs.open(options.run)
    model, rng = run.model.to(device), torch.Generator().manual_seed(options.seed)
    if options.statistics:
        model.statistics = options.statistics
    out = options.out or run.results / "films" / f"{type(options.sampler).__name__.lower()}.png"
    sampler, x = _start(
        options, run, rng, partial(_parsing.again, "sample", arguments, *["--start"] * (options.start is None))
    )
    if len(x) == 1 and model.has_statistics and model.statistics == "batch":
        _screen.log.warning(
            "the batch statistics of one image are its own alone, and not those of several images as in training: "
            "give more images, or --statistics running"
        )
    if doubt := sampler.doubt(model):
        _screen.log.warning("%s", doubt)
    made, numbers = x, dict[str, torch.Tensor]()
    with _screen.progress() as progress:
        total = sampler.length() or 1

        def shown() -> Film:
            nonlocal made, numbers
            for done, (made, numbers) in enumerate(sampler.trace(model, x.to(device), rng), 1):
                progress("sampling", done, total, {name: value.median().item() for name, value in numbers.items()})
                yield made

        if Path(out).suffix.lower() == ".png" and not sampler.generates():
            pictures.save_picture(pictures.strip(shown()), out)
        else:
            pictures.film(shown(), out, fps=options.fps)
    if numbers:
        _screen.log.info("the last frame: %s", ", ".join(starmap(_said, numbers.items())))
    if alike := _alike(made, x):
        _screen.log.warning("%s; %s", alike, sampler.remedy(model))
    print(out)
    return 0


def _parser() -> _parsing.Parser:
    from copyfold.types import Statistics

    parser = _parsing.parser("sample", __doc__)
    parser.add_argument("run", help="The folder of a run, or hf://owner/name.")
    parser.add_choice("--sampler", Sampler, "The sampler", "Renoising")
    parser.add_argument(
        "--start",
        type=str | None,
        help="Photographs to start from, given as DATA is for train, or one image file.",
    )
    _photos.flags(parser, "--start")
    parser.add_argument("--count", type=int, default=16, help="How many images.")
    parser.add_argument(
        "--seed", type=int, default=0, help="The seed of the noise, and of the choice of photographs."
    )
    parser.add_argument("--fps", type=int, default=12, help="Frames per second of a film.")
    parser.add_argument(
        "--statistics",
        type=Statistics | None,
        help="The statistics that batch norm uses; as in training if omitted.",
    )
    _device.flag(parser)
    parser.add_argument(
        "--out", type=str | None, help="A .png, .gif or .mp4 file; RUN/films/SAMPLER.png if omitted."
    )
    return parser


def _start(options: Namespace, run: Run, rng: torch.Generator, again: _parsing.Again) -> tuple[Sampler, Images]:
    """The sampler, with reference images where it is fitted to some, and the images that it starts from.

    These are noise where the sampler starts from noise, otherwise the photographs of --start, or the run's held-
    out images.
    """
    photos = cache(lambda: _photos.chosen(run, options.start, options, again))
    sampler = _photos.equipped(options.sampler, reference=lambda: _photos.reference(photos()).images)
    fitted = sampler is not options.sampler
    noise = sampler.noise(options.count, run.model.shape, rng) if fitted or options.start is None else None
    if noise is None:
        which = "held_out" if _photos.is_own(run, options.start, options) else "train"
        return sampler, filled(photos().sample(which, options.count, options.seed).images)
    return sampler, noise


def _said(name: str, value: torch.Tensor) -> str:
    """A number of all images, or the median of one per image with the lowest and highest."""
    low, middle, high = (v.item() for v in (value.min(), value.median(), value.max()))
    return f"{name} {middle:.3g}" + (f" ({low:.3g} to {high:.3g})" if value.dim() else "")


def _alike(made: Images, start: Images) -> str:
    """A warning where the generated images are blank or nearly the same, as shown; "" where they are not.

    They count as the same where their spread is less than a third of that of the start images, which even a
    perfect copy reaches in 30 steps of Renoising, or less than a tenth of the spread of the pixels of each.
    Photographs, and good images generated from noise, differ about as much as noise of std 0.2, and half as much
    as their pixels.
    """
    between, within = (value.item() for value in spread(made.detach().float().clamp(0, 1)))
    before = spread(start.float().clamp(0, 1))[0].item()
    if within < BLANK:
        return f"the images are blank: the pixels of each have a standard deviation of {within:.3f}"
    alike = between < ALIKE[0] * before or between < ALIKE[1] * within
    if len(made) < 2 or not alike:
        return ""
    beside = f"the start images by {before:.3f}" if before else f"the pixels of each by {within:.3f}"
    return f"the {len(made)} images are nearly the same: they differ by {between:.3f} (root mean square), {beside}"
