"""The ascent on densities whose best denoiser is known, and what it says when it goes wrong."""

from statistics import median

import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold.data.synthetic import GaussianMixture, ring
from copyfold.measures import sliced_wasserstein
from copyfold.testing import check_sampler
from known import Identity, Pixels


def rng(seed: int = 3) -> Generator:
    return Generator().manual_seed(seed)


def best(mean, std):
    """The best denoiser of a Gaussian density, independent pixels."""
    return lambda y, noise: mean + std**2 / (std**2 + noise**2) * (y - mean)


# ---------------------------------------------------------------- the schedule


def test_the_plan_is_the_paper_s_schedule():
    plan = cf.Ascent().plan()
    std = 1.0
    for t, (planned, h) in enumerate(plan, 1):
        assert planned == pytest.approx(std)
        assert h == pytest.approx(0.01 * t / (1 + 0.01 * (t - 1)))
        assert (planned <= 0.01) == (t == len(plan))
        std *= 1 - 0.05 * h
    assert len(plan) == cf.Ascent().length() == 201
    assert max(h for _, h in cf.Ascent(h_max=0.1).plan()) == 0.1
    assert cf.Ascent(h_max=0.1).length() == 925
    assert cf.Ascent(steps=7).plan() == plan[:7]
    assert cf.Ascent(steps=210).plan()[:201] == plan


@pytest.mark.parametrize("level", ["estimated", "planned"])
def test_a_film_equals_the_explicit_loop(level):
    model, x = cf.Conv((1, 8, 8), channels=(3,), norm="none").eval(), torch.rand(3, 1, 8, 8)
    film = list(cf.Ascent(beta=0.3, h0=0.2, to_std=0.2, level=level, clip=False)(model, x, rng()))
    draws, y, std = rng(), x.clone(), 1.0
    with torch.no_grad():
        for t, frame in enumerate(film, 1):
            clean = model(y)
            torch.testing.assert_close(frame, clean)
            h = 0.2 * t / (1 + 0.2 * (t - 1))
            added = ((1 - 0.3 * h) ** 2 - (1 - h) ** 2) ** 0.5
            for image, denoised, z in zip(y, clean, torch.randn(y.shape, generator=draws), strict=True):
                f = denoised - image
                s = std if level == "planned" else f.square().mean().sqrt()
                if s > 0.2:
                    image += h * f + added * s * z
            std *= 1 - 0.3 * h


# ---------------------------------------------------------------- densities that are known


def test_the_film_of_a_gaussian_density_has_the_moments_of_the_recursion():
    """The best denoiser is linear, so that mean and variance follow from the plan, and D(y) from y."""
    mean, std = torch.tensor([0.2, 0.9]), torch.tensor([0.1, 0.5])
    ascent = cf.Ascent(beta=0.2, h0=0.03, mean=0.4, clip=False)
    centre, variance = torch.full((2,), 0.4), torch.ones(2)
    steps = ascent.ascend(best(mean, std), ascent.noise(20_000, (1, 1, 2), rng()), rng(4))
    for step, (noise, h) in zip(steps, ascent.plan(), strict=True):
        shrunk = noise**2 / (std**2 + noise**2)
        y, clean = step.image.view(-1, 2), step.denoised.view(-1, 2)
        torch.testing.assert_close(y.mean(0), centre, atol=0.03, rtol=0)
        torch.testing.assert_close(y.var(0), variance, atol=0, rtol=0.05)
        torch.testing.assert_close(clean.var(0), (1 - shrunk) ** 2 * variance, atol=0, rtol=0.05)
        centre = centre + h * shrunk * (mean - centre)
        added = (1 - 0.2 * h) ** 2 - (1 - h) ** 2
        variance = (1 - h * shrunk) ** 2 * variance + added * noise**2
    assert step.planned <= 0.01
    torch.testing.assert_close(y.mean(0), mean, atol=0.02, rtol=0)


@pytest.mark.parametrize("std", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("beta", [0.05, 0.5, 1.0])
def test_smaller_steps_leave_a_smaller_error_of_the_std(std, beta):
    """About a quarter of h, the largest of the steps near the level std; without limit for beta = 1 too."""
    errors = []
    for h_max in (0.4, 0.1, 0.025):
        variance = 1 + std**2  # as the noisy density has it
        for noise, h in cf.Ascent(beta=beta, h0=0.03, h_max=h_max).plan():
            shrunk = noise**2 / (std**2 + noise**2)
            last = variance
            variance = (1 - h * shrunk) ** 2 * variance + ((1 - beta * h) ** 2 - (1 - h) ** 2) * noise**2
        errors.append(1 - (last / (std**2 + noise**2)) ** 0.5)
        assert 0 < errors[-1] < 0.3 * h_max
    assert errors[0] > errors[1] > errors[2]


def distances(density: GaussianMixture, ascent: cf.Ascent, denoise, count: int, draws: int) -> list[list[float]]:
    """Sliced Wasserstein distances of the results of ascents, and of true samples, to other true samples."""
    found = []
    for draw in range(draws):
        true, other = (density.sample(count, rng(seed + draw)) for seed in (100, 200))
        start = ascent.noise(count, (1, 1, 2), rng(300 + draw)).double()
        *_, step = ascent.ascend(denoise, start, rng(400 + draw))
        made = (step.image, step.denoised)
        sets = [*(images.view(-1, 2) for images in made), other]
        found.append([sliced_wasserstein(points, true, rng(9)).item() for points in sets])
    return found


def uneven() -> GaussianMixture:
    means = torch.tensor([[0.0, 1.0], [1.2, -0.8], [-1.1, -0.3]], dtype=torch.float64)
    return GaussianMixture(means, 0.1, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))


def denoiser(density: GaussianMixture):
    """The best one, by Tweedie's formula."""

    def denoise(y, std):
        points = y.view(-1, 2)
        return (points + std**2 * density.score(points, std)).view_as(y)

    return denoise


@pytest.mark.parametrize("density", [ring(), uneven()], ids=["ring", "uneven"])
def test_by_the_exact_score_samples_are_as_far_as_true_ones(density):
    """Medians of five draws of 1,000 points, the level given."""
    ascent = cf.Ascent(mean=0.0, clip=False)
    image, denoised, true = map(median, zip(*distances(density, ascent, denoiser(density), 1000, 5), strict=True))
    assert image < 1.5 * true
    assert denoised < 1.5 * true


def test_from_too_narrow_noise_or_without_added_noise_samples_are_farther():
    """The control: what is said of samples can be wrong."""
    density = uneven()
    for ascent in (cf.Ascent(from_std=0.3, mean=0.0, clip=False), cf.Ascent(beta=1.0, mean=0.0, clip=False)):
        image, _, true = map(median, zip(*distances(density, ascent, denoiser(density), 1000, 5), strict=True))
        assert image > 1.5 * true


def test_measurements_are_met_and_the_prior_decides_the_rest():
    """Pairs of correlated pixels, normal, the first of each measured: the answer is the regression on it."""
    mean, std, shared, measured = 0.5, 0.2, 0.8, 0.9
    covariance = std**2 * torch.tensor([[1.0, shared], [shared, 1.0]])

    def denoise(y, noise):
        gain = covariance @ torch.linalg.inv(covariance + noise**2 * torch.eye(2))
        return mean + (y - mean) @ gain.T

    def project(f, y):
        return torch.cat((measured - y[..., :1], f[..., 1:]), 3)

    ascent = cf.Ascent(clip=False, h_max=0.1)
    *_, last = ascent.ascend(denoise, ascent.noise(2, (1, 1000, 2), rng()), rng(4), project)
    first, second = last.image.unbind(3)
    assert first.mean() == pytest.approx(measured, abs=0.002)
    assert first.std() == pytest.approx(0.01, rel=0.1)
    assert second.mean() == pytest.approx(mean + shared * (measured - mean), abs=0.1 * std)
    assert second.std() == pytest.approx(std * (1 - shared**2) ** 0.5, abs=0.05 * std)


# ---------------------------------------------------------------- levels of single images


class Shrinking(Pixels):
    """The best denoiser of a single grey, 1/2, where the noise is white; it is told nothing."""

    def logits(self, z):
        return torch.full_like(super().logits(z), 0.5)


class Growing(Pixels):
    """A denoiser without additive constants that thinks everything brighter than it is."""

    def logits(self, z):
        y = super().logits(z)
        return 1.3 * y.mean((2, 3), keepdim=True).expand_as(y)


@pytest.mark.parametrize("level", ["estimated", "planned"])
def test_an_image_does_not_depend_on_the_others(level):
    """And one whose noise is estimated to be gone stays as it is, while the others go on."""
    model, ascent = Shrinking((1, 8, 8)), cf.Ascent(to_std=0.1, level=level, h0=0.1)
    x = ascent.noise(3, (1, 8, 8), rng())
    x[1] = 0.5 + 0.05 * (x[1] - 0.5)

    other = x.clone()
    other[2] *= 0.7
    steps, others = (list(ascent.ascend(lambda y, _: model(y), y, rng(5))) for y in (x, other))
    for a, b in zip(steps, others, strict=True):
        assert torch.equal(a.image[:2], b.image[:2])
        assert torch.equal(a.image[1], x[1]) == (level == "estimated" or a is steps[0])
    assert not torch.equal(steps[1].image[0], x[0])


# ---------------------------------------------------------------- what it says


@pytest.mark.parametrize(("clip", "level"), [(False, "planned"), (False, "estimated"), (True, "planned")])
def test_an_ascent_that_runs_away_ends_with_an_error(clip, level):
    """Of a denoiser that makes images brighter, unless its images are clipped."""
    model, ascent = Growing((1, 8, 8)), cf.Ascent(clip=clip, level=level, mean=1.0)
    film = ascent(model, ascent.noise(3, (1, 8, 8), rng()), rng(4))
    if clip:
        *_, last = film
        assert last.min() >= 0
        assert last.max() <= 1
        return
    frames = []
    with pytest.raises(cf.Diverged, match=r"ran away at step \d+ of 201: the noise of image \d .* take clip=True"):
        frames.extend(frame for frame in film)
    assert len(frames) < 150
    assert all(frame.isfinite().all() for frame in frames)


def test_an_image_that_is_not_finite_is_an_error():
    steps = cf.Ascent().ascend(lambda y, _: y * torch.nan, torch.rand(2, 1, 4, 4), rng())
    with pytest.raises(cf.Diverged, match="train the denoiser longer"):
        next(steps)


def test_a_network_that_copies_is_doubted_and_one_that_removes_noise_is_not():
    copy, ascent = Identity((1, 16, 16)), cf.Ascent()
    assert "this Identity takes noise of std 1 for noise of std 0" in ascent.doubt(copy.train())
    assert "Gaussian(std=(0.01, 1))" in ascent.doubt(copy)
    assert copy.training
    assert ascent.doubt(Shrinking((1, 16, 16))) == ""


class Leaving(Pixels):
    """It removes no noise that is fainter than 0.1, of a grey."""

    def logits(self, z):
        y = super().logits(z)
        return y if y.std() < 0.1 else torch.full_like(y, 0.5)


@pytest.mark.parametrize(
    ("ascent", "model", "words"),
    [
        (cf.Ascent(), Shrinking, ""),
        (cf.Ascent(level="estimated"), Shrinking, ""),
        (cf.Ascent(), Leaving, "0.1 is planned: the denoiser leaves noise"),
        (cf.Ascent(), Identity, "is planned: the denoiser leaves noise as it is"),
        (cf.Ascent(level="estimated"), Identity, 'they end after fewer steps; level="planned" takes them all'),
    ],
    ids=["planned", "estimated", "faint", "copy", "copy by estimates"],
)
def test_a_film_says_once_where_levels_part(ascent, model, words, caplog):
    model = model((1, 16, 16))
    *_, _ = ascent(model, ascent.noise(3, model.shape, rng()), rng(4))
    assert [words in record.message for record in caplog.records] == [True] * bool(words)


def test_a_film_says_early_that_images_run_away(caplog):
    model, ascent = Growing((1, 16, 16)), cf.Ascent(clip=False)
    with pytest.raises(cf.Diverged):
        *_, _ = ascent(model, ascent.noise(3, model.shape, rng()), rng(4))
    (record,) = caplog.records
    assert "of 3 images is estimated at more than twice the planned std 0." in record.message
    assert "as of images that run away" in record.message


def test_a_trace_has_the_levels_of_every_frame():
    model, ascent = Shrinking((1, 32, 32)), cf.Ascent(beta=0.5)
    x = ascent.noise(3, (1, 32, 32), rng())
    traced = list(ascent.trace(model, x, rng(4)))
    for (frame, numbers), other, (std, _) in zip(traced, ascent(model, x, rng(4)), ascent.plan(), strict=True):
        assert torch.equal(frame, other)
        assert numbers["planned noise"].item() == pytest.approx(std)
        assert numbers["estimated noise"].shape == (3,)
        torch.testing.assert_close(numbers["estimated noise"], torch.full((3,), std), rtol=0.12, atol=0)
    walk = cf.Walk(steps=2)
    assert [numbers for _, numbers in walk.trace(model, x, rng())] == [{}, {}]
    assert (walk.length(), cf.Prior().length()) == (2, None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"beta": 0.0}, "Ascent\\(beta=0.0\\) is invalid: expected a number above 0 and at most 1"),
        ({"h0": 1.5}, "h0=1.5"),
        ({"h_max": float("nan")}, "h_max=nan"),
        ({"to_std": 0.0}, "to_std=0.0\\) is invalid: expected a number above 0"),
        ({"from_std": 0.01}, "from_std > to_std"),
        ({"from_std": float("inf")}, "from_std=inf"),
        ({"steps": 0}, "steps=0"),
        ({"level": "known"}, "planned, estimated"),
    ],
)
def test_invalid_schedules_are_refused(given, words):
    with pytest.raises(cf.UsageError, match=words):
        cf.Ascent(**given)


def test_an_ascent_of_planned_length_passes_the_check_of_samplers():
    check_sampler(cf.Ascent(beta=0.5, h0=0.5, to_std=0.3))
    check_sampler(cf.Ascent(beta=0.5, h0=0.5, to_std=0.3, level="estimated"))
