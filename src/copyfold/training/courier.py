"""Between an objective and Lightning: one step, and the tally of its numbers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import lightning
import torch
from torch import Tensor

from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.runs import Row
from copyfold.training.plan import Plan
from copyfold.types import Diagnostics, Images

WATCH_STEPS = 10  # diagnostics are taken of every tenth step


@dataclass
class Tally:
    """Sums of named numbers since they were last taken."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, numbers: dict[str, Tensor], weight: float = 1.0) -> None:
        """Add numbers, detached, without waiting for a device."""
        for name, value in numbers.items():
            self.sums[name] = self.sums.get(name, 0) + weight * value.detach()
            self.counts[name] = self.counts.get(name, 0) + weight

    def share(self, shared: Callable[[Tensor], Tensor]) -> None:
        """Make the sums what `shared` makes of them: their means over all processes."""
        if self.sums:
            sums = shared(torch.stack([total.float() for total in self.sums.values()]))
            self.sums = dict(zip(self.sums, sums.unbind(), strict=True))

    def take(self) -> Row:
        """The means, and begin anew."""
        counts = self.counts.values()
        values = torch.stack([t.float() for t in self.sums.values()]).tolist() if self.sums else []
        row = {name: total / count for name, total, count in zip(self.sums, values, counts, strict=True)}
        self.sums, self.counts = {}, {}
        return row


class Copying(lightning.LightningModule):
    """A courier between an objective and Lightning: it adds terms up and keeps a tally of them."""

    def __init__(self, model: Autoencoder, objective: Objective, plan: Plan, layout: torch.memory_format) -> None:
        super().__init__()
        self.model, self.objective, self.plan, self.layout = model, objective, plan, layout
        self.tally = Tally()
        self.finite: Tensor | None = None  # whether every loss since it was looked at is a number

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Images:
        """From bytes to [0, 1], in the memory layout that the model is trained in."""
        return to_images(batch, self.layout)

    def training_step(self, x: Images, index: int) -> Tensor:
        """The sum of the objective's terms."""
        first = self.tally.counts.get("loss", 0) < self.plan.accumulate  # of a row: all parts of its first step
        watched = first or self.global_step % WATCH_STEPS == 0
        watch: Diagnostics | None = {} if watched else None
        terms = self.objective(self.model, x, watch, self.global_step)
        loss = torch.stack(list(terms.values())).sum()
        finite = loss.detach().isfinite()
        self.finite = finite if self.finite is None else self.finite & finite
        self.tally.add({"loss": loss} | terms)
        self.tally.add(watch or {})
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The tally since the last row of the log, so that a resumed training writes the same row."""
        checkpoint["tally"] = {"sums": self.tally.sums, "counts": self.tally.counts}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with that tally."""
        self.tally = Tally(**checkpoint["tally"])

    def on_train_start(self) -> None:
        """Have a tally that was read back where the numbers of the steps are."""
        self.tally.sums = {name: total.to(self.device) for name, total in self.tally.sums.items()}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Shorten the gradient where it is longer than the plan allows."""
        if self.plan.clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(self.parameters(), self.plan.clip)
            self.tally.add({"gradient_norm": norm})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, in its fused form: 2.2 times as fast as the loop over parameters on 31 million of them."""
        fused = self.plan.precision != "16"  # there the loss is scaled, and the fused form hides that from clip
        return torch.optim.Adam(self.parameters(), lr=self.plan.lr, fused=fused)


def to_images(batch: Tensor, layout: torch.memory_format) -> Images:
    """Bytes to [0, 1] in the given memory layout."""
    return batch.to(torch.float32, memory_format=layout).div_(255)
