"""PCA, classes of nearest neighbours, and images with labels."""

from pathlib import Path

import pytest
import torch

from copyfold.measures import mse
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.codes import energy_overlap, pca, purities, with_classes
from copyfold.studies.toolkit.notes import fashion
from labs import in_a_plane

SHAPE = (1, 8, 8)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(BUDGETS["tiny"], cache=tmp_path)


def test_pca_reconstructs_points_in_its_plane() -> None:
    x = in_a_plane(200)
    assert mse(pca(x, 6)(x), x).max() < 1e-10
    torch.testing.assert_close(
        pca(x, 6)(torch.full((1, *SHAPE), 0.5))[0].mean(), torch.tensor(0.5), atol=0.02, rtol=0
    )


def test_pca_leaves_the_variance_of_the_other_components() -> None:
    x = in_a_plane(4000)
    values = torch.linalg.eigvalsh(torch.cov(x.flatten(1).T, correction=0))
    left = (pca(x, 4)(x) - x).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(left, values[:-4].sum(), rtol=1e-3, atol=0)


def test_pca_has_no_more_components_than_there_are_images() -> None:
    assert pca(in_a_plane(5), 30).latent_dim == 5


def test_separated_classes_agree_and_mixed_classes_do_not() -> None:
    labels = torch.arange(4).repeat_interleave(30)
    assert purities(torch.nn.functional.one_hot(labels).float() + 0.01 * torch.randn(120, 4), labels).mean() == 1
    assert purities(torch.randn(120, 4), labels).mean() < 0.4


def test_images_keep_their_own_labels(lab: Lab) -> None:
    photos = fashion(lab, classes=True)
    x, labels = with_classes(lab, photos)
    pixels = torch.from_numpy(photos.held_out).permute(0, 3, 1, 2).float() / 255
    for image, label in zip(x, labels, strict=True):
        same = (pixels == image).flatten(1).all(1).nonzero()[:, 0]
        assert label.item() in {int(photos.held_out_labels[i]) for i in same.tolist()}


def test_an_energy_weighted_overlap_does_not_count_components_without_variance() -> None:
    directions = torch.eye(5)[:3]
    variances = torch.tensor([6.0, 3.0, 1.0])
    assert energy_overlap(torch.eye(5)[:, :3] @ torch.randn(3, 3), directions, variances) == pytest.approx(1)
    assert energy_overlap(torch.eye(5)[:, [0, 1, 4]], directions, variances) == pytest.approx(0.9)
    assert energy_overlap(torch.eye(5)[:, [1, 3, 4]], directions, variances) == pytest.approx(0.3)
    diagonal = torch.tensor([[1.0, 0, 0, 1, 0]]).T
    assert energy_overlap(diagonal, directions, variances) == pytest.approx(0.3)  # half of the first


def test_an_energy_weighted_overlap_is_the_variance_explained_over_the_most_possible() -> None:
    x = in_a_plane(4000)
    rows = x.flatten(1).double() - x.flatten(1).double().mean(0)
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    span = vectors[:, [-1, -2, -4]]
    found = energy_overlap(span, vectors[:, -3:].T, values[-3:])
    assert found == pytest.approx((values[-1] + values[-2]).item() / values[-3:].sum().item())
