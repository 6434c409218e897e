"""Early stopping: end training when the held-out loss no longer falls."""

import math
from dataclasses import dataclass


@dataclass
class EarlyStopping:
    """Counts the epochs since the held-out loss was lowest.

    Prechelt, "Early Stopping - But When?" (1998): stop after a number of successive strips without progress.
    """

    patience: int
    """Epochs without a lower held-out loss after which training ends."""
    lowest: float = math.inf
    waited: int = 0

    def judge(self, loss: float) -> None:
        """Note the held-out loss of an epoch."""
        self.waited = 0 if loss < self.lowest else self.waited + 1
        self.lowest = min(loss, self.lowest)

    @property
    def over(self) -> bool:
        """Whether the held-out loss has not fallen for `patience` epochs."""
        return self.waited >= self.patience
