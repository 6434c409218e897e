"""
2. Outliers, with maps of where
===============================

Find images that are unlike the others, and show the place. The network never sees a defect: it learns what normal
images are like.
"""

import os

import numpy as np
import torch
from skimage import data
from sklearn.metrics import roc_auc_score

import copyfold as cf
from copyfold.pictures import heated

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 2
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# Normal images, and some with defects
# ------------------------------------
# Pieces of a brick wall of 32 x 32 pixels. In twelve of forty new ones something is wrong: a scratch, a hole, or a
# piece of grass.

rng = np.random.default_rng(0)
wall, grass = data.brick(), data.grass()


def pieces(of, count, stripes, rows=(0, 225)):
    """Random pieces of a picture, of half its resolution, from stripes that are 64 pixels wide."""
    small = of[::2, ::2]
    tops, lefts = rng.integers(*rows, count), rng.choice(stripes, count) + rng.integers(0, 33, count)
    return np.stack([small[i : i + 32, j : j + 32] for i, j in zip(tops, lefts, strict=True)])[..., None]


normal = pieces(wall, 120 if TINY else 1200, (0, 128))
usual = pieces(wall, 120, (64, 192), rows=(0, 96))  # from other stripes: no pixel is in two of the sets
new = pieces(wall, 40, (64, 192), rows=(128, 225))
for k in range(0, 40, 10):
    new[k, 8:11, 4:28] = 30  # a scratch
    top, left = rng.integers(6, 20, 2)
    new[k + 3, top : top + 6, left : left + 6] = 220  # a hole
    new[k + 6, 10:24, 8:24] = pieces(grass, 1, (0, 128))[0, :14, :16]  # grass
defect = np.isin(np.arange(40) % 10, (0, 3, 6))
good = cf.Photos(normal)
more, tested = cf.Photos(usual, whole=True), cf.Photos(new, whole=True)
cf.comparison({"normal": good.images("train", 8), "to be tested": tested.images("train", 8)})

# %%
# A network for normal images
# ---------------------------
# The recipe ``defects`` in small: it is trained to repair painted patches, lines and blobs, which look nothing
# like the real defects. So it learns to put back what belongs there.

repairing = cf.UNet(good.shape, width=8, depth=3, skips="concat", norm="none")
objective = cf.Classical(cf.Patches())
plan = {"steps": 20 if TINY else 600, "batch": 24, "overwrite": True}
run = cf.fit(repairing, objective, good, run="runs/wall", **plan)

# %%
# Scores, and a threshold
# -----------------------
# ``rate`` is the share of normal images that may be called outliers by mistake. The threshold is set by normal
# images that the network was not trained on: those that it has seen it repairs better than new ones.

found = cf.outliers(run.model, tested, more, score=cf.RestorationError(), rate=0.1)
print(found)
right = int((found.outlier & defect).sum())
print(f"{right} of {defect.sum()} defects found, {int((found.outlier & ~defect).sum())} false alarms")

# %%
# Where
# -----
# The twelve images with the highest scores. Grey is usual, yellow and red is not.

rows = found.order[:12].tolist()
x, maps = found.maps(rows)
with torch.no_grad():
    repaired = run.model(x)
hot = heated(x, maps, found.pixels.value / 2, 2 * found.pixels.value)
cf.comparison(
    {"highest scores": x.expand(-1, 3, -1, -1), "repaired": repaired.expand(-1, 3, -1, -1), "where": hot},
    title="Found, repaired, and marked",
)

# %%
# Without a threshold, the share of pairs of a defect and a normal image that the score puts in the right order:

print(f"area under the ROC curve: {roc_auc_score(defect, found.scores):.2f}")

# %%
# What to remember
# ----------------
# * The threshold comes from normal images alone, and says how many false alarms to expect.
# * On the command line: ``copyfold train GOOD --config defects --run runs/good``, then
#   ``copyfold outliers runs/good NEW --score RestorationError --out odd.csv``.
# * Where it fails: a defect that looks like a normal image, and normal images that vary more than defects do. See
#   :doc:`/detection`.
