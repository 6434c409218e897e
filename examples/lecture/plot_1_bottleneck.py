r"""
1. The bottleneck, and PCA
==========================

An autoencoder has two parts. The encoder E turns an image x into a code z, a few numbers. The decoder D turns the
code back into an image. Training makes the copy D(E(x)) as similar to x as it can:

.. math:: L(x) = \frac{1}{2} \lVert D(E(x)) - x \rVert^2

Copying is easy where the code is as large as the image. Where it is smaller, the network must find out what images
of this kind have in common. This part asks how small the code can be, and what is better: a linear network or one
with a hidden layer.
"""

import os

import torch

import copyfold as cf

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 3
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# The images
# ----------
# 1,797 handwritten digits of 16 x 16 pixels. A tenth is held out: it is never trained on, and every number below
# is measured on it.

photos = cf.Photos(size=16)
x = photos.sample("held_out", 10).images
print(len(photos), "images to learn from, each of", photos.shape)
cf.comparison({"digits": x})

# %%
# Linear: PCA
# -----------
# With one linear layer each way, the best code is known: it is the projection on the first principal components
# (Baldi and Hornik, 1989). ``solve=True`` computes this optimum, without steps.

sizes = [2, 8, 32] if TINY else [2, 4, 8, 16, 32]
linear = {}
for size in sizes:
    run = cf.fit(cf.Linear(photos.shape, size), photos=photos, run=f"runs/pca-{size}", solve=True, overwrite=True)
    linear[size] = run.model

# %%
# With a hidden layer
# -------------------
# The same codes, with 256 hidden units in the encoder and as many in the decoder. Now the code can follow curved
# surfaces, not only planes.

curved = {}
for size in sizes:
    torch.manual_seed(0)
    model = cf.MLP(photos.shape, hidden=[256], latent_dim=size)
    plan = {"epochs": 2 if TINY else 60, "batch": 64, "lr": 3e-3}
    curved[size] = cf.fit(model, photos=photos, run=f"runs/mlp-{size}", overwrite=True, **plan).model

# %%
# How much is lost
# ----------------
# The error is the mean of the squared difference per pixel, as a share of the variance of the images. 100 % means:
# no better than answering with the mean image every time.

held_out = photos.images("held_out")
mean = photos.images("train").mean(0)
variance = (held_out - mean).square().mean()


@torch.no_grad()
def lost(model):
    """The share of the held-out variance that a model does not copy, in per cent."""
    return 100 * float((model(held_out) - held_out).square().mean() / variance)


series = {
    "linear (PCA)": (sizes, [lost(linear[size]) for size in sizes]),
    "one hidden layer": (sizes, [lost(curved[size]) for size in sizes]),
}
cf.curves(
    series, "numbers in the code", "lost variance in %", logx=True, logy=True, title="What a bottleneck loses"
)

# %%
# With few numbers the curved code loses less than the flat one. With many, PCA catches up: it is solved exactly,
# and the network is trained for a few seconds only.
#
# What that looks like
# --------------------
# Through two numbers PCA draws a blur, and the network some digit, not always the right one. Through eight most
# copies can be read. Through thirty-two one has to look closely to see a difference.

with torch.no_grad():
    rows = {"image": x}
    for size in (2, 8, 32):
        rows[f"PCA, {size}"] = linear[size](x)
        rows[f"hidden layer, {size}"] = curved[size](x)
cf.comparison(rows, title="Copies through codes of 2, 8 and 32 numbers")

# %%
# What to remember
# ----------------
# * A bottleneck forces a network to choose. What it keeps is what most images need.
# * A linear autoencoder is PCA. Compare with PCA before you believe that a deep network is needed.
# * :class:`copyfold.Linear` is solved exactly; :class:`copyfold.MLP` is trained.
