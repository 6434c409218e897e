"""What attention costs: how time and memory grow with the number of positions."""

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold.claims.attention import SECTION
from copyfold.models.attention import Attention, attention
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.attention import MAPS


@dataclass(frozen=True)
class AttentionCost(Study):
    """Linear attention takes linear time and memory, dot-product attention quadratic.

    One attention of 4 heads of 32 features on 64 maps, forward and backward, at the side of the budget and at
    twice that side, with four times as many positions. The exponent is log(ratio of costs) / log 4: 1 is linear, 2
    is quadratic, and 1.5 lies halfway. Time is processor time over all threads, the least of five runs. Memory is
    the count of numbers that the forward pass keeps for the gradient, for the dot product with the matrix of pairs
    written out.

    Control: the dot product in the fused kernel that torch uses by default, which computes the same function and
    keeps no matrix of pairs; if its memory is linear, the quadratic memory comes from the implementation and not
    from the operation.

    In the figure each line is a kind of cost; the small circles are repetitions.
    """

    claim: ClassVar[str] = "attention-cost"
    place: ClassVar[str] = f"{SECTION}: the sentence on why linear attention was introduced"
    items: ClassVar[tuple[int, ...]] = (39,)
    data: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "At four times the positions the dot product takes about sixteen times as long: use "
        "linear attention on large maps. For memory see the fused kernel first.",
        PARTLY: "Not all of these costs grow as the formulas say at practical sizes: see which.",
        Verdict.DOES_NOT_HOLD: "At practical sizes the costs of both grow alike.",
    }

    time_linear: Below = Below(1.5)
    time_dot_product: Above = Above(1.5)
    memory_linear: Below = Below(1.5)
    memory_dot_product: Above = Above(1.5)

    def measure(self, lab: Lab) -> Finding:
        """Count and time at both sides."""
        sides = (lab.budget.side, 2 * lab.budget.side)
        written_out = partial(sdpa_kernel, SDPBackend.MATH)

        def exponent(small: float, large: float) -> float:
            return math.log(large / small) / math.log(4)

        kinds: dict[str, Attention] = {"linear": "softmax", "elu": "elu", "dot product": "dot"}
        numbers = {}
        for name, kind in kinds.items():
            numbers[f"time {name}"] = statistics.over_seeds(
                lab.each(lambda _, kind=kind: exponent(*(seconds(kind, side, lab.device) for side in sides)))
            )
            label = "dot product, fused" if kind == "dot" else name
            counts = [kept(kind, side, lab.device) for side in sides]
            numbers[f"memory {label}"] = statistics.over_seeds([exponent(*counts)] * len(lab.seeds))
        # On the meta device, where matrices of pairs have a size and take no room
        counts = [kept("dot", side, torch.device("meta"), written_out()) for side in sides]
        numbers["memory dot product"] = statistics.over_seeds([exponent(*counts)] * len(lab.seeds))
        marks = {"linear": 1.0, "quadratic": 2.0}
        return Finding(numbers, {"exponents": charts.intervals(numbers, "exponent of the positions", marks)})


def kept(
    kind: Attention, side: int, device: torch.device, within: AbstractContextManager[object] | None = None
) -> int:
    """Numbers that a forward pass keeps for the gradient, each tensor counted once."""
    sizes: dict[tuple[int, int], int] = {}

    def pack(t: Tensor) -> Tensor:
        place = id(t.untyped_storage()), int(t.storage_offset())  # on the meta device no tensor has an address
        sizes[place] = max(sizes.get(place, 0), t.numel())
        return t

    module = attention(kind, MAPS).to(device)
    x = torch.zeros(1, MAPS, side, side, device=device)
    with within or nullcontext(), saved_tensors_hooks(pack, lambda t: t):
        module(x)
    return sum(sizes.values())


def seconds(kind: Attention, side: int, device: torch.device) -> float:
    """Processor time of a forward and backward pass, the least of five; other processes do not add to it."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    module, x = attention(kind, MAPS).to(device), torch.rand(1, MAPS, side, side, device=device)
    times: list[float] = []
    for _ in range(5):
        start = clock()
        module(x).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return min(times)
