"""A convolutional autoencoder that halves the image at every stage, down to one position where wanted."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from copyfold.errors import at_least, numbers, one_of
from copyfold.models.base import Autoencoder, Chain, Output
from copyfold.models.blocks import Activation, MapNorm, activation, norm, power, without_constants
from copyfold.types import Code, Images, Shape, Statistics


class Conv(Chain):
    """Stages of convolution and pooling, and a decoder that mirrors them.

    A stage, one for every entry of `channels`, is a 3x3 convolution, norm, activation and 2x2 max pooling (an
    odd side loses its last row, as in 28 -> 14 -> 7 -> 3); the decoder has a transposed 3x3 convolution of stride
    2 in its place, to the size before. The code is the last map, channels[-1] x h x w. channels=(16, 32, 64) on
    28x28 is Murphy's network with its 3x3x64 bottleneck (section 20.3); (16,) is one convolution and one
    up-convolution; the largest number of stages that a side allows leads to a single position. A shorter side is
    padded to 2^stages pixels, and cropped back. bias = False leaves every additive constant out, so that
    D(a x) = a D(x) for a > 0; see `UNet`.

    When: Small images with a code that is a map, and as a first convolutional autoencoder to teach with.
    Cost: Little: one convolution a stage, each way.
    Fails: Copies are coarse where `channels` has many stages; there is no skip that brings detail back.
    Source: Masci et al., 2011; the form is Murphy's, section 20.3.
    """

    def __init__(
        self,
        shape: Shape,
        channels: Sequence[int] = (16, 32, 64),
        activation: Activation = "relu",
        norm: MapNorm = "none",
        output: Output = "linear",
        statistics: Statistics = "batch",
        bias: bool = True,
    ) -> None:
        super().__init__(shape, output)
        numbers(channels=channels)
        at_least(1, stages=len(channels), **{f"channels[{i}]": width for i, width in enumerate(channels)})
        one_of(Activation, "activation", activation)
        one_of(MapNorm, "norm", norm)
        stages = len(channels)
        step = power(2, stages=stages)
        _, height, width = self.works_at(*(max(side, step) for side in self.shape[1:]))
        self.channels, self.activation, self.norm = tuple(channels), activation, norm
        if height % step == width % step == 0:
            self.multiple = step
        widths = (self.shape[0], *channels)
        self.encoder = nn.Sequential(*(_down(a, b, activation, norm) for a, b in pairwise(widths)))
        sizes = [(height >> k, width >> k) for k in range(stages)]
        ups = [_up(b, a, size) for (a, b), size in zip(pairwise(widths), sizes, strict=True)]
        for stage, width in zip(ups[1:], channels[:-1], strict=True):
            stage.extend([_norm(norm, width), _activation(activation)])
        self.decoder = nn.Sequential(*reversed(ups))
        self.bias = bias
        if not bias:
            without_constants(self)
        self.statistics = statistics

    def encode(self, x: Images) -> Code:
        """The last map."""
        return self.encoder(self.padded(x))

    def logits(self, z: Code) -> Images:
        """The transposed stages, to the image's size."""
        return self.cropped(self.decoder(z))

    @classmethod
    def tiny(cls) -> "Autoencoder":
        """Two stages on 9x9, an odd side on purpose."""
        return cls((2, 9, 9), channels=(3, 4), norm="batch")


_norm, _activation = norm, activation  # the constructor's arguments have the same names


def _down(inputs: int, outputs: int, between: str, norm_kind: str) -> nn.Sequential:
    """3x3 convolution, norm, activation, 2x2 max pooling."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=norm_kind == "none")
    return nn.Sequential(conv, norm(norm_kind, outputs), activation(between), nn.MaxPool2d(2))


def _up(inputs: int, outputs: int, size: tuple[int, int]) -> nn.Sequential:
    """A transposed convolution to `size`: twice the input's, plus 1 where that side is odd."""
    even = (1 - size[0] % 2, 1 - size[1] % 2)
    conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=even, output_padding=even)
    return nn.Sequential(conv)
