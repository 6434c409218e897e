"""Scripts for type checkers: one without an error, one in which every error is marked, and the examples."""

from pathlib import Path

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))

RIGHT = """
from typing import assert_type

import torch
from torch import Generator, Tensor, nn

import copyfold as cf
from copyfold.corruptions import Gaussian
from copyfold.data import Batches, Photos, Stream
from copyfold.models import Autoencoder, UNet, Variational
from copyfold.objectives import L1, Classical
from copyfold.pictures import film
from copyfold.probes import Inversion
from copyfold.report import diagnose
from copyfold.samplers import Walk
from copyfold.training import Plan, fit


class Tiny(cf.Autoencoder):
    def __init__(self, shape: cf.Shape, width: int = 8) -> None:
        super().__init__(shape)
        self.width = width
        self.encoder = nn.Conv2d(shape[0], width, 2, 2)
        self.decoder = nn.ConvTranspose2d(width, shape[0], 2, 2)

    def encode(self, x: cf.Images) -> cf.Code:
        return self.encoder(x)

    def logits(self, z: cf.Code) -> cf.Images:
        return self.decoder(z)


class Twice(cf.Sampler):
    def __call__(self, model: cf.Autoencoder, x: cf.Images, rng: Generator) -> cf.Film:
        yield model(model(x))


photos = cf.Photos()
x, rng = photos.images("held_out", 8), Generator()
assert_type(x, Tensor)
model = cf.UNet(photos.shape, width=8, depth=3, skips="none")
assert_type(model, UNet)
assert_type(model(x), Tensor)
assert_type(model.decode(model.encode(x)), Tensor)
objective = cf.Classical(cf.Gaussian(0.2), penalties=[L1(2.0)])
assert_type(objective(model, x), dict[str, Tensor])
run = cf.fit(Tiny(photos.shape), objective, photos, run="runs/r", epochs=3, minutes=0.5, batch=8, precision="auto")
assert_type(run, cf.Run)
assert_type(run.model, Autoencoder)
assert_type(run.history[-1], dict[str, float])
assert_type(run.history["loss"].steps, list[float])
assert_type(cf.load("runs/r"), Autoencoder)
assert_type(cf.adopt(nn.Identity(), photos.shape), Autoencoder)
assert_type(cf.restore(run.model, x), Tensor)
assert_type(cf.film(Walk(steps=3)(model, x, rng), "walk.gif"), int)
assert_type(cf.film(Twice()(model, cf.Renoising().noise(16, photos.shape, rng), rng), "twice.gif"), int)
reading = cf.Denoising(Gaussian(0.2))(model, x, rng)
assert_type(reading.numbers["restored"], Tensor)
assert_type(Inversion("encoder")(model, x, rng), cf.Reading)
cf.save_picture(cf.comparison(reading.images, title="restored"), "restored.png")
assert_type(cf.diagnose(model, photos), cf.Report)
assert_type(cf.runs.open("runs/r"), cf.Run)
assert_type(cf.measures.psnr(x, model(x)), Tensor)
"""

WRONG = """
import copyfold as cf
from copyfold.models import UNett  # wrong

photos = cf.Photos()
cf.UNett(photos.shape)  # wrong
cf.UNet(photos.shape, width="8")  # wrong
cf.UNet(photos.shape, widht=8)  # wrong
model = cf.Variational(cf.MLP(photos.shape, hidden=[64]), latent_dim=3)
cf.fit(model, epoch=1)  # wrong
cf.fit(model, epochs="3")  # wrong
cf.fit(model, precision="bf32")  # wrong
cf.Gaussian(sdt=0.2)  # wrong
cf.save(model, "here")  # wrong
model(photos)  # wrong
"""


def written(folder: Path) -> set[tuple[str, int]]:
    """Write all of them into a folder; the file and the line of every mistake that a checker must find."""
    (folder / "right.py").write_text(RIGHT)
    (folder / "wrong.py").write_text(WRONG)
    for example in EXAMPLES:
        (folder / example.name).write_bytes(example.read_bytes())
    marked = {("wrong.py", n) for n, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}
    assert len(marked) > 8
    return marked
