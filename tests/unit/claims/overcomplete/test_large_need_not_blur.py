"""Sharp edges in the right and the wrong places."""

import pytest
import torch

import copyfold as cf
from copyfold.claims.overcomplete import large_need_not_blur
from copyfold.claims.overcomplete.large_need_not_blur import LargeNeedNotBlur
from copyfold.studies.toolkit.copiers import D2
from labs import BLUR, COPY, fixed

CHECKS = 0.018 * (1 - 2 * (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float())


@pytest.mark.parametrize(
    ("network", "verdict"),
    [
        (COPY, "HOLDS"),
        (fixed(lambda y: y + CHECKS), "UNDECIDED"),  # sharp, but not by the edges of the image
        (fixed(cf.Blur(3, 0.5)), "DOES NOT HOLD"),  # it leaves .8 % of the variance
        (BLUR, "NOT IN REGIME"),
    ],
    ids=["copy", "checks", "mild blur", "blur"],
)
def test_sharp_but_wrong_edges_do_not_count(along, monkeypatch, network, verdict):
    monkeypatch.setattr(large_need_not_blur, "NARROW", 2)  # digits have few edges
    came, found = along.judged(LargeNeedNotBlur(), **{D2: [(0.01, network)]})
    assert came == verdict
    assert (found.numbers["sharpness of the copy"].value > 0.8) == (verdict in ("HOLDS", "UNDECIDED"))
