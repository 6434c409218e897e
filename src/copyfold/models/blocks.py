"""Building blocks of architectures: norms, activations, convolution stages; and receptive fields."""

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from copyfold.errors import UsageError, of_model, option
from copyfold.types import Statistics

Norm: TypeAlias = Literal["batch", "group", "instance", "layer", "none"]
MapNorm: TypeAlias = Literal["batch", "group", "layer", "instance", "none"]
Activation: TypeAlias = Literal["identity", "relu", "gelu", "selu", "silu", "tanh", "sigmoid"]

PHASES = 64  # neighbouring output pixels whose fields are compared: all phases of strides whose product is 64


class BatchNorm(nn.Module):
    r"""Batch normalisation whose statistics are chosen by a field, not by train() and eval().

        y = (x - m) / sqrt(v + eps) * weight + bias         m, v per channel, over batch and positions

    With statistics = "batch", m and v (biased) are those of the current batch; with "running", the averages
    recorded in training. In both cases the averages are updated, r <- (1 - momentum) r + momentum (m, unbiased
    v), whenever the module is in training mode (and `recording`). Ioffe and Szegedy, 2015 (arXiv:1502.03167).

    Where several processes train together and `synchronised` is set, the batch is that of all of them.

    Accepts (b, c) and (b, c, h, w). UsageError where a batch has one value per channel, which has no variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.statistics: Statistics = "batch"
        self.synchronised, self.recording = False, True
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x by the chosen statistics; in training mode record those of x."""
        means, variances = self.get_buffer("running_mean"), self.get_buffer("running_var")
        records = self.training and self.recording
        if self.statistics == "running":
            # copies in training, since recording changes the averages in place before the backward pass
            used = (means.clone(), variances.clone()) if records else (means, variances)
            y = F.batch_norm(x, *used, self.weight, self.bias, False, 0.0, self.eps)
            if records and x.numel() > x.shape[1]:
                with torch.no_grad():  # updates the averages; the output is not used
                    F.batch_norm(x, means, variances, None, None, True, self.momentum, self.eps)
            return y
        if x.numel() == x.shape[1]:
            say = of_model if self.training else option  # of a trained model each command says it anew
            raise UsageError(
                "batch statistics are undefined for one value per channel, as of one image whose map is a single "
                f"position: give a batch of 2 or more, larger images, or {say('statistics', 'running')}"
            )
        if self.synchronised and self.training:
            return self._synchronised(x, means, variances, records)
        recorded = (means, variances) if self.training else (None, None)
        if self.training and not self.recording:  # copies, so that the same tensors are saved for the gradient
            recorded = (means.clone(), variances.clone())
        return F.batch_norm(x, *recorded, self.weight, self.bias, True, self.momentum, self.eps)

    def _synchronised(self, x: Tensor, means: Tensor, variances: Tensor, records: bool) -> Tensor:
        """Normalise by the statistics of all processes' batches, which must have the same size."""
        axes, shape = [d for d in range(x.dim()) if d != 1], [1, -1] + [1] * (x.dim() - 2)
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        m = _Mean.apply(wide.mean(axes))
        v = _Mean.apply((wide - m.view(shape)).square().mean(axes))
        with torch.no_grad():
            momentum = self.momentum if records else 0.0
            count = x.numel() // x.shape[1] * torch.distributed.get_world_size()
            means.lerp_(m, momentum)
            variances.lerp_(v * count / (count - 1), momentum)
        y = (wide - m.view(shape)) * (v + self.eps).rsqrt().view(shape)
        return (y * self.weight.view(shape) + self.bias.view(shape)).to(x.dtype)

    def extra_repr(self) -> str:
        """The number of channels and the statistics, for print(model)."""
        return f"{len(self.weight)}, statistics={self.statistics!r}"


class ScaleNorm(BatchNorm):
    r"""Batch normalisation without additive constants: it neither subtracts a mean nor adds a bias.

        y = x / sqrt(v + eps) * weight        v the mean of x^2 per channel, over batch and positions

    With running statistics y(a x) = a y(x). Averages are recorded as `BatchNorm` records them. Mohan et al., 2020
    (arXiv:1906.05478), who divide by the standard deviation.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(channels, eps, momentum)
        self.register_parameter("bias", None)
        self.register_buffer("running_mean", None)

    def forward(self, x: Tensor) -> Tensor:
        """Divide x by the chosen root mean square; in training mode record that of x."""
        variances = self.get_buffer("running_var")
        records = self.training and self.recording
        v = variances.clone() if records else variances
        if self.statistics == "batch" or records:
            squares = x.to(variances.dtype).square().mean([d for d in range(x.dim()) if d != 1])
            squares = _Mean.apply(squares) if self.synchronised and self.training else squares
            v = squares if self.statistics == "batch" else v
            if records:
                variances.lerp_(squares.detach(), self.momentum)
        scale = self.weight * (v + self.eps).rsqrt()
        return x * scale.to(x.dtype).view([1, -1] + [1] * (x.dim() - 2))


class _Mean(torch.autograd.Function):
    """The mean of a tensor over all processes; the gradient of a mean is the mean of the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _mean(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _mean(gradients[0])


def _mean(x: Tensor) -> Tensor:
    x = x.clone()
    torch.distributed.all_reduce(x)
    return x / torch.distributed.get_world_size()


def norm(kind: str, channels: int) -> nn.Module:
    """The norm called `kind` for maps with this number of channels; "group" has up to 8 groups."""
    match kind:
        case "batch":
            return BatchNorm(channels)
        case "group":
            return nn.GroupNorm(math.gcd(8, channels), channels)
        case "instance":
            return nn.InstanceNorm2d(channels, affine=True)
        case "layer":
            return nn.GroupNorm(1, channels)  # over channels and positions; for vectors the same as nn.LayerNorm
        case _:
            return nn.Identity()


def without_constants(model: nn.Module) -> None:
    """Take every additive constant out of a model, in place, so that D(a x) = a D(x) for a > 0.

    Convolutions and linear layers lose their biases, batch norms their means and biases (the law is then one of
    running statistics). UsageError where a layer is not such a map even so: bias = False refuses those.
    """
    if getattr(model, "output", "linear") != "linear":
        raise UsageError(
            f"{of_model('bias', False)} is invalid with {of_model('output', 'sigmoid')}: expected "
            f"{of_model('output', 'linear')}"
        )
    for name, module in list(model.named_modules()):
        if isinstance(module, _CURVED):
            raise UsageError(
                f"{of_model('bias', False)} is invalid with {type(module).__name__}: expected layers with "
                "D(a x) = a D(x), which are those with the norm none or batch, and the activation identity or relu"
            )
        if isinstance(module, BatchNorm):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, ScaleNorm(len(module.weight)))
        elif isinstance(getattr(module, "bias", None), nn.Parameter):
            module.register_parameter("bias", None)


_CURVED = (nn.GroupNorm, nn.InstanceNorm2d, nn.GELU, nn.SELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


def activation(name: str) -> nn.Module:
    """The activation of that name, one of `Activation`."""
    known = (nn.Identity, nn.ReLU, nn.GELU, nn.SELU, nn.SiLU, nn.Tanh, nn.Sigmoid)
    return next(module for module in known if module.__name__.lower() == name)()


def double_conv(
    in_channels: int, out_channels: int, norm_kind: str, middle_channels: int | None = None
) -> nn.Sequential:
    """A U-Net's stage: two times 3x3 convolution, norm, ReLU; with a bias only where there is no norm."""
    middle, bias = middle_channels or out_channels, norm_kind == "none"
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, middle, 3, padding=1, bias=bias),
            norm1=norm(norm_kind, middle),
            act1=nn.ReLU(inplace=True),
            conv2=nn.Conv2d(middle, out_channels, 3, padding=1, bias=bias),
            norm2=norm(norm_kind, out_channels),
            act2=nn.ReLU(inplace=True),
        )
    )


class DisjointTranspose(nn.ConvTranspose2d):
    r"""A transposed convolution whose stride is its kernel, so that its blocks of output do not overlap.

        y[b, o, p i + k, p j + l] = bias[o] + sum_c x[b, c, i, j] weight[c, o, k, l]        0 <= k, l < p

    The map and the parameters are those of nn.ConvTranspose2d(inputs, outputs, p, stride=p). It is computed as one
    matrix product, which on CPUs is two to three times as fast in bfloat16 (docs/performance.md).

    b x inputs x h x w becomes b x outputs x p h x p w.
    """

    def __init__(self, inputs: int, outputs: int, block: int) -> None:
        super().__init__(inputs, outputs, block, stride=block)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """The map above."""
        if output_size is not None:
            return super().forward(input, output_size)
        (count, _, height, width), p = input.shape, self.kernel_size[0]
        matrix = self.weight.permute(2, 3, 1, 0).reshape(-1, self.in_channels)
        bias = None if self.bias is None else self.bias.repeat(p * p)
        y = F.linear(input.permute(0, 2, 3, 1), matrix, bias).view(count, height, width, p, p, self.out_channels)
        return y.transpose(2, 3).reshape(count, p * height, p * width, self.out_channels).permute(0, 3, 1, 2)


def power(pool: int, **times: int) -> int:
    """By what so many poolings divide a side; UsageError, naming the argument, where they are more than 30."""
    ((name, count),) = times.items()
    if count > 30:  # a third-party config may say anything: pool**count would fill the memory
        raise UsageError(f"{name}={count} is invalid: expected at most 30")
    return pool**count


class SeesAll(nn.Module):
    """A module whose every output depends on the whole image, such as attention; see `receptive_field`."""


def down(inputs: int, outputs: int, norm_kind: str, pool: int = 2) -> nn.Sequential:
    """Max pooling by `pool`, then two convolutions."""
    return nn.Sequential(OrderedDict(pool=nn.MaxPool2d(pool), conv=double_conv(inputs, outputs, norm_kind)))


def receptive_field(modules: Iterable[nn.Module]) -> int | None:
    """How many input pixels, along one axis, can change one output pixel; None means all of them.

    `modules` are in the order of the forward pass. Goes from the output back to the input with the interval
    [low, high] of positions that matter, and takes the widest over the phases of the strides. This is the
    theoretical field (weights may be zero); it ignores batch statistics, which couple all pixels.
    """
    modules = list(modules)
    layers = [m for m in modules if not list(m.children()) and not isinstance(m, nn.Identity)]
    if any(isinstance(module, nn.Linear | SeesAll) for module in modules):
        return None
    spans = []
    for position in range(1024, 1024 + PHASES):
        low = high = position
        for layer in reversed(layers):
            low, high = _reaches(layer, low, high)
        spans.append(high - low + 1)
    return max(spans)


def _reaches(layer: nn.Module, low: int, high: int) -> tuple[int, int]:
    """The interval of a layer's input on which the interval [low, high] of its output depends."""
    match layer:
        case nn.Conv2d() | nn.MaxPool2d():
            kernel, stride, padding = (_first(v) for v in (layer.kernel_size, layer.stride, layer.padding))
            return low * stride - padding, high * stride - padding + kernel - 1
        case nn.ConvTranspose2d():
            kernel, stride, padding = (_first(v) for v in (layer.kernel_size, layer.stride, layer.padding))
            return -((kernel - 1 - low - padding) // stride), (high + padding) // stride
        case nn.Upsample():  # bilinear: two neighbours (a conservative pair where corners are aligned)
            factor = int(cast(float, layer.scale_factor))
            return (low - 1) // factor, (high + factor - 1) // factor
        case _:
            return low, high


def _first(value: int | str | tuple[int, ...]) -> int:
    return int(value[0] if isinstance(value, tuple) else value)
