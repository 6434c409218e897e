"""T23 on networks of which one sees less."""

import pytest

from copyfold.claims.normalisation.norm_not_needed_to_see import NormNotNeededToSee
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.represented import NO_NORM, U_NET
from labs import Staged, random_part


@pytest.mark.parametrize(
    ("without", "with_norm", "left", "verdict"),
    [
        ("most", "most", 0.05, Verdict.NOT_IN_REGIME),  # half as much again of a quarter of the image
        ("most", "most", 9.0, Verdict.HOLDS),
        ("quarter", "most", 9.0, Verdict.DOES_NOT_HOLD),
        ("most", "quarter", 9.0, Verdict.HOLDS),
    ],
)
def test_a_network_that_sees_less_is_told_from_one_that_does_not(represented, without, with_norm, left, verdict):
    maps = {"most": Staged(lambda x: x + 0.5 * random_part()(x)), "quarter": Staged(random_part())}
    networks = {NO_NORM: maps[without], U_NET: maps[with_norm]}
    came, found = represented(NormNotNeededToSee(), networks, left=left, tight=True)
    assert came == verdict
    assert found.numbers["error found, random quarter"].value > 0.1
    assert found.captions.keys() == found.figures.keys()


def test_a_worse_copy_vetoes(represented):
    networks = {NO_NORM: Staged(lambda x: 0.5 * x), U_NET: Staged(lambda x: 0.95 * x)}
    came, found = represented(NormNotNeededToSee(), networks, left=9.0, tight=True)
    assert found.numbers["left without norm over batch norm"].value == pytest.approx(100, rel=1e-3)
    assert came == Verdict.UNDECIDED
