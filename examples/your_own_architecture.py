"""An architecture and a penalty of your own: trained, read back, and given to the command line.

python examples/your_own_architecture.py
copyfold train --import examples/your_own_architecture.py --model Pyramid --model.width 8 --epochs 2
"""

import torch
from torch import nn

import copyfold as cf


class Pyramid(cf.Autoencoder):
    """Two strided convolutions down, and two up again."""

    def __init__(self, shape: tuple[int, int, int], width: int = 16) -> None:
        super().__init__(shape)
        self.width = width  # every argument is stored under its name: it is the configuration
        self.encoder = nn.Sequential(
            nn.Conv2d(shape[0], width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(width, shape[0], 4, stride=2, padding=1),
        )

    def encode(self, x):
        return self.encoder(x)

    def decode(self, z):
        return self.decoder(z)


class Smooth(cf.Penalty):
    """Similar neighbours in the code's maps: weight * sum of squared differences along both axes."""

    def __init__(self, weight: float = 0.01) -> None:
        self.weight = weight

    def __call__(self, model, x, z, q=None):
        maps = z if isinstance(z, tuple) else (z,)  # a tuple of maps where a U-Net has skips
        squares = [m.diff(dim=axis).square().sum().float() for m in maps for axis in (2, 3)]
        return self.weight * torch.stack(squares).sum() / len(x)


if __name__ == "__main__":
    photos = cf.Photos()
    objective = cf.Classical(penalties=(Smooth(),))
    run = cf.fit(Pyramid(photos.shape, width=8), objective, photos, run="runs/pyramid", epochs=3, overwrite=True)
    model = cf.load("runs/pyramid")  # in another process: import the module that defines Pyramid first
    x = photos.images("held_out", 8)
    picture = cf.comparison({"image": x, "reconstruction": model(x).detach()}, title="A network of one's own")
    cf.save_picture(picture, "runs/pyramid/findings/copies.png")
