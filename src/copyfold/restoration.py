"""Restore photographs of any size with a model; the result has their size, mode and file format."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from copyfold.data import open_image
from copyfold.errors import DataError, UsageError
from copyfold.files import written
from copyfold.models.base import Autoencoder
from copyfold.models.blocks import receptive_field
from copyfold.types import Images, Statistics

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["restore"]

log = logging.getLogger("copyfold")

WHOLE = 1_000_000  # pixels above which a photograph is cut into tiles
TILE, MARGIN = 768, 256  # the part of a tile that is kept, and what is seen around it at the most
GPS = 0x8825  # the EXIF tag under which cameras write where a photograph was taken

Parts = tuple[np.ndarray, Callable[[np.ndarray], "PIL.Image.Image"]]
"""Values in [0, 1], height x width x channels, and the way from others like them back to an image."""


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


def restore_file(model: Autoencoder, source: Path, target: Path, statistics: Statistics = "running") -> None:
    """Restore one image file into another of the same size, mode and format.

    It comes upright; a palette becomes colours. EXIF stays in JPEG, PNG and WebP, the location in it does not.
    Computed where the model is. Raises DataError where the file cannot be read, CopyfoldError where the other
    cannot be written.
    """
    photo, device = Photo.read(source), next(model.parameters(), torch.empty(0)).device
    x = torch.from_numpy(photo.values).permute(2, 0, 1)[None].to(device)
    restored = restore(model, x, statistics)[0].permute(1, 2, 0).cpu().numpy()
    with written(target) as path:
        photo.assemble(restored).save(path, **photo.settings)


@dataclass(frozen=True)
class Photo:
    """An image file taken apart: what a model works on, and what is needed to put it together again."""

    values: np.ndarray
    """Height x width x 1 or 3, float32 in [0, 1]."""
    assemble: Callable[[np.ndarray], "PIL.Image.Image"]
    """From values to an image of the file's mode."""
    settings: dict[str, Any]
    """How to save it."""

    @classmethod
    def read(cls, path: Path) -> "Photo":
        """Open a file and set aside what a model does not see."""
        from PIL import Image

        image = open_image(path)
        with warnings.catch_warnings(action="ignore"), Image.open(path) as file:  # what open_image has checked
            format = "JPEG" if file.format == "MPO" else file.format
            frames = getattr(file, "n_frames", 1)
        if frames > 1:
            log.info("%s has %d frames; the first is restored", path, frames)
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            return cls(*_sixteen_bit(image, path), _settings(image, format))
        return cls(*_eight_bit(image), _settings(image, format))


def _eight_bit(image: "PIL.Image.Image") -> Parts:
    """The values of an image of 8 bits, and the way back; transparency stays as it is."""
    grey = image.mode in ("1", "L", "LA")
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    pixels = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.float32)

    def assemble(values: np.ndarray) -> "PIL.Image.Image":
        from PIL import Image

        whole = np.rint(values * 255).astype(np.uint8)
        result = Image.fromarray(whole[..., 0] if grey else whole)
        if alpha is not None:
            result.putalpha(alpha)
        return result.convert("CMYK") if image.mode == "CMYK" else result

    return pixels.reshape(image.height, image.width, -1) / 255, assemble


def _sixteen_bit(image: "PIL.Image.Image", path: Path) -> Parts:
    """The same of a grey image of 16 bits, or of floats in [0, 1]."""
    top = 1 if image.mode == "F" else 65535
    values = np.asarray(image, dtype=np.float32)[..., None] / top
    if not (values.min() >= 0 and values.max() <= 1):  # so that NaN is refused too
        raise DataError(f"{path} has values outside 0 to {top}: save it with 8 or 16 bits")

    def assemble(values: np.ndarray) -> "PIL.Image.Image":
        from PIL import Image

        plane = values[..., 0]
        return Image.fromarray(plane if top == 1 else np.rint(plane * top).astype(np.uint16))

    return values, assemble


def _settings(image: "PIL.Image.Image", format: str | None) -> dict[str, Any]:
    """How to save it again: its format, colour profile, resolution and EXIF without the location."""
    settings: dict[str, Any] = {"format": format}
    settings |= {name: image.info[name] for name in ("icc_profile", "dpi") if image.info.get(name)}
    if format in ("JPEG", "WEBP"):
        settings["quality"] = 95
    if format in ("JPEG", "PNG", "WEBP") and "exif" in image.info:
        try:
            exif = image.getexif()
            exif.pop(GPS, None)
            settings["exif"] = exif.tobytes()
        except Exception as error:  # odd EXIF is no reason to lose a picture
            log.info("the EXIF data of an image is left out, it cannot be written again: %s", error)
    return settings


def _match(x: Images, channels: int) -> Tensor:
    """Grey as colour for a colour model; each channel an image of its own for a grey one."""
    if x.shape[1] == channels:
        return x
    if {x.shape[1], channels} != {1, 3}:
        raise UsageError(
            f"images of {x.shape[1]} channels are invalid for this model: expected {channels} channels"
        )
    return x.expand(-1, 3, -1, -1) if channels == 3 else x.reshape(-1, 1, *x.shape[2:])


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
