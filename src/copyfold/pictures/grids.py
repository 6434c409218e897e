"""Grids of images, and pictures as PNG files."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from copyfold.errors import UsageError
from copyfold.files import written
from copyfold.types import Float, Images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture: TypeAlias = np.ndarray
"""A picture to show: height x width x 3, uint8, red green blue."""

Contrast: TypeAlias = Literal["raw", "minmax"]
"""How values become brightness: clipped to [0, 1], or each image stretched to its own range."""


def grid(
    images: Images,
    columns: int | None = None,
    scale: int | None = None,
    gap: int = 2,
    contrast: Contrast = "raw",
) -> Picture:
    """Lay images out in rows, on white: uint8, height x width x 3.

    "raw" clips to [0, 1]; "minmax" stretches each image to its own range (a constant one turns black). What
    is not a number, as a missing pixel, is grey. Images of other than 1 or 3 channels are shown as one grey plane
    a channel, from left to right. Each pixel becomes scale x scale pixels: by default as many as make an image 96
    pixels long, so that a person can see it. `gap` white pixels lie between images. By default there are
    about as many columns as rows, or more where that leaves fewer holes. Raises UsageError for anything but a
    batch b, c, h, w.
    """
    cells = to_bytes(images, contrast)
    return tiled(enlarged(cells, visible_scale(cells) if scale is None else scale), columns, gap)


def heated(images: Images, maps: Float[Tensor, "b h w"], low: float, high: float) -> Images:
    """Images in grey, under the colours of maps: what is at `low` or less stays grey, `high` and more is red.

    In between the grey goes over into yellow and then into red. b x 3 x h x w.
    """
    grey = images.nan_to_num(0.5).clamp(0, 1).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    heat = ((maps.to(grey) - low) / max(high - low, 1e-12)).clamp(0, 1)[:, None]
    hot = torch.cat([torch.ones_like(heat), (2 - 2 * heat).clamp(0, 1), torch.zeros_like(heat)], dim=1)
    cover = 0.7 * (2 * heat).clamp(max=1)
    return (1 - cover) * grey + cover * hot


def png(picture: "Picture | Figure") -> bytes:
    """Encode a grid or a figure as a PNG file; figures at 150 pixels per inch."""
    file = io.BytesIO()
    if isinstance(picture, np.ndarray):
        from PIL import Image

        Image.fromarray(picture).save(file, format="png")
    else:
        picture.savefig(file, format="png", dpi=150)
    return file.getvalue()


def save_picture(picture: "Picture | Figure", path: str | Path, most: int | None = None) -> None:
    """Write a grid or figure to a .png, whole or not at all; makes parent folders.

    Of at most `most` bytes where that is given: with 256 colours, then 64, then smaller and smaller.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UsageError(f"cannot save {path}: pictures are PNG files, give it the suffix .png")
    data = png(picture)
    if most is not None and len(data) > most:
        data = _compressed(data, most)
    with written(path) as temporary:
        temporary.write_bytes(data)


def to_bytes(images: Images, contrast: Contrast) -> np.ndarray:
    """Turn images b, c, h, w into bytes b, h, w, 3, or b, h, c w, 3 where c is not 1 or 3: a plane a channel."""
    if images.dim() != 4 or 0 in images.shape:
        size = " x ".join(map(str, images.shape))
        raise UsageError(f"pictures are made of images b, c, h, w, not {size}")
    if not images.is_floating_point():
        raise UsageError(f"pictures are made of images in [0, 1], not {images.dtype}: divide them by 255")
    if contrast not in ("raw", "minmax"):
        raise UsageError(f"contrast={contrast!r} is invalid: expected raw or minmax")
    given = images.detach().to("cpu", torch.float64)
    if given.shape[1] not in (1, 3):
        given = given.permute(0, 2, 1, 3).flatten(2)[:, None]
    x = torch.nan_to_num(given, nan=0.0, posinf=1.0, neginf=0.0)
    if contrast == "minmax":
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        x = (x - low) / (high - low).clamp_min(torch.finfo(x.dtype).tiny)
    x = torch.where(given.isnan(), 0.5, x)
    return (x.clamp(0, 1) * 255).round().byte().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def visible_scale(cells: np.ndarray) -> int:
    """The whole number by which an image becomes at least 96 pixels long."""
    return math.ceil(96 / max(cells.shape[1:3]))


def enlarged(cells: np.ndarray, scale: int) -> np.ndarray:
    """Each pixel of images b, h, w, 3 as scale x scale pixels."""
    if scale < 1:
        raise UsageError(f"scale={scale} is invalid: expected a whole number of at least 1")
    return cells.repeat(scale, axis=1).repeat(scale, axis=2)


def tiled(cells: np.ndarray, columns: int | None, gap: int) -> Picture:
    """Images b, h, w, 3 in rows, on white."""
    b, h, w, _ = cells.shape
    columns = _nice_columns(b) if columns is None else min(columns, b)
    if columns < 1 or gap < 0:
        raise UsageError(f"a grid needs at least one column and no negative gap, not {columns} and {gap}")
    rows = math.ceil(b / columns)
    picture = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        top, left = i // columns * (h + gap), i % columns * (w + gap)
        picture[top : top + h, left : left + w] = cell
    return picture


def _nice_columns(count: int) -> int:
    """The fewest columns that leave the fewest holes, from sqrt(count) to twice that."""
    narrow = math.ceil(math.sqrt(count))
    return min(range(narrow, 2 * narrow + 1), key=lambda columns: (-count % columns, columns))


def _compressed(data: bytes, most: int) -> bytes:
    """The same PNG of fewer colours, and of fewer pixels where that is not enough."""
    from PIL import Image

    whole = Image.open(io.BytesIO(data)).convert("RGB")
    for colours, share in ((256, 1.0), *((64, 0.9**n) for n in range(20))):
        smaller = whole.resize((round(whole.width * share), round(whole.height * share)))
        file = io.BytesIO()
        smaller.quantize(colours, dither=Image.Dither.NONE).save(file, format="png", optimize=True)
        data = file.getvalue()
        if len(data) <= most:
            break
    return data
