"""The notes' studies of regularised autoencoders, on models and densities whose answer is known."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from copyfold.claims.notes import contraction_costs_and_selects as regularised
from copyfold.claims.notes import follows_the_score as regularised_denoising
from copyfold.claims.notes import paid_by_each_or_by_all as regularised_aggregate
from copyfold.claims.notes.contraction_costs_and_selects import PenaltiesMakeSparse, kept, responses
from copyfold.claims.notes.follows_the_score import (
    FillsInDetail,
    FollowsTheScore,
    cosine,
    moved,
    places,
    recalled,
    slope,
    within,
)
from copyfold.claims.notes.paid_by_each_or_by_all import PaidByEachOrByAll, aggregate, apart, posterior, together
from copyfold.corruptions import Masking
from copyfold.data.synthetic import ring
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.models.dense import MLP, Linear
from copyfold.objectives.penalties import divergence
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab

SHAPE = (1, 4, 4)


class Copy(Autoencoder):
    """Gives back what it is given, or so much of it."""

    def __init__(self, shape: tuple[int, int, int] = SHAPE, gain: float = 1.0) -> None:
        super().__init__(shape, "linear")
        self.gain = gain

    def encode(self, x: Tensor) -> Tensor:
        return self.gain * x

    def logits(self, z: Tensor) -> Tensor:
        return z

    @classmethod
    def tiny(cls) -> "Copy":
        return cls()


class Logistic(Copy):
    """Whose code is the pixels, kept within [0, 1]."""

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1).clamp(0, 1)

    def logits(self, z: Tensor) -> Tensor:
        return z.view(-1, *self.shape)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(BUDGETS["tiny"], cache=tmp_path)


def test_only_where_it_is_looked_at() -> None:
    values, where = torch.rand(3, *SHAPE), torch.zeros(3, *SHAPE)
    where[0], where[1, 0, 0, 0] = 1, 1
    found = within(values, where)
    torch.testing.assert_close(found, torch.stack((values[0].mean(), values[1, 0, 0, 0], torch.tensor(0.0))))


def test_the_store_is_asked_for_what_can_be_seen() -> None:
    everything = torch.rand(50, *SHAPE) + 0.1
    x = everything[7:9]
    visible = (Masking(0.5)(torch.ones_like(x), torch.Generator().manual_seed(0)) > 0).float()
    torch.testing.assert_close(recalled(x * visible, visible, everything), x)
    # where nothing can be seen, any image will do; where all of it can, the nearest
    assert recalled(x + 0.001, torch.ones_like(x), everything).equal(x)


def test_what_a_copy_adds_is_not_true(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regularised_denoising, "learned", lambda *args, **kwargs: Copy())
    found = FillsInDetail().measure(lab).numbers
    assert found["true share masking"].high < 0.5
    assert FillsInDetail().verdict(found) is Verdict.FAILS
    assert found["error over best filter, noise"].low > 1


def test_what_an_oracle_adds_is_true(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    x = lab.images(regularised_denoising.fashion(lab))
    monkeypatch.setattr(regularised_denoising, "learned", lambda *args, **kwargs: Copy())
    monkeypatch.setattr(regularised_denoising, "output", lambda model, noisy: x)
    found = FillsInDetail().measure(lab).numbers
    assert found["true share noise"].value == pytest.approx(1)
    assert found["added over lacking, masking"].value == pytest.approx(1)
    assert FillsInDetail().verdict(found) is Verdict.HOLDS


def test_fields_that_point_alike() -> None:
    score = torch.randn(300, 2)
    turned = torch.stack((-score[:, 1], score[:, 0]), 1)
    assert cosine([3 * score], score).value == pytest.approx(1)
    assert slope([3 * score], score).value == pytest.approx(3)
    assert cosine([turned, turned], score).value == pytest.approx(0, abs=1e-6)
    assert slope([score + turned], score).value == pytest.approx(1)


def test_the_best_denoiser_follows_the_score(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    density, std = ring(8, 1.0, 0.15), [0.4, 0.2, 0.1]

    def posterior_mean(model: float, points: Tensor) -> Tensor:
        """Of each Gaussian apart, weighted by how likely the point comes from it: Tweedie's formula not used."""
        variance = density.std**2 + model**2
        distance = (points[:, None] - density.means).square().sum(2)
        weight = (-distance / (2 * variance)).softmax(1)
        return (density.std**2 * points + model**2 * weight @ density.means) / variance

    monkeypatch.setattr(regularised_denoising, "denoiser", lambda lab, density, std, seed, times=1: std)
    monkeypatch.setattr(regularised_denoising, "moved", posterior_mean)
    found = FollowsTheScore().measure(lab).numbers
    assert FollowsTheScore().verdict(found) is Verdict.HOLDS
    for s in std:
        assert found[f"slope, std {s}"].value == pytest.approx(1)
        assert found[f"error over the least possible, std {s}"].value == pytest.approx(1)
        assert abs(found[f"cosine of the residual of training, std {s}"].value) < 0.05
    assert found["cosine, ten times of the training"].value == pytest.approx(1)
    near = [found[f"slope by sigma^2 times it, best possible, std {s}"].value for s in std]
    assert near == sorted(near)


def test_a_copy_does_not_follow_the_score(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regularised_denoising, "denoiser", lambda lab, density, std, seed, times=1: None)
    monkeypatch.setattr(regularised_denoising, "moved", lambda model, points: points + 1e-9)
    found = FollowsTheScore().measure(lab).numbers
    assert FollowsTheScore().verdict(found) is Verdict.FAILS


def test_points_go_through_a_network_and_back() -> None:
    model = MLP((1, 1, 2), hidden=[3], latent_dim=3)
    points = places(ring(), 0.1)
    torch.testing.assert_close(moved(model, points).float(), model(points.float().view(-1, 1, 1, 2)).view(-1, 2))


def test_the_jacobian_of_a_known_matrix() -> None:
    model = Linear(SHAPE, 5)
    weight = torch.zeros(5, 16)
    weight[0, 0], weight[1, 1], weight[2, 0] = 2.0, 1.0, 2.0
    model.encoder[1].weight.data = weight
    main = torch.eye(16)[:2]
    read = responses(model, torch.rand(20, *SHAPE), main)
    torch.testing.assert_close(read["norm"], torch.full((20,), 9.0))
    torch.testing.assert_close(read["main"], read["norm"])
    torch.testing.assert_close(read["units"], torch.full((20,), 2.0))  # two answer the first pixel, equally
    torch.testing.assert_close(
        read["directions"], torch.full((20,), 81.0 / 65)
    )  # singular values 8 and 1, squared
    torch.testing.assert_close(read["ranked"][0], torch.tensor([0.5, 0.5, 0, 0, 0]))


def test_an_encoder_that_answers_nothing_has_no_units() -> None:
    model = Linear(SHAPE, 5)
    model.encoder[1].weight.data.zero_()
    read = responses(model, torch.rand(4, *SHAPE), torch.eye(16)[:2])
    assert all(value.isfinite().all() for value in read.values())
    assert read["units"].eq(0).all()


def test_units_farthest_from_their_mean_are_kept() -> None:
    x = torch.tensor([[0.9, 0.5, 0.1, 0.6], [0.5, 0.5, 0.4, 1.0]]).view(2, 1, 2, 2)
    model, mean = Logistic((1, 2, 2)), torch.full((4,), 0.5)
    wanted = torch.tensor([[0.9, 0.5, 0.1, 0.5], [0.5, 0.5, 0.4, 1.0]]).view(2, 1, 2, 2)
    torch.testing.assert_close(kept(model, x, mean, 2), wanted)
    torch.testing.assert_close(kept(model, x, mean, 9), x)


def test_without_a_difference_no_penalty_makes_sparse(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        regularised,
        "sparse_models",
        lambda lab, seed: dict.fromkeys(("no penalty", "L1", "KL"), Logistic((1, 16, 16))),
    )
    found = PenaltiesMakeSparse().measure(lab).numbers
    assert found["units on l1 over none"].value == found["units on kl over none"].value == 1


def test_half_of_the_images_each_is_on_target_together_and_not_apart() -> None:
    x = torch.zeros(100, *SHAPE)
    x[:10] = 1  # every unit is on for a tenth of the images
    z = x.flatten(1)
    assert together(Logistic(), x, z).item() == pytest.approx(0, abs=1e-5)
    assert apart(Logistic(), x, z).mean() > 1
    same = torch.full_like(z, 0.1)  # on target in every image
    torch.testing.assert_close(apart(Logistic(), x, same).mean(), together(Logistic(), x, same), atol=1e-5, rtol=0)


def test_the_aggregate_of_equal_posteriors_is_each_of_them() -> None:
    q = Normal(torch.full((500, 3), 0.7), torch.full((500, 3), 0.5))
    found, each = aggregate(q, torch.Generator().manual_seed(0)), divergence(q).sum(1)
    assert found.mean().item() == pytest.approx(each.mean().item(), abs=0.15)


def test_points_that_lie_as_the_prior_does_are_each_far_from_it() -> None:
    q = Normal(torch.randn(800, 2), torch.full((800, 2), 0.2))
    found, each = aggregate(q, torch.Generator().manual_seed(0)), divergence(q).sum(1)
    assert found.mean().abs() < 0.2 < 1.5 < each.mean()


def test_only_a_variational_model_has_a_posterior() -> None:
    with pytest.raises(UsageError, match="Variational"):
        posterior(Logistic(), torch.rand(2, *SHAPE))


def test_collapsed_models_pay_alike(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every image has the same code, each and all are one: the claim must fail."""

    class Constant(Logistic):
        def encode(self, x: Tensor) -> Tensor:
            return torch.full_like(x.flatten(1), 0.3)

        def posterior(self, x: Tensor) -> Normal:
            mean = torch.full((len(x), 3), 2.0)
            return Normal(mean, torch.full_like(mean, 0.5))

    same = Constant((1, 16, 16))
    monkeypatch.setattr(regularised_aggregate, "sparse_models", lambda lab, seed: {"KL": same, "no penalty": same})
    monkeypatch.setattr(regularised_aggregate, "learned", lambda *args, **kwargs: same)
    found = PaidByEachOrByAll().measure(lab).numbers
    assert found["each over aggregate sparse"].value == pytest.approx(1, abs=1e-4)
    assert found["aggregate over each variational"].low > 0.5
