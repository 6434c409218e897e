"""Photographs of any size through a model, and back as they came: their size, their mode, their format."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from copyfold.data import open_image
from copyfold.errors import UsageError
from copyfold.files import written
from copyfold.models.base import Autoencoder
from copyfold.types import Images, Statistics

log = logging.getLogger("copyfold")

WHOLE = 1_000_000  # pixels above which a photograph is cut into tiles
TILE, MARGIN = 768, 128  # the part of a tile that is kept, and what is seen around it
GPS = 0x8825  # the EXIF tag under which cameras write where a photograph was taken


@torch.no_grad()
def restore(model: Autoencoder, x: Images, statistics: Statistics = "running") -> Images:
    """D(E(x)) for images of any size and number of channels, clipped to [0, 1].

    A model that takes other sizes runs at the images' own, mirrored at the edges up to a multiple it takes, in
    overlapping tiles above one megapixel; any other runs at its own size. A grey model is run on every channel
    by itself; a colour model sees grey as colour.
    """
    channels = model.shape[0]
    planes = x if x.shape[1] == channels else _match(x, channels)
    with model.using(statistics):
        if model.multiple is None:
            small = F.interpolate(planes, model.shape[1:], mode="bilinear", antialias=True, align_corners=False)
            out = F.interpolate(model(small), x.shape[2:], mode="bicubic", align_corners=False)
        else:
            out = _tiled(model, planes) if x.shape[2] * x.shape[3] > WHOLE else _padded(model, planes)
    if x.shape[1] != channels:
        out = out.mean(1, keepdim=True) if channels == 3 else out.reshape(x.shape)
    return out.clamp(0, 1)


def restore_file(model: Autoencoder, source: Path, target: Path, statistics: Statistics = "running") -> None:
    """Restore one image file into another of the same size, mode and format; EXIF stays, its location does not."""
    photo = Photo.read(source)
    x = torch.from_numpy(photo.values).permute(2, 0, 1)[None]
    restored = restore(model, x, statistics)[0].permute(1, 2, 0).numpy()
    with written(target) as path:
        photo.write(restored, path)


@dataclass(frozen=True)
class Photo:
    """An image file taken apart: what a model works on, and what is needed to put it together again."""

    values: np.ndarray
    """Height x width x 1 or 3, float32 in [0, 1]."""
    back: Callable[[np.ndarray], Image.Image]
    settings: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Photo":
        """Open a file, turn it upright, and set alpha and what only a file has aside."""
        image = open_image(path)
        if getattr(image, "n_frames", 1) > 1:
            log.info("%s has several frames; the first is restored", path)
        settings = _settings(image)
        upright = ImageOps.exif_transpose(image)
        values, back = _take(upright)
        return cls(values, back, settings)

    def write(self, values: np.ndarray, path: Path) -> None:
        """Save restored values as the file was."""
        self.back(values).save(path, **self.settings)


def _take(image: Image.Image) -> tuple[np.ndarray, Callable[[np.ndarray], Image.Image]]:
    """The values of an image in [0, 1], and the way back to its mode."""
    mode = image.mode
    if mode.startswith("I;16") or mode == "I":
        values = np.asarray(image, dtype=np.float32)[..., None] / 65535
        return values, lambda v: Image.fromarray((v[..., 0] * 65535 + 0.5).astype(np.uint16))
    if mode == "F":
        raise UsageError(f"an image of mode F has no known range: save it as 8 or 16 bit first ({image.size})")
    seen = "RGBA" if mode == "P" and "transparency" in image.info else "RGB" if mode in ("P", "CMYK") else mode
    seen = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}.get(seen, seen)
    plain = image.convert(seen if seen in ("L", "LA", "RGB", "RGBA") else "RGB")
    alpha = plain.getchannel("A") if plain.mode in ("LA", "RGBA") else None
    base = plain.convert("L" if plain.mode in ("L", "LA") else "RGB")
    values = np.asarray(base, dtype=np.float32).reshape(*base.size[::-1], -1) / 255

    def back(restored: np.ndarray) -> Image.Image:
        result = Image.fromarray((restored * 255 + 0.5).astype(np.uint8).squeeze(-1) if restored.shape[2] == 1
                                 else (restored * 255 + 0.5).astype(np.uint8))  # fmt: skip
        if alpha is not None:
            result.putalpha(alpha)
        return result.convert("CMYK") if mode == "CMYK" else result

    return values, back


def _settings(image: Image.Image) -> dict[str, Any]:
    """How to save it again: its format, colour profile, resolution and EXIF without the location."""
    settings: dict[str, Any] = {"format": image.format}
    exif = image.getexif()
    for tag in (GPS, 0x0112):  # the orientation, too: the image is upright by then
        if tag in exif:
            del exif[tag]
    if len(exif) and image.format in ("JPEG", "PNG", "WEBP"):
        settings["exif"] = exif.tobytes()
    settings |= {name: image.info[name] for name in ("icc_profile", "dpi") if image.info.get(name)}
    if image.format in ("JPEG", "WEBP"):
        settings["quality"] = 95
    return settings


def _match(x: Images, channels: int) -> Images:
    """Grey as colour for a colour model; each channel an image of its own for a grey one."""
    if {x.shape[1], channels} != {1, 3}:
        raise UsageError(f"the model takes {channels} channels, and images of {x.shape[1]} cannot become that")
    return x.expand(-1, 3, -1, -1) if channels == 3 else x.reshape(-1, 1, *x.shape[2:])


def _padded(model: Autoencoder, x: Tensor) -> Tensor:
    """The model at the images' own size, mirrored at right and bottom up to a multiple that it takes."""
    assert model.multiple is not None
    height, width = x.shape[2:]
    extra = (0, -width % model.multiple, 0, -height % model.multiple)
    mode = "reflect" if extra[1] < width and extra[3] < height else "replicate"
    return model(F.pad(x, extra, mode=mode))[..., :height, :width]


def _tiled(model: Autoencoder, x: Tensor) -> Tensor:
    """The same in tiles, each seen with what lies around it, so that memory does not grow with the photograph."""
    out = torch.empty_like(x)
    height, width = x.shape[2:]
    step = max(1, TILE // (model.multiple or 1)) * (model.multiple or 1)
    for top in range(0, height, step):
        for left in range(0, width, step):
            up, before = max(0, top - MARGIN), max(0, left - MARGIN)
            seen = x[..., up : top + step + MARGIN, before : left + step + MARGIN]
            done = _padded(model, seen)[..., top - up : top - up + step, left - before : left - before + step]
            out[..., top : top + step, left : left + step] = done
    return out
