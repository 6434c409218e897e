"""A training that learns nothing more ends by itself."""

import logging
from typing import Any

import lightning
from lightning.pytorch.callbacks import EarlyStopping

log = logging.getLogger("copyfold")


class Patience(EarlyStopping):
    """Ends a training after so many epochs without a lower held-out loss."""

    def __init__(self, epochs: int) -> None:
        super().__init__("held_out_loss", patience=epochs, check_finite=False)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Nothing yet: Lightning would ask after the checkpoint of this epoch is written."""

    def judge(self, trainer: lightning.Trainer, module: lightning.LightningModule, loss: float) -> None:
        """Ask whether to go on after an epoch with this held-out loss."""
        module.log("held_out_loss", loss)
        super().on_train_epoch_end(trainer, module)
        if trainer.should_stop:
            log.info(
                "the held-out loss has not fallen for %d epochs, so training ends; best/ has the lowest",
                self.wait_count,
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting, with the patience that is asked for now."""
        super().load_state_dict(state_dict | {"patience": self.patience})
