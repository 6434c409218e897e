"""What is said of the numbers of a code, against codes that were made to have each fault."""

import pytest
import torch

import copyfold as cf
from copyfold.probes.latent import symptoms


class Given(cf.Linear):
    """A model whose codes and images are given."""

    def __init__(self, code: torch.Tensor, image: float = 0.5) -> None:
        super().__init__((1, 2, 2), latent_dim=code.shape[1])
        self.code, self.image = code, image

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.code

    def logits(self, z: torch.Tensor) -> torch.Tensor:
        return torch.full((len(z), 1, 2, 2), self.image)


def read(model) -> dict[str, torch.Tensor]:
    return cf.CodeStatistics()(model, torch.rand(40, *model.shape), torch.Generator()).numbers


def test_units_are_counted():
    code = torch.rand(40, 5)
    code[:, 1] = 0  # dead
    code[::2, 2] = 0  # on for half of the images
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


@pytest.mark.parametrize(
    ("code", "image", "sparse", "words"),
    [
        (torch.rand(40, 4) + 0.1, 0.5, True, "4 of 4 units are on for every image"),
        (torch.rand(40, 4) * torch.tensor([0, 0, 0, 1]), 0.5, True, "3 of 4 units are dead"),
        (torch.ones(40, 4), 0.5, False, "100% of the logistic units"),
        (torch.randn(40, 4), 1.5, False, "100.0% of the output's values lie outside"),
    ],
)  # fmt: skip
def test_each_fault_is_said_once_and_in_words(code, image, sparse, words):
    said = symptoms(read(Given(code, image)), sparse)
    assert len([s for s in said if words in s]) == 1


def test_a_healthy_code_is_not_spoken_of():
    assert symptoms(read(Given(torch.randn(40, 4)))) == []
