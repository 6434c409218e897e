"""
4. A model and a class of your own
==================================

Three ways to bring something of your own: a network written as a class, a penalty written as a class, and a
network that was trained elsewhere. All samplers and probes work with all of them.
"""

import os

import torch
from torch import nn

import copyfold as cf
from copyfold.testing import check_architecture

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 1
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# An architecture
# ---------------
# A class with ``encode`` and ``decode``. Its arguments are stored under their own names: then it can be saved,
# read back and used on the command line.


class Pyramid(cf.Autoencoder):
    """Two strided convolutions down, and two up again."""

    def __init__(self, shape: tuple[int, int, int], width: int = 16) -> None:
        super().__init__(shape)
        self.width = width
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


# %%
# Is it one?
# ----------
# The checks that copyfold's own classes have to pass.

check_architecture(Pyramid((1, 16, 16), width=4))

# %%
# A penalty
# ---------
# Neighbouring numbers in the maps of the code are to be alike. A class with one method.


class Smooth(cf.Penalty):
    """Similar neighbours in the code's maps: weight times the squared differences along both axes."""

    def __init__(self, weight: float = 0.01) -> None:
        self.weight = weight

    def __call__(self, model, x, z, q=None):
        maps = [m for m in (z if isinstance(z, tuple) else (z,)) if m.dim() == 4]
        squares = [m.diff(dim=axis).square().sum().float() for m in maps for axis in (2, 3)]
        return self.weight * sum(squares, torch.zeros(())) / len(x)


# %%
# Train with both
# ---------------

photos = cf.Photos()
x = photos.sample("held_out", 8).images
plan = {"steps": 20 if TINY else 300, "overwrite": True}
rows = {"image": x}
for name, penalties in (("without the penalty", ()), ("with the penalty", (Smooth(0.1),))):
    torch.manual_seed(0)
    objective = cf.Classical(penalties=penalties)
    model = cf.fit(Pyramid(photos.shape, width=4), objective, photos, run=f"runs/{name}", **plan).model
    with torch.no_grad():
        code = model.encode(x)
        rows[f"{name}: copy"] = model(x)
    low, high = code[:, :1].amin((1, 2, 3), keepdim=True), code[:, :1].amax((1, 2, 3), keepdim=True)
    rows[f"{name}: a map"] = (code[:, :1] - low) / (high - low)
cf.comparison(rows, title="The penalty makes the maps of the code smoother")

# %%
# Read it back
# ------------
# A saved model is weights and a name; its class must be known when it is read. In another process, import the
# module that defines it first.

again = cf.load("runs/with the penalty")
print(type(again).__name__, again.width, "the same copies:", torch.equal(again(x), model(x)))

# %%
# A network that was trained elsewhere
# ------------------------------------
# :func:`copyfold.adopt` takes any module. This one works with values from -1 to 1, so the functions convert them.


class Elsewhere(nn.Module):
    """A network of somebody else."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 8, 4, 2, 1))
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1))


torch.manual_seed(0)
net = Elsewhere()
adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for _ in range(1 if TINY else 5):
    for batch in (2 * photos.images() - 1).split(32):
        adam.zero_grad()
        nn.functional.mse_loss(net.up(net.down(batch)), batch).backward()
        adam.step()
adopted = cf.adopt(net, photos.shape, encode=lambda x: net.down(2 * x - 1), decode=lambda z: (net.up(z) + 1) / 2)
reading = cf.Denoising(cf.Gaussian(0.2))(adopted, x, torch.Generator().manual_seed(0))
cf.comparison(
    {name: reading.images[name] for name in ("clean", "corrupted", "restored")},
    title="An adopted network, and noise that it never saw",
)

# %%
# From here
# ---------
# * :doc:`/your_own` says what each kind of class has to do.
# * On the command line: ``copyfold train PHOTOS --import my_models.py --model Pyramid``.
# * In scikit-learn: :doc:`plot_5_scikit_learn`.
