"""The Jacobian of a known matrix."""

import torch

from copyfold.claims.notes.contraction_costs_and_selects import responses
from copyfold.models.dense import Linear

SHAPE = (1, 4, 4)


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


def test_a_constant_encoder_has_no_active_units() -> None:
    model = Linear(SHAPE, 5)
    model.encoder[1].weight.data.zero_()
    read = responses(model, torch.rand(4, *SHAPE), torch.eye(16)[:2])
    assert all(value.isfinite().all() for value in read.values())
    assert read["units"].eq(0).all()
