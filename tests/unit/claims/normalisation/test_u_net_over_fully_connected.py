"""T4 where it is known which network denoises better."""

import pytest

from copyfold.claims.normalisation.u_net_over_fully_connected import UNetOverFullyConnected
from copyfold.studies.toolkit.copiers import D2, FULLY
from labs import GREY

OVER = "error over fully connected gaussian"


@pytest.mark.parametrize(
    ("net", "rival", "verdict"),
    [
        ("knowing", "projection", "HOLDS"),
        ("projection", "knowing", "DOES NOT HOLD"),
        ("knowing and better", "projection", "UNDECIDED"),  # it copies better, so that this may be why
        ("knowing", "grey", "NOT IN REGIME"),
    ],
)
def test_at_equal_quality_the_better_denoiser_wins_whichever_it_is(along, net, rival, verdict):
    projection = along.projection(0.1)
    kinds = {"projection": projection, "knowing": along.knowing(projection), "grey": GREY}
    kinds["knowing and better"] = along.knowing()
    came, found = along.judged(UNetOverFullyConnected(), **{D2: [(0.1, kinds[net])], FULLY: [(0.1, kinds[rival])]})
    assert came == verdict
    if net == "knowing" and rival == "projection":
        assert found.numbers["copying error over fully connected"].value == pytest.approx(1, rel=1e-4)


def test_a_quality_that_the_looks_jump_over_is_interpolated(along):
    """PCA that leaves 20 %, then 5 %, is at 10 % nearly what PCA that leaves 10 % is."""
    worse, better, rival = (along.projection(left) for left in (0.2, 0.05, 0.1))
    looks = {D2: [(0.2, worse), (0.05, better)], FULLY: [(0.1, rival)]}
    found = along.judged(UNetOverFullyConnected(), **looks)[1].numbers
    assert found["copying error over fully connected"].value == pytest.approx(1, abs=1e-4)
    assert found[f"{OVER}, end"].value < 0.95 < found[OVER].value < 1.1


def test_a_rival_that_does_not_reach_ten_percent_is_met_where_it_ends(along):
    worse, better, rival = (along.projection(left) for left in (0.2, 0.05, 0.12))
    looks = {D2: [(0.2, along.knowing(worse)), (0.05, along.knowing(better))], FULLY: [(0.12, rival)]}
    came, found = along.judged(UNetOverFullyConnected(), **looks)
    assert came == "HOLDS"
    assert found.numbers["copying error over fully connected"].value == pytest.approx(1, abs=1e-4)
