"""One training by pythae's own trainer; `pythae.py` starts it with the python that has pythae.

    python -I pythae_worker.py TRAIN.npy HELD_OUT.npy EPOCHS BATCH RATE

The files hold uint8 images N x 28 x 28 x 1. Prints one line of JSON: when training was called and returned, when
each step ended with the number of images until then (all of the same clock), and the held-out error per pixel.
"""

import json
import sys
import tempfile
import time

CALLED = time.time()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from pythae.models import AE, AEConfig  # noqa: E402
from pythae.models.base.base_utils import ModelOutput  # noqa: E402
from pythae.models.nn import BaseDecoder, BaseEncoder  # noqa: E402
from pythae.pipelines import TrainingPipeline  # noqa: E402
from pythae.trainers import BaseTrainerConfig  # noqa: E402
from pythae.trainers.training_callbacks import TrainingCallback  # noqa: E402
from torch import nn  # noqa: E402


class Encoder(BaseEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 30))

    def forward(self, x: torch.Tensor) -> ModelOutput:
        return ModelOutput(embedding=self.layers(x))


class Decoder(BaseDecoder):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(30, 512), nn.ReLU(), nn.Linear(512, 784), nn.Unflatten(1, (1, 28, 28))
        )

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


class Clock(TrainingCallback):
    """When each step ended, and how many images had been learned from by then."""

    def __init__(self, images: int, batch: int) -> None:
        self.images, self.batch, self.marks = images, batch, []
        self.before = self.inside = 0

    def on_epoch_begin(self, training_config: object, **_: object) -> None:
        self.inside = 0

    def on_epoch_end(self, training_config: object, **_: object) -> None:
        self.before += self.images

    def on_train_step_end(self, training_config: object, **_: object) -> None:
        self.inside = min(self.inside + self.batch, self.images)
        self.marks.append((time.time(), self.before + self.inside))


def main() -> None:
    train, held_out = (
        torch.from_numpy(np.load(path)).permute(0, 3, 1, 2).contiguous().float() / 255 for path in sys.argv[1:3]
    )
    epochs, batch, rate = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    torch.manual_seed(0)
    model = AE(AEConfig(input_dim=(1, 28, 28), latent_dim=30), Encoder(), Decoder())
    clock = Clock(len(train), batch)
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=epochs, per_device_train_batch_size=batch, learning_rate=rate
        )
        called = time.time()
        TrainingPipeline(model, config)(train, callbacks=[clock])
        returned = time.time()
    with torch.no_grad():
        error = (model.decoder(model.encoder(held_out).embedding).reconstruction - held_out).square().mean().item()
    found = {"called": called, "returned": returned, "marks": clock.marks, "error": error}
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
