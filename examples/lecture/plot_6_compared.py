"""
6. All compared
===============

Five networks of nearly the same size, trained for the same time on the same digits. They differ in the
objective, and in what it asks of the code.
Which one is best? That depends on what it is for.
"""

import os

import torch

import copyfold as cf

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 3
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# Five objectives
# ---------------

photos = cf.Photos(size=16)
plan = {"epochs": 2 if TINY else 60, "batch": 64, "lr": 2e-3, "overwrite": True}


def network(code_activation="identity"):
    torch.manual_seed(0)
    return cf.MLP(photos.shape, hidden=[256], latent_dim=32, code_activation=code_activation)


likelihood = cf.SquaredError(std=0.15)  # how exact a copy is asked for, against one nat of divergence
choices = {
    "plain": (network(), cf.Classical()),
    "denoising": (network(), cf.Classical(cf.Gaussian(0.3))),
    "contractive": (network(), cf.Classical(penalties=(cf.Contraction(0.1),))),
    "sparse": (network("relu"), cf.Classical(penalties=(cf.L1(0.02),))),
    "variational": (
        cf.Variational(network("gelu"), 32),
        cf.Classical(fidelity=likelihood, penalties=(cf.Divergence(),)),
    ),
}
models = {
    name: cf.fit(model, objective, photos, run=f"runs/compared-{name}", **plan).model
    for name, (model, objective) in choices.items()
}

# %%
# As copies, and with noise
# -------------------------

x = photos.sample("held_out", 8).images
rng = torch.Generator().manual_seed(0)
noisy = cf.Gaussian(0.3)(x, rng)
with torch.no_grad():
    copies = {"image": x} | {name: model(x) for name, model in models.items()}
    cleaned = {"noisy image": noisy} | {name: model(noisy) for name, model in models.items()}
cf.comparison(copies, title="Copies of clean digits")

# %%

cf.comparison(cleaned, title="The same digits with noise of standard deviation 0.3")

# %%
# As generators
# -------------
# Codes drawn from a mixture of ten Gaussians that is fitted to each network's own codes, and decoded (Ghosh et
# al., 2020).

start = torch.zeros(8, *photos.shape)
reference = photos.images("train")
made = {
    name: next(iter(cf.FittedMixture(reference=reference)(model, start, torch.Generator().manual_seed(1))))
    for name, model in models.items()
}
cf.comparison(made, title="Decoded codes, drawn from a fitted mixture")

# %%
# In numbers
# ----------
# The error of a copy; what is left of noise (1 is doing nothing); how much of the neighbourhood in the code is of
# the same digit (by chance a tenth); and how far generated digits are from real ones, by their patches, as a
# multiple of the distance between two sets of real digits.

held_out = photos.sample("held_out")
print(f"{'':12s} {'error':>7s} {'noise left':>11s} {'purity':>7s} {'patches':>8s}")
table = {}
for name, model in models.items():
    rng = torch.Generator().manual_seed(0)
    read = cf.Denoising(cf.Gaussian(0.3))(model, held_out.images, rng).numbers
    left = float(read["restored"].mean() / read["corrupted"].mean())
    purity = float(cf.Latent(labels=held_out.labels)(model, held_out.images, rng).numbers["purity"])
    drawn = next(iter(cf.FittedMixture(reference=reference)(model, torch.zeros(180, *photos.shape), rng)))
    quality = cf.Quality(reference=reference, floor=held_out.images)(model, drawn, rng).numbers
    patches = float(quality["sliced Wasserstein"] / quality["sliced Wasserstein, real"])
    table[name] = (float(read["reconstruction"].mean()), left, purity, patches)
    print(f"{name:12s} {table[name][0]:7.4f} {left:11.2f} {purity:7.2f} {patches:8.1f}")

# %%
# What to remember
# ----------------
# * For small errors: plain. For noise: denoising, then contractive.
# * Each of them generates, after a fashion, if codes are drawn from a distribution that is fitted to its codes.
# * A number alone misleads. Look at the pictures, and run it again with another seed before you believe a small
#   difference. What copyfold measured over several seeds is in :doc:`/findings`.
