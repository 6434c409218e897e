"""What a training has reached: its log as a curve, and held-out images beside their reconstructions."""

from functools import lru_cache
from pathlib import Path

import torch

from copyfold import pictures, runs
from copyfold.cli import _photos
from copyfold.errors import CopyfoldError
from copyfold.models.base import Autoencoder
from copyfold.types import Images

SHOWN = 8


def stamp(run: Path, name: str) -> int:
    """When a file of a run was written last; 0 where there is none."""
    try:
        return (run / name).stat().st_mtime_ns
    except OSError:
        return 0


def model(run: Path) -> Autoencoder:
    """The model as last saved."""
    return _model(run, stamp(run, "model/model.safetensors"))


@lru_cache(maxsize=3)
def _model(run: Path, stamp: int) -> Autoencoder:
    del stamp
    return runs.open(run).model


@lru_cache(maxsize=3)
def held_out(run: Path, count: int) -> tuple[Images, tuple[str, ...]]:
    """Some held-out images of a run, and their names."""
    sample = _photos.own(runs.open(run), named=False).sample("held_out", count)
    return torch.nan_to_num(sample.images, nan=0.5), tuple(sample.names)


@lru_cache(maxsize=3)
def training(run: Path, count: int) -> Images:
    """Some training images of a run."""
    return torch.nan_to_num(_photos.own(runs.open(run), named=False).sample("train", count).images, nan=0.5)


def curve(run: Path) -> bytes | None:
    """The loss against the step, as a PNG; None where the log has no row yet."""
    return _curve(run, stamp(run, "log.csv"))


@lru_cache(maxsize=8)
def _curve(run: Path, stamp: int) -> bytes | None:
    if not stamp:
        return None
    there = runs.Run(run)
    series = {"training": there.series("mse"), "held out": there.series("held_out_mse")}
    shown = {name: points for name, points in series.items() if points[0]}
    if not shown:
        return None
    logy = any(value > 0 for _, values in shown.values() for value in values)
    return pictures.png(
        pictures.curves(shown, "step", "squared error per pixel", logy=logy, title="Reconstruction")
    )


def reconstructions(run: Path) -> bytes | None:
    """Held-out images above their reconstructions by the model as last saved; None where there is none yet."""
    return _reconstructions(run, stamp(run, "model/model.safetensors"))


@lru_cache(maxsize=8)
def _reconstructions(run: Path, stamp: int) -> bytes | None:
    if not stamp:
        return None
    try:
        x, _ = held_out(run, SHOWN)
        found = model(run)
        with torch.no_grad(), found.using("running"):
            y = found(x)
    except CopyfoldError:  # of a run that was trained elsewhere the images may not be opened
        return None
    return pictures.png(pictures.comparison({"held out": x, "reconstruction": y}))


def reached(run: Path) -> str:
    """Where a training is, in words, from the last row of its log."""
    history = runs.Run(run).history
    if not history:
        return "preparing: nothing in the log yet"
    row, recipe = history[-1], runs.open(run).recipe
    of = f" of {recipe['steps']:,}" if recipe.get("steps") else ""
    parts = [f"epoch {row.get('epoch', 0):,.0f}", f"step {row['step']:,.0f}{of}"]
    minutes = f" of {recipe['minutes']:g}" if recipe.get("minutes") else ""
    parts.append(f"{row.get('seconds', 0) / 60:.1f}{minutes} minutes")
    parts += [f"{name.replace('_', ' ')} {row[name]:.4g}" for name in ("loss", "held_out_loss") if name in row]
    return ", ".join(parts)
