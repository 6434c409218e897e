"""T11: how does the number of free input dimensions grow over layers?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, TypeAlias

import torch
from torch import Generator, Tensor, nn

from copyfold import pictures
from copyfold.claims.representation import SECTION
from copyfold.corruptions import noise_like
from copyfold.measures import distance
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab

N = 256  # inputs of the chains of layers
INPUTS = 8
NARROWING = (N, 224, 192, 160, 128, 96, 64)
LEVEL = (N, 128, 128, 128, 128, 128, 128)
Lines: TypeAlias = dict[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class FreedomGrows(Study):
    """The number of free input dimensions is a product over layers, and grows.

    Chains of random layers n_1 -> m_1 -> m_2 ... with 256 inputs, in float64. The free dimension is the nullity of
    the product of the layers, or, with ReLUs, of the Jacobian at 8 random inputs: the dimension in which the input
    can change without a change of the output. "Grows" is the free dimension after six layers that narrow by 32
    each, over that after one. "Formula off" is how far the essay's (n_1 - m_1) (n_2 - m_2) ... is from the
    measured dimension, relative to it; the same is given for the right formula, n_1 - min m.

    Controls: layers that stay at 128 after the first, which by the right formula free no further dimension, and by
    the essay's, 128 x 0 x 0 ..., none at all; and four square layers, which free none. These can be inverted
    exactly, but noise of std 1/1000 in the output leads to another input: "moved" is the distance to it, over the
    input's length.

    The first figure shows the free dimension after each layer of every chain; the second that of the narrowing
    linear chain with the right formula, which agrees with it, and the essay's.
    """

    claim: ClassVar[str] = "T11"
    place: ClassVar[str] = f"{SECTION}: (n_1 - m_1)(n_2 - m_2) ... (n_k - m_k)"
    items: ClassVar[tuple[int, ...]] = (85, 142)
    data: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Every layer multiplies the dimensions that can no longer be told apart: depth itself "
        "loses the input.",
        PARTLY: "Layers that narrow free more dimensions, but not as many as the product: the narrowest "
        "layer decides, and it is where to look for what a network cannot tell apart.",
        Verdict.DOES_NOT_HOLD: "Depth frees no further dimension: only the first layer counts.",
    }

    grows_linear: Above = Above(1.0)
    grows_relu: Above = Above(1.0)
    formula_off: Below = Below(0.1)

    def measure(self, lab: Lab) -> Finding:
        """Count the dimensions that are lost."""
        numbers: dict[str, Estimate] = {}
        lines: Lines = {}
        after = range(1, len(NARROWING))
        for name, widths in (("narrowing", NARROWING), ("level", LEVEL)):
            for kind in ("linear", "relu"):
                free = [freedom(chain(widths, s), kind == "relu", lab.rng(s, "inputs")) for s in lab.seeds]
                numbers[f"free, {name}, {kind}"] = statistics.mean([f[-1] for f in free])
                numbers[f"grows, {name}, {kind}"] = statistics.ratio([f[-1] for f in free], [f[0] for f in free])
                lines[f"{name}, {kind}"] = (after, torch.stack(free).mean((0, 2)).tolist())
                if kind == "linear":
                    said = {"formula": product(widths)[-1], "right formula": N - min(widths)}
                    numbers |= {
                        f"{formula} off, {name}": statistics.mean([(f[-1] - value).abs() / f[-1] for f in free])
                        for formula, value in said.items()
                    }
        numbers |= {f"grows {kind}": numbers[f"grows, narrowing, {kind}"] for kind in ("linear", "relu")}
        numbers["formula off"] = numbers["formula off, narrowing"]
        formulas = {
            "measured": lines["narrowing, linear"],
            "n less the smallest m": (after, [float(N - m) for m in NARROWING[1:]]),
            "the essay's product": (after, product(NARROWING)),
        }
        square = [undone(chain((N,) * 5, s), lab.rng(s, "square")) for s in lab.seeds]
        numbers |= {what: statistics.mean([s[what] for s in square]) for what in square[0]}
        figures = {
            "freedom": pictures.curves(lines, "layers", f"free dimensions (an image has {N})"),
            "formulas": pictures.curves(formulas, "layers", f"free dimensions (an image has {N})", logy=True),
        }
        return Finding(numbers, figures, notes=("the essay's product of the level layers is 0",))


def freedom(layers: Sequence[nn.Linear], relu: bool, rng: Generator) -> Tensor:
    """The free dimensions after each layer of a chain: layers x inputs, for inputs where they may differ."""
    n, inputs = layers[0].in_features, INPUTS if relu else 1
    x = torch.randn(inputs, n, generator=rng, dtype=torch.float64)
    jacobian, found = torch.eye(n, dtype=torch.float64).expand(inputs, n, n), []
    for layer in layers:
        x, jacobian = layer(x).detach(), layer.weight.detach() @ jacobian
        if relu:
            x, jacobian = x.relu(), (x > 0).unsqueeze(2) * jacobian
        found.append(n - torch.linalg.matrix_rank(jacobian))
    return torch.stack(found).double()


def chain(widths: Sequence[int], seed: int) -> list[nn.Linear]:
    """Layers of these widths with torch's initial weights, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return [nn.Linear(n, m).double() for n, m in pairwise(widths)]


def product(widths: Sequence[int]) -> list[float]:
    """The essay's (n_1 - m_1) (n_2 - m_2) ... after each layer."""
    lost = [n - m for n, m in pairwise(widths)]
    return [float(math.prod(lost[:k])) for k in range(1, len(lost) + 1)]


@torch.no_grad()
def undone(layers: Sequence[nn.Linear], rng: Generator) -> dict[str, Tensor]:
    """Square layers, inverted layer by layer: exactly, and from an output with noise."""
    x = torch.rand(16, layers[0].in_features, generator=rng, dtype=torch.float64)
    y = nn.Sequential(*layers)(x)
    exact, noisy = y, y + noise_like(y, 0.0, 1 / 1000, rng)
    for layer in reversed(layers):
        exact, noisy = (torch.linalg.solve(layer.weight, (z - layer.bias).T).T for z in (exact, noisy))
    return {
        "error of the exact inverse, square": distance(exact, x) / x.norm(dim=1),
        "moved by noise in the output, square": distance(noisy, x) / x.norm(dim=1),
    }
