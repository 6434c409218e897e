"""
3. A walk on the manifold
=========================

Apply an autoencoder to its own output, again and again. If it were perfect, nothing would happen. It is not, and
so the images move. Add a little noise to the code in every step, and they wander about among images of the kind
that the network knows.
"""

import os
from itertools import islice

import torch
from PIL import Image

import copyfold as cf

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 1
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# A network trained to copy digits
# --------------------------------

photos = cf.Photos(size=16)
model = cf.MLP(photos.shape, hidden=[256], latent_dim=12, output="sigmoid")
plan = {"epochs": 2 if TINY else 100, "batch": 64, "lr": 2e-3, "overwrite": True}
model = cf.fit(model, cf.Classical(), photos, run="runs/walk", **plan).model
x = photos.sample("held_out", 6).images

# %%
# With noise
# ----------
# g[n] = D(E(g[n-1]) + noise). The noise is given in units of the codes' own standard deviation.

rng = torch.Generator().manual_seed(0)
walk = cf.Walk(steps=120, std=0.15, relative=True)
Image.fromarray(cf.strip(walk(model, x, rng), count=10, scale=5))

# %%
# Each row is one walk, from left to right. Digits turn into other digits.
#
# As a film
# ---------

cf.film(islice(walk(model, x, torch.Generator().manual_seed(0)), 0, None, 2), columns=6, scale=5, fps=8)

# %%
# Without noise
# -------------
# std = 0: only the network's own errors move the image. Each row ends where the network lets it rest.

still = cf.Walk(steps=60, std=0.0)
Image.fromarray(cf.strip(still(model, x, rng), count=10, scale=5))

# %%
# How many images stay
# --------------------
# :class:`copyfold.Stability` counts them, and measures the largest singular values of the Jacobian: below 1 a
# small change dies out, above 1 it grows.

held_out = photos.images("held_out", 64)
numbers = cf.Stability(steps=60, reference=photos.images("train"))(model, held_out, rng).numbers
share = float(numbers["fraction"])
print(f"{share:.0%} of the images walk away within 60 steps")
print(f"median of the largest singular value: {float(numbers['singular values'][:, 0].median()):.2f}")

# %%
# To a target
# -----------
# :class:`copyfold.DirectedWalk` goes from every image to the next one's.

directed = cf.DirectedWalk(steps=30)
Image.fromarray(cf.strip(directed(model, x, rng), count=10, scale=5))

# %%
# What to remember
# ----------------
# * A walk shows what the network takes for images: nothing else can appear on it.
# * A small copying error is no small walk: every step adds one, and here nearly every image walks away.
