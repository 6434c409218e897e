"""T32 on PCA itself, and on a network before training."""

import pytest
import torch

from copyfold.claims.notes import linear_is_pca
from copyfold.claims.notes.linear_is_pca import LinearIsPCA, missed, principal_variances, shared
from copyfold.models.dense import Linear
from copyfold.studies.base import Estimate, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.codes import pca
from copyfold.studies.toolkit.notes import fashion
from labs import in_a_plane

SHAPE = (1, 8, 8)


def test_the_subspace_does_not_depend_on_the_basis_and_a_random_one_is_far() -> None:
    exact = pca(in_a_plane(200), 6)
    turned, other = Linear(SHAPE, 6), Linear(SHAPE, 6)
    turned.decoder[0].weight.data = exact.decoder[0].weight.data @ torch.randn(6, 6)
    torch.testing.assert_close(shared(turned, exact), torch.ones(6), atol=1e-4, rtol=0)
    assert shared(other, exact).square().mean() < 0.4


def test_directions_count_by_their_variance():
    images = in_a_plane(4000)
    exact = pca(images, 4)
    variances = principal_variances(exact, images)
    torch.testing.assert_close(variances.float(), 1 / torch.arange(1.0, 5.0), rtol=0.15, atol=0)
    other = Linear(SHAPE, 3)
    for lost in (0, 3):  # the first or the last direction is not there
        kept = [i for i in range(4) if i != lost]
        other.decoder[0].weight.data = exact.decoder[0].weight.data[:, kept] @ torch.randn(3, 3)
        share = (variances[lost] / variances.sum()).item()
        assert missed(other, exact, variances).item() == pytest.approx(share, abs=1e-5)


def test_a_network_before_training_is_not_pca(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        linear_is_pca, "learned", lambda lab, make, photos, seed, epochs, **plan: lab.untrained(make, photos, seed)
    )
    found = LinearIsPCA().measure(lab).numbers
    assert LinearIsPCA().verdict({name: whole(e) for name, e in found.items()}) is Verdict.DOES_NOT_HOLD
    assert found["variance missed"].value == pytest.approx(found["variance missed, untrained"].value)


def test_pca_itself_is_pca(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = fashion(lab)
    exact = pca(lab.images(photos, "train", len(photos)), linear_is_pca.CODE)
    monkeypatch.setattr(linear_is_pca, "learned", lambda *args, **kwargs: exact)
    found = LinearIsPCA().measure(lab).numbers
    assert found["error over pca"].value == pytest.approx(1)
    assert found["overlap"].value == pytest.approx(1, abs=1e-5)
    assert found["variance missed"].value < 1e-5
    assert found["variance missed, untrained"].value > 0.5
    # the same error is not a smaller one
    assert LinearIsPCA().verdict({name: whole(e) for name, e in found.items()}) is not Verdict.HOLDS


def whole(e: Estimate) -> Estimate:
    """Without the unbounded interval of a single seed."""
    return Estimate(e.value, max(e.low, e.value - 0.01), min(e.high, e.value + 0.01), e.n, e.seeds)
