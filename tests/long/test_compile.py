"""A compiled model trains to the same result, and is an ordinary model again afterwards."""

import shutil

import pytest
import torch

import copyfold as cf
from copyfold.data import scenes


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile for a CPU with")
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("kind", ["UNet", "Variational"])
def test_compiled_training_has_the_loss_of_ordinary_training(kind, tmp_path):
    photos = cf.Photos(scenes(72, 16, channels=1, seed=3), 16)
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = cf.UNet(photos.shape, width=4, depth=2, norm="none")
        if kind == "Variational":
            model = cf.Variational(cf.Conv(photos.shape, (4, 8)), latent_dim=4)
        folder = tmp_path / f"{kind}-{compiled}"
        run = cf.fit(model, None, photos, folder, epochs=2, batch=8, precision="32", compile=compiled)
        losses.append(run.series("loss")[1])
        assert not {"encode", "logits"} & {name for part in model.modules() for name in vars(part)}
        cf.load(folder)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
