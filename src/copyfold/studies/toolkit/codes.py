"""Measurements of codes and copies: classes of neighbours, maps, errors; and PCA to compare with."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.data import Photos
from copyfold.measures import mse
from copyfold.models.base import Autoencoder, flat
from copyfold.models.dense import Linear
from copyfold.probes.latent import Latent, agreement
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.networks import projection
from copyfold.types import Images

NEAREST = 10  # codes whose neighbours are compared by class


def pca(images: Images, latent_dim: int) -> Linear:
    """Scikit-learn's PCA of these images as a linear autoencoder; fewer components where there are no more."""
    from sklearn.decomposition import PCA

    rows = images.flatten(1).cpu().numpy()
    found = PCA(min(latent_dim, *rows.shape), svd_solver="covariance_eigh").fit(rows)
    directions, mean = (torch.from_numpy(a).to(images) for a in (found.components_, found.mean_))
    c, h, w = images.shape[1:]
    return projection((c, h, w), directions, mean).to(images.device)


@torch.no_grad()
def output(model: Autoencoder, x: Images) -> Images:
    """The model's output, without a gradient."""
    return model(x)


def copy_errors(models: Sequence[Autoencoder], x: Images) -> list[Tensor]:
    """The squared error per image, of every model."""
    return [mse(output(model, x), x) for model in models]


@torch.no_grad()
def flat_codes(model: Autoencoder, x: Images) -> Tensor:
    """Each image's code as one vector."""
    return flat(model.encode(x))


def with_classes(lab: Lab, photos: Photos) -> tuple[Images, Tensor]:
    """More held-out images than other measurements take, since classes divide them, and the class of each."""
    x = lab.images(photos, count=8 * lab.budget.measured)
    return x, lab.labels(photos, len(x))


def purities(codes: Tensor, labels: Tensor) -> Tensor:
    """For every code, the share of its nearest other codes with the same class: the mean is the purity."""
    return agreement(codes, labels, min(NEAREST, len(codes) - 1))


def code_map(lab: Lab, photos: Photos, model: Autoencoder, x: Images, labels: Tensor, name: str) -> Any:
    """A figure of the t-SNE of a model's codes, coloured by class."""
    points = Latent()(model, x, lab.rng(0, "map")).numbers["map"]
    names = labels if photos.classes is None else [photos.classes[i] for i in labels.tolist()]
    return pictures.scatter(
        points, names, "first coordinate of t-SNE", "second coordinate of t-SNE", f"Codes: {name}"
    )


def energy_overlap(span: Tensor, directions: Tensor, variances: Tensor) -> Tensor:
    r"""The share of the variance along some directions that another space holds: 1 where it holds all.

        sum_i lambda_i ||P v_i||^2 / sum_i lambda_i        P: the projection onto the columns of `span`

    directions: v_i, orthonormal rows, k x D; variances: lambda_i; span: D x m. Unlike the mean over principal
    angles, it weighs components by their variance: those of hardly any, and the exchange of the last for the next,
    cost nothing. With PCA's directions, it is near the variance that `span` explains over the most that k could.
    """
    basis = torch.linalg.qr(span.double()).Q
    kept = (directions.double() @ basis).square().sum(1)
    return (variances.double() * kept).sum() / variances.double().sum()
