"""Restore photographs of any size with a model; the result has their size, mode and file format."""

import math
from collections.abc import Callable
from itertools import chain, product
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from copyfold.corruptions import noise_like
from copyfold.data.photographs import Photograph, parts, save
from copyfold.errors import DataError, UsageError, is_number, option
from copyfold.files import written
from copyfold.measures import noise_level
from copyfold.models.base import Autoencoder
from copyfold.models.blocks import receptive_field
from copyfold.models.checks import check_images, check_model
from copyfold.types import Float, Images, Progress, Statistics

__all__ = ["restore"]

Strength: TypeAlias = float | Literal["sure"]
"""How much of a change is made: from 0 to 1, or "sure": what leaves the least error by Stein's estimate."""

WHOLE = 1_000_000  # pixels above which a photograph is cut into tiles
TILE, MARGIN = 512, 256  # the part of a tile that is kept, and what is seen around it at the most
TURNS = 8  # of a square, flipped or not
LOOKED_AT = 1024  # pixels across and down in the middle of a photograph, of which the noise is estimated
AROUND = 33  # pixels across the window in which Stein's estimate is averaged
NUDGE = 1e-3  # by which a derivative is taken

OPPONENT = torch.tensor([[2.0, 2.0, 2.0], [6**0.5, 0.0, -(6**0.5)], [2**0.5, -2 * 2**0.5, 2**0.5]]) / 12**0.5
"""Orthonormal: luminance, and two differences of colours; white noise stays white."""


def restore(
    model: Autoencoder,
    x: Images,
    statistics: Statistics = "running",
    strength: Strength = 1.0,
    progress: Progress | None = None,
    ensemble: bool = False,
) -> Images:
    """D(E(x)) for images of any size and number of channels, clipped to [0, 1].

    A model that takes other sizes runs at the images' own, mirrored at the edges up to a multiple it takes, in
    overlapping tiles above one megapixel; any other runs at its own size. The tiles are the whole where no pixel
    of the output sees farther than 256 pixels and nothing is taken over the whole image (batch statistics, group
    or instance norm, a bilinear up). A grey model sees colour as luminance and two differences of colours about
    1/2, in an orthonormal basis, each as an image of its own, and other channels by themselves; a colour model
    sees grey as colour. An `ensemble` is the mean of g^-1 D(E(g x)) over the eight turns and flips g of a square:
    eight times the work, and a little less error by a model that learned from turned images, as copyfold-weights
    (Timofte, Rothe and Van Gool, 2016). `progress` is told of tiles. The images are where the model is, and stay
    there.

    A `strength` other than 1 gives x + strength (D(E(x)) - x). With "sure" it is at each place

        strength = std^2 (1 - d) / r,   within 0 and 1

    the one of least error by Stein's unbiased risk estimate: r is the mean of (x - D(E(x)))^2 and d that of the
    derivative of a pixel of D(E(x)) by the same pixel of x, both around the place and of each channel; d is taken
    along a random direction (Ramani, Blu and Unser, 2008), and std is `noise_level`. It is right for white normal
    noise of one level in all of the image, and not for shot noise; costs a second pass; and helps a network that
    keeps too little: one trained on noisy images alone never saw the pixel itself. UsageError for images under
    3 x 3 pixels, and for what is no batch of images in [0, 1].
    """
    check_model(model)
    check_images(x, next(model.parameters(), None))
    once = _ensemble if ensemble else applied
    if strength == "sure":
        if min(x.shape[2:]) < 3:
            raise UsageError(
                f"{option('strength', 'sure')} estimates the noise, which takes 3x3 pixels, and an image has "
                f"{x.shape[2]}x{x.shape[3]}: give a number from 0 to 1"
            )
        return _by_risk(lambda y, part: once(model, y, statistics, _share(progress, part, 2)), x).clamp(0, 1)
    if not is_number(strength) or not 0 <= strength <= 1:
        raise UsageError(f"strength={strength!r} is invalid: expected a number from 0 to 1, or 'sure'")
    out = once(model, x, statistics, progress)
    return (out if strength == 1 else torch.lerp(x, out, strength)).clamp(0, 1)


@torch.no_grad()
def applied(
    model: Autoencoder, x: Images, statistics: Statistics = "running", progress: Progress | None = None
) -> Images:
    """D(E(x)) as `restore` has it, unclipped."""
    count, channels, *size = x.shape
    colours = (model.shape[0], channels) == (1, 3)
    planes = _match(_opponent(x) if colours else x, model.shape[0])
    with model.using(statistics):
        if model.multiple is None:
            small = F.interpolate(planes, model.shape[1:], mode="bilinear", antialias=True, align_corners=False)
            out = F.interpolate(model(small), size, mode="bicubic", align_corners=False)
        elif size[0] * size[1] > WHOLE:
            out = _tiled(model, planes, model.multiple, progress)
        else:
            out = _padded(model, planes, model.multiple)
    out = out.reshape(count, -1, *size)
    del planes  # of a large photograph a GB
    if colours:
        return _colours(out)
    return out if out.shape[1] == channels else out.mean(1, keepdim=True)


def _ensemble(model: Autoencoder, x: Images, statistics: Statistics, progress: Progress | None) -> Images:
    """The mean of `applied` over the turns and flips of the images, each turned and flipped back."""
    out = torch.zeros_like(x)
    for part in range(TURNS):
        turns, flipped = part % 4, part >= 4
        y = torch.rot90(x.flip(3) if flipped else x, turns, (2, 3))
        y = torch.rot90(applied(model, y, statistics, _share(progress, part, TURNS)), -turns, (2, 3))
        out += y.flip(3) if flipped else y
    return out / TURNS


def _by_risk(denoise: Callable[[Images, int], Images], x: Images) -> Images:
    """The images denoised as much as Stein's estimate says; `denoise` takes images and which pass it is."""
    std = _noise(x)[..., None, None]
    out = denoise(x, 0)
    # One direction for all images, so that none depends on the others
    signs = (noise_like(x[:1], rng=Generator().manual_seed(0)) < 0).to(x).mul_(2).sub_(1)
    strength = denoise(torch.add(x, signs, alpha=NUDGE), 1).sub_(out).mul_(signs).div_(-NUDGE)
    del signs
    strength = _around(strength).add_(1).mul_(std.square())
    left = x - out
    strength = strength.div_(_around(left.square()).clamp_(min=torch.finfo(x.dtype).tiny)).clamp_(0, 1)
    return torch.addcmul(x, strength, left, value=-1)


def _around(x: Images) -> Images:
    """The mean around every pixel, of those that there are."""
    for window in ((AROUND, 1), (1, AROUND)):
        half = (window[0] // 2, window[1] // 2)
        x = F.avg_pool2d(x, window, 1, half, count_include_pad=False)
    return x


def _share(progress: Progress | None, part: int, parts: int) -> Progress | None:
    """The progress of one of several equal parts of the work, as that of the whole."""
    if progress is None:
        return None
    return lambda what, done, total, numbers: progress(what, part * total + done, parts * total, numbers)


def restore_file(
    model: Autoencoder,
    source: Path,
    target: Path,
    statistics: Statistics = "running",
    range: tuple[float, float] | None = None,
    strength: Strength = 1.0,
    progress: Progress | None = None,
    ensemble: bool = False,
) -> float:
    """Restore one image file into another of the same size, depth, channels and format; all pages of a TIFF.

    Returns the estimated standard deviation of the noise in it (`measures.noise_level`), mean over channels and
    pages, where values are in [0, 1]; NaN of images under 3 x 3 pixels.

    It comes upright. EXIF stays in JPEG, PNG and WebP, the location in it does not. `photographs.differences` says
    what else is not kept, and `Photograph.read` what a `range` is. Computed where the model is. Raises DataError
    where the file cannot be read or restored, CopyfoldError where the other cannot be written.
    """
    device = next(model.parameters(), torch.empty(0)).device
    levels: list[float] = []

    def restored(x: Images) -> Images:
        levels.append(_noise(x).mean().item() if min(x.shape[2:]) >= 3 else math.nan)
        return restore(model, x.to(device), statistics, strength, progress, ensemble)

    change_file(restored, source, target, range, model.shape[0])
    return sum(levels) / len(levels)


def change_file(
    change: Callable[[Images], Images],
    source: Path,
    target: Path,
    range: tuple[float, float] | None = None,
    channels: int | None = None,
) -> None:
    """Write what a function makes of a photograph, 1 x c x h x w, as `restore_file` does; its size may change.

    `channels` are those that the function is best given, see `Photograph.read`.
    """

    def changed(name: str) -> tuple[Photograph, np.ndarray]:
        photo = Photograph.read(images[name], name, range, channels)
        try:
            out = change(torch.from_numpy(photo.values).permute(2, 0, 1)[None])
        except UsageError as error:
            raise DataError(f"{name} cannot be restored: {error}") from None
        photo = photo.resized(*out.shape[2:])
        return photo, photo.assemble(out[0].permute(1, 2, 0).cpu().numpy())

    images = parts(source)
    names = iter(images)
    first = changed(next(names))  # before a file is made for it
    with written(target) as path:
        save(path, source, chain([first], map(changed, names)), len(images))


def _noise(x: Images) -> Float[Tensor, "b c"]:
    """The estimated noise of every channel, in the middle of the images."""
    top, left = (max(0, (side - LOOKED_AT) // 2) for side in x.shape[2:])
    middle = x[..., top : top + LOOKED_AT, left : left + LOOKED_AT]
    return noise_level(middle.flatten(0, 1)[:, None]).view(x.shape[:2])


def _opponent(x: Images) -> Images:
    """Red, green, blue as luminance in [0, 1] and differences of colours about 1/2."""
    y = torch.einsum("kc,bchw->bkhw", OPPONENT.to(x), x)
    y[:, :1] /= 3**0.5
    y[:, 1:] += 0.5
    return y


def _colours(y: Tensor) -> Images:
    """The inverse of `_opponent`."""
    y = y.clone()
    y[:, :1] *= 3**0.5
    y[:, 1:] -= 0.5
    return torch.einsum("kc,bkhw->bchw", OPPONENT.to(y), y)


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


def _tiled(model: Autoencoder, x: Tensor, multiple: int, progress: Progress | None) -> Tensor:
    """The same in tiles, each seen with what lies around it, so that memory does not grow with the photograph.

    One image at a time where none depends on another.
    """
    out = torch.empty_like(x)
    height, width = x.shape[2:]
    reach = min(MARGIN, (receptive_field(model.modules()) or 2 * MARGIN) // 2)
    step, margin = (-(-length // multiple) * multiple for length in (TILE, reach))  # halvings fall as in the whole
    together = len(x) if model.has_statistics and model.statistics == "batch" else 1
    corners = [*product(range(0, len(x), together), range(0, height, step), range(0, width, step))]
    for done, (first, top, left) in enumerate(corners, 1):
        up, before = max(0, top - margin), max(0, left - margin)
        some = slice(first, first + together)
        seen = x[some, :, up : top + step + margin, before : left + step + margin]
        tile = _padded(model, seen, multiple)[..., top - up :, left - before :]
        out[some, :, top : top + step, left : left + step] = tile[..., :step, :step]
        if progress is not None:
            progress("tiles", done, len(corners), {})
    return out
