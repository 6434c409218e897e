"""Fidelities and penalties against torch.distributions, and the one equation against its parts."""

import pytest
import torch
from torch.distributions import Bernoulli, Normal

import copyfold as cf


class Fixed(cf.Linear):
    """A model whose reconstruction is given, so that only the likelihood is tested."""

    def __init__(self, logits: torch.Tensor, output: str = "linear") -> None:
        super().__init__((1, 4, 4), latent_dim=2, output=output)
        self.given = logits

    def logits(self, z: torch.Tensor) -> torch.Tensor:
        return self.given + 0 * z.sum()


def pictures(count: int = 5) -> torch.Tensor:
    return torch.rand(count, 1, 4, 4)


@pytest.mark.parametrize("std", [1.0, 0.1, 3.0])
def test_the_squared_error_is_a_normal_likelihood_up_to_its_constant(std):
    x, mean = pictures(), pictures()
    model = Fixed(mean)
    loss, image = cf.SquaredError(std)(model, model.encode(x), x)
    expected = -Normal(mean, std).log_prob(x).flatten(1).sum(1).mean()
    constant = 16 * torch.log(torch.tensor(std * (2 * torch.pi) ** 0.5))
    torch.testing.assert_close(loss + constant, expected)
    assert torch.equal(image, mean)


def test_bernoulli_is_torch_s_on_binary_images_and_the_cross_entropy_on_grey_ones():
    logits = 3 * torch.randn(5, 1, 4, 4)
    model = Fixed(logits, output="sigmoid")
    x = (pictures() > 0.5).float()
    loss, image = cf.Bernoulli()(model, model.encode(x), x)
    torch.testing.assert_close(loss, -Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1).mean())
    torch.testing.assert_close(image, logits.sigmoid())
    grey = pictures()
    p = logits.double().sigmoid()
    expected = -(grey * p.log() + (1 - grey) * (1 - p).log()).flatten(1).sum(1).mean()
    torch.testing.assert_close(cf.Bernoulli()(model, model.encode(grey), grey)[0].double(), expected)


def test_bernoulli_refuses_an_unbounded_output():
    with pytest.raises(cf.UsageError, match="sigmoid"):
        cf.Bernoulli().check(cf.Linear.tiny())


def test_the_loss_does_not_depend_on_the_size_of_the_batch():
    model, x = cf.Linear((1, 4, 4), 3), pictures()
    once, twice = (sum(cf.Classical()(model, batch).values()) for batch in (x, torch.cat((x, x))))
    torch.testing.assert_close(once, twice)


def test_l1_is_the_mean_over_images_of_the_sum_over_the_code():
    z = torch.randn(5, 7)
    penalty = cf.L1(weight=0.3)(cf.Linear.tiny(), pictures(), z)
    torch.testing.assert_close(penalty, 0.3 * z.abs().sum(1).mean())
    maps = (torch.randn(5, 2, 3, 3), torch.randn(5, 4))
    expected = maps[0].abs().flatten(1).sum(1).mean() + maps[1].abs().sum(1).mean()
    torch.testing.assert_close(cf.L1()(cf.Linear.tiny(), pictures(), maps), expected)


def test_diagnostics_are_against_the_clean_image_and_no_part_of_the_loss():
    model, x = Fixed(torch.full((5, 1, 4, 4), 0.5)), pictures()
    watch = {}
    terms = cf.Classical(cf.Gaussian(10.0), penalties=(cf.L1(),))(model, x, watch)
    assert set(terms) == {"fidelity", "L1"}
    errors = (x - 0.5).square().flatten(1).mean(1)
    torch.testing.assert_close(watch["mse"], errors.mean())
    torch.testing.assert_close(watch["psnr"], (-10 * errors.log10()).mean())


def test_the_encoder_sees_the_corrupted_image_and_runs_once():
    model, seen = cf.Linear((1, 4, 4), 3), []
    model.encoder.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    cf.Classical(cf.Masking(1.0), penalties=(cf.L1(),))(model, pictures())
    assert len(seen) == 1
    assert seen[0].abs().sum() == 0


def test_impossible_settings_are_refused():
    for make in (
        lambda: cf.SquaredError(0.0),
        lambda: cf.L1(-1.0),
        lambda: cf.Classical(penalties=(cf.L1(), cf.L1())),
    ):
        with pytest.raises(cf.UsageError):
            make()
