"""
1. Your own photos
==================

From a folder of pictures to a network and a page that says what it learned. Replace ``folder`` by a folder of your
own: nothing else has to be changed.
"""

import os
from pathlib import Path
from tempfile import mkdtemp

import torch
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images

import copyfold as cf
from copyfold.data import survey

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 4
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# A folder
# --------
# Here it is filled with photographs that come with scikit-image and scikit-learn, of different sizes, in colour.

folder = Path(mkdtemp())
for name in ("astronaut", "cat", "coffee", "rocket", "hubble_deep_field"):
    Image.fromarray(getattr(data, name)()).save(folder / f"{name}.jpg")
for name, picture in zip(("china", "flower"), load_sample_images().images, strict=True):
    Image.fromarray(picture).save(folder / f"{name}.jpg")

# %%
# What is in it
# -------------
# ``copyfold data FOLDER`` says this on the command line, with the number of unreadable files and copies.

for line in survey(folder).lines()[1:6]:
    print(line)

# %%
# Crops
# -----
# With ``crop`` the photographs are not scaled: the network learns from pieces of 32 pixels, at random places. That
# is the right way for textures and for denoising. Without it, whole pictures are scaled to one size: take that for
# portraits, or for anything of which the whole matters.

photos = cf.Photos(folder, crop=32, seed=4)
print(len(photos), "crops an epoch")
x = photos.sample("held_out", 8).images
cf.comparison({"held-out crops": x})

# %%
# Train
# -----
# ``cf.suggest(folder, minutes=3)`` would measure this machine and choose a network for three minutes. Here it is a
# small one.

model = cf.UNet(photos.shape, width=16, depth=2, norm="none")
run = cf.fit(model, photos=photos, run="runs/photos", steps=10 if TINY else 500, batch=8, overwrite=True)
with torch.no_grad():
    copies = run.model(x)
cf.comparison({"crop": x, "copy": copies}, title=f"After {run.history[-1]['step']:.0f} steps")

# %%
# What did it learn?
# ------------------
# :func:`copyfold.diagnose` runs most probes and writes sentences that follow from numbers;
# ``report.save("page.html")`` writes the page. Such a page takes a minute or two for a network of this size.
#
# .. code-block:: python
#
#    report = cf.diagnose(run.model, photos, run)
#    report.save("page.html")
#
# One of its probes, by hand: what the network does with noise of several levels.

rows = {}
for std in (0.05, 0.1, 0.2):
    noisy = cf.Gaussian(std)(x, torch.Generator().manual_seed(0))
    rows[f"noise of std {std}"] = noisy
    rows[f"{std}, copied"] = cf.restore(run.model, noisy)
cf.comparison(rows, title="It was trained to copy, not to denoise")

# %%
# The whole picture
# -----------------
# A convolutional network takes any size. Here is the photograph that was held out, copied at its own size.

photograph = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None] / 255
copied = cf.restore(run.model, photograph)
both = torch.cat([photograph, copied])[..., 40:240, 80:340]
Image.fromarray(cf.grid(both, columns=2, scale=1))

# %%
# After 500 steps it knows light and large shapes. Fine hair is lost, and some of the colour.
#
# From here
# ---------
# * Denoise photographs: :doc:`plot_3_denoise_and_restore`.
# * Find the odd ones: :doc:`plot_2_outliers`.
# * The same on the command line: ``copyfold train FOLDER --run runs/mine --minutes 3``, then ``copyfold report
#   runs/mine``.
