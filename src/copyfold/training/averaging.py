"""A moving average of the weights, which is what is saved and looked at."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn


class MovingAverage(WeightAveraging):
    r"""An exponential moving average of weights and norms' averages, by Lightning's own callback.

        average <- decay * average + (1 - decay) * weight        after every step; at first the weight itself

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

    @contextmanager
    def shown(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> Iterator[None]:
        """Put the average in the place of the weights within a with-block."""
        self.on_validation_epoch_start(trainer, module)
        try:
            yield
        finally:
            self.on_validation_epoch_end(trainer, module)
