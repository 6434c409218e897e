"""
5. In scikit-learn
==================

Autoencoders as estimators: in pipelines, searches and cross-validation. Rows are flattened images, or any other
measurements.
"""

import os

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from torch import nn

import copyfold as cf
from copyfold.estimators import AutoencoderDetector, AutoencoderTransformer, DenoisingTransformer

# sphinx_gallery_thumbnail_number = 1
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs
epochs = 2 if TINY else 40

# %%
# Codes as features
# -----------------
# Digits of 8 x 8 pixels, with values from 0 to 16. Eight numbers each, by PCA and by an autoencoder, and then a
# linear classifier.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
for name, codes in (
    ("PCA", PCA(8, random_state=0)),
    ("autoencoder", AutoencoderTransformer(latent_dim=8, epochs=epochs, lr=2e-3, random_state=0)),
):
    pipeline = make_pipeline(codes, LogisticRegression(max_iter=5000)).fit(X_train, y_train)
    print(f"{name}: {pipeline.score(X_test, y_test):.1%} right with eight numbers")

# %%
# A search
# --------
# Parameters are searched as those of any estimator. ``score`` is the share of the variance that is copied.

search = GridSearchCV(
    AutoencoderTransformer(epochs=2 if TINY else 15, lr=2e-3, random_state=0), {"latent_dim": [2, 8, 16]}, cv=2
)
search.fit(X_train[:600])
for size, share in zip(search.cv_results_["param_latent_dim"], search.cv_results_["mean_test_score"], strict=True):
    print(f"{size:2d} numbers: {share:.0%} of the variance")

# %%
# Noise removed
# -------------

rng = np.random.default_rng(0)
noisy = X_test + rng.normal(0, 4, X_test.shape)
cleaner = DenoisingTransformer(std=0.25, epochs=epochs, lr=2e-3, options={"latent_dim": 48}, random_state=0)
cleaned = cleaner.fit(X_train).transform(noisy)


def images(rows):
    """Rows as images in [0, 1]."""
    return torch.from_numpy(np.asarray(rows[:10]) / 16).float().view(-1, 1, 8, 8)


cf.comparison({"clean": images(X_test), "noisy": images(noisy), "cleaned": images(cleaned)})

# %%
# The odd ones
# ------------
# Trained on all digits but the nines and eights, it finds these.

detector = AutoencoderDetector(latent_dim=6, contamination=0.05, epochs=epochs, lr=2e-3, random_state=0)
detector.fit(X_train[y_train < 8])
scores = detector.score_samples(X_test)
print(f"area under the ROC curve: {roc_auc_score(y_test >= 8, -scores):.2f}")
order = np.argsort(scores)
cf.comparison({"oddest": images(X_test[order]), "most usual": images(X_test[order[::-1]])})

# %%
# A class of your own
# -------------------
# Any architecture that copyfold knows is known here: by its class, or by its name once it is defined.


class Bow(cf.Autoencoder):
    """One layer each way, bent by a hyperbolic tangent."""

    def __init__(self, shape: tuple[int, int, int], latent_dim: int = 8) -> None:
        super().__init__(shape)
        self.latent_dim = latent_dim
        size = shape[0] * shape[1] * shape[2]
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(size, latent_dim), nn.Tanh())
        self.decoder = nn.Sequential(nn.Linear(latent_dim, size), nn.Unflatten(1, shape))

    def encode(self, x):
        return self.encoder(x)

    def decode(self, z):
        return self.decoder(z)


own = AutoencoderTransformer("Bow", latent_dim=16, epochs=epochs, lr=5e-3, random_state=0).fit(X_train)
print(f"{own.score(X_test):.0%} of the variance, through {own.transform(X_test).shape[1]} numbers")

# %%
# What to remember
# ----------------
# * The estimators pass scikit-learn's own checks.
# * PCA is a strong opponent on small images: compare with it.
# * ``model_`` is a copyfold model: every probe and sampler takes it.
