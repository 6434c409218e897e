"""Run one probe on a trained model; numbers go to stdout, numbers and pictures into the run's findings/.

Probes that compare with training images, fit baselines on them, or search for nearest neighbours, use the run's
own training images; of a run that was trained elsewhere, those images of DATA that are not measured. For a run on
crops, the images of DATA are cut into a grid of crops of the same size. With --probe Inversion, --pairs writes the
images found and those searched for to a file, from which a network can learn to improve them.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from copyfold.cli import _device, _parsing, _photos, _screen
from copyfold.data import Photos, Sample, Stream
from copyfold.data.sampling import REFERENCE, SHOWN, stratified
from copyfold.errors import UsageError
from copyfold.probes.base import Probe, Reading
from copyfold.probes.inversion import Inversion
from copyfold.probes.pairs import check_pairs, invert_in_batches, write_pairs
from copyfold.runs import Run

SPREAD = (0.1, 0.5, 0.9)
NAMED = 5  # images named in a line


def command(arguments: Sequence[str]) -> int:
    """Run the probe, print its numbers, save its pictures."""
    from copyfold import pictures, runs
    from copyfold.files import check_folder, write_text

    options = _parsing.parse(_parser(), arguments)
    _parsing.at_least(options, count=1, seed=0)
    device, run = _device.chosen(options.device), runs.open(options.run)
    folder = Path(options.out or run.results / "findings")
    check_folder(folder)
    again = partial(_parsing.again, "probe", arguments)
    photos = _photos.chosen(run, options.data, options, again)
    own = _photos.is_own(run, options.data, options)
    asked = photos.sample("held_out" if own else "train", options.count, options.seed)
    x, labels = asked.images.to(device), asked.labels
    reference = cache(lambda: _reference(run, photos, own, asked, options.seed))
    probe = _photos.equipped(options.probe, reference=lambda: reference().images, labels=lambda: labels)
    _check_pairs(options.pairs, probe)
    model, rng = run.model.to(device), torch.Generator().manual_seed(options.seed)
    in_batches = options.pairs and isinstance(probe, Inversion)  # of which there may be thousands
    found = invert_in_batches(probe, model, x, rng) if in_batches else probe(model, x, rng)
    reading = Reading(*({k: v.cpu() for k, v in part.items()} for part in (found.numbers, found.images)))
    names = _named(reading, reference().names) if reference.cache_info().currsize else {}
    print("\n".join(_table(reading, names, len(x))))
    name = type(probe).__name__.lower()
    write_text(
        folder / f"{name}.json", json.dumps({k: v.tolist() for k, v in reading.numbers.items()} | names) + "\n"
    )
    print(folder / f"{name}.json")
    if options.pairs:
        print(write_pairs(options.pairs, reading))
    for figure in _figures(reading, pictures, labels):
        pictures.save_picture(figure, folder / f"{name}.png")
        print(folder / f"{name}.png")
    return 0


def _reference(run: Run, photos: Photos | Stream, own: bool, asked: Sample, seed: int) -> Sample:
    """The run's training images; the other images of DATA where those may not be opened unasked."""
    if own or _photos.may_open(run):
        return _photos.reference(photos if own else _photos.own(run), seed)
    some = photos.sample("train", len(asked) + REFERENCE)
    rows = np.flatnonzero(~np.isin(some.rows.numpy(), asked.rows.numpy()))
    if not len(rows):
        raise UsageError(
            f"all {len(asked)} images are measured, and none is left to compare them with: give more, or a "
            "smaller --count"
        )
    _screen.log.info("this run was trained elsewhere, so it is compared with %d other images of DATA", len(rows))
    return some.at(rows)


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("probe", __doc__)
    parser.add_argument("run", help="The folder of a run, or hf://owner/name.")
    parser.add_argument(
        "data", nargs="?", help="The images, given as for train; the run's held-out images if omitted."
    )
    parser.add_choice("--probe", Probe, "The probe", "Denoising")
    parser.add_argument("--count", type=int, default=16, help="How many images.")
    parser.add_argument("--seed", type=int, default=0, help="The seed of all noise, and of the choice of images.")
    _device.flag(parser)
    parser.add_argument("--out", type=str | None, help="The folder for the results; RUN/findings if omitted.")
    parser.add_argument(
        "--pairs", type=str | None, help="Of an Inversion: an .npz file for the pairs of images, all of them."
    )
    _photos.flags(parser)
    return parser


def _check_pairs(path: str | None, probe: Probe) -> None:
    """UsageError where pairs are asked for that this probe does not find, or a file that is no .npz."""
    if path is not None and not isinstance(probe, Inversion):
        raise UsageError(f"--pairs is invalid with --probe {type(probe).__name__}: expected --probe Inversion")
    if path is not None:
        check_pairs(path)


def _named(reading: Reading, names: Sequence[str]) -> dict[str, Any]:
    """The names of the reference images that a reading refers to by row number."""
    rows = {name: value for name, value in reading.numbers.items() if name not in reading.quantities}
    return {f"{name}, by name": np.array(names)[value.numpy()].tolist() for name, value in rows.items()}


def _table(reading: Reading, names: Mapping[str, list[Any]], count: int) -> list[str]:
    """One line per number: its mean and quantiles over the images, or its one value.

    Row numbers are no quantities: for them the names of the first few images.
    """
    width = max(map(len, (*reading.numbers, *names)))
    lines = [f"{'':<{width}}  {'mean':>10} {'10 %':>10} {'50 %':>10} {'90 %':>10}"]
    for name, value in reading.quantities.items():
        v = value.double()
        cells = [v.mean().item()]
        if v.dim():
            cells += v.flatten().quantile(torch.tensor(SPREAD, dtype=v.dtype)).tolist()
        lines.append(f"{name:<{width}}  " + " ".join(f"{cell:>10.5g}" for cell in cells))
    for name, found in names.items():
        said = [str(one) for one in found[:NAMED]] + ["..."] * (len(found) > NAMED)
        lines.append(f"{name:<{width}}  {', '.join(said)}")
    return [*lines, f"over {count} images"]


def _figures(reading: Reading, pictures: Any, labels: Any) -> list[Any]:
    """The images of the reading, or the map of the codes."""
    if "map" in reading.numbers:
        points = reading.numbers["map"]
        return [pictures.scatter(points, labels)]
    if not reading.images:
        return []
    captions = {name: f"{_mean(v):.4g}" for name, v in reading.quantities.items() if name in reading.images}
    shown = stratified(len(next(iter(reading.images.values()))), SHOWN).tolist()
    return [pictures.comparison({name: images[shown] for name, images in reading.images.items()}, captions)]


def _mean(value: Tensor) -> float:
    return value.double().mean().item()
