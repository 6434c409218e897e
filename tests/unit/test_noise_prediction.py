"""Noise prediction, and images made with it, where the answer is known."""

import pytest
import torch
from torch import Generator, nn

from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.models.diffusion_unet import DiffusionUNet
from copyfold.objectives.noise_prediction import NoisePrediction

SHAPE = (1, 8, 8)


class Answer(Autoencoder):
    """It returns what a function makes of its input."""

    def __init__(self, shape=SHAPE, function=lambda x: 0 * x):
        super().__init__(shape, "linear")
        self.function, self.weight = function, nn.Parameter(torch.ones(()))

    def encode(self, x):
        return x

    def logits(self, z):
        return self.weight * self.function(z)


def test_levels_are_the_products_of_what_each_step_leaves():
    left = NoisePrediction(3, 0.1, 0.3).left()
    torch.testing.assert_close(left, torch.tensor([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7]).double())
    assert NoisePrediction().left()[-1] < 1e-4  # hardly anything of the image is left
    for wrong in ((0, 0.1, 0.2), (3, 0.0, 0.2), (3, 0.3, 0.2), (3, 0.1, 1.0)):
        with pytest.raises(UsageError):
            NoisePrediction(*wrong)


@pytest.mark.parametrize("guess", ["nothing", "the input"])
def test_the_loss_of_known_guesses_is_their_expectation(guess):
    """Of nothing: half of the noise's energy. Of the input itself: its image, and what the noise lacks."""
    torch.manual_seed(0)
    x, left = torch.full((4096, *SHAPE), 0.9), NoisePrediction().left()
    model = Answer(function=(lambda z: 0 * z) if guess == "nothing" else (lambda z: z))
    watch = {}
    loss = NoisePrediction()(model, x, watch)["noise"].item()
    energy = 1.0 if guess == "nothing" else (0.8**2 * left + ((1 - left).sqrt() - 1).square()).mean().item()
    assert loss == pytest.approx(64 / 2 * energy, rel=0.03)
    assert watch["mse"].item() == pytest.approx(energy, rel=0.03)


def test_a_bounded_output_is_refused():
    with pytest.raises(UsageError, match="noise is not bounded"):
        NoisePrediction().check(DiffusionUNet.tiny())


def best_guesses(steps, mean, std, count=1000):
    """The expected noise in each x_t, where images are N(mean, std^2) in [-1, 1]; it counts the steps itself."""
    left = iter(NoisePrediction(count).left()[torch.linspace(count - 1, 0, steps).round().long()].float())

    def guess(x):
        a = next(left)
        return (1 - a).sqrt() * (x - a.sqrt() * mean) / (1 - a + a * std**2)

    return guess


def noise(count, rng):
    return torch.randn(count, *SHAPE, generator=rng)


def test_with_the_best_guesses_samples_have_the_distribution_of_the_images():
    mean, std, rng = 0.3, 0.2, Generator().manual_seed(0)
    model = Answer(function=best_guesses(500, mean, std))
    *_, made = NoisePrediction().film(model, noise(400, rng), rng, steps=500, clip=False)
    assert made.mean().item() == pytest.approx((mean + 1) / 2, abs=0.005)
    assert made.std().item() == pytest.approx(std / 2, rel=0.03)


def test_a_film_has_its_frames_and_its_last_is_the_image_itself():
    """Of images that are all one, whose noise is known, every frame is that image."""
    rng = Generator().manual_seed(1)
    model = Answer(function=best_guesses(20, -0.5, 0.0))
    frames = list(NoisePrediction().film(model, noise(3, rng), rng, steps=20))
    assert len(frames) == 20
    for frame in frames[1:]:
        torch.testing.assert_close(frame, torch.full_like(frame, 0.25), atol=2e-3, rtol=0)
    with pytest.raises(UsageError, match="at most the 10 levels"):
        next(NoisePrediction(10).film(model, noise(1, rng), rng, steps=20))


def test_what_a_film_shows_is_clipped_to_images_unless_asked_otherwise():
    """Where no noise is seen in it, all of x_t is image, and much too strong."""
    x, rng = noise(2, Generator().manual_seed(2)), Generator().manual_seed(3)
    first = next(NoisePrediction().film(Answer(), x, rng, steps=5))
    assert first.equal((x.sign() + 1) / 2)
    free = next(NoisePrediction().film(Answer(), x, rng, steps=5, clip=False))
    torch.testing.assert_close(free, (x / NoisePrediction().left()[-1].sqrt().float() + 1) / 2)


def test_a_small_network_learns_to_see_noise_in_images_of_one_grey():
    torch.manual_seed(0)
    model = DiffusionUNet(SHAPE, width=16, multiples=(1, 2), heads=2, dim_head=4)
    objective, optimizer = NoisePrediction(), torch.optim.Adam(model.parameters(), 3e-3)
    x, losses = torch.full((32, *SHAPE), 0.8), []
    for _ in range(60):
        losses.append(objective(model, x)["noise"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1].item() < 0.5 * 64 / 2
    rng = Generator().manual_seed(0)
    *_, made = objective.film(model.eval(), noise(8, rng), rng, steps=10)
    assert not made.requires_grad
    assert 0 <= made.min() <= made.max() <= 1
