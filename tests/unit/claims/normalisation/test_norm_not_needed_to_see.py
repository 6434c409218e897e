"""T23 on a copy, and on a constant network."""

import pytest

from copyfold.claims.normalisation.norm_not_needed_to_see import NormNotNeededToSee
from copyfold.studies.base import Verdict
from known import Constant, Identity


def test_a_constant_model_has_no_accurate_representation(always):
    numbers = NormNotNeededToSee().measure(always(Constant)).numbers
    assert numbers["representation error without norm over batch norm"].value == pytest.approx(1, abs=0.05)
    assert numbers["representation error without norm"].value == pytest.approx(
        numbers["error of the start"].value, rel=0.05
    )
    assert NormNotNeededToSee().verdict(numbers) == Verdict.DOES_NOT_HOLD
    clear = NormNotNeededToSee().measure(always(Identity)).numbers
    assert clear["representation error without norm"].value < numbers["representation error without norm"].value
