"""T26 on networks of which one sees less."""

import pytest

from copyfold.claims.attention.dot_product_less_accurate import DotProductLessAccurate
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.represented import DOT, LINEAR
from labs import Staged, random_part


@pytest.mark.parametrize(
    ("dot", "linear", "verdict"),
    [
        ("half", "most", Verdict.UNDECIDED),  # as claimed, but it copies worse
        ("most", "half", Verdict.DOES_NOT_HOLD),
    ],
)
def test_the_network_that_sees_less_represents_less_accurately(represented, dot, linear, verdict):
    maps = {"most": Staged(lambda x: 1.1 * x - 0.05 * random_part()(x)), "half": Staged(random_part(2))}
    came, found = represented(
        DotProductLessAccurate(), {DOT: maps[dot], LINEAR: maps[linear]}, left=9.0, tight=True
    )
    assert came == verdict
    of = found.numbers["representation error dot over linear"]
    assert of.low > 1 if dot == "half" else of.high < 1
    assert found.captions.keys() == found.figures.keys()


def test_at_equal_quality_the_one_that_sees_less_holds(represented):
    blurred = random_part(2)
    networks = {DOT: Staged(blurred), LINEAR: Staged(lambda x: 0.3 * x + 0.1 * blurred(x))}
    came, found = represented(DotProductLessAccurate(), networks, left=9.0, tight=True)
    assert found.numbers["left dot over linear"].value < 2
    assert came == Verdict.HOLDS
