"""What is said of the numbers of a code, against codes that were made to have each fault."""

import pytest
import torch

import copyfold as cf
from copyfold.probes.latent import symptoms


class Given(cf.Linear):
    """A model whose codes are given."""

    def __init__(self, code: torch.Tensor) -> None:
        super().__init__((1, 2, 2), latent_dim=code.shape[1])
        self.code = code

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.code


def read(model) -> dict[str, torch.Tensor]:
    return cf.CodeStatistics()(model, torch.rand(40, *model.shape), torch.Generator()).numbers


def test_units_are_counted():
    code = torch.rand(40, 5)
    code[:, 1] = 0  # dead
    code[:, 2] = torch.arange(40) % 2  # on for half of the images
    code[:, 3] = 0.5  # always on, and says nothing
    code[:, 4] = 1 + torch.rand(40)
    found = read(Given(code))
    assert found["units"] == 5
    assert found["dead_units"] == 1
    assert found["active_units"] == 3
    assert found["on"][2] == 0.5
    assert found["always_on_units"] >= 2
    torch.testing.assert_close(found["mean"], code.mean(0))
    torch.testing.assert_close(found["variance"], code.var(0, correction=0))
    assert "saturation" not in found


def test_saturation_is_of_logistic_units():
    code = torch.full((40, 4), 0.5)
    code[:, 0], code[:, 1] = 0.001, 0.999
    assert read(Given(code))["saturation"] == 0.5


def test_collapsed_dimensions_are_counted_and_said():
    model = cf.Variational(cf.Linear((1, 4, 4), 6), latent_dim=3).eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
        model.head.weight[0] = 5.0  # the mean of the first dimension follows the image
    found = read(model)
    assert found["active_units"] == 1
    torch.testing.assert_close(found["kl"][1:], torch.zeros(2))
    assert found["kl"][0] > 0.1
    (said,) = [s for s in symptoms(found) if "collapsed" in s]
    assert said.startswith("2 of 3 latent dimensions")


def test_images_are_encoded_a_batch_at_a_time_with_the_statistics_asked_for():
    model = cf.MLP((1, 4, 4), hidden=(8,), latent_dim=3, norm="batch").eval()
    x, rng = torch.rand(10, 1, 4, 4), torch.Generator()
    whole, parts = (cf.CodeStatistics(batch=n)(model, x, rng).numbers for n in (10, 3))
    torch.testing.assert_close(whole["mean"], parts["mean"])
    other = cf.CodeStatistics("batch", batch=10)(model, x, rng).numbers
    assert not torch.allclose(whole["mean"], other["mean"])
    assert model.statistics == "batch"


@pytest.mark.parametrize(
    ("code", "sparse", "words"),
    [
        (torch.rand(40, 4) + 0.5, True, "4 of 4 units are on for every image"),
        (torch.rand(40, 4) * torch.tensor([0, 0, 0, 1]), True, "3 of 4 units are dead"),
        (torch.ones(40, 4), False, "100% of the logistic units"),
    ],
)
def test_each_fault_is_said_once_and_in_words(code, sparse, words):
    said = symptoms(read(Given(code)), sparse)
    assert len([s for s in said if words in s]) == 1


def test_values_outside_are_said_with_and_without_a_code():
    for numbers in ({}, read(Given(torch.randn(40, 4)))):
        (said,) = symptoms(numbers, outside=0.25)
        assert "25.0% of the output's values lie outside" in said


def test_a_healthy_code_is_not_spoken_of():
    assert symptoms(read(Given(torch.randn(40, 4)))) == []
    assert symptoms({}) == []
