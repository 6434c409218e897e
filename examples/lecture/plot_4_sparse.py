r"""
4. The sparse autoencoder
=========================

A sparse autoencoder may have a large code, but must leave most of it at zero for each image. Two penalties do
this:

.. math::

   \text{L1:}\; w \sum_k \lvert z_k \rvert \qquad\qquad
   \text{KL:}\; w \sum_k \mathrm{KL}(p \,\Vert\, q_k), \quad q_k = \text{mean of } z_k \text{ over the batch}

L1 makes the single values small. KL asks that each unit is on for a share p of the images.
"""

import os

import torch

import copyfold as cf

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 2
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# Three networks of 150 units
# ---------------------------
# One layer each way. The code of the L1 network is rectified, so that a unit can be exactly zero. The KL penalty
# needs values between 0 and 1: a logistic code.

photos = cf.Photos(size=16)
plan = {"epochs": 2 if TINY else 80, "batch": 64, "lr": 3e-3, "overwrite": True}
choices = {
    "no penalty": ("relu", ()),
    "L1": ("relu", (cf.L1(0.03),)),
    "KL": ("sigmoid", (cf.KLSparsity(0.5, target=0.05),)),
}
models = {}
for name, (activation, penalties) in choices.items():
    torch.manual_seed(0)
    model = cf.MLP(photos.shape, hidden=[], latent_dim=150, code_activation=activation)
    models[name] = cf.fit(
        model, cf.Classical(penalties=penalties), photos, run=f"runs/sparse-{name}", **plan
    ).model

# %%
# How many units are on
# ---------------------
# A unit counts as on where it is above a tenth of the largest value in the code.

x = photos.images("held_out")
rng = torch.Generator().manual_seed(0)
shares = {}
for name, model in models.items():
    numbers = cf.CodeStatistics()(model, x, rng).numbers
    shares[name] = numbers["on"].sort(descending=True).values
    with torch.no_grad():
        error = float((model(x) - x).square().mean())
    print(
        f"{name:10s} {float(shares[name].mean()):4.0%} of the units are on for an image; squared error {error:.4f}"
    )
units = torch.arange(1, 151)
cf.curves(
    {name: (units, 100 * share) for name, share in shares.items()},
    "unit, the busiest first",
    "images on which it is on, in %",
    title="Sparse codes",
)

# %%
# What the units stand for
# ------------------------
# The columns of the decoder's matrix are images: what a unit adds to the copy when it is on. Here are those of the
# twelve units that are on most often.

rows = {}
for name, model in models.items():
    weights = model.decoder[0].weight.detach()  # pixels x units
    busiest = cf.CodeStatistics()(model, x, rng).numbers["on"].argsort(descending=True)[:12]
    drawn = weights.T[busiest].view(-1, *photos.shape)
    rows[name] = 0.5 + drawn / (2 * drawn.abs().amax((1, 2, 3), keepdim=True))  # grey is zero
cf.comparison(rows, title="What a unit adds to the copy (bright: more, dark: less)")

# %%
# Without a penalty many units look like noise, and each image needs most of them. Those of L1 look like strokes
# and parts of digits. Those of KL are in between: it asks for few images a unit, not for few units an image.
#
# One digit, taken apart
# ----------------------
# The L1 network's copy of one digit, unit by unit, the strongest first.

model, image = models["L1"], photos.sample("held_out", 8).images[3:4]
with torch.no_grad():
    code = model.encode(image)
    strongest = code[0].argsort(descending=True)
    steps = []
    for count in (0, 1, 2, 4, 8, 16, 32):
        kept = torch.zeros_like(code)
        kept[0, strongest[:count]] = code[0, strongest[:count]]
        steps.append(model.decode(kept))
cf.comparison(
    {"copy by 0, 1, 2, 4, 8, 16, 32 units": torch.cat([*steps, image])}, title="The last image is the original"
)

# %%
# What to remember
# ----------------
# * Sparsity is another way than a bottleneck to keep a network from passing its input through.
# * Its units are easier to look at. That is why sparse autoencoders are used to look into language models.
# * Too large a weight turns units off for good: ``dead_units`` in :class:`copyfold.CodeStatistics` counts them.
