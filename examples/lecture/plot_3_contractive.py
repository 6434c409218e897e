r"""
3. The contractive autoencoder
==============================

A contractive autoencoder is paid for a code that hardly changes when the image changes a little (Rifai et al.,
2011):

.. math::

   L(x) = \frac{1}{2} \lVert D(E(x)) - x \rVert^2 + w \lVert J \rVert_F^2, \qquad
   J = \frac{\partial E(x)}{\partial x}

The copy needs a code that tells images apart. The penalty wants a code that stays the same. The compromise: the
code follows the few directions in which digits really differ, and ignores the others.
"""

import os

import torch

import copyfold as cf

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 1
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# Three weights of the penalty
# ----------------------------
# One logistic layer of 100 units, for which the penalty has a closed form that costs a third of a step. For other
# networks ``estimator="hutchinson"`` estimates it with one more backward pass.

photos = cf.Photos(size=16)
plan = {"epochs": 2 if TINY else 80, "batch": 64, "lr": 3e-3, "overwrite": True}
weights = (0.0, 0.1, 1.0)
models = {}
for weight in weights:
    torch.manual_seed(0)
    model = cf.MLP(photos.shape, hidden=[], latent_dim=100, code_activation="sigmoid")
    penalties = (cf.Contraction(weight, estimator="closed"),) if weight else ()
    models[weight] = cf.fit(
        model, cf.Classical(penalties=penalties), photos, run=f"runs/contractive-{weight}", **plan
    ).model

# %%
# What it costs, and what it brings
# ---------------------------------
# Three numbers for each network, on held-out digits: the error of the copy, the largest factor by which the code
# can grow a small change of the image (the largest singular value of J), and the share of weak noise that passes
# to the output.

x = photos.images("held_out", 100)
for weight, model in models.items():
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        error = float((model(x) - x).square().mean())
    norm = float(cf.SpectralNorm()(model, x[:32], rng).numbers["encoder"].mean())
    passed = float(cf.IdentityGap(cf.Gaussian(0.1), draws=0)(model, x, rng).numbers["passed"].mean())
    print(f"weight {weight:3}: squared error {error:.4f}, singular value {norm:.2f}, noise passed {passed:.2f}")

# %%
# The contractive networks copy worse, their codes are several times less sensitive, and they pass less noise.
#
# In which directions the code still moves
# ----------------------------------------
# The singular values of J, sorted: how strongly the code reacts to changes of one digit, direction by direction.

spectra = {}
for weight, model in models.items():
    values = []
    for image in x[:16]:
        jacobian = torch.autograd.functional.jacobian(lambda a, m=model: m.encode(a[None])[0], image).flatten(1)
        values.append(torch.linalg.svdvals(jacobian))
    spectrum = torch.stack(values).mean(0)[:60]
    spectra[f"weight {weight}"] = (torch.arange(1, len(spectrum) + 1), spectrum)
cf.curves(
    spectra,
    "direction",
    "singular value of the Jacobian",
    logy=True,
    title="A contractive code follows few directions",
)

# %%
# With the penalty the curve falls sooner: a few directions remain, in which the code still follows the image.
# Those are the directions in which digits differ from each other.
#
# Noisy digits through the three networks
# ---------------------------------------

rng = torch.Generator().manual_seed(0)
digits = photos.sample("held_out", 8).images
noisy = cf.Gaussian(0.2)(digits, rng)
with torch.no_grad():
    rows = {"clean": digits, "noisy": noisy} | {
        f"weight {weight}": model(noisy) for weight, model in models.items()
    }
cf.comparison(rows, title="None of them was trained to denoise")

# %%
# What to remember
# ----------------
# * The penalty buys robustness, and pays with the error of the copy.
# * It needs an image's own Jacobian, so batch norm with batch statistics is refused.
# * A denoising autoencoder contracts too, and costs less to train. See :class:`copyfold.Contraction`.
