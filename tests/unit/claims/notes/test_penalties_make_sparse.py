"""Which units are kept; networks without a difference."""

import pytest
import torch

from copyfold.claims.notes import penalties_make_sparse
from copyfold.claims.notes.penalties_make_sparse import PenaltiesMakeSparse, kept
from copyfold.studies.lab import Lab
from labs import Logistic


def test_units_farthest_from_their_mean_are_kept() -> None:
    x = torch.tensor([[0.9, 0.5, 0.1, 0.6], [0.5, 0.5, 0.4, 1.0]]).view(2, 1, 2, 2)
    model, mean = Logistic((1, 2, 2)), torch.full((4,), 0.5)
    wanted = torch.tensor([[0.9, 0.5, 0.1, 0.5], [0.5, 0.5, 0.4, 1.0]]).view(2, 1, 2, 2)
    torch.testing.assert_close(kept(model, x, mean, 2), wanted)
    torch.testing.assert_close(kept(model, x, mean, 9), x)


def test_without_a_difference_no_penalty_counts_as_sparse(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        penalties_make_sparse,
        "sparse_models",
        lambda lab, seed: dict.fromkeys(("no penalty", "L1", "KL"), Logistic((1, 16, 16))),
    )
    found = PenaltiesMakeSparse().measure(lab).numbers
    assert found["units on l1 over none"].value == found["units on kl over none"].value == 1
