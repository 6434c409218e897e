"""
1. Copying, and denoising
=========================

A U-Net is trained to copy clean images, nothing else. Then it is given noisy ones. Does it copy the noise?

The essay's answer: with skip connections, yes; without them, much less. Here you can see why that is an answer
about the *path* that the image takes, and how strong simple filters are.
"""

import os

import torch

import copyfold as cf

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 3
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# Images to copy
# --------------
# Little landscapes, painted by :func:`copyfold.scenes`: a sky, a sun, hills. They stand for photographs, which
# would need hours.

photos = cf.Photos(cf.scenes(64 if TINY else 600, size=32))
x = photos.sample("held_out", 6).images
cf.comparison({"landscapes": x})

# %%
# Two U-Nets
# ----------
# They are the same but for the skips: connections that carry maps of the way down directly to the way up. copyfold
# says it where a network has not learned to copy well. Here half a minute of training has to do.

models = {}
for name, skips in (("without skips", "none"), ("with skips", "concat")):
    torch.manual_seed(0)
    model = cf.UNet(photos.shape, width=8, depth=2, skips=skips)
    plan = {"steps": 10 if TINY else 600, "batch": 16, "overwrite": True}
    models[name] = cf.fit(model, cf.Classical(), photos, run=f"runs/unet-{skips}", **plan).model

# %%
# Copies of clean images
# ----------------------

with torch.no_grad():
    rows = {"image": x} | {name: model(x) for name, model in models.items()}
captions = {name: f"squared error {(rows[name] - x).square().mean():.5f}" for name in models}
cf.comparison(rows, captions, title="Copies")

# %%
# Noise that they have never seen
# -------------------------------

noise = cf.Gaussian(0.2)
noisy = noise(x, torch.Generator().manual_seed(0))
with torch.no_grad():
    rows = {"noisy": noisy} | {name: model(noisy) for name, model in models.items()}
captions = {name: f"squared error {(images - x).square().mean():.4f}" for name, images in rows.items()}
cf.comparison(rows, captions, title="Noise of standard deviation 0.2: nobody trained them to remove it")

# %%
# How much noise passes
# ---------------------
# The probe :class:`copyfold.IdentityGap` measures the share of an added perturbation that comes out again: 1 for
# the identity, 0 for a network that ignores it.

held_out = photos.images("held_out", 24)
stds = (0.05, 0.1, 0.2, 0.4)
passed = {}
for name, model in models.items():
    found = [
        cf.IdentityGap(cf.Gaussian(std), draws=0)(model, held_out, torch.Generator().manual_seed(0)).numbers[
            "passed"
        ]
        for std in stds
    ]
    passed[name] = (stds, [float(values.mean()) for values in found])
cf.curves(
    passed, "standard deviation of the noise", "share that passes", ylim=(0, 1), title="Skips carry the noise"
)

# %%
# A filter for comparison
# -----------------------
# A least-squares filter of 7 x 7 pixels was told what the noise is like. The networks were not.

rng = torch.Generator().manual_seed(0)
probe = cf.Denoising(noise, reference=photos.images("train", 256))
for name, model in models.items():
    numbers = probe(model, held_out, rng).numbers
    print(name, {key: round(float(numbers[key].mean()), 4) for key in ("corrupted", "restored", "7x7 filter")})

# %%
# On these painted landscapes the network without skips does as well as the filter. On photographs it does not: see
# the finding on :doc:`a linear filter </findings/better-than-linear>`.
#
# What to remember
# ----------------
# * A network without skips must squeeze the image through a small map, and most noise does not fit through.
# * This "emergent denoising" is real, but on photographs weaker than simple filters. Where you want to denoise,
#   train for it: :doc:`/gallery/use/plot_3_denoise_and_restore`.
