"""Samplers that start at the code, against closed forms, scikit-learn and known models."""

import math

import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold.models.base import flat
from copyfold.samplers.base import parts
from copyfold.samplers.interpolation import spherical
from known import Halves, Pixels


def rng(seed: int = 3) -> Generator:
    return Generator().manual_seed(seed)


def agree(x, mean, covariance):
    """Within five standard errors of these moments, for each of them."""
    x = x.flatten(1).double()
    error = (covariance.diagonal() / len(x)).sqrt()
    assert ((x.mean(0) - mean).abs() <= 5 * error + 1e-6).all()
    spread = ((covariance.square() + torch.outer(covariance.diagonal(), covariance.diagonal())) / len(x)).sqrt()
    assert ((x.T.cov() - covariance).abs() <= 5 * spread + 1e-6).all()


# ---------------------------------------------------------------- the prior


def test_the_prior_of_a_linear_decoder_is_factor_analysis():
    """x ~ N(b, W W^T + std^2 I): mean and covariance of 20,000 images."""
    model = cf.Variational(cf.Linear((1, 2, 2), latent_dim=4), latent_dim=2).eval()
    (frame,) = cf.Prior(std=0.3)(model, torch.zeros(20_000, 1, 2, 2), rng(0))
    with torch.no_grad():
        rows = model.decode(torch.cat((torch.eye(2), torch.zeros(1, 2)))).flatten(1).double()
    b, w = rows[2], (rows[:2] - rows[2]).T
    agree(frame, b, w @ w.T + 0.09 * torch.eye(4))
    (means,) = cf.Prior()(model, torch.zeros(500, 1, 2, 2), rng(0))
    assert torch.linalg.matrix_rank(means.flatten(1) - b.float(), tol=1e-3) == 2


def test_the_prior_fills_every_map_of_a_deterministic_code():
    """A random decode of an autoencoder that has no prior: N(0, 1) in every number of both maps."""
    (frame,) = cf.Prior()(Halves((1, 40, 40)), cf.Prior().noise(30, (1, 40, 40), rng()), rng())
    assert frame.shape == (30, 1, 40, 40)
    for half, std in zip(frame.chunk(2, 2), (1, 0.1), strict=True):
        assert abs(half.std() / std - 1) < 0.02
        assert abs(half.mean() / std) < 0.02


# ---------------------------------------------------------------- fitted codes


def test_a_fitted_gaussian_has_the_moments_of_the_codes():
    """Of 40 images and 6 pixels, and of 5 images, whose covariance has rank 4."""
    for count in (40, 5):
        x = torch.rand(count, 1, 2, 3, generator=rng(count)) * torch.tensor([0.1, 1, 2])
        (frame,) = cf.FittedGaussian(x)(Pixels((1, 2, 3)), torch.zeros(20_000, 1, 2, 3), rng())
        rows = x.flatten(1).double()
        agree(frame, rows.mean(0), rows.T.cov())
        assert torch.linalg.matrix_rank(frame.flatten(1)[:100] - rows.mean(0).float(), tol=1e-3) == min(
            6, count - 1
        )


def test_the_moments_are_those_across_all_maps_of_a_tuple():
    """Also between the maps: where both halves are the same image, they are so in every draw."""
    half = torch.rand(7, 1, 3, 3)
    x = torch.cat((half, half), dim=2)
    (frame,) = cf.FittedGaussian(x, batch=2)(Halves((1, 6, 3)), torch.zeros(500, 1, 6, 3), rng())
    torch.testing.assert_close(*frame.chunk(2, 2), atol=1e-5, rtol=0)
    assert frame.std() > 0.2


def test_draws_of_a_linear_autoencoder_at_its_optimum_have_the_covariance_of_the_principal_components():
    """PCA in closed form: decoded draws have the leading eigenvalues of the data's covariance, and no others."""
    x = torch.randn(200, 1, 2, 3) @ torch.randn(3, 3)
    rows = x.flatten(1).double()
    values, vectors = torch.linalg.eigh(rows.T.cov())
    model = cf.Linear((1, 2, 3), latent_dim=2)
    w, mean = vectors[:, -2:].float(), rows.mean(0).float()
    with torch.no_grad():
        model.encoder[1].weight.copy_(3 * w.T)  # any scale of the code will do
        model.encoder[1].bias.copy_(-3 * w.T @ mean)
        model.decoder[0].weight.copy_(w / 3)
        model.decoder[0].bias.copy_(mean)
    (frame,) = cf.FittedGaussian(x)(model, torch.zeros(20_000, 1, 2, 3), rng())
    agree(frame, mean.double(), (vectors[:, -2:] * values[-2:]) @ vectors[:, -2:].T)


@pytest.mark.parametrize("sampler", [cf.FittedGaussian, cf.FittedMixture])
def test_the_variance_of_a_posterior_is_added(sampler):
    """Where every image has the posterior N(0, s^2), draws of codes are draws from it."""
    model = cf.Variational(cf.Linear((1, 2, 2), latent_dim=4), latent_dim=2).eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([1.0, -2.0, *(2 * math.log(s) for s in (0.5, 3.0))]))
        rows = model.decode(torch.cat((torch.eye(2), torch.zeros(1, 2)))).flatten(1).double()
    (frame,) = sampler(torch.rand(12, 1, 2, 2))(model, torch.zeros(20_000, 1, 2, 2), rng())
    w = (rows[:2] - rows[2]).T
    agree(
        frame,
        rows[2] + w @ torch.tensor([1.0, -2.0]).double(),
        w @ torch.diag(torch.tensor([0.25, 9.0])).double() @ w.T,
    )


@pytest.fixture(scope="module")
def clusters():
    """Three clusters in four dimensions, of 50, 100 and 150 images and different shapes."""
    draws = rng(5)
    centres, shapes = 6 * torch.eye(4)[:3], torch.randn(3, 4, 4, generator=draws) / 2
    parts = [
        c + torch.randn(n, 4, generator=draws) @ s for c, s, n in zip(centres, shapes, (50, 100, 150), strict=True)
    ]
    return torch.cat(parts).view(-1, 1, 2, 2)


def test_a_fitted_mixture_equals_scikit_learn_s(clusters):
    """Shares, means and covariances of the draws in each cluster, against a fit to the codes themselves."""
    from sklearn.mixture import GaussianMixture

    fit = GaussianMixture(3, random_state=0).fit(clusters.flatten(1).double().numpy())
    (frame,) = cf.FittedMixture(clusters, components=3)(Pixels((1, 2, 2)), torch.zeros(20_000, 1, 2, 2), rng())
    which = torch.from_numpy(fit.predict(frame.flatten(1).double().numpy()))
    for k in range(3):  # well apart: hardly a draw is given to another cluster
        own = frame[which == k]
        share = fit.weights_[k]
        assert abs(len(own) / 20_000 - share) < 5 * (share * (1 - share) / 20_000) ** 0.5 + 1e-3
        mean, covariance = torch.from_numpy(fit.means_[k]), torch.from_numpy(fit.covariances_[k])
        assert ((own.flatten(1).mean(0) - mean).abs() < 0.03).all()
        assert ((own.flatten(1).double().T.cov() - covariance).abs() < 0.05 * covariance.diagonal().max()).all()
    assert not (which.sort().values == which).all()  # not one cluster after the other


@pytest.mark.parametrize("rank", [1, 3, 32])
def test_a_fitted_mixture_keeps_the_moments_of_all_codes(clusters, rank):
    """EM does; and what lies across the components that it is fitted to is drawn with its own covariance."""
    x = torch.cat((clusters, clusters.flip(1) ** 2), dim=2)
    x[:, :, 2:] += torch.randn(300, 1, 2, 2, generator=rng(1))
    rows = x.flatten(1).double()
    (frame,) = cf.FittedMixture(x, components=3, rank=rank)(Pixels((1, 4, 2)), torch.zeros(20_000, 1, 4, 2), rng())
    made = frame.flatten(1).double()
    std = rows.std(0)
    assert ((made.mean(0) - rows.mean(0)) / std).abs().max() < 0.03
    assert ((made.T.cov() - rows.T.cov()) / torch.outer(std, std)).abs().max() < 0.06


def test_a_mixture_of_one_component_is_the_maximum_likelihood_normal():
    """Whose covariance has the divisor n and not n - 1, which can be seen of five codes."""
    x = torch.rand(5, 1, 1, 3, generator=rng(1))
    (frame,) = cf.FittedMixture(x, components=1)(Pixels((1, 1, 3)), torch.zeros(20_000, 1, 1, 3), rng())
    rows = x.flatten(1).double()
    agree(frame, rows.mean(0), rows.T.cov(correction=0))


def test_a_mixture_of_rank_one_is_of_the_first_axis_alone():
    """There the divisor is n, and n - 1 across it."""
    x = torch.rand(5, 1, 1, 3, generator=rng(1))
    sampler = cf.FittedMixture(x, components=1, rank=1)
    (frame,) = sampler(Pixels((1, 1, 3)), torch.zeros(20_000, 1, 1, 3), rng())
    rows = x.flatten(1).double()
    values, vectors = torch.linalg.eigh(rows.T.cov())
    agree(frame, rows.mean(0), rows.T.cov() - values[-1] / 5 * torch.outer(vectors[:, -1], vectors[:, -1]))


def test_as_many_images_as_components_are_enough():
    (frame,) = cf.FittedMixture(torch.eye(3).view(3, 1, 1, 3), components=3)(
        Pixels((1, 1, 3)), torch.zeros(200, 1, 1, 3), rng()
    )
    assert (frame.view(200, 1, 3) - torch.eye(3)).norm(dim=2).min(1).values.max() < 0.05  # each image is a cluster


def test_a_mixture_does_not_depend_on_the_scale_of_the_codes(clusters):
    """Nor on where they lie: codes of a thousandth are drawn a thousandth as far apart."""
    sampler, count = cf.FittedMixture(clusters, components=3), torch.zeros(50, 1, 2, 2)
    (frame,) = sampler(Pixels((1, 2, 2)), count, rng())
    (small,) = cf.FittedMixture(1e-3 * clusters, components=3)(Pixels((1, 2, 2)), count, rng())
    torch.testing.assert_close(1e3 * small, frame, rtol=1e-3, atol=1e-3)


def test_no_batch_has_a_single_image():
    """Batch norm over a single vector would have no variance: 65 images are 33 and 32, not 64 and 1."""
    assert [len(p) for p in parts(torch.zeros(65, 1, 2, 2), 64)] == [33, 32]
    assert [len(p) for p in parts(torch.zeros(64, 1, 2, 2), 64)] == [64]
    model = cf.MLP((1, 2, 2), hidden=(3,), latent_dim=2, norm="batch").eval()
    for sampler in (cf.FittedGaussian(torch.rand(65, 1, 2, 2)), cf.Traversal(reference=torch.rand(65, 1, 2, 2))):
        assert next(sampler(model, torch.rand(2, 1, 2, 2), rng())).isfinite().all()


def test_codes_that_cannot_be_fitted_are_refused():
    model = Pixels((1, 2, 2))
    for sampler in (cf.FittedGaussian(), cf.FittedMixture()):
        assert sampler.noise(4, (1, 2, 2), rng()) is None
        with pytest.raises(cf.UsageError, match="cannot be fitted to 1 image"):
            next(sampler(model, torch.rand(1, 1, 2, 2), rng()))
    with pytest.raises(cf.UsageError, match="10 components cannot be fitted to the codes of 9 images: give more"):
        next(cf.FittedMixture()(model, torch.rand(9, 1, 2, 2), rng()))
    for bad in ({"components": 0}, {"rank": 0}):
        with pytest.raises(cf.UsageError, match="at least 1"):
            cf.FittedMixture(**bad)


def test_identical_codes_are_sampled_unchanged():
    x = torch.full((12, 1, 2, 2), 0.5)
    for sampler in (cf.FittedGaussian(x), cf.FittedMixture(x)):
        (frame,) = sampler(Pixels((1, 2, 2)), sampler.noise(3, (1, 2, 2), rng()), rng())
        torch.testing.assert_close(frame, x[:3], atol=1e-5, rtol=0)


# ---------------------------------------------------------------- interpolation


@pytest.mark.parametrize("kind", ["linear", "spherical"])
@pytest.mark.parametrize("skips", ["none", "concat"])
def test_an_interpolation_starts_and_ends_at_reconstructions(kind, skips):
    model = cf.UNet((1, 8, 8), width=2, depth=2, skips=skips, norm="none").eval()
    x = torch.rand(3, 1, 8, 8)
    first, _, _, last = cf.Interpolation(4, kind)(model, x, rng())
    torch.testing.assert_close(first, model(x))
    torch.testing.assert_close(last, model(x)[[1, 2, 0]])


def test_an_interpolation_is_straight_in_the_means_of_the_posterior():
    model = cf.Variational(cf.Linear((1, 2, 2), latent_dim=3), latent_dim=2).eval()
    x = torch.rand(3, 1, 2, 2)
    a = model.posterior(x).mean
    for n, frame in enumerate(cf.Interpolation(5)(model, x, rng())):
        torch.testing.assert_close(frame, model.decode((1 - n / 4) * a + n / 4 * a[[1, 2, 0]]))


def test_spherical_interpolation_follows_the_arc():
    """In the plane: from angle p to angle q the point at t has angle p + t (q - p), and keeps its length."""
    p, q = torch.tensor([0.0, 1.0, -2.0, 0.3]), torch.tensor([3.0, 1.5, -2.00001, 0.3])

    def at(angle):
        return 2.5 * torch.stack((angle.cos(), angle.sin()), dim=1)

    for t in (0.0, 0.25, 0.5, 1.0):
        torch.testing.assert_close(spherical(at(p), at(q), t), at(p + t * (q - p)), atol=2e-6, rtol=0)


def test_spherical_keeps_the_norm_where_linear_does_not():
    code = torch.randn(4, 2, 5, 5)
    code = 3 * code / code.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    halfway = {
        kind: list(cf.Interpolation(3, kind)(Pixels((2, 5, 5)), code, rng()))[1]
        for kind in ("linear", "spherical")
    }
    norms = {kind: frame.flatten(1).norm(dim=1) for kind, frame in halfway.items()}
    torch.testing.assert_close(norms["spherical"], torch.full((4,), 3.0))
    assert (norms["linear"] < 2.7).all()
    torch.testing.assert_close(spherical(code, 5 * code.roll(1, 0), 1.0), 5 * code.roll(1, 0))


def test_opposite_and_zero_codes_are_interpolated_linearly():
    a = torch.randn(3, 6)
    torch.testing.assert_close(spherical(a, -2 * a, 0.25), 0.25 * a)
    assert torch.equal(spherical(torch.zeros(2, 6), torch.zeros(2, 6), 0.5), torch.zeros(2, 6))


def test_pixel_interpolation_is_straight_in_the_pixels_and_then_the_model():
    model, x = cf.MLP((1, 3, 3), hidden=(5,), latent_dim=4).eval(), torch.rand(3, 1, 3, 3)
    y = x[[1, 2, 0]]
    for n, frame in enumerate(cf.PixelInterpolation(5)(model, x, rng())):
        torch.testing.assert_close(frame, model((1 - n / 4) * x + n / 4 * y))


def test_pixel_interpolation_has_the_script_s_noise_halfway():
    x, wanted = torch.rand(2, 1, 3, 3), 0.5 + 0.2 * torch.randn(2, 1, 3, 3, generator=rng())
    film = cf.PixelInterpolation(5, noise_weight=2.0)(Pixels((1, 3, 3)), x, rng())
    for n, (frame, beta) in enumerate(zip(film, (0, 0.5, 1, 0.5, 0), strict=True)):
        straight = (1 - n / 4) * x + n / 4 * x.flip(0)
        torch.testing.assert_close(frame, straight + 2 * beta * wanted)


@pytest.mark.parametrize("cls", [cf.Interpolation, cf.PixelInterpolation, cf.DirectedWalk])
def test_one_image_cannot_be_interpolated(cls):
    with pytest.raises(cf.UsageError, match="each image to the next: give at least 2"):
        next(cls()(Pixels((1, 2, 2)), torch.rand(1, 1, 2, 2), rng()))


def test_invalid_interpolations_are_refused():
    with pytest.raises(cf.UsageError, match="linear, spherical"):
        cf.Interpolation(kind="cubic")
    with pytest.raises(cf.UsageError, match="steps=1"):
        cf.Interpolation(steps=1)
    with pytest.raises(cf.UsageError, match="noise_weight=-1"):
        cf.PixelInterpolation(noise_weight=-1)


# ---------------------------------------------------------------- traversal


def test_a_traversal_moves_one_number_of_the_code():
    """Over a linear decoder every frame is the reconstruction plus that column of it, so many stds along."""
    model, x = cf.Linear((1, 3, 3), latent_dim=4), torch.rand(6, 1, 3, 3)
    with torch.no_grad():
        z = model.encode(x)
        column = model.decoder[0].weight[:, 2].view(1, 3, 3)
        mean, std = z[:, 2].mean(), z[:, 2].std()
        film = list(cf.Traversal(dim=2, low=-2.0, high=2.0, steps=5)(model, x, rng()))
        for t, frame in zip((-2, -1, 0, 1, 2), film, strict=True):
            moved = (mean + t * std - z[:, 2]).view(-1, 1, 1, 1)
            torch.testing.assert_close(frame, model(x) + moved * column)


def test_a_traversal_in_units_of_the_prior_or_of_other_images():
    x, other = torch.rand(2, 1, 2, 2), torch.rand(70, 1, 2, 2)
    values = other.flatten(1)[:, 3]
    given = {"prior": (0.0, 1.0, None), "codes": (values.mean(), values.std(), other)}
    for unit, (mean, std, reference) in given.items():
        film = list(cf.Traversal(3, 0.5, 1.0, 2, unit, reference)(Pixels((1, 2, 2)), x, rng()))
        for t, frame in zip((0.5, 1.0), film, strict=True):
            wanted = x.clone()
            wanted[:, :, 1, 1] = mean + t * std
            torch.testing.assert_close(frame, wanted)


def test_dimensions_are_counted_through_all_maps_of_a_tuple():
    x = torch.rand(2, 1, 4, 2)
    (_, last) = cf.Traversal(dim=5, steps=2, unit="prior")(Halves((1, 4, 2)), x, rng())
    wanted = x.clone()
    wanted[:, :, 2, 1] = 0.3  # 3 in the second map, which is tenfold
    torch.testing.assert_close(last, wanted)
    assert flat(Halves((1, 4, 2)).encode(x)).shape == (2, 8)


def test_invalid_traversals_are_refused():
    model = Pixels((1, 2, 2))
    with pytest.raises(cf.UsageError, match="dim=4 is invalid: expected a dimension, 0 to 3"):
        next(cf.Traversal(4)(model, torch.rand(3, 1, 2, 2), rng()))
    with pytest.raises(cf.UsageError, match="1 image is invalid for unit="):
        next(cf.Traversal()(model, torch.rand(1, 1, 2, 2), rng()))
    assert next(cf.Traversal()(model, torch.rand(2, 1, 2, 2), rng())).isfinite().all()
    with pytest.raises(cf.UsageError, match="codes, prior"):
        cf.Traversal(unit="std")
