"""Noise-free walks of linear maps with known limits; the interval of a fraction against scipy's."""

import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold.probes.stability import rms, spacing, wilson

Z = 1.959964  # 95 % of normal values are within Z stds of their mean
SHAPE = (1, 4, 4)


class Given(cf.Linear):
    """The map x -> f(x) that is given."""

    def __init__(self, function) -> None:
        super().__init__(SHAPE, latent_dim=16)
        self.function = function

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x).flatten(1)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return z.view(-1, *SHAPE)


def images(count: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, *SHAPE, generator=Generator().manual_seed(seed))


def read(function, x: torch.Tensor, **fields) -> dict[str, torch.Tensor]:
    found = cf.Stability(**fields)(Given(function), x, Generator().manual_seed(0)).numbers
    assert all(v.isfinite().all() for v in found.values())
    return found


def test_a_halving_map_converges_to_zero():
    """g[n] = x / 2^n: the step is 2^-N, the way from g[1] is 1/2 - 2^-N, of the root mean square of x."""
    x, size = images(), images().square().flatten(1).mean(1).sqrt()
    found = read(lambda x: x / 2, x, steps=12)
    torch.testing.assert_close(found["singular values"], torch.full((4, 3), 0.5))
    torch.testing.assert_close(found["late step"], size / 2**12)
    torch.testing.assert_close(found["displacement"], size * (0.5 - 0.5**12))
    assert (found["period"] == 1).all()
    assert (read(lambda x: x / 2, x, steps=3)["period"] == 0).all()  # not yet


@pytest.mark.parametrize("period", [1, 2, 4])
def test_a_permutation_of_pixels_is_a_cycle(period):
    found = read(lambda x: x.roll(4 // period, dims=3) if period > 1 else x, images(), steps=9)
    assert (found["period"] == period).all()
    torch.testing.assert_close(found["singular values"], torch.ones(4, 3))


def test_a_cycle_longer_than_the_limit_is_not_reported():
    assert (read(lambda x: x.roll(1, dims=3), images(), steps=9, longest=3)["period"] == 0).all()


def test_a_contraction_towards_an_image_of_its_own_does_not_walk():
    """Each image is drawn back to the nearest of four centres, which are the data."""
    centres = images()

    def towards(x: torch.Tensor) -> torch.Tensor:
        nearest = torch.cdist(x.flatten(1), centres.flatten(1)).argmin(1)
        return 0.5 * x + 0.5 * centres[nearest]

    x = centres + 0.01 * torch.randn(centres.shape, generator=Generator().manual_seed(2))
    found = read(towards, x, steps=20, reference=centres, values=0)
    assert not found["walks"].any()
    assert (found["fraction"], found["fraction, low"]) == (0, 0)
    assert found["fraction, high"].item() == pytest.approx(Z**2 / (4 + Z**2))


def test_walking_is_going_far_or_to_another_neighbour():
    """Images brighten step by step: one goes farther than tau, one passes the middle of two, two stay."""
    levels = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(4, 1, 1, 1).expand(-1, *SHAPE)  # tau = 0.5
    x = torch.tensor([0.0, 1.4, 2.0, -3.0]).view(4, 1, 1, 1).expand(-1, *SHAPE)
    speed = torch.tensor([0.02, 0.05, 0.02, 0.2]).view(4, 1, 1, 1)
    found = read(lambda x: x + speed, x.clone(), steps=6, reference=levels.clone(), values=0)
    torch.testing.assert_close(found["tau"], torch.tensor(0.5))
    torch.testing.assert_close(found["displacement"], 5 * speed.flatten())
    assert found["walks"].tolist() == [0, 1, 0, 1]
    assert found["fraction"] == 0.5


def test_the_first_step_is_not_walking():
    x = images(6)
    found = read(lambda g: torch.zeros_like(g), x, steps=5)
    assert not found["displacement"].any()
    assert not found["walks"].any()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("factor", [3.0, 1e30])
def test_diverging_images_are_clamped_and_walk(factor, sign):
    x = sign * images()
    scale = torch.tensor([1.0, factor, 1.0, 1.0]).view(4, 1, 1, 1)
    found = read(lambda x: x * scale, x, steps=100, values=0)
    assert found["escaped"].tolist() == [0, 1, 0, 0]
    assert found["walks"].tolist() == [0, 1, 0, 0]
    assert found["period"].tolist() == [1, 0, 1, 1]


def test_the_frames_are_iterates_of_the_model():
    x, model = images(), cf.MLP(SHAPE, hidden=(8,), latent_dim=3).eval()
    reading = cf.Stability(steps=3)(model, x, Generator())
    with torch.no_grad():
        assert torch.equal(reading.images["first"], model(x))
        assert torch.equal(reading.images["last"], model(model(model(x))))


def test_a_single_step_works():
    found = read(lambda x: 0.5 + x / 2, images(), steps=1)
    assert not found["displacement"].any()
    assert (found["late step"] > 0.01).all()


def test_spacing_is_the_median_distance_to_the_nearest_other_image():
    data = torch.tensor([0.0, 1.0, 3.0, 7.0, 15.0]).view(5, 1, 1, 1).expand(-1, *SHAPE)
    assert spacing(data) == 2.0  # of 1, 1, 2, 4, 8
    assert spacing(torch.cat((data, data))) == 0
    torch.testing.assert_close(rms(data[:2], data[2:4]), torch.tensor([3.0, 6.0]))


@pytest.mark.parametrize(("successes", "n"), [(0, 8), (1, 8), (4, 8), (7, 8), (8, 8), (0, 1), (130, 1000)])
def test_the_interval_is_wilson_s(successes, n):
    """Its ends are as far from the fraction as chance takes a fraction from them."""
    fraction, low, high = wilson(successes, n)
    assert fraction == successes / n
    assert 0 <= low <= fraction <= high <= 1
    assert low < high
    for p in (low, high):
        assert (fraction - p) ** 2 == pytest.approx(Z**2 * p * (1 - p) / n, rel=1e-5, abs=1e-15)


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"values": -1}, {"iterations": 0}, {"longest": 0}, {"tolerance": 0.0}]
)
def test_invalid_fields_are_refused(bad):
    with pytest.raises(cf.UsageError, match=next(iter(bad))):
        cf.Stability(**bad)


def test_a_single_image_is_refused_with_advice():
    with pytest.raises(cf.UsageError, match="or training images as reference"):
        read(lambda x: x, images(1))
    read(lambda x: x, images(1), reference=images(2))


def test_a_fraction_of_no_images_is_refused():
    for successes, n in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(cf.UsageError, match="expected a count from 0 to n"):
            wilson(successes, n)
