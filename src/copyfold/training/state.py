"""The state of a training, as checkpoints hold it."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from copyfold.models.base import Autoencoder
from copyfold.training.early_stopping import EarlyStopping
from copyfold.training.ema import MovingAverage
from copyfold.training.loss import Tally
from copyfold.training.stopping import Clock


@dataclass
class TrainState:
    """All that a step changes, and all that a checkpoint holds."""

    model: Autoencoder
    optimizer: torch.optim.Optimizer
    clock: Clock
    average: MovingAverage | None = None
    early_stopping: EarlyStopping | None = None
    step: int = 0
    """Steps since the start."""
    lowest: float = math.inf
    """The lowest held-out loss so far, of which best/ has the weights."""
    tally: Tally = field(default_factory=Tally)
    """Sums of the numbers of the steps since the last row of the log."""

    @property
    def shown(self) -> Autoencoder:
        """The model that is saved and looked at: the average of the weights where there is one."""
        return self.model if self.average is None else self.average.model

    def state_dict(self) -> dict[str, Any]:
        """The content of a checkpoint."""
        return {
            "global_step": self.step,
            "seconds": self.clock.seconds,
            "lowest": self.lowest,
            "state_dict": {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()},
            "optimizer_states": [self.optimizer.state_dict()],
            "average": None if self.average is None else self.average.state_dict(),
            "early_stopping": None if self.early_stopping is None else vars(self.early_stopping).copy(),
            "tally": {"sums": self.tally.sums, "counts": self.tally.counts},
        }

    def load_state_dict(self, kept: dict[str, Any], device: torch.device) -> None:
        """Restore the state from a checkpoint."""
        self.step, self.lowest, self.clock.before = kept["global_step"], kept["lowest"], kept["seconds"]
        self.model.load_state_dict({k.removeprefix("model."): v for k, v in kept["state_dict"].items()})
        self.optimizer.load_state_dict(kept["optimizer_states"][0])
        if self.average is not None:
            self.average.load_state_dict(kept["average"])
        if self.early_stopping is not None and kept["early_stopping"] is not None:
            self.early_stopping = EarlyStopping(
                **kept["early_stopping"] | {"patience": self.early_stopping.patience}
            )
        sums = {name: total.to(device) for name, total in kept["tally"]["sums"].items()}
        self.tally = Tally(sums, kept["tally"]["counts"])
