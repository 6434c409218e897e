r"""
5. The variational autoencoder
==============================

A variational autoencoder draws its code from a distribution, and is paid for one that is near N(0, I) (Kingma and
Welling, 2013):

.. math:: -\mathrm{ELBO}(x) = \mathbb{E}_{q(z|x)} [-\log p(x|z)] + \mathrm{KL}(q(z|x) \,\Vert\, N(0, I))

So the codes of all images fill one cloud around zero, without holes. That is what makes it a generator: a code
drawn from N(0, I) is decoded to an image.
"""

import os

import torch
from PIL import Image

import copyfold as cf

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 2
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# A code of two numbers
# ---------------------
# :class:`copyfold.Variational` wraps any autoencoder. Two latent dimensions are few, but they can be drawn on
# paper.

photos = cf.Photos(size=16)
plan = {"epochs": 3 if TINY else 120, "batch": 64, "lr": 2e-3, "overwrite": True}
objective = cf.Classical(fidelity=cf.Bernoulli(), penalties=(cf.Divergence(),))


def variational(latent_dim):
    torch.manual_seed(0)
    core = cf.MLP(photos.shape, hidden=[256], latent_dim=128, output="sigmoid", code_activation="gelu")
    return cf.Variational(core, latent_dim)


flat = cf.fit(variational(2), objective, photos, run="runs/vae-2", **plan).model

# %%
# The map
# -------
# Every held-out digit at the mean of its code. The network has never seen a label, and yet some digits have places
# of their own.

sample = photos.sample("held_out")
with torch.no_grad():
    codes = flat.encode(sample.images)
cf.scatter(
    codes, sample.labels, "first number of the code", "second number", title="Held-out digits, by their codes"
)

# %%
# The grid
# --------
# The decoder's image at 12 x 12 places, evenly by probability under N(0, I).

share = torch.linspace(0.03, 0.97, 12)
places = torch.distributions.Normal(0, 1).icdf(share)
grid = torch.cartesian_prod(-places, places).flip(1)  # rows from above: the second number falls
with torch.no_grad():
    decoded = flat.decode(grid)
Image.fromarray(cf.grid(decoded, columns=12, scale=4, gap=1))

# %%
# Neighbours in the plane are decoded to images that are alike. Digits turn into each other without a jump.
#
# Interpolation
# -------------
# Two numbers are not enough for sharp digits. With sixteen we go from one image to the next in a straight line:
# first through the codes, then, as a control, through the pixels.

deep = cf.fit(variational(16), objective, photos, run="runs/vae-16", **plan).model
rng = torch.Generator().manual_seed(0)
ends = photos.sample("held_out", 40).images[[3, 17, 30]]
through_codes = torch.stack(list(cf.Interpolation(steps=9)(deep, ends, rng)), dim=1)
mixing = torch.linspace(0, 1, 9).view(-1, 1, 1, 1)
rows = {}
for i in range(3):
    rows[f"{i + 1}: through codes"] = through_codes[i]
    rows[f"{i + 1}: through pixels"] = (1 - mixing) * ends[i] + mixing * ends[(i + 1) % 3]
cf.comparison(rows, title="From one digit to another")

# %%
# In the middle, mixed pixels are two digits on top of each other. The decoder draws one shape, which changes.
#
# New digits
# ----------
# Codes drawn from N(0, I), and decoded. Under them the training images that look most like them, so that nobody
# has to believe that they are new: see :class:`copyfold.Nearest`.

start = torch.zeros(10, *photos.shape)  # says how many images are wanted
drawn = next(iter(cf.Prior()(deep, start, rng)))
nearest = cf.Nearest(reference=photos.images("train"))(deep, drawn, rng)
cf.comparison(
    {"drawn": drawn, "nearest training image": nearest.images["nearest"]}, title="Sixteen random numbers each"
)

# %%
# Most can be read as a digit, and some cannot: sixteen numbers drawn independently are not always the code of a
# digit.
#
# What to remember
# ----------------
# * The divergence makes a cloud of the codes. That costs sharpness: see :class:`copyfold.Divergence` for its
#   weight ``beta``, and what helps when the code collapses.
# * To judge it in nats there is :class:`copyfold.Evidence`.
