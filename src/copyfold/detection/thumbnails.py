"""Images compared by small grey versions of themselves: the numbers of a perceptual hash, and small crops."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from copyfold.types import Float, Images

SIDE = 32
"""Pixels of a thumbnail."""

WAVES = 12
"""The cosines along each side, of the longest waves, that an image is compared by."""

LEAST = 0.25
"""The length of a description without its mean, below which an image has nothing to be compared by: a contrast of
some two levels of 8 bits."""

CROPS = ((1.0, 1), (0.97, 3), (0.94, 5), (0.91, 6), (0.88, 7))
"""What may be left of a side, and in how many places."""


def thumbnails(x: Images) -> Float[Tensor, "b s s"]:
    """Small grey versions of images whose sides are multiples of `SIDE`: means of blocks."""
    b, c, height, width = x.shape
    return x.reshape(b, c, SIDE, height // SIDE, SIDE, width // SIDE).mean((1, 3, 5))


def described(small: Float[Tensor, "b s s"]) -> Float[Tensor, "b n"]:
    """The cosine transform of thumbnails at its longest waves, each by the root of its frequency, at length 1.

    Without the mean. The signs of such numbers are a perceptual hash (pHash; imagehash.phash has those of 8 x 8);
    with the numbers themselves small differences count little. In photographs the longest waves are the strongest
    and say the least: two seas with one horizon share them. Neither brightness nor contrast matters. Images
    without contrast are 0.
    """
    waves = _cosines(SIDE)
    return _unit((waves @ small @ waves.T).flatten(1))[:, 1:]


def alignment(small: Float[Tensor, "b s s"], others: Float[Tensor, "b k n"]) -> Float[Tensor, "b k"]:
    """The largest cosine of the angle between a description and those of a picture's crops.

    Of `small` all crops that leave 88 to 100 % of each side, in steps of some 3 %; `others` are descriptions.
    """
    crops = _crops()
    both = (crops @ small @ crops.T).reshape(len(small), len(crops) // WAVES, WAVES, -1, WAVES)
    numbers = _unit(both.transpose(2, 3).flatten(3).flatten(1, 2))
    return (numbers[:, :, 1:] @ others.transpose(1, 2)).amax(1)


def _unit(numbers: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
    """Cosine transforms with their weights, at length 1; 0 of images without contrast."""
    numbers[..., 0] = 0  # the mean
    strong = numbers.norm(dim=-1, keepdim=True) >= LEAST
    return torch.where(strong, torch.nn.functional.normalize(numbers * _weights(), dim=-1), 0)


@cache
def _weights() -> Tensor:
    """The root of the frequency of each number."""
    along = torch.arange(WAVES, dtype=torch.float32)
    return torch.hypot(along[:, None], along).sqrt().flatten()


@cache
def _cosines(side: int) -> Tensor:
    """The orthonormal cosine transform along one side, `WAVES` x side."""
    from scipy.fft import dct

    whole = np.asarray(dct(np.eye(side), axis=0, norm="ortho"))
    return torch.from_numpy(whole[:WAVES].copy()).float()


@cache
def _crops() -> Tensor:
    """The cosine transforms of all crops of one side, interpolated to the side again: one after another."""
    pixels = torch.arange(SIDE, dtype=torch.float32)
    found: list[Tensor] = []
    for left, count in CROPS:
        for start in np.linspace(0, 1 - left, count):
            places = float(start) * SIDE + left * (pixels + 0.5) - 0.5
            weights = (1 - (places[:, None] - pixels).abs()).clamp(min=0)
            found.append(_cosines(SIDE) @ (weights / weights.sum(1, keepdim=True)))
    return torch.cat(found)
