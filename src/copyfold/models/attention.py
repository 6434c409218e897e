"""Attention between the positions of a feature map, and the autoencoders that use it."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from copyfold.errors import UsageError, at_least, one_of
from copyfold.models.base import Autoencoder, Chain, Output
from copyfold.models.blocks import DisjointTranspose, MapNorm, SeesAll, double_conv, down, power
from copyfold.types import Code, Float, Images, Shape, Statistics

Attention: TypeAlias = Literal["dot", "softmax", "elu"]
Residuals: TypeAlias = Literal["plain", "noise"]
Maps: TypeAlias = Float[Tensor, "b c h w"]
Features: TypeAlias = Float[Tensor, "b heads d n"]


class _Heads(SeesAll, ABC):
    """Maps to maps: 1x1 convolution to queries, keys and values, `mix` in every head, 1x1 convolution back."""

    def __init__(self, channels: int, heads: int = 4, dim_head: int = 32) -> None:
        super().__init__()
        at_least(1, channels=channels, heads=heads, dim_head=dim_head)
        self.heads = heads
        self.qkv = nn.Conv2d(channels, 3 * heads * dim_head, 1, bias=False)
        self.out = nn.Conv2d(heads * dim_head, channels, 1)

    @abstractmethod
    def mix(self, q: Features, k: Features, v: Features) -> Features:
        """The attention's output, d features at n positions."""

    def forward(self, x: Maps) -> Maps:
        """b x c x h x w -> b x c x h x w."""
        b, _, h, w = x.shape
        q, k, v = self.qkv(x).reshape(b, 3, self.heads, -1, h * w).unbind(1)
        return self.out(self.mix(q, k, v).reshape(b, -1, h, w))


class DotProduct(_Heads):
    r"""Dot-product attention between all pairs of positions.

        y_i = sum_j a_ij v_j        a_ij = softmax_j(q_i . k_j / sqrt(d))

    n^2 d multiplications for n positions of d = `dim_head` features; torch's fused kernel stores no n x n matrix.
    Fused kernels have no second derivative and no forward-mode one: where one is needed (a penalty on the
    Jacobian), choose the plain one, `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`. Vaswani et al., 2017
    (arXiv:1706.03762).
    """

    def mix(self, q: Features, k: Features, v: Features) -> Features:
        """The values, weighted by the softmax of query times key."""
        q, k, v = (t.transpose(-1, -2).contiguous() for t in (q, k, v))  # otherwise the fused kernel is not used
        return F.scaled_dot_product_attention(q, k, v).transpose(-1, -2)


class LinearSoftmax(_Heads):
    r"""Linear attention with two softmaxes in place of the one over pairs.

        y_i = C^T softmax(q_i) / sqrt(d)        C = sum_j k'_j v_j^T,   k' = softmax of k over the positions

    Then a group norm of one group. softmax(q_i) is taken over the d features. n d^2 multiplications; given the
    d x d context C of a head, a position's result is a function of that position alone. Shen et al., 2018
    (arXiv:1812.01243); the essay's scripts use this one.
    """

    def __init__(self, channels: int, heads: int = 4, dim_head: int = 32) -> None:
        super().__init__(channels, heads, dim_head)
        self.norm = nn.GroupNorm(1, channels)

    def mix(self, q: Features, k: Features, v: Features) -> Features:
        """The context times the softmax of every query."""
        context = k.softmax(-1) @ v.transpose(-1, -2)
        return context.transpose(-1, -2) @ q.softmax(-2) * q.shape[-2] ** -0.5

    def forward(self, x: Maps) -> Maps:
        """b x c x h x w -> b x c x h x w, normalised over all of an image."""
        return self.norm(super().forward(x))


class LinearElu(_Heads):
    r"""Linear attention with the kernel phi(q) . phi(k) in place of exp(q . k), the one that the essay cites.

        y_i = C^T phi(q_i) / (phi(q_i) . s)        C = sum_j phi(k_j) v_j^T,   s = sum_j phi(k_j),   phi = elu + 1

    Every y_i is an average of the values with positive weights, as in dot-product attention; no norm follows,
    as there. n d^2 multiplications. Katharopoulos et al., 2020 (arXiv:2006.16236).
    """

    def mix(self, q: Features, k: Features, v: Features) -> Features:
        """The context times phi of every query, divided by the sum of the weights."""
        with torch.autocast(q.device.type, enabled=False):  # bf16 has no elu + 1 between 0 and 1/256
            q, k, v = (t.to(torch.promote_types(t.dtype, torch.float32)) for t in (q, k, v))
            q, k = F.elu(q) + 1, (F.elu(k) + 1) / k.shape[-1]  # means, not sums: the same ratio, no overflow
            context = k @ v.transpose(-1, -2)
            weights = (k.sum(-1, keepdim=True) * q).sum(-2, keepdim=True)
            return context.transpose(-1, -2) @ q / weights.clamp(min=1e-6)  # elu + 1 is 0 below -17


class Residual(nn.Module):
    """A residual connection: f(x) + s.

    f is `inside`. `residual` = "plain": s = skip(x); "noise": s = 0.05 skip(x) + 0.95 eta with
    eta ~ N(0.5, 0.2^2), drawn at every call from torch's global generator. `skip` maps x to the channels of f(x);
    the default is the identity.
    """

    def __init__(self, inside: nn.Module, residual: Residuals = "plain", skip: nn.Module | None = None) -> None:
        super().__init__()
        one_of(Residuals, "residual", residual)
        self.inside, self.skip, self.residual = inside, skip or nn.Identity(), residual

    def forward(self, x: Maps) -> Maps:
        """b x c x h x w -> that of `inside`."""
        past = self.skip(x)
        if self.residual == "noise":
            past = 0.05 * past + 0.95 * (0.5 + 0.2 * torch.randn_like(past))
        return self.inside(x) + past


def attention(
    kind: Attention,
    channels: int,
    heads: int = 4,
    dim_head: int = 32,
    prenorm: bool = False,
    residual: bool = False,
) -> nn.Module:
    """The attention called `kind`; `prenorm` puts a group norm of one group first, `residual` adds the input."""
    one_of(Attention, "kind", kind)
    match kind:
        case "dot":
            made: nn.Module = DotProduct(channels, heads, dim_head)
        case "softmax":
            made = LinearSoftmax(channels, heads, dim_head)
        case "elu":
            made = LinearElu(channels, heads, dim_head)
    if prenorm:
        made = nn.Sequential(OrderedDict(norm=nn.GroupNorm(1, channels), attention=made))
    return Residual(made) if residual else made


class SingleAttention(Chain):
    """One attention layer without a bypass, to see what it can copy.

        c -> channels: two 3x3 convolutions;  attention (the code);  two 3x3 convolutions and a 1x1 to c

    The essay's three: kind = "softmax" or "dot" between convolutions of 64 maps, and "dot" with channels = None,
    the attention alone on the c channels of the image (1,539 parameters). `prenorm` and `residual` stand around
    the attention; neither does in the essay. The cost of "dot" grows with the fourth power of the side.

    When: To see what one attention layer can copy; not for anything else.
    Cost: "dot" grows with the fourth power of the side.
    Fails: With one head's few channels it blurs; it has no way around the attention.
    Source: The essay's script; attention: Vaswani et al., 2017 (arXiv:1706.03762).
    """

    multiple: int | None = 1

    def __init__(
        self,
        shape: Shape,
        kind: Attention = "softmax",
        channels: int | None = 64,
        heads: int = 4,
        dim_head: int = 32,
        prenorm: bool = False,
        residual: bool = False,
        norm: MapNorm = "batch",
        output: Output = "linear",
        statistics: Statistics = "batch",
    ) -> None:
        super().__init__(shape, output)
        at_least(1, **({} if channels is None else {"channels": channels}))
        one_of(MapNorm, "norm", norm)
        self.kind, self.channels, self.heads, self.dim_head = kind, channels, heads, dim_head
        self.prenorm, self.residual, self.norm = prenorm, residual, norm
        c = self.shape[0]
        attend = attention(kind, channels or c, heads, dim_head, prenorm, residual)
        if channels is None:
            self.encoder, self.decoder = nn.Sequential(OrderedDict(attention=attend)), nn.Identity()
        else:
            self.encoder = nn.Sequential(OrderedDict(conv=double_conv(c, channels, norm), attention=attend))
            self.decoder = nn.Sequential(
                OrderedDict(conv=double_conv(channels, channels, norm), head=nn.Conv2d(channels, c, 1))
            )
        self.statistics = statistics

    @classmethod
    def tiny(cls) -> "Autoencoder":
        """Four maps and two heads on 8x8."""
        return cls((3, 8, 8), channels=4, heads=2, dim_head=4)


class AttentionUNet(Autoencoder):
    """A U-Net whose skips go through attention.

    Stages of two 3x3 convolutions; the image is halved `depth` times and doubled again.

        stem: c -> width;  down k: max pooling, -> width * 2^k
        up k: attention of the map of the same level on the way down, joined with the map from below at twice
              its size (a transposed convolution), -> width * 2^(depth-k)

    The default is the essay's model: linear attention without a norm before it or a residual around it, so that
    every skip passes through the attention. The code is a tuple: the deepest map, width * 2^depth x h / 2^depth x
    w / 2^depth, then those of the levels above it, deepest first, before their attention. Sides that are not
    multiples of 2^depth are padded to those, and cropped back.

    When: To ask what attention in the skips does to a copy; compare it with `UNet`, with and without skips.
    Cost: Linear attention grows with the number of pixels, "dot" with its square.
    Fails: Trained to copy it removes little noise, as attention passes much of its input; "dot" runs out of memory
    on large images.
    Source: The essay's script; linear attention: Shen et al., 2021 (arXiv:1812.01243).
    """

    def __init__(
        self,
        shape: Shape,
        width: int = 32,
        depth: int = 4,
        kind: Attention = "softmax",
        heads: int = 4,
        dim_head: int = 32,
        prenorm: bool = False,
        residual: bool = False,
        norm: MapNorm = "batch",
        output: Output = "linear",
        statistics: Statistics = "batch",
    ) -> None:
        super().__init__(shape, output)
        at_least(1, width=width, depth=depth)
        one_of(MapNorm, "norm", norm)
        sides = self.multiples_of(power(2, depth=depth))[1:]
        if norm == "instance" and max(sides) == 2**depth:
            raise UsageError(
                f"norm='instance' is invalid: {depth} halvings of {sides[0]}x{sides[1]} leave a single "
                "position, which has no variance; give a smaller depth or larger images"
            )
        self.width, self.depth, self.norm = width, depth, norm
        self.kind, self.heads, self.dim_head, self.prenorm, self.residual = (
            kind, heads, dim_head, prenorm, residual,
        )  # fmt: skip
        self.multiple = 2**depth
        widths = [width * 2**k for k in range(depth + 1)]
        self.encoder = nn.ModuleDict(
            {"stem": double_conv(self.shape[0], width, norm)}
            | {f"down{k}": down(widths[k - 1], widths[k], norm) for k in range(1, depth + 1)}
        )
        self.decoder = nn.ModuleDict(
            {
                f"up{depth - k}": _Up(
                    attention(kind, widths[k], heads, dim_head, prenorm, residual), widths[k + 1], widths[k], norm
                )
                for k in reversed(range(depth))
            }
            | {"head": nn.Conv2d(width, self.shape[0], 1)}
        )
        self.statistics = statistics

    def encode(self, x: Images) -> Code:
        """The deepest map, followed by those of the levels above it."""
        x, above = self.encoder["stem"](self.padded(x)), ()
        for k in range(1, self.depth + 1):
            x, above = self.encoder[f"down{k}"](x), (x, *above)
        return (x, *above)

    def logits(self, z: Code) -> Images:
        """The up stages from the deepest map to the image's size, then a 1x1 convolution."""
        x, *above = z
        for k, skip in enumerate(above, 1):
            x = self.decoder[f"up{k}"](x, skip)
        return self.cropped(self.decoder["head"](x))

    @classmethod
    def tiny(cls) -> "Autoencoder":
        """Two levels of width 4 with two heads on 16x16."""
        return cls((3, 16, 16), width=4, depth=2, heads=2, dim_head=4)


class _Up(nn.Module):
    """One level up: twice the size, concatenated with the attention of the skip, then two convolutions."""

    def __init__(self, attend: nn.Module, below: int, channels: int, norm_kind: str) -> None:
        super().__init__()
        self.attention = attend
        self.up = DisjointTranspose(below, channels, 2)
        self.conv = double_conv(2 * channels, channels, norm_kind)

    def forward(self, x: Maps, skip: Maps) -> Maps:
        """From b x below x h x w and b x channels x 2h x 2w to b x channels x 2h x 2w."""
        return self.conv(torch.cat((self.attention(skip), self.up(x)), dim=1))
