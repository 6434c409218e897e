"""Make images with a trained model: from noise, from codes it draws, or by walking from photographs.

The ending of --out says what is written: .png the last images as a grid, .gif or .mp4 the film of how they came.
What is fitted to reference images (FittedGaussian, FittedMixture, Traversal) is fitted to those the run was
trained on, or to those of --start.
"""

from collections.abc import Sequence
from functools import cache

import torch
from jsonargparse import Namespace

from copyfold.cli import _device, _parsing, _photos, _screen
from copyfold.runs import Run
from copyfold.samplers.base import Sampler
from copyfold.types import Images


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
    with _screen.progress() as progress:
        total = getattr(sampler, "steps", 1)

        def shown():
            for done, frame in enumerate(sampler(model, x.to(device), rng), 1):
                progress("sampling", done, total)
                yield frame

        pictures.film(shown(), out, fps=options.fps)
    print(out)
    return 0


def _parser():
    from copyfold.types import Statistics

    parser = _parsing.parser("sample", __doc__)
    parser.add_argument("run", help="The folder of a run.")
    parser.add_choice("--sampler", Sampler, "How images are made", "Renoising")
    parser.add_argument("--start", type=str | None, help="Photographs to start from: what train takes as DATA.")
    _photos.flags(parser)
    parser.add_argument("--count", type=int, default=16, help="How many images.")
    parser.add_argument("--seed", type=int, default=0, help="Of the noise.")
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
    sampler = _photos.equipped(options.sampler, reference=lambda: _photos.reference(photos()))
    fitted = sampler is not options.sampler
    noise = sampler.noise(options.count, run.model.shape, rng) if fitted or options.start is None else None
    if noise is None:
        return sampler, photos().images("held_out" if options.start is None else "train", options.count)
    return sampler, noise
