"""Two small classifiers, a CNN and a vision transformer, to compare what their layers represent."""

from collections import OrderedDict
from itertools import pairwise
from math import gcd, prod

import torch
from torch import Tensor, nn

from copyfold.errors import UsageError, at_least
from copyfold.models.base import checked_shape
from copyfold.models.blocks import norm
from copyfold.types import Float, Images, Shape

__all__ = ["CNN", "ViT"]


class CNN(nn.Module):
    """A small convolutional classifier: blocks of two 3x3 convolutions, each half the size.

        b x c x h x w -> widths[0] x h/2 x w/2 -> ... -> widths[-1] -> classes

    Every convolution is followed by a group norm and a ReLU, every block but the last by a maximum over 2x2;
    the mean over positions goes to a linear head. Layers are called `blocks.1.conv2`, `blocks.0.pool`, `head`.
    Simonyan and Zisserman, 2015 (arXiv:1409.1556); the mean is Lin et al.'s, 2014 (arXiv:1312.4400).

    Raises UsageError where the image is smaller than 2^(len(widths) - 1) pixels.
    """

    def __init__(self, shape: Shape, classes: int, widths: tuple[int, ...] = (32, 64, 128)) -> None:
        super().__init__()
        _check(shape, classes)
        at_least(1, **{"len(widths)": len(widths)})
        at_least(1, **{f"widths[{i}]": width for i, width in enumerate(widths)})
        least = 2 ** (len(widths) - 1)
        if min(shape[1:]) < least:
            raise UsageError(
                f"CNN(widths={widths}) is invalid for images of {shape[1]}x{shape[2]}: expected sides of at least "
                f"{least}, or fewer widths"
            )
        self.shape, self.classes, self.widths = shape, classes, widths
        last = len(widths) - 1
        channels = pairwise((shape[0], *widths))
        self.blocks = nn.Sequential(*(_convolutions(a, b, i < last) for i, (a, b) in enumerate(channels)))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Images) -> Float[Tensor, "b classes"]:
        """The scores (logits) of every class."""
        return self.head(self.blocks(x).mean((2, 3)))


def _convolutions(inputs: int, outputs: int, halve: bool) -> nn.Sequential:
    """One block of a CNN; no layer works in place, so that outputs seen by a hook do not change."""
    layers: dict[str, nn.Module] = {}
    for i, width in enumerate((inputs, outputs), 1):
        layers[f"conv{i}"] = nn.Conv2d(width, outputs, 3, padding=1, bias=False)
        layers[f"norm{i}"] = norm("group", outputs)
        layers[f"act{i}"] = nn.ReLU()
    return nn.Sequential(OrderedDict(layers | ({"pool": nn.MaxPool2d(2)} if halve else {})))


class ViT(nn.Module):
    r"""A small vision transformer: patches as tokens, attention, their mean.

        t[0] = patches(x) + positions                              n = h w / patch^2 tokens of dim numbers
        t' = t[i] + attention(norm1(t[i])),   t[i+1] = t' + mlp(norm2(t'))      i = 0 .. depth - 1
        scores = head(mean over tokens of norm(t[depth]))

    Position embeddings are learned, norms come first (pre-norm), GELU is between the layers of the mlp, there is
    no dropout. There is no class token: the mean works as well (Dosovitskiy et al., 2020, arXiv:2010.11929,
    appendix D.3), and every token belongs to a patch. Layers are called `patches`, `blocks.3`,
    `blocks.3.mlp.fc1`, `head`.

    Raises UsageError where `patch` does not divide the sides, or `heads` does not divide `dim`.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        patch: int = 4,
        dim: int = 64,
        depth: int = 6,
        heads: int = 4,
        mlp: int = 128,
    ) -> None:
        super().__init__()
        _check(shape, classes)
        at_least(1, patch=patch, dim=dim, depth=depth, heads=heads, mlp=mlp)
        _divides("patch", patch, gcd(*shape[1:]), f"images of {shape[1]}x{shape[2]}")
        _divides("heads", heads, dim, f"dim={dim}")
        self.shape, self.classes = shape, classes
        self.patches = nn.Conv2d(shape[0], dim, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, prod(shape[1:]) // patch**2, dim))
        self.blocks = nn.Sequential(*(_Block(dim, heads, mlp) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Images) -> Float[Tensor, "b classes"]:
        """The scores (logits) of every class."""
        t = self.patches(x).flatten(2).mT + self.positions  # b x n x dim, row by row
        return self.head(self.norm(self.blocks(t)).mean(1))


class _Block(nn.Module):
    """Attention between the tokens, then an MLP on each token, both with a residual connection."""

    def __init__(self, dim: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(OrderedDict(fc1=nn.Linear(dim, mlp), act=nn.GELU(), fc2=nn.Linear(mlp, dim)))

    def forward(self, t: Float[Tensor, "b n dim"]) -> Float[Tensor, "b n dim"]:
        """Tokens to tokens of the same shape."""
        normed = self.norm1(t)
        t = t + self.attention(normed, normed, normed, need_weights=False)[0]
        return t + self.mlp(self.norm2(t))


def _check(shape: Shape, classes: int) -> None:
    """UsageError for an invalid shape of an image, and for fewer than two classes."""
    checked_shape(shape)
    at_least(2, classes=classes)


def _divides(name: str, value: int, whole: int, of: str) -> None:
    """UsageError where a value does not divide the whole; the message has the values that do."""
    if whole % value:
        known = ", ".join(str(n) for n in range(1, whole + 1) if whole % n == 0)
        raise UsageError(f"{name}={value} is invalid: expected a divisor of {of}, one of {known}")
