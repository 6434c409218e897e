r"""
4. Images from noise
====================

A network that removes noise can make images: give it pure noise, and it removes what does not look like an image.
Once is not enough. Two samplers repeat it:

* :class:`copyfold.Renoising`, the essay's "diffusion with no diffusion": copy, mix with new noise, a little less
  each time.
* :class:`copyfold.Ascent` (Kadkhodaie and Simoncelli, 2021): follow the denoiser's residual, which is the score,
  from coarse to fine.
"""

import os
from itertools import islice

import torch
from PIL import Image

import copyfold as cf

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 4
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# Two networks
# ------------
# One is trained to copy digits, one to remove noise of every level from 0.02 to 1, which hides a digit completely.

photos = cf.Photos(size=16)
torch.manual_seed(0)
plan = {"batch": 32, "overwrite": True, "steps": 10 if TINY else 800}
copying = cf.fit(cf.UNet(photos.shape, width=8, depth=2), cf.Classical(), photos, run="runs/copying", **plan).model
torch.manual_seed(0)
denoiser = cf.UNet(photos.shape, width=16, depth=2, skips="concat", norm="none")
levels = cf.Classical(cf.Gaussian(std=(0.02, 1.0)))
denoiser = cf.fit(denoiser, levels, photos, run="runs/denoiser", **plan).model

# %%
# Renoising
# ---------
# With the network that was only trained to copy. From left to right: frames of the film.

rng = torch.Generator().manual_seed(0)
renoising = cf.Renoising(steps=30)
start = renoising.noise(6, photos.shape, rng)
Image.fromarray(cf.strip(renoising(copying, start, rng), count=10, scale=5))

# %%
# Strokes appear, of the right width and on black, and they are not digits. A network of this size that only copies
# knows the texture of digits and little of their shape.
#
# Ascent
# ------
# With the network that was trained to denoise.

ascent = cf.Ascent(from_std=1.0, to_std=0.02, steps=10 if TINY else None)
start = ascent.noise(6, photos.shape, rng)
Image.fromarray(cf.strip(ascent(denoiser, start, rng), count=10, scale=5))

# %%
# First there is a grey mean, then a blob, then a stroke, then a digit.
#
# As a film
# ---------

start = ascent.noise(12, photos.shape, rng)
cf.film(islice(ascent(denoiser, start, rng), 0, None, 3), columns=6, scale=5, fps=12)

# %%
# Are they new?
# -------------
# Under every image the nearest one of the training images.

*_, images = ascent(denoiser, ascent.noise(10, photos.shape, rng), rng)
nearest = cf.Nearest(reference=photos.images("train"))(denoiser, images, rng)
cf.comparison({"made from noise": images, "nearest training image": nearest.images["nearest"]})

# %%
# In numbers
# ----------
# How far sets of images are from real digits, by their patches. "real" is the distance between two sets of real
# digits: less cannot be expected.

made = {}
for name, sampler, model in (("Renoising", renoising, copying), ("Ascent", ascent, denoiser)):
    *_, made[name] = sampler(model, sampler.noise(64, photos.shape, rng), rng)
reference, floor = photos.images("train"), photos.images("held_out")
for name, images in made.items():
    quality = cf.Quality(reference=reference, floor=floor)(denoiser, images, rng).numbers
    distance, real = (float(quality[f"sliced Wasserstein{which}"]) for which in ("", ", real"))
    print(f"{name:10s} {distance:.3f} (real: {real:.3f})")

# %%
# How near Renoising comes changes from training to training; what its images look like does not. Look at the
# pictures before you believe a number.
#
# What to remember
# ----------------
# * A denoiser of all levels is a generator. Diffusion models are this idea, with more of everything.
# * A network trained only to copy makes textures of its images.
