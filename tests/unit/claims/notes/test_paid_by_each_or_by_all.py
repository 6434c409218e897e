"""Known divergences of each posterior and of their aggregate."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from copyfold.claims.notes import paid_by_each_or_by_all
from copyfold.claims.notes.paid_by_each_or_by_all import PaidByEachOrByAll, aggregate, apart, posterior, together
from copyfold.errors import UsageError
from copyfold.objectives.penalties import divergence
from copyfold.studies.lab import Lab
from labs import Logistic

SHAPE = (1, 4, 4)


def test_units_active_for_half_of_the_images_meet_the_target_only_on_average() -> None:
    x = torch.zeros(100, *SHAPE)
    x[:10] = 1  # every unit is on for a tenth of the images
    z = x.flatten(1)
    assert together(Logistic(), x, z).item() == pytest.approx(0, abs=1e-5)
    assert apart(Logistic(), x, z).mean() > 1
    same = torch.full_like(z, 0.1)  # on target in every image
    torch.testing.assert_close(apart(Logistic(), x, same).mean(), together(Logistic(), x, same), atol=1e-5, rtol=0)


def test_the_aggregate_of_equal_posteriors_equals_each() -> None:
    q = Normal(torch.full((500, 3), 0.7), torch.full((500, 3), 0.5))
    found, each = aggregate(q, torch.Generator().manual_seed(0)), divergence(q).sum(1)
    assert found.mean().item() == pytest.approx(each.mean().item(), abs=0.15)


def test_codes_distributed_as_the_prior_have_posteriors_far_from_it() -> None:
    q = Normal(torch.randn(800, 2), torch.full((800, 2), 0.2))
    found, each = aggregate(q, torch.Generator().manual_seed(0)), divergence(q).sum(1)
    assert found.mean().abs() < 0.2 < 1.5 < each.mean()


def test_only_a_variational_model_has_a_posterior() -> None:
    with pytest.raises(UsageError, match="Variational"):
        posterior(Logistic(), torch.rand(2, *SHAPE))


def test_collapsed_models_have_the_same_penalty(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every image has the same code, each and all are one: the claim must fail."""

    class Constant(Logistic):
        def encode(self, x: Tensor) -> Tensor:
            return torch.full_like(x.flatten(1), 0.3)

        def posterior(self, x: Tensor) -> Normal:
            mean = torch.full((len(x), 3), 2.0)
            return Normal(mean, torch.full_like(mean, 0.5))

    same = Constant((1, 16, 16))
    monkeypatch.setattr(
        paid_by_each_or_by_all, "sparse_models", lambda lab, seed: {"KL": same, "no penalty": same}
    )
    monkeypatch.setattr(paid_by_each_or_by_all, "learned", lambda *args, **kwargs: same)
    found = PaidByEachOrByAll().measure(lab).numbers
    assert found["each over aggregate sparse"].value == pytest.approx(1, abs=1e-4)
    assert found["aggregate over each variational"].low > 0.5
