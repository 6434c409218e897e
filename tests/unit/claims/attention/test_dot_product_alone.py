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
    ("function", "verdict", "rank", "left"),
    [
        (without_one, Verdict.HOLDS, 0, True),
        (lambda x: x, Verdict.DOES_NOT_HOLD, 1, True),
        (random_part(shape=SMALL), Verdict.DOES_NOT_HOLD, 0, False),  # it copies and represents badly
        (lambda x: 0.02 * x, Verdict.DOES_NOT_HOLD, 1, False),  # it does not copy: its rank is seen all the same
    ],
    ids=["one direction less", "identity", "quarter", "dark"],
)
def test_a_singular_map_that_copies_is_told_from_others(represented, monkeypatch, function, verdict, rank, left):
    monkeypatch.setattr(dot_product_alone, "alone", lambda *_: Staged(function, SMALL))
    came, found = represented(DotProductAlone(), {}, tight=True)
    numbers = found.numbers
    assert came == verdict
    assert numbers["full rank trained"].value == rank
    assert (numbers["left"].value < 0.25) == left
    assert numbers["full rank identity"].value == 1
    assert numbers["full rank PCA of half"].value == 0
    assert numbers["representation error, random quarter"].value > 0.1
    assert numbers["answers found, random quarter"].value == 1
    assert found.captions.keys() == found.figures.keys()
