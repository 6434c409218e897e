"""The Jacobian of a model and its distance from the identity, against known matrices."""

import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold.probes.geometry import jacobian, singular_values

SHAPE = (1, 4, 4)


class Given(cf.Linear):
    """The map x -> A x + constant, in float64."""

    def __init__(self, matrix: torch.Tensor, constant: float = 0.0) -> None:
        super().__init__(SHAPE, latent_dim=16)
        self.matrix, self.constant = matrix.double(), constant

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.matrix.T

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return z.view(-1, *SHAPE) + self.constant


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, *SHAPE, dtype=torch.float64, generator=rng(1))


def curved() -> cf.MLP:
    return cf.MLP(SHAPE, hidden=(12,), latent_dim=10).double().eval()


def explicit(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The whole Jacobian of each image, b x D x D, by autograd row by row."""
    rows = [torch.func.jacrev(lambda x: model(x[None]).flatten())(image).reshape(16, 16) for image in x]
    return torch.stack(rows)


# ---------------------------------------------------------------- pushing and pulling


def test_push_and_pull_are_products_with_the_jacobian():
    model, x = curved(), images()
    push, pull = jacobian(model, x)
    whole, v = explicit(model, x), torch.randn(3, *SHAPE, dtype=torch.float64)
    torch.testing.assert_close(push(v).flatten(1), (whole @ v.flatten(1)[..., None])[..., 0])
    torch.testing.assert_close(pull(v).flatten(1), (whole.mT @ v.flatten(1)[..., None])[..., 0])


def test_singular_values_are_those_of_the_whole_jacobian():
    model, x = curved(), images()
    exact = torch.linalg.svdvals(explicit(model, x))
    starts = torch.randn(3, *x.shape, dtype=torch.float64, generator=rng())
    whole = singular_values(model, x, starts, 10)  # 30 directions asked for, 16 there are
    torch.testing.assert_close(whole, exact[:, :3], rtol=1e-10, atol=0)
    early = [singular_values(model, x, starts, iterations) for iterations in (1, 2, 3)]
    assert all((found <= exact[:, :3] * (1 + 1e-12)).all() for found in early)  # from below, and nearer each time
    assert ((early[1] >= early[0]) & (early[2] >= early[1])).all()
    torch.testing.assert_close(early[2], exact[:, :3], rtol=0.05, atol=0)


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.0])
def test_repeated_singular_values_are_found_with_their_multiplicity(factor):
    model, x = Given(factor * torch.eye(16)), images()
    found = singular_values(model, x, torch.randn(3, *x.shape, dtype=torch.float64), 4)
    torch.testing.assert_close(found, torch.full((3, 3), factor, dtype=torch.float64))


def test_the_spectral_norm_is_the_largest_singular_value():
    model, x = curved(), images()
    norm = cf.SpectralNorm(iterations=200)(model, x, rng()).numbers["autoencoder"]
    first = singular_values(model, x, torch.randn(1, *x.shape, dtype=torch.float64), 16)[:, 0]
    torch.testing.assert_close(norm, first, rtol=1e-3, atol=0)


# ---------------------------------------------------------------- the gap


@pytest.mark.parametrize("corruption", [cf.Gaussian(), cf.Mix(), cf.Masking(), cf.Blur(3)], ids=str)
def test_the_identity_has_no_gap(corruption):
    found = cf.IdentityGap(corruption)(Given(torch.eye(16)), images(), rng()).numbers
    assert list(found) == ["gap", "passed", "jacobian"]
    assert all((found[name] == 0).all() and found[name].shape == (3,) for name in ("gap", "jacobian"))
    torch.testing.assert_close(found["passed"], torch.ones(3, dtype=torch.float64))


def test_a_map_that_ignores_its_input_has_a_jacobian_at_distance_one():
    found = cf.IdentityGap()(Given(torch.zeros(16, 16), constant=0.5), images(), rng()).numbers
    assert (found["passed"] == 0).all()
    assert (found["jacobian"] == 1).all()  # every probe v has the length sqrt(D): there is no chance in it


def test_a_perfect_denoiser_has_a_gap_of_one():
    x = torch.full((5, *SHAPE), 0.3, dtype=torch.float64)
    found = cf.IdentityGap()(Given(torch.zeros(16, 16), constant=0.3), x, rng()).numbers
    torch.testing.assert_close(found["gap"], torch.ones(5, dtype=torch.float64))


def test_the_gap_is_that_of_the_corrupted_image():
    model, x, corruption = curved(), images(), cf.Mix()
    found = cf.IdentityGap(corruption)(model, x, rng(7)).numbers["gap"]
    noisy = corruption(x, rng(7))
    expected = (model(noisy) - noisy).flatten(1).norm(dim=1) / (noisy - x).flatten(1).norm(dim=1)
    torch.testing.assert_close(found, expected.detach())


def test_the_passed_share_of_a_linear_map_is_a_rayleigh_quotient():
    matrix, x = torch.randn(16, 16, generator=rng(3)).double(), images()
    found = cf.IdentityGap()(Given(matrix.float()), x, rng(7)).numbers["passed"]
    n = (cf.Gaussian()(x, rng(7)) - x).flatten(1)
    torch.testing.assert_close(found, ((n @ matrix.T) * n).sum(1) / n.square().sum(1))


def test_the_passed_share_of_weak_noise_is_the_mean_trace_of_the_jacobian():
    """tr J / D, by 4,000 draws of weak noise; within 5 of their standard errors."""
    model, x = curved(), images(1)
    found = cf.IdentityGap(cf.Gaussian(1e-5), draws=0)(model, x.expand(4000, -1, -1, -1), rng()).numbers["passed"]
    exact = explicit(model, x).diagonal(dim1=1, dim2=2).sum() / 16
    assert abs(found.mean() - exact) < 5 * found.std() / 4000**0.5


@pytest.mark.parametrize("linear", [True, False])
def test_hutchinson_s_estimate_is_the_frobenius_norm(linear):
    """The square has a standard deviation of at most sqrt(2 / draws) of itself; the root within 5 of them."""
    model = Given(torch.randn(16, 16, generator=rng(3))) if linear else curved()
    x = images(1)
    found = cf.IdentityGap(draws=1000)(model, x, rng()).numbers["jacobian"]
    exact = torch.linalg.matrix_norm(explicit(model, x) - torch.eye(16)) / 4
    torch.testing.assert_close(found, exact, rtol=2.5 * (2 / 1000) ** 0.5, atol=0)


# ---------------------------------------------------------------- what cannot be asked


def test_images_that_the_corruption_does_not_change_are_refused():
    black = torch.zeros(1, *SHAPE, dtype=torch.float64)
    for corruption, x in ((cf.Clean(), images()), (cf.Masking(), torch.cat((images(), black)))):
        with pytest.raises(cf.UsageError, match="leaves an image unchanged"):
            cf.IdentityGap(corruption)(Given(torch.eye(16)), x, rng())


@pytest.mark.parametrize(
    ("probe", "without"),
    [
        (cf.IdentityGap(statistics="batch"), cf.IdentityGap(draws=0, statistics="batch")),
        (cf.Stability(3, statistics="batch"), cf.Stability(3, values=0, statistics="batch")),
    ],
    ids=["IdentityGap", "Stability"],
)
def test_batch_statistics_are_refused_for_jacobians(probe, without):
    model, x = cf.MLP(SHAPE, hidden=(8,), latent_dim=3, norm="batch").eval(), images(4).float()
    with pytest.raises(cf.UsageError, match=r'give (draws|values)=0, or statistics="running"'):
        probe(model, x, rng())
    found = without(model, x, rng()).numbers
    assert not {"jacobian", "singular values"} & set(found)
    probe(
        cf.MLP(SHAPE, hidden=(8,), latent_dim=3, norm="none").eval(), x, rng()
    )  # without batch norm they are fine


@pytest.mark.parametrize("probe", [cf.IdentityGap(), cf.Stability(2), cf.Latent()], ids=lambda p: type(p).__name__)
def test_a_probe_records_no_statistics_in_training_mode(probe):
    model = cf.MLP(SHAPE, hidden=(8,), latent_dim=3, norm="batch").train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    probe(model, images(4).float(), rng())
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
