"""T4 where it is known which network denoises better."""

import pytest

from copyfold.claims.normalisation.u_net_over_fully_connected import UNetOverFullyConnected
from copyfold.studies.toolkit.curve import D2, FULLY
from labs import GREY


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
