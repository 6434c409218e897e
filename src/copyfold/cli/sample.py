"""Make images with a trained model: from noise, from codes it draws, or by walking from photographs.

The ending of --out says what is written: .gif or .mp4 the film of how they came, .png a picture. That is a grid
of the images made, where they come of noise or of codes that are drawn (Renoising, Prior, FittedGaussian,
FittedMixture). Of a film that goes from photographs to other images (Walk, DirectedWalk, Interpolation,
PixelInterpolation, Traversal) it is a strip: a row an image, and eight of its frames from left to right. What is
fitted to reference images (FittedGaussian, FittedMixture, Traversal) is fitted to those the run was trained on, or
to those of --start. It is said where all images are but one again and again, or blank.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from jsonargparse import Namespace

from copyfold.cli import _device, _parsing, _photos, _screen
from copyfold.measures import spread
from copyfold.models.base import Autoencoder
from copyfold.runs import Run
from copyfold.samplers.base import Sampler
from copyfold.types import Film, Images

BLANK = 0.01  # the spread of the pixels of an image, between 0 and 1, in which nothing is to be seen
ALIKE = 1 / 3, 1 / 10  # of the spread of the images at the start, and of that of an image's pixels


def command(arguments: Sequence[str]) -> int:
    """Start from noise or photographs, and write what comes of it."""
    from copyfold import pictures, runs

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, count=1, seed=0)
    device, run = _device.chosen(options.device), runs.open(options.run)
    model, rng = run.model.to(device), torch.Generator().manual_seed(options.seed)
    if options.statistics:
        model.statistics = options.statistics
    out = options.out or run.folder / "films" / f"{type(options.sampler).__name__.lower()}.png"
    sampler, x = _start(options, run, rng)
    if doubt := sampler.doubt(model):
        _screen.log.warning("%s", doubt)
    made = x
    with _screen.progress() as progress:
        total = getattr(sampler, "steps", 1)

        def shown() -> Film:
            nonlocal made
            for done, made in enumerate(sampler(model, x.to(device), rng), 1):
                progress("sampling", done, total, {})
                yield made

        if Path(out).suffix.lower() == ".png" and not sampler.generates():
            pictures.save_picture(pictures.strip(shown()), out)
        else:
            pictures.film(shown(), out, fps=options.fps)
    if alike := _alike(made, x):
        _screen.log.warning("%s; %s", alike, _advice(model))
    print(out)
    return 0


def _parser() -> _parsing.Parser:
    from copyfold.types import Statistics

    parser = _parsing.parser("sample", __doc__)
    parser.add_argument("run", help="The folder of a run.")
    parser.add_choice("--sampler", Sampler, "How images are made", "Renoising")
    parser.add_argument("--start", type=str | None, help="Photographs to start from: what train takes as DATA.")
    _photos.flags(parser, "the photographs of --start")
    parser.add_argument("--count", type=int, default=16, help="How many images.")
    parser.add_argument("--seed", type=int, default=0, help="Of the noise, and of which photographs are taken.")
    parser.add_argument("--fps", type=int, default=12, help="Frames per second of a film.")
    parser.add_argument("--statistics", type=Statistics | None, help="As the model was trained, unless given.")
    _device.flag(parser)
    parser.add_argument("--out", type=str | None, help="A .png, .gif or .mp4 file; RUN/films/SAMPLER.png.")
    return parser


def _start(options: Namespace, run: Run, rng: torch.Generator) -> tuple[Sampler, Images]:
    """The sampler, with its reference images where it is fitted to some, and what it starts from.

    That is noise where the sampler makes images from it, else the photographs asked for, or the run's held-out
    ones.
    """
    photos = cache(lambda: _photos.chosen(run, options.start, options))
    sampler = _photos.equipped(options.sampler, reference=lambda: _photos.reference(photos()).images)
    fitted = sampler is not options.sampler
    noise = sampler.noise(options.count, run.model.shape, rng) if fitted or options.start is None else None
    if noise is None:
        which = "held_out" if options.start is None else "train"
        return sampler, photos().sample(which, options.count, options.seed).images
    return sampler, noise


def _alike(made: Images, start: Images) -> str:
    """Whether the images made are blank or all but the same, as they are shown; "" where they are not.

    They are the same where they differ by less than a third of what the images at the start differ by, which even
    a perfect copy of 30 steps of Renoising does, or by a tenth of what the pixels of each differ by. Photographs,
    and good images made of noise, differ about as much as noise of std 0.2 does, and by half as much as pixels do.
    """
    between, within = (value.item() for value in spread(made.detach().float().clamp(0, 1)))
    before = spread(start.float().clamp(0, 1))[0].item()
    if within < BLANK:
        return f"the images are blank: the pixels of each differ by {within:.3f} (root mean square)"
    alike = between < ALIKE[0] * before or between < ALIKE[1] * within
    if len(made) < 2 or not alike:
        return ""
    beside = f"what they started from by {before:.3f}" if before else f"the pixels of each by {within:.3f}"
    return (
        f"the {len(made)} images are all but the same: they differ by {between:.3f} (root mean square), {beside}"
    )


def _advice(model: Autoencoder) -> str:
    """What to do about images that are all but the same."""
    if len(model.code_shapes()) > 1:
        return (
            "the skips of this network hand its input on, noise included, and it has learned little of what "
            "images look like: train one with --model.skips none or self"
        )
    return "train it longer, or draw codes as they lie: --sampler FittedGaussian"
