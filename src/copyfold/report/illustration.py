"""Pictures of what a run learned, made by probes and samplers: clean, corrupted, restored; the loss."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from copyfold import pictures
from copyfold.corruptions import Corruption, Gaussian, Mix
from copyfold.data import Photos, Stream
from copyfold.data.sampling import FITTED, MEASURED, SHOWN, stratified
from copyfold.probes.denoising import Denoising
from copyfold.report.base import error_said
from copyfold.runs import Run

LOSS = "findings/loss.png"
VALUES = 2**19
"""Pixel values that a picture's numbers are over at most: both then take some ten seconds of a slow core."""


def illustrate(run: Run, photos: Photos | Stream) -> list[Path]:
    """Write the pictures that every training ends with into findings/, and return their paths.

    loss.png, and a denoising picture for Gaussian noise of std 0.2 and for Mix(0.5, 0.7, 0.2) each, with the
    numbers over up to 128 held-out images as one batch (32 grey ones of 128 pixels, 42 in colour of 64), and
    baselines fitted on up to 256 training images, both spread evenly over the photos. With fewer than 2 held-out
    images, the loss only. Computed where `run.model` is.
    """
    made = [run.folder / LOSS]
    for name, corruption in (("gaussian", Gaussian(0.2)), ("mix", Mix())) if len(photos.held_out) > 1 else ():
        made.append(run.folder / "findings" / f"denoising-{name}.png")
        pictures.save_picture(denoising(run, photos, corruption), made[-1])
    pictures.save_picture(loss_curve(run), made[0])
    return made


def drawn(run: Run) -> bool:
    """Whether the pictures of a run are those of its last checkpoint; the curve of the loss is drawn last.

    A run that was solved has no checkpoint, and its log is written last.
    """
    curve = run.folder / LOSS
    learned = run.checkpoint if run.checkpoint.is_file() else run.folder / "log.csv"
    return curve.is_file() and curve.stat().st_mtime_ns >= learned.stat().st_mtime_ns


def loss_curve(run: Run, title: str = "Reconstruction") -> Any:
    """Per-pixel squared error against the step, on training images and on held-out ones."""
    series = {"training": run.series("mse"), "held out": run.series("held_out_mse")}
    shown = {name: points for name, points in series.items() if points[0]}
    logy = any(value > 0 for _, values in shown.values() for value in values)  # not of black images copied exactly
    return pictures.curves(shown, "step", "squared error per pixel", logy=logy, title=title)


def denoising(run: Run, photos: Photos | Stream, corruption: Corruption) -> Any:
    """Clean, corrupted, restored with either statistics, and the baselines, with each one's mean error."""
    count = max(SHOWN, min(MEASURED, VALUES // math.prod(photos.shape)))
    x = photos.sample("held_out", count).images.to(next(run.model.parameters()))
    probe = Denoising(corruption, photos.sample("train", FITTED).images)
    reading = probe(run.model, x, torch.Generator().manual_seed(0))
    images, numbers = dict(reading.images), dict(reading.numbers)
    if run.model.has_statistics:
        together = replace(probe, reference=None, statistics="batch")
        other = together(run.model, x, torch.Generator().manual_seed(0))
        for name in ("restored", "reconstruction"):
            images[f"{name}, batch statistics"] = other.images[name]
            numbers[f"{name}, batch statistics"] = other.numbers[name]
    order = list(reading.images)
    names = sorted(images, key=lambda name: order.index(name.split(",")[0]))
    shown = stratified(len(x), SHOWN).tolist()
    return pictures.comparison(
        {name: images[name][shown] for name in names},
        {name: error_said(errors.mean().item()) for name, errors in numbers.items()},
        f"{corruption}: squared error per pixel, mean of {len(x)} held-out images",
    )
