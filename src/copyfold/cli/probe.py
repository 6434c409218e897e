"""Ask a trained model one question; the numbers go to stdout, and with its pictures into the run's findings.

Probes that compare with training images, fit baselines on them, or look for the nearest, take the run's own.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from copyfold.cli import _device, _parsing, _photos
from copyfold.probes.base import Probe, Reading

SHOWN = 8
SPREAD = (0.1, 0.5, 0.9)


def command(arguments: Sequence[str]) -> int:
    """Ask, print, draw."""
    from copyfold import pictures, runs
    from copyfold.files import write_text

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, count=1, seed=0)
    device, run = _device.chosen(options.device), runs.open(options.run)
    photos = _photos.own(run)
    source, which = photos, "held_out"
    if options.data is not None:
        source, which = _photos.given(run, options.data, options), "train"
    x = source.images(which, options.count)
    labels = source.labels if which == "train" else source.held_out_labels
    probe = _photos.equipped(
        options.probe,
        reference=lambda: _photos.reference(photos),
        labels=lambda: None if labels is None else torch.from_numpy(labels[: len(x)]),
    )
    found = probe(run.model.to(device), x.to(device), torch.Generator().manual_seed(options.seed))
    reading = Reading(*({k: v.cpu() for k, v in part.items()} for part in (found.numbers, found.images)))
    print("\n".join(_table(reading, len(x))))
    name, folder = type(probe).__name__.lower(), Path(options.out or run.folder / "findings")
    write_text(folder / f"{name}.json", json.dumps({k: v.tolist() for k, v in reading.numbers.items()}) + "\n")
    print(folder / f"{name}.json")
    for figure in _figures(reading, pictures, labels):
        pictures.save(figure, folder / f"{name}.png")
        print(folder / f"{name}.png")
    return 0


def _parser():
    parser = _parsing.parser("probe", __doc__)
    parser.add_argument("run", help="The folder of a run.")
    parser.add_argument("data", nargs="?", help="What train takes as DATA; nothing: the run's held-out images.")
    parser.add_choice("--probe", Probe, "What to ask", "Denoising")
    parser.add_argument("--count", type=int, default=16, help="How many images.")
    parser.add_argument("--seed", type=int, default=0, help="Of every noise.")
    _device.flag(parser)
    parser.add_argument("--out", type=str | None, help="The folder for what is found; RUN/findings.")
    _photos.flags(parser)
    return parser


def _table(reading: Reading, count: int) -> list[str]:
    """A line a number: its mean over the images and how it spreads, or the one value for all."""
    width = max(map(len, reading.numbers))
    lines = [f"{'':<{width}}  {'mean':>10} {'10 %':>10} {'50 %':>10} {'90 %':>10}"]
    for name, value in reading.numbers.items():
        v = value.double()
        cells = [v.mean().item()]
        if v.dim():
            cells += v.flatten().quantile(torch.tensor(SPREAD, dtype=v.dtype)).tolist()
        lines.append(f"{name:<{width}}  " + " ".join(f"{cell:>10.5g}" for cell in cells))
    return [*lines, f"over {count} images"]


def _figures(reading: Reading, pictures: Any, labels: Any) -> list[Any]:
    """The images that were found, or the map of the codes."""
    if "map" in reading.numbers:
        points = reading.numbers["map"]
        return [pictures.scatter(points, None if labels is None else labels[: len(points)])]
    if not reading.images:
        return []
    captions = {name: f"{_mean(v):.4g}" for name, v in reading.numbers.items() if name in reading.images}
    return [pictures.comparison({name: images[:SHOWN] for name, images in reading.images.items()}, captions)]


def _mean(value: Tensor) -> float:
    return value.double().mean().item()
