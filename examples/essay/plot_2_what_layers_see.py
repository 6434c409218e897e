r"""
2. What layers see
==================

What does a layer know about an image? The essay asks the layer itself: look for another image *a* with the same
output of that layer, starting from noise:

.. math:: a^* = \arg\min_a \lVert O(a) - O(x) \rVert^2

What the layer does not see stays as it was at the start: noise. So if the found image is clean, the layer holds
all of the image; if it is noisy, it does not.
"""

import os
from itertools import islice

import torch

import copyfold as cf

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 1
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# A U-Net without skips, trained to copy
# --------------------------------------
# copyfold says it where a network has not learned to copy well. More steps would help; half a minute has to do
# here.

photos = cf.Photos(cf.scenes(64 if TINY else 600, size=32))
model = cf.UNet(photos.shape, width=8, depth=2)
untrained = cf.UNet(photos.shape, width=8, depth=2).eval()
run = cf.fit(model, cf.Classical(), photos, run="runs/layers", steps=10 if TINY else 600, overwrite=True)
x = photos.sample("held_out", 5).images

# %%
# Layer by layer
# --------------
# Layers have the names of :meth:`torch.nn.Module.named_modules`; :func:`copyfold.layers` lists some along the way.

print(cf.layers(model, x, count=6))
chosen = ["encoder.stem", "encoder.down1", "encoder.down2", ""]
probe = {"steps": 5 if TINY else 60, "std": 0.2, "mean": 0.5}


def represented(network, layer):
    """The image that a layer's output determines, and how far it is from the target."""
    return cf.Inversion(layer=layer, **probe)(network, x, torch.Generator().manual_seed(0))


rows, captions = {"image": x}, {}
for layer in chosen:
    reading = represented(run.model, layer)
    rows[layer or "the output"] = reading.images["found"]
    captions[layer or "the output"] = f"{float(reading.numbers['psnr'].mean()):.0f} dB"
cf.comparison(rows, captions, title="Images with the same output of a layer, found from noise")

# %%
# The first layer holds nearly all of the image, its colours and edges. After one and two halvings only the large
# shapes are left. The rest is noise from the start, which these layers do not see.
#
# Training changes what layers see
# --------------------------------
# The same for a network with random weights: in its deep layers the search finds next to nothing of the image.

rows = {
    "image": x,
    "untrained, down2": represented(untrained, "encoder.down2").images["found"],
    "trained, down2": represented(run.model, "encoder.down2").images["found"],
    "untrained, output": represented(untrained, "").images["found"],
    "trained, output": represented(run.model, "").images["found"],
}
cf.comparison(rows, title="Before and after training")

# %%
# How an image forms
# ------------------
# The search itself is a film.

frames = cf.Inversion(layer="encoder.down1", **probe).film(run.model, x, torch.Generator().manual_seed(0))
cf.film(islice(frames, 0, None, 3), columns=5, scale=3, fps=6)

# %%
# What to remember
# ----------------
# * A layer's representation is an image, and can be looked at.
# * What is noise in it is what the layer does not know.
# * The search can also fail because it is hard. :class:`copyfold.Inversion` gives the distance that is left at the
#   layer: look at it before you conclude that information is missing.
