"""Optimisers: Adam, and Muon for whatever is a matrix."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from copyfold.catalogue import Recorded
from copyfold.errors import at_least, within
from copyfold.types import Precision

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's: steep at 0, so that five steps are enough
SMALL = 64  # the shorter side up to which, on a CPU, squares in float64 are sooner done than products of bfloat16
TOGETHER = (
    5  # iterations on one square: rounding makes eigenvalues of 0 negative, and every one multiplies them by 12
)


class Optimizer(Recorded, ABC):
    """How gradients become steps: makes torch's optimiser of a model's weights."""

    lr: ClassVar[float] = 1e-3
    """The learning rate where the plan gives none."""

    @abstractmethod
    def build(self, model: nn.Module, lr: float, precision: Precision) -> torch.optim.Optimizer:
        """torch's optimiser of the weights of `model`; every group begins with its own full learning rate."""


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, with weight decay apart from the gradient (AdamW) where there is any.

        m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2
        w <- (1 - lr decay) w - lr m^ / (sqrt(v^) + eps)        m^ = m / (1 - b1^t),  v^ = v / (1 - b2^t)

    Kingma and Ba, 2014 (arXiv:1412.6980); Loshchilov and Hutter, 2017 (arXiv:1711.05101). lr = 0.001 unless given.
    In torch's fused form: 2.2 times as fast as its loop over parameters on 31 million of them.
    """

    decay: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        within("[0, inf)", self, decay=self.decay, eps=self.eps)
        within("[0, 1)", b1=self.b1, b2=self.b2)

    def build(self, model: nn.Module, lr: float, precision: Precision) -> torch.optim.Optimizer:
        """torch.optim.AdamW where there is decay; without it Adam, which is the same and a little faster."""
        kind = torch.optim.AdamW if self.decay else torch.optim.Adam
        fused = precision != "16"  # there the loss is scaled, and the fused form hides that from clip
        return kind(model.parameters(), lr, (self.b1, self.b2), self.eps, weight_decay=self.decay, fused=fused)


@dataclass(frozen=True)
class Muon(Optimizer):
    r"""Muon: the momentum of a matrix, made orthogonal, is its step; the other weights take Adam's.

        m <- momentum m + g;   u = g + momentum m                       (Nesterov's)
        w <- w - lr sqrt(max(1, rows / columns)) U V^T                  where u = U S V^T

    Every weight of two axes or more is a matrix, its first axis by the rest: a convolution's is out x (in k k), a
    transposed one's in x (out k k). All its singular directions are learned equally fast, where the gradient is
    dominated by a few. U V^T comes from `iterations` of the quintic X <- a X + (b X X^T + c (X X^T)^2) X with
    (a, b, c) = (3.4445, -4.7750, 2.0315), which brings the singular values of u / |u| between 0.7 and 1.2, but
    those below about a thousandth. Biases and norms take Adam's steps, at `adam` times lr.

    lr = 0.02 unless given. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), who
    have momentum = 0.95; torch.optim.Muon is the same of matrices only. benchmarks/optimizers.py compares.
    """

    lr: ClassVar[float] = 0.02

    momentum: float = 0.9
    iterations: int = 5
    adam: float = 1.0

    def __post_init__(self) -> None:
        within("[0, 1)", momentum=self.momentum)
        at_least(1, iterations=self.iterations)
        within("[0, inf)", self, adam=self.adam)

    def build(self, model: nn.Module, lr: float, precision: Precision) -> torch.optim.Optimizer:
        """One optimiser of two groups: the matrices, and the rest."""
        weights = [p for p in model.parameters() if p.requires_grad]
        matrices, rest = [p for p in weights if p.dim() > 1], [p for p in weights if p.dim() < 2]
        groups = [
            {"params": matrices, "lr": lr, "matrices": True},
            {"params": rest, "lr": self.adam * lr, "matrices": False},
        ]
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return MuonAndAdam([g for g in groups if g["params"]], self.momentum, self.iterations, dtype)


class MuonAndAdam(torch.optim.AdamW):
    """Muon's step for groups of `matrices`, Adam's for the others; the dtype is that of Muon's products."""

    def __init__(self, groups: list[dict[str, Any]], momentum: float, iterations: int, dtype: torch.dtype) -> None:
        super().__init__(groups, weight_decay=0.0)
        for group in self.param_groups:
            group.update(momentum=momentum, iterations=iterations)
        self.dtype = dtype

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every weight that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group["matrices"]]
            if self.param_groups:
                super().step()
        finally:
            self.param_groups = groups
        for group in groups:
            if group["matrices"]:
                self._orthogonal_steps(group)
        return loss

    @torch.no_grad()
    def _orthogonal_steps(self, group: dict[str, Any]) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state.update(step=torch.zeros(()), momentum=torch.zeros_like(weight))
            state["step"] += 1  # AdamW looks for it in whatever it loads
            momentum = state["momentum"].mul_(group["momentum"]).add_(weight.grad)
            update = weight.grad.add(momentum, alpha=group["momentum"]).flatten(1)
            update = update if min(update.shape) <= SMALL else update.to(self.dtype)
            scale = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
            step = orthogonal(update, group["iterations"])
            weight.add_(step.view_as(weight), alpha=-group["lr"] * scale)


def orthogonal(x: Tensor, iterations: int = 5) -> Tensor:
    """The nearest matrix with singular values near 1: U V^T of x = U S V^T, by the quintic iteration of Muon.

    On a CPU, where a side is short, X <- P X with P = a I + b G + c G^2 is followed by its square G = X X^T alone,
    G <- P G P, in float64, and x is multiplied by the product of all P, which commute.
    """
    wide = x.shape[0] <= x.shape[1]
    y = x if wide else x.T
    small = len(y) <= SMALL and y.device.type == "cpu"
    y = _by_squares(_scaled(y.double()), iterations).to(x.dtype) if small else _by_products(_scaled(y), iterations)
    return y if wide else y.T


def _scaled(x: Tensor) -> Tensor:
    return x / (x.norm() + 1e-7)


def _by_products(x: Tensor, iterations: int) -> Tensor:
    a, b, c = QUINTIC
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _by_squares(x: Tensor, iterations: int) -> Tensor:
    a, b, c = QUINTIC
    for begun in range(0, iterations, TOGETHER):
        gram, product = x @ x.T, torch.eye(len(x), dtype=x.dtype)
        for _ in range(begun, min(begun + TOGETHER, iterations)):
            p = torch.addmm(gram, gram, gram, beta=b, alpha=c)
            p.diagonal().add_(a)
            gram, product = p @ gram @ p, p @ product
        x = product @ x
    return x
