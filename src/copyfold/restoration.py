"""Restore photographs of any size with a model; the result has their size, mode and file format."""

from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from copyfold.data.photographs import Photograph, parts, save
from copyfold.errors import DataError, UsageError
from copyfold.files import written
from copyfold.models.base import Autoencoder
from copyfold.models.blocks import receptive_field
from copyfold.types import Images, Statistics

__all__ = ["restore"]

WHOLE = 1_000_000  # pixels above which a photograph is cut into tiles
TILE, MARGIN = 768, 256  # the part of a tile that is kept, and what is seen around it at the most


@torch.no_grad()
def restore(model: Autoencoder, x: Images, statistics: Statistics = "running") -> Images:
    """D(E(x)) for images of any size and number of channels, clipped to [0, 1].

    A model that takes other sizes runs at the images' own, mirrored at the edges up to a multiple it takes, in
    overlapping tiles above one megapixel; any other runs at its own size. A grey model is run on every channel
    by itself; a colour model sees grey as colour. The tiles are the whole where no pixel of the output sees
    farther than 256 pixels and nothing is taken over the whole image (batch statistics, group or instance norm,
    a bilinear up). The images are where the model is, and stay there.
    """
    count, channels, *size = x.shape
    planes = _match(x, model.shape[0])
    with model.using(statistics):
        if model.multiple is None:
            small = F.interpolate(planes, model.shape[1:], mode="bilinear", antialias=True, align_corners=False)
            out = F.interpolate(model(small), size, mode="bicubic", align_corners=False)
        elif size[0] * size[1] > WHOLE:
            out = _tiled(model, planes, model.multiple)
        else:
            out = _padded(model, planes, model.multiple)
    out = out.reshape(count, -1, *size)
    return (out if out.shape[1] == channels else out.mean(1, keepdim=True)).clamp(0, 1)


def restore_file(
    model: Autoencoder,
    source: Path,
    target: Path,
    statistics: Statistics = "running",
    range: tuple[float, float] | None = None,
) -> None:
    """Restore one image file into another of the same size, depth, channels and format; all pages of a TIFF.

    It comes upright. EXIF stays in JPEG, PNG and WebP, the location in it does not. `photographs.differences` says
    what else is not kept, and `Photograph.read` what a `range` is. Computed where the model is. Raises DataError
    where the file cannot be read or restored, CopyfoldError where the other cannot be written.
    """
    device = next(model.parameters(), torch.empty(0)).device

    def restored(name: str) -> tuple[Photograph, np.ndarray]:
        photo = Photograph.read(images[name], name, range, model.shape[0])
        x = torch.from_numpy(photo.values).permute(2, 0, 1)[None].to(device)
        try:
            out = restore(model, x, statistics)
        except UsageError as error:
            raise DataError(f"{name} cannot be restored: {error}") from None
        return photo, photo.assemble(out[0].permute(1, 2, 0).cpu().numpy())

    images = parts(source)
    names = iter(images)
    first = restored(next(names))  # before a file is made for it
    with written(target) as path:
        save(path, source, chain([first], map(restored, names)), len(images))


def _match(x: Images, channels: int) -> Tensor:
    """Grey as colour for a colour model; each channel an image of its own for a grey one."""
    if x.shape[1] == channels:
        return x
    if channels == 1:
        return x.reshape(-1, 1, *x.shape[2:])
    if (x.shape[1], channels) == (1, 3):
        return x.expand(-1, 3, -1, -1)
    raise UsageError(f"images of {x.shape[1]} channels are invalid for this model: expected {channels} channels")


def _padded(model: Autoencoder, x: Tensor, multiple: int) -> Tensor:
    """The model at the images' own size, mirrored at right and bottom up to a multiple that it takes.

    Images of the model's own size, where it pads those, are padded as in training.
    """
    height, width = x.shape[2:]
    if (height, width) == model.shape[1:] != model.inner_shape[1:]:
        return model(x)
    # an instance norm has no variance where the deepest map is a single position
    least = 2 * multiple if any(isinstance(m, nn.InstanceNorm2d) for m in model.modules()) else multiple
    right, bottom = (max(least, -(-side // multiple) * multiple) - side for side in (width, height))
    mode = "reflect" if right < width and bottom < height else "replicate"
    return model(F.pad(x, (0, right, 0, bottom), mode=mode))[..., :height, :width]


def _tiled(model: Autoencoder, x: Tensor, multiple: int) -> Tensor:
    """The same in tiles, each seen with what lies around it, so that memory does not grow with the photograph."""
    out = torch.empty_like(x)
    height, width = x.shape[2:]
    reach = min(MARGIN, (receptive_field(model.modules()) or 2 * MARGIN) // 2)
    step, margin = (-(-length // multiple) * multiple for length in (TILE, reach))  # halvings fall as in the whole
    for top in range(0, height, step):
        for left in range(0, width, step):
            up, before = max(0, top - margin), max(0, left - margin)
            seen = x[..., up : top + step + margin, before : left + step + margin]
            done = _padded(model, seen, multiple)[..., top - up :, left - before :]
            out[..., top : top + step, left : left + step] = done[..., :step, :step]
    return out
