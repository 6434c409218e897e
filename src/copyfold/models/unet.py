"""The U-Net as an autoencoder: the essay's six classes in one."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

from copyfold.errors import UsageError, at_least, one_of
from copyfold.models.base import Autoencoder, Output
from copyfold.models.blocks import Activation, activation, double_conv
from copyfold.models.conv import MapNorm
from copyfold.types import Code, Images, Shape, Statistics

Skips: TypeAlias = Literal["none", "self", "concat"]
Upsampling: TypeAlias = Literal["transposed", "bilinear"]


class Middle(ABC):
    """What stands at the waist of a U-Net, between its deepest map and the code."""

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

    With activation = "identity", as in the essay's script, the whole is affine and of rank `latent_dim` at most.
    500-100-500 by default. It fixes the size of the image, which a U-Net otherwise does not.
    """

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
                f"the Affine middle needs a deepest map whose channels and sides are multiples of 4, not "
                f"{channels}x{height}x{width}: give a larger image, a smaller depth, or a width of fours"
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
                conv=nn.ConvTranspose2d(channels, channels, 4, stride=4),
            )
        )


class UNet(Autoencoder):
    """A U-Net that copies its input, with or without skips.

    Stages of two 3x3 convolutions; the image is halved `depth` times and doubled again.

        stem: c -> width;  down k: max pooling, -> width * 2^k;  up k: twice the size, -> width * 2^(depth-k)

    `skips` says what an up stage is joined with: "none", nothing (the scripts' NoResidualUp); "self", a copy of
    the upsampled map (their Up, which keeps the channel plan of a U-Net without its skips); "concat", the map
    of the same level on the way down (Ronneberger et al., 2015, arXiv:1505.04597). The code is the deepest map,
    width * 2^depth x h / 2^depth x w / 2^depth; with "concat" a tuple: the deepest map, then those of the
    levels above it, deepest first. `middle` squeezes the deepest map to a vector. `up` is "transposed" (a
    transposed convolution) or "bilinear" (corners aligned, as in the scripts, then convolutions).

    The essay's model is UNet((3, 128, 128), width=64, depth=4, skips="self"): 31,037,763 parameters.
    Raises UsageError where a side is not a multiple of 2^depth, and says the nearest that is.
    """

    nested: ClassVar[dict[str, type]] = {"middle": Middle}

    def __init__(
        self,
        shape: Shape,
        width: int = 32,
        depth: int = 4,
        skips: Skips = "none",
        norm: MapNorm = "batch",
        middle: Middle | None = None,
        up: Upsampling = "transposed",
        output: Output = "linear",
        statistics: Statistics = "batch",
    ) -> None:
        super().__init__(shape, output)
        at_least(1, width=width, depth=depth)
        for choices, name, value in (
            (Skips, "skips", skips),
            (MapNorm, "norm", norm),
            (Upsampling, "up", up),
        ):
            one_of(choices, name, value)
        self.width, self.depth, self.skips, self.norm, self.middle, self.up = (
            width, depth, skips, norm, middle, up,
        )  # fmt: skip
        _check_sides(self.shape, depth, norm)
        if middle is None:
            self.multiple = 2**depth
        widths = [width * 2**k for k in range(depth + 1)]
        deepest = (widths[-1], self.shape[1] // 2**depth, self.shape[2] // 2**depth)
        self.encoder = nn.ModuleDict(
            {"stem": double_conv(self.shape[0], width, norm)}
            | {f"down{k}": _down(widths[k - 1], widths[k], norm) for k in range(1, depth + 1)}
            | {"squeeze": middle.squeeze(*deepest) if middle else nn.Identity()}
        )
        self.decoder = nn.ModuleDict(
            {"expand": middle.expand(*deepest) if middle else nn.Identity()}
            | {f"up{depth - k}": Up(widths[k + 1], widths[k], skips, norm, up) for k in reversed(range(depth))}
            | {"head": nn.Conv2d(width, self.shape[0], 1)}
        )
        self.statistics = statistics

    def encode(self, x: Images) -> Code:
        """The deepest map (squeezed where there is a middle), with "concat" followed by those above it."""
        x, above = self.encoder["stem"](x), ()
        for k in range(1, self.depth + 1):
            above = (x, *above) if self.skips == "concat" else above
            x = self.encoder[f"down{k}"](x)
        z = self.encoder["squeeze"](x)
        return (z, *above) if self.skips == "concat" else z

    def logits(self, z: Code) -> Images:
        """The image, level by level, and a 1x1 convolution."""
        z, *above = z if isinstance(z, tuple) else (z,)
        x = self.decoder["expand"](z)
        for k in range(1, self.depth + 1):
            x = self.decoder[f"up{k}"](x, above[k - 1] if above else None)
        return self.decoder["head"](x)

    @classmethod
    def tiny(cls) -> "Autoencoder":
        """Two levels of width 4 on 16x16."""
        return cls((3, 16, 16), width=4, depth=2)


class Up(nn.Module):
    """One level up: twice the size, joined with what `skips` says, then two convolutions."""

    def __init__(self, inputs: int, outputs: int, skips: str, norm_kind: str, how: str) -> None:
        super().__init__()
        self.skips = skips
        halves = skips != "none" and how == "transposed"
        raised = inputs // 2 if halves else inputs
        if how == "transposed":
            self.up = nn.ConvTranspose2d(inputs, raised, 2, stride=2)
        else:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        joined = raised + {"none": 0, "self": raised, "concat": outputs}[skips]
        self.conv = double_conv(joined, outputs, norm_kind, inputs // 2 if how == "bilinear" else None)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """From b x inputs x h x w to b x outputs x 2h x 2w."""
        x = self.up(x)
        if self.skips == "self":
            x = torch.cat((x, x), dim=1)
        elif skip is not None:
            x = torch.cat((skip, x), dim=1)
        return self.conv(x)


def _down(inputs: int, outputs: int, norm_kind: str) -> nn.Sequential:
    """Half the size, then two convolutions."""
    return nn.Sequential(OrderedDict(pool=nn.MaxPool2d(2), conv=double_conv(inputs, outputs, norm_kind)))


def _check_sides(shape: Shape, depth: int, norm_kind: str) -> None:
    if depth > 30:  # of a config of a stranger's: its power of two would fill the memory
        raise UsageError(f"depth={depth} cannot be: no image is halved so often")
    step = 2**depth
    if shape[1] % step or shape[2] % step:
        near = "x".join(str(max(step, round(side / step) * step)) for side in shape[1:])
        raise UsageError(
            f"a UNet of depth {depth} halves the image {depth} times, so {shape[1]}x{shape[2]} does not do: "
            f"its sides must be multiples of {step}; the nearest that can is {near}"
        )
    if norm_kind == "instance" and max(shape[1:]) == step:
        raise UsageError(
            f"norm='instance' has no variance on the single position that {depth} halvings leave of "
            f"{shape[1]}x{shape[2]}: give a smaller depth or larger images"
        )
