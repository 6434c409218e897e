"""T27 on an identity, a bottleneck, and a map that is singular in one direction."""

import pytest
import torch

from copyfold.claims.attention import dot_product_alone
from copyfold.claims.attention.dot_product_alone import DotProductAlone
from copyfold.studies.base import Verdict
from labs import Staged, random_part

SMALL = (1, 8, 8)


def without_one(x):
    """It loses one direction of 64, of which images have little: the finest pattern of squares."""
    squares = (-1.0) ** (torch.arange(8)[:, None] + torch.arange(8))
    return x - (x * squares).mean((2, 3), keepdim=True) * squares


@pytest.mark.parametrize(
    ("function", "left", "verdict", "rank"),
    [
        (without_one, 0.25, Verdict.HOLDS, 0),
        (lambda x: x, 0.25, Verdict.DOES_NOT_HOLD, 1),
        (random_part(shape=SMALL), 9.0, Verdict.DOES_NOT_HOLD, 0),  # it represents badly, and denoises
        (lambda x: 0 * x, 0.25, Verdict.NOT_IN_REGIME, 0),
    ],
    ids=["one direction less", "identity", "quarter", "nothing"],
)
def test_a_singular_map_that_copies_is_told_from_others(represented, monkeypatch, function, left, verdict, rank):
    monkeypatch.setattr(dot_product_alone, "alone", lambda *_: Staged(function, SMALL))
    came, found = represented(DotProductAlone(), {}, left=left, tight=True)
    assert came == verdict
    assert found.numbers["full rank trained"].value == rank
    assert found.numbers["full rank identity"].value == 1
    assert found.numbers["full rank PCA of half"].value == 0
    assert found.captions.keys() == found.figures.keys()
