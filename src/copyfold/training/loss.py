"""The loss of a step as a module, and the tally of its numbers."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from copyfold.data.sampling import to_values
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.runs import Row
from copyfold.types import Diagnostics, Images, Terms

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Loss(nn.Module):
    """An objective of a model as a module, so that several processes can share its gradient."""

    def __init__(self, model: Autoencoder, objective: Objective, layout: torch.memory_format) -> None:
        super().__init__()
        self.model, self.objective, self.layout = model, objective, layout

    def forward(self, pixels: Tensor, watched: bool, step: int) -> tuple[Terms, Diagnostics]:
        """The weighted terms of a batch of stored pixels, and its diagnostics where they are asked for."""
        watch: Diagnostics = {}
        x = to_images(pixels, self.layout)
        return self.objective(self.model, x, watch if watched else None, step), watch


@dataclass
class Tally:
    """Sums of named numbers since the last `take`."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, numbers: dict[str, Tensor], weight: int = 1) -> None:
        """Add numbers, detached, without synchronising with the device; means over `weight` images count so."""
        for name, value in numbers.items():
            value = value.detach() if weight == 1 else weight * value.detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + weight

    @property
    def loss(self) -> float | None:
        """The mean loss since the last `take`, None where there was no step; synchronises with the device."""
        return self.sums["loss"].item() / self.counts["loss"] if "loss" in self.sums else None

    def average(self, fabric: "Fabric") -> None:
        """Replace the sums by their means over all processes."""
        if self.sums:
            found = torch.stack([total.float() for total in self.sums.values()])
            sums = cast(Tensor, fabric.all_reduce(found, reduce_op="mean"))
            self.sums = dict(zip(self.sums, sums.unbind(), strict=True))

    def gathered(self, fabric: "Fabric") -> dict[str, Tensor]:
        """The sums; of several processes those of all, in their order, so that a checkpoint changes none."""
        if fabric.world_size == 1 or not self.sums:
            return self.sums
        found = torch.stack([total.float() for total in self.sums.values()])
        every = cast(Tensor, fabric.all_gather(found))
        return dict(zip(self.sums, every.unbind(1), strict=True))

    def take(self) -> Row:
        """Return the means, and start new sums."""
        counts = self.counts.values()
        values = torch.stack([t.float() for t in self.sums.values()]).tolist() if self.sums else []
        row = {name: total / count for name, total, count in zip(self.sums, values, counts, strict=True)}
        self.sums, self.counts = {}, {}
        return row


def to_images(batch: Tensor, layout: torch.memory_format) -> Images:
    """Stored pixels to values in [0, 1], in the given memory layout; NaN where they are missing."""
    return to_values(batch, layout)
