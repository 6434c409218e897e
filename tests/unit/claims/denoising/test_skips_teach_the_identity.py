"""T5 where it is known which network copies noise."""

import pytest

from copyfold.claims.denoising.skips_teach_the_identity import SkipsTeachTheIdentity
from copyfold.studies.toolkit.copiers import D2, SKIPS_2
from labs import COPY, GREY


@pytest.mark.parametrize(
    ("with_skips", "without", "verdict"),
    [
        ("copy", "projection", "HOLDS"),
        ("projection, then copy", "projection", "UNDECIDED"),  # no more than without skips, where both leave 1 %
        ("copy", "copy", "DOES NOT HOLD"),
        ("projection", "projection", "DOES NOT HOLD"),
        ("grey", "projection", "NOT IN REGIME"),
    ],
)
def test_skips_that_pass_noise_are_told_from_better_copies(along, with_skips, without, verdict):
    fine = (0.01, along.projection(0.004))
    kinds = {"copy": [(0.01, COPY)], "projection": [fine], "projection, then copy": [fine, (0.001, COPY)]}
    kinds["grey"] = [(1.0, GREY)]
    came, found = along.judged(SkipsTeachTheIdentity(), **{SKIPS_2: kinds[with_skips], D2: kinds[without]})
    assert came == verdict
    assert found.numbers["noise passed, identity"].value == pytest.approx(1)
