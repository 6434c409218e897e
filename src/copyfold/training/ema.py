"""An exponential moving average of the weights, which is saved and evaluated in their place."""

from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from copyfold.models.base import Autoencoder


class MovingAverage:
    r"""An exponential moving average of weights and norms' averages, by torch's AveragedModel.

        average <- decay * average + (1 - decay) * weight        after every step; at first the weight itself

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
    """

    def __init__(self, model: Autoencoder, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay)

        def averaged(averages: Any, values: Any, steps: Any) -> None:
            """Integer buffers, such as counts, are copied: they have no mean."""
            if averages[0].is_floating_point() or averages[0].is_complex():
                average(averages, values, steps)
            else:
                for kept, value in zip(averages, values, strict=True):
                    kept.copy_(value)

        self._averaged = AveragedModel(model, multi_avg_fn=averaged, use_buffers=True)

    @property
    def model(self) -> Autoencoder:
        """A model with the averages in the place of the weights."""
        return cast(Autoencoder, self._averaged.module)

    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        self._averaged.update_parameters(model)
        for kept, value in zip(self.model.buffers(), model.buffers(), strict=True):
            if kept.is_floating_point():  # of infinities, as in a mask, a mean is NaN
                kept.copy_(torch.where(kept.isnan(), value, kept))

    def state_dict(self) -> dict[str, Any]:
        """The averages and their number of steps."""
        return self._averaged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the averages."""
        self._averaged.load_state_dict(state)
