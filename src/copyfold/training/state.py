"""The state of a training, as checkpoints hold it."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from copyfold.models.base import Autoencoder
from copyfold.runs import History
from copyfold.training.early_stopping import EarlyStopping
from copyfold.training.ema import MovingAverage
from copyfold.training.loss import Tally
from copyfold.training.optimizer_state import resume_optimizer, settings
from copyfold.training.stopping import Clock

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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
    epoch: float = 0.0
    """Passes over the photos since the start."""
    loss: float | None = None
    """The mean loss since the last row of the log, read every step on a CPU and every tenth on a GPU."""
    history: History = field(default_factory=History)
    """The log so far, as `run.history`."""

    def __post_init__(self) -> None:
        self.settings = settings(self.optimizer)
        """Those of the optimiser's groups before the first step."""

    def stop(self) -> None:
        """End training after this step, as at the end of the plan; of several processes, within ten steps."""
        self.clock.stopped = True

    @property
    def finite(self) -> bool:
        """Whether all weights are finite numbers: the loss of a step does not see what this step made of them."""
        return all(bool(parameter.isfinite().all()) for parameter in self.model.parameters())

    @property
    def shown(self) -> Autoencoder:
        """The model that is saved and looked at: the average of the weights where there is one."""
        return self.model if self.average is None else self.average.model

    def state_dict(self) -> dict[str, Any]:
        """The content of a checkpoint, but for the tally, to which every process adds its own."""
        return {
            "global_step": self.step,
            "seconds": self.clock.seconds,
            "lowest": self.lowest,
            "state_dict": {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()},
            "optimizer_states": [self.optimizer.state_dict()],
            "optimizer_settings": self.settings,
            "average": None if self.average is None else self.average.state_dict(),
            "early_stopping": None if self.early_stopping is None else vars(self.early_stopping).copy(),
        }

    def load_state_dict(self, kept: dict[str, Any], fabric: "Fabric") -> None:
        """Restore the state from a checkpoint; the model has its weights already, by `checkpointing.read`."""
        self.step, self.lowest, self.clock.before = kept["global_step"], kept["lowest"], kept["seconds"]
        resume_optimizer(self.optimizer, kept["optimizer_states"][0], kept["optimizer_settings"])
        if self.average is not None:
            self.average.load_state_dict(kept["average"])
        if self.early_stopping is not None and kept["early_stopping"] is not None:
            self.early_stopping = EarlyStopping(
                **kept["early_stopping"] | {"patience": self.early_stopping.patience}
            )

        def own(total: Tensor) -> Tensor:
            """The sum of this process; of another number of processes than now, their mean."""
            total = total.to(fabric.device)
            return total[fabric.global_rank] if len(total) == fabric.world_size else total.mean()

        sums = {name: own(torch.atleast_1d(total)) for name, total in kept["tally"]["sums"].items()}
        self.tally = Tally(sums, kept["tally"]["counts"])
