"""The U-Net as an autoencoder: the essay's six classes in one."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from copyfold.catalogue import Recorded
from copyfold.errors import UsageError, at_least, of_model, one_of
from copyfold.models.base import Autoencoder, Output
from copyfold.models.blocks import (
    Activation,
    DisjointTranspose,
    MapNorm,
    activation,
    double_conv,
    down,
    power,
    without_constants,
)
from copyfold.types import Code, Images, Shape, Statistics

Skips: TypeAlias = Literal["none", "self", "concat"]
Upsampling: TypeAlias = Literal["transposed", "bilinear"]
Side: TypeAlias = tuple[int, int]


class Middle(Recorded, ABC):
    """The bottleneck of a U-Net, between its deepest map and the code.

    `copyfold.testing.check_middle` tests one of your own.
    """

    multiple: ClassVar[int] = 1
    """The sides of the deepest map must be multiples of this; the U-Net pads images so that they are."""

    @abstractmethod
    def squeeze(self, channels: int, height: int, width: int) -> nn.Module:
        """The module from the deepest map to the code."""

    @abstractmethod
    def expand(self, channels: int, height: int, width: int) -> nn.Module:
        """The module from the code back to a map of the same size."""


@dataclass(frozen=True)
class Affine(Middle):
    """The essay's hidden module: the deepest map through hidden, latent_dim, hidden.

        conv 4x4 stride 2 to channels/4 -> flatten -> hidden -> latent_dim (the code)
        -> hidden -> channels x h/4 x w/4 -> transposed conv 4x4 stride 4

    With activation = "identity", as in the essay's script, the whole module is affine and of rank at most
    `latent_dim`. 500-100-500 by default. The U-Net then takes images of one size only. In long
    trainings its large matrices settle with lr = 0.005 and not with Muon's usual 0.02, which is
    better in short ones.
    """

    multiple: ClassVar[int] = 4

    hidden: int = 500
    latent_dim: int = 100
    activation: Activation = "identity"

    def __post_init__(self) -> None:
        at_least(1, hidden=self.hidden, latent_dim=self.latent_dim)
        one_of(Activation, "activation", self.activation)

    def squeeze(self, channels: int, height: int, width: int) -> nn.Module:
        """Channels x h x w -> latent_dim."""
        if channels % 4 or height % 4 or width % 4:
            raise UsageError(
                f"a deepest map of {channels}x{height}x{width} is invalid for the middle Affine: expected "
                "multiples of 4; give larger images, a smaller depth, or a width that is a multiple of 4"
            )
        flat = channels // 4 * (height // 2) * (width // 2)
        return nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(channels, channels // 4, 4, stride=2, padding=1),
                flatten=nn.Flatten(),
                hidden=nn.Linear(flat, self.hidden),
                act=activation(self.activation),
                code=nn.Linear(self.hidden, self.latent_dim),
            )
        )

    def expand(self, channels: int, height: int, width: int) -> nn.Module:
        """latent_dim -> channels x h x w."""
        small = (channels, height // 4, width // 4)
        return nn.Sequential(
            OrderedDict(
                hidden=nn.Linear(self.latent_dim, self.hidden),
                act=activation(self.activation),
                spread=nn.Linear(self.hidden, small[0] * small[1] * small[2]),
                unflatten=nn.Unflatten(1, small),
                conv=DisjointTranspose(channels, channels, 4),
            )
        )


@dataclass(frozen=True)
class Wide(Middle):
    """The essay's wide hidden module: the deepest map through one long vector.

        conv 4x4 stride 2 to `channels` -> flatten -> latent_dim (the code)
        -> channels x h/2 x w/2 -> transposed conv 4x4 stride 2

    With width = 128 on 128x128 its vectors are 4096, 10,000 and 4096 long. No activation, as in the script; the
    transposed convolution restores the size of the map (the script's gives twice that, and crops it later).
    The U-Net then takes images of one size only.
    """

    multiple: ClassVar[int] = 2

    channels: int = 256
    latent_dim: int = 10_000

    def __post_init__(self) -> None:
        at_least(1, channels=self.channels, latent_dim=self.latent_dim)

    def squeeze(self, channels: int, height: int, width: int) -> nn.Module:
        """Channels x h x w -> latent_dim."""
        if height % 2 or width % 2:
            raise UsageError(
                f"a deepest map of {height}x{width} is invalid for the middle Wide: expected even sides; give "
                "larger images or a smaller depth"
            )
        flat = self.channels * (height // 2) * (width // 2)
        return nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(channels, self.channels, 4, stride=2, padding=1),
                flatten=nn.Flatten(),
                code=nn.Linear(flat, self.latent_dim),
            )
        )

    def expand(self, channels: int, height: int, width: int) -> nn.Module:
        """latent_dim -> channels x h x w."""
        small = (self.channels, height // 2, width // 2)
        return nn.Sequential(
            OrderedDict(
                spread=nn.Linear(self.latent_dim, small[0] * small[1] * small[2]),
                unflatten=nn.Unflatten(1, small),
                conv=nn.ConvTranspose2d(self.channels, channels, 4, stride=2, padding=1),
            )
        )


class UNet(Autoencoder):
    """A U-Net that copies its input, with or without skips.

    Stages of two 3x3 convolutions; the image is pooled `depth` times by `pool` = 2, and upsampled again.

        stem: c -> width;  down k: max pooling, -> width * 2^k;  up k: pool x the size, -> width * 2^(depth-k)

    `skips` says what is concatenated to the input of an up stage: "none", nothing (the scripts' NoResidualUp);
    "self", a copy of the upsampled map (their Up, which has the channels of a U-Net without its skips); "concat",
    the map of the same level on the way down (Ronneberger et al., 2015, arXiv:1505.04597). The code is the
    deepest map, width * 2^depth x h / 2^depth x w / 2^depth; with "concat" a tuple: the deepest map, then those of
    the levels above it, deepest first. `middle` maps the deepest map to a vector. `up` is "transposed" (a
    transposed convolution) or "bilinear" (corners aligned, as in the scripts, then convolutions), or a list of
    one of them per level, deepest first.

    The essay's model is UNet((3, 128, 128), width=64, depth=4, skips="self"): 31,037,763 parameters. Its deep
    one has depth=5, skips="none" and up=["bilinear", "transposed", ...]: 118,770,947; at width 128 475,027,971.
    pool = 3 shrinks maps faster, as in its "contractive" one (which has no contractive penalty): the up stages
    upsample by 3, and pad to the size of their level where a side was not a multiple. (The script's upsample by
    2 and pad with zeros to three times the size.)
    residual = True (with "concat") adds the image itself to the output, D(E(x)) = x + head(...): the layers learn
    the difference alone, and are sooner good at denoising (Zhang et al., 2017, arXiv:1608.03981). The image is
    then the last map of the code.
    bias = False leaves every additive constant out, so that D(a x) = a D(x) for a > 0 (with norm = "batch" under
    running statistics): a denoiser of one range of noise then works at other levels (Mohan et al., 2020,
    arXiv:1906.05478). With norm = "none" or "batch", and output = "linear".
    With pool = 2, sides that are not multiples of 2^depth are padded to those, and cropped back, and so are sides
    shorter than pool^depth; `middle` may need larger multiples.

    When: Photographs, and the first choice for images above 32 pixels: without skips to study what copying
    teaches, with "concat" to denoise and repair.
    Cost: Grows with pixels, and with the square of `width`; `copyfold models UNet --size N` counts.
    Fails: With "concat" it copies without learning what images are like, and makes textures from noise; with batch
    norm a batch of one is copied badly under batch statistics.
    Source: Ronneberger et al., 2015 (arXiv:1505.04597); without skips: the essay.
    """

    def __init__(
        self,
        shape: Shape,
        width: int = 32,
        depth: int = 4,
        skips: Skips = "none",
        norm: MapNorm = "batch",
        middle: Middle | None = None,
        up: Upsampling | Sequence[Upsampling] = "transposed",
        pool: int = 2,
        output: Output = "linear",
        statistics: Statistics = "batch",
        bias: bool = True,
        residual: bool = False,
    ) -> None:
        super().__init__(shape, output)
        at_least(1, width=width, depth=depth)
        at_least(2, pool=pool)
        one_of(Skips, "skips", skips)
        one_of(MapNorm, "norm", norm)
        step = power(pool, depth=depth)
        inner = self.works_at(*(_inner(side, pool, step, middle) for side in self.shape[1:]))
        sides = _sides(inner, depth, pool, norm)
        ups = (up,) * depth if isinstance(up, str) else tuple(up)
        for how in ups:
            one_of(Upsampling, "up", how)
        if residual and (skips != "concat" or output != "linear"):
            raise UsageError(
                f"{of_model('residual', True)} is invalid with {of_model('skips', skips)} and "
                f"{of_model('output', output)}: expected {of_model('skips', 'concat')} and "
                f"{of_model('output', 'linear')}"
            )
        if len(ups) != depth:
            raise UsageError(f"up={list(ups)} is invalid: expected one entry per level, {depth} in all")
        self.width, self.depth, self.skips, self.norm, self.middle, self.pool = (
            width, depth, skips, norm, middle, pool,
        )  # fmt: skip
        self.up: Upsampling | tuple[Upsampling, ...] = up if isinstance(up, str) else ups
        whole = all(side % step == 0 for side in inner[1:])
        if middle is None and whole:
            self.multiple = step
        widths = [width * 2**k for k in range(depth + 1)]
        deepest = (widths[-1], *sides[-1])
        self.encoder = nn.ModuleDict(
            {"stem": double_conv(self.shape[0], width, norm)}
            | {f"down{k}": down(widths[k - 1], widths[k], norm, pool) for k in range(1, depth + 1)}
            | {"squeeze": middle.squeeze(*deepest) if middle else nn.Identity()}
        )
        self.decoder = nn.ModuleDict(
            {"expand": middle.expand(*deepest) if middle else nn.Identity()}
            | {
                f"up{k}": Up(widths[-k], widths[-k - 1], skips, norm, how, pool, None if whole else sides[-k - 1])
                for k, how in enumerate(ups, 1)
            }
            | {"head": nn.Conv2d(width, self.shape[0], 1)}
        )
        self.bias, self.residual = bias, residual
        if not bias:
            without_constants(self)
        self.statistics = statistics

    def encode(self, x: Images) -> Code:
        """The deepest map (or its `middle`'s vector), with "concat" followed by the maps above it."""
        image = self.padded(x)
        x, above = self.encoder["stem"](image), ()
        for k in range(1, self.depth + 1):
            above = (x, *above) if self.skips == "concat" else above
            x = self.encoder[f"down{k}"](x)
        z = self.encoder["squeeze"](x)
        above = (*above, image) if self.residual else above
        return (z, *above) if self.skips == "concat" else z

    def logits(self, z: Code) -> Images:
        """The up stages from the deepest map to the image's size, then a 1x1 convolution."""
        z, *above = z if isinstance(z, tuple) else (z,)
        x = self.decoder["expand"](z)
        for k in range(1, self.depth + 1):
            x = self.decoder[f"up{k}"](x, above[k - 1] if above else None)
        x = self.decoder["head"](x)
        return self.cropped(above[-1] + x if self.residual else x)

    @classmethod
    def tiny(cls) -> "Autoencoder":
        """Two levels of width 4 on 16x16."""
        return cls((3, 16, 16), width=4, depth=2)


class Up(nn.Module):
    """One level up: `pool` times the size, concatenated with the map of `skips`, then two convolutions."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        skips: str,
        norm_kind: str,
        how: str,
        pool: int = 2,
        side: Side | None = None,
    ) -> None:
        super().__init__()
        self.skips, self.side = skips, side
        halves = skips != "none" and how == "transposed"
        raised = inputs // 2 if halves else inputs
        if how == "transposed":
            self.up = DisjointTranspose(inputs, raised, pool)
        else:
            self.up = nn.Upsample(scale_factor=pool, mode="bilinear", align_corners=True)
        joined = raised + {"none": 0, "self": raised, "concat": outputs}[skips]
        self.conv = double_conv(joined, outputs, norm_kind, inputs // 2 if how == "bilinear" else None)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """From b x inputs x h x w to b x outputs x pool h x pool w, or to the size of the level."""
        x = self.up(x)
        if self.side:
            x = _padded(x, self.side)
        if self.skips == "self":
            x = torch.cat((x, x), dim=1)
        elif skip is not None:
            x = torch.cat((skip, x), dim=1)
        return self.conv(x)


def _padded(x: Tensor, side: Side) -> Tensor:
    """Zero-pad the maps to height and width, as evenly as possible."""
    rows, columns = side[0] - x.shape[2], side[1] - x.shape[3]
    return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def _inner(side: int, pool: int, step: int, middle: Middle | None) -> int:
    """The side that the layers work at: the next multiple; with another pool than 2 any that leaves a map."""
    multiple = middle.multiple if middle else 1
    if pool != 2 and side >= step and side // step % multiple == 0:
        return side
    return -(-side // (step * multiple)) * step * multiple


def _sides(shape: Shape, depth: int, pool: int, norm_kind: str) -> list[Side]:
    """Height and width of every level's map; UsageError where the deepest has no variance for its norm."""
    sides = [(shape[1] // pool**k, shape[2] // pool**k) for k in range(depth + 1)]
    if norm_kind == "instance" and max(sides[-1]) == 1:
        raise UsageError(
            f"norm='instance' is invalid: {depth} poolings of {shape[1]}x{shape[2]} leave a single position, "
            "which has no variance; give a smaller depth or larger images"
        )
    return sides
