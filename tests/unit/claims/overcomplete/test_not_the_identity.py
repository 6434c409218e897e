"""T1 on a copy, and on networks that only copy images."""

import pytest

from copyfold.claims.overcomplete.not_the_identity import NotTheIdentity
from copyfold.studies.toolkit.copiers import D2
from labs import COPY, GREY


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [
        ("projection", "HOLDS"),
        ("copy", "DOES NOT HOLD"),
        ("projection, then copy", "UNDECIDED"),  # it becomes the identity later
        ("grey", "NOT IN REGIME"),
    ],
)
def test_a_copy_of_everything_is_told_from_a_copy_of_images(along, looks, verdict):
    fine = (0.01, along.projection(0.01))
    kinds = {"projection": [fine], "copy": [(0.01, COPY)], "projection, then copy": [fine, (0.001, COPY)]}
    came, found = along.judged(NotTheIdentity(), **{D2: kinds.get(looks, [(1.0, GREY)])})
    assert came == verdict
    assert found.numbers["noise passed, identity"].value == pytest.approx(1)
