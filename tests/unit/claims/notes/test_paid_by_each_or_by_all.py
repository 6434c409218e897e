"""Known divergences of each posterior and of their aggregate."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from copyfold.claims.notes import paid_by_each_or_by_all
from copyfold.claims.notes.paid_by_each_or_by_all import PaidByEachOrByAll, aggregate, apart, posterior, together
from copyfold.errors import UsageError
from copyfold.objectives.penalties import divergence
from copyfold.studies.base import Verdict
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


class Constant(Logistic):
    """Every image has the same code and posterior."""

    def encode(self, x: Tensor) -> Tensor:
        return torch.full_like(x.flatten(1), 0.3)

    def posterior(self, x: Tensor) -> Normal:
        mean = torch.full((len(x), 3), 2.0)
        return Normal(mean, torch.full_like(mean, 0.5))


class Spread(Logistic):
    """A tenth of its units is on in every image, others in others; narrow posteriors are together the prior."""

    def encode(self, x: Tensor) -> Tensor:
        units = torch.arange(100) % 10
        return 0.998 * (units == torch.arange(len(x))[:, None] % 10).float() + 0.001

    def posterior(self, x: Tensor) -> Normal:
        return Normal(
            torch.randn(len(x), 3, generator=torch.Generator().manual_seed(0)), 0.1 * torch.ones(len(x), 3)
        )


class Free(Logistic):
    """Half of its units is on: each image is as far from the target as all."""

    def encode(self, x: Tensor) -> Tensor:
        return (0.3 + 0.4 * torch.rand(len(x), 100, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


@pytest.mark.parametrize(
    ("sparse", "free", "verdict"),
    [
        (Constant, Constant, Verdict.DOES_NOT_HOLD),
        (Spread, Free, Verdict.HOLDS),
        (Free, Free, Verdict.DOES_NOT_HOLD),  # the divergence is convex, with a penalty or without
    ],
)
def test_what_a_penalty_does_is_told_from_convexity(
    shelf: Lab, monkeypatch: pytest.MonkeyPatch, sparse: type[Logistic], free: type[Logistic], verdict: Verdict
) -> None:
    kinds = {"KL": sparse((1, 16, 16)), "no penalty": free((1, 16, 16))}
    monkeypatch.setattr(paid_by_each_or_by_all, "sparse_models", lambda lab, seed: kinds)
    vae = (Constant if sparse is Constant else Spread)((1, 16, 16))
    monkeypatch.setattr(paid_by_each_or_by_all, "learned", lambda *args, **kwargs: vae)
    found = PaidByEachOrByAll().measure(shelf)
    numbers = found.numbers
    tight = {name: replace(e, low=e.value, high=e.value) for name, e in numbers.items()}
    assert PaidByEachOrByAll().verdict(tight) is verdict
    if sparse is Constant:  # where every image has the same code, each and all are one
        assert numbers["each over aggregate sparse"].value == pytest.approx(1, abs=1e-4)
        assert numbers["aggregate over each variational"].low > 0.5
    assert numbers["each over aggregate no penalty"].value >= 1 - 1e-6
    assert found.captions.keys() == found.figures.keys()
