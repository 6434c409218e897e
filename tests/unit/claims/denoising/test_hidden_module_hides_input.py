"""T8 on lossy and lossless bottlenecks."""

import pytest

from copyfold.claims.denoising.hidden_module_hides_input import HiddenModuleHidesInput
from copyfold.studies.base import Verdict
from labs import BLOCKS, BLUR, COPY, judged


def test_a_lossy_bottleneck_is_distinguished_from_a_lossless_one(prepared):
    study = HiddenModuleHidesInput()
    _, numbers = judged(study, prepared(lambda model: BLOCKS if model.middle else BLUR))
    assert numbers["copying error over mean image, hidden"].value > 0
    verdict, numbers = judged(study, prepared(lambda model: COPY if model.middle else BLOCKS))
    assert verdict != Verdict.HOLDS
    assert numbers["copying error over mean image"].value == 0
    assert numbers["error over doing nothing"].value == pytest.approx(1)
    assert numbers["image distance over plain"].value < 0.5
