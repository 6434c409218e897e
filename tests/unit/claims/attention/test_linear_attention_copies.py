"""T25 on a copy, and on what loses most of an image."""

import pytest

from copyfold.claims.attention.linear_attention_copies import LinearAttentionCopies
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.copying import principal_part
from labs import Staged


def test_a_copy_copies_and_a_projection_does_not(represented, lab):
    came, found = represented(LinearAttentionCopies(), {"": Staged()})
    assert came == Verdict.HOLDS
    assert found.numbers["noise passed, trained"].value == pytest.approx(1, abs=1e-4)
    assert found.numbers["error over doing nothing"].value == pytest.approx(1)
    assert found.captions.keys() == found.figures.keys()
    part = Staged(principal_part(lab, lab.photos("landscapes"), 30))
    came, found = represented(LinearAttentionCopies(), {"": part}, left=9.0)
    assert came == Verdict.DOES_NOT_HOLD
    assert found.numbers["representation over reference noise"].low > 1
    assert found.numbers["noise passed, trained"].value == pytest.approx(30 / 256, rel=0.15)
