"""The U-Net of denoising diffusion models as an autoencoder, without a time embedding."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from copyfold.errors import at_least, numbers, one_of
from copyfold.models.attention import Attention, Residual, Residuals, attention
from copyfold.models.base import Autoencoder, Output
from copyfold.models.blocks import norm, power
from copyfold.types import Code, Images, Shape, Statistics


class DiffusionUNet(Autoencoder):
    """The U-Net of diffusion models: residual blocks, group norm, attention.

        first: 7x7 convolution, c -> width//3 * 2
        stage k: two residual blocks, -> width * multiples[k], linear attention;  down k: 4x4 convolution, stride 2
        middle: a block, dot-product attention, a block
        up k, deepest first: concatenated with the map of stage k, two blocks, -> the width of stage k-1, linear
              attention, transposed 4x4 convolution, stride 2;  last: a block, 1x1 convolution to c

    A block is two times (3x3 convolution, group norm of up to 8 groups, SiLU); every attention has a group norm
    of one group before it; every block and attention has a residual connection. No time embedding. Ho et al.,
    2020 (arXiv:2006.11239), in the form of the essay's script, which has no skip at the full resolution.

    `residual` = "noise" is what that script does: every residual x is replaced by 0.05 x + 0.95 N(0.5, 0.2^2),
    drawn at every call from torch's global generator, so that two calls differ. The code is a tuple: the map
    from the middle, then those of the stages except the first, deepest first. With c = 3 and the defaults
    29,840,403 parameters. Sides that are not multiples of 2^(stages - 1) are padded to those, and cropped back.

    When: To compare a `UNet` with the network that diffusion models use.
    Cost: The most of all here, in time and memory: a GPU is advisable at the default width.
    Fails: Its skips let it copy without learning much; with residual = "noise" two calls differ.
    Source: Ho et al., 2020 (arXiv:2006.11239).
    """

    def __init__(
        self,
        shape: Shape,
        width: int = 128,
        multiples: Sequence[int] = (1, 2, 4),
        residual: Residuals = "plain",
        heads: int = 4,
        dim_head: int = 32,
        output: Output = "linear",
        statistics: Statistics = "batch",
    ) -> None:
        super().__init__(shape, output)
        at_least(3, width=width)
        numbers(multiples=multiples)
        at_least(2, stages=len(multiples))
        at_least(1, **{f"multiples[{k}]": m for k, m in enumerate(multiples)})
        one_of(Residuals, "residual", residual)
        self.multiple = power(2, stages=len(multiples) - 1)
        self.multiples_of(self.multiple)
        self.width, self.multiples, self.residual = width, tuple(multiples), residual
        self.heads, self.dim_head = heads, dim_head
        widths = [width * m for m in multiples]
        first, last = width // 3 * 2, widths[-1]
        attend = (heads, dim_head, residual)
        self.encoder = nn.ModuleDict({"first": nn.Conv2d(self.shape[0], first, 7, padding=3)})
        for k, (inputs, outputs) in enumerate(pairwise([first, *widths])):
            self.encoder[f"stage{k}"] = nn.Sequential(_stage(inputs, outputs, *attend))
            if k < len(widths) - 1:
                self.encoder[f"down{k}"] = nn.Conv2d(outputs, outputs, 4, stride=2, padding=1)
        self.encoder["middle"] = nn.Sequential(
            OrderedDict(
                block1=_block(last, last, residual),
                attention=_attention("dot", last, *attend),
                block2=_block(last, last, residual),
            )
        )
        self.decoder = nn.ModuleDict()
        for k in reversed(range(1, len(widths))):
            twice = nn.ConvTranspose2d(widths[k - 1], widths[k - 1], 4, stride=2, padding=1)
            self.decoder[f"up{k}"] = nn.Sequential(_stage(2 * widths[k], widths[k - 1], *attend) | {"up": twice})
        self.decoder["last"] = _block(widths[0], widths[0], residual)
        self.decoder["head"] = nn.Conv2d(widths[0], self.shape[0], 1)
        self.statistics = statistics

    def encode(self, x: Images) -> Code:
        """The map from the middle, followed by those of the stages except the first."""
        x = self.encoder["stage0"](self.encoder["first"](self.padded(x)))
        maps = ()
        for k in range(1, len(self.multiples)):
            x = self.encoder[f"stage{k}"](self.encoder[f"down{k - 1}"](x))
            maps = (x, *maps)
        return (self.encoder["middle"](x), *maps)

    def logits(self, z: Code) -> Images:
        """The up stages to the image's size, a last block and a 1x1 convolution."""
        x, *maps = z
        for k, skip in zip(reversed(range(1, len(self.multiples))), maps, strict=True):
            x = self.decoder[f"up{k}"](torch.cat((x, skip), dim=1))
        return self.cropped(self.decoder["head"](self.decoder["last"](x)))

    @classmethod
    def tiny(cls) -> "Autoencoder":
        """Two stages of 16 and 32 maps with two heads on 8x8, its output bounded."""
        return cls((3, 8, 8), width=16, multiples=(1, 2), heads=2, dim_head=4, output="sigmoid")


def _stage(
    inputs: int, outputs: int, heads: int, dim_head: int, residual: Residuals
) -> OrderedDict[str, nn.Module]:
    """Two blocks and linear attention."""
    return OrderedDict(
        block1=_block(inputs, outputs, residual),
        block2=_block(outputs, outputs, residual),
        attention=_attention("softmax", outputs, heads, dim_head, residual),
    )


def _attention(kind: Attention, channels: int, heads: int, dim_head: int, residual: Residuals) -> Residual:
    """A norm and attention, with a residual connection."""
    return Residual(attention(kind, channels, heads, dim_head, prenorm=True), residual)


def _block(inputs: int, outputs: int, residual: Residuals) -> Residual:
    """Two times (3x3 convolution, group norm, SiLU), with a residual connection."""
    inside = OrderedDict(
        conv1=nn.Conv2d(inputs, outputs, 3, padding=1),
        norm1=norm("group", outputs),
        act1=nn.SiLU(),
        conv2=nn.Conv2d(outputs, outputs, 3, padding=1),
        norm2=norm("group", outputs),
        act2=nn.SiLU(),
    )
    return Residual(nn.Sequential(inside), residual, nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None)
