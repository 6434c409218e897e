"""T25 on known networks."""

import pytest

from copyfold.claims.attention.linear_attention_copies import LinearAttentionCopies
from copyfold.studies.base import Verdict
from known import Constant, Identity
from labs import judged


def test_the_identity_copies_and_a_constant_model_does_not(by_attention):
    verdict, numbers = judged(LinearAttentionCopies(), by_attention(softmax=Identity, steps=400))
    assert verdict == Verdict.HOLDS
    assert numbers["noise passed linear attention"].value == pytest.approx(1, abs=1e-4)
    assert numbers["error over doing nothing linear attention"].value == 1
    assert numbers["output over reference noise linear attention"].high < 1  # the search has ended
    verdict, numbers = judged(LinearAttentionCopies(), by_attention(softmax=Constant))
    assert verdict != Verdict.HOLDS
    assert numbers["noise passed linear attention"].value == pytest.approx(0, abs=1e-6)
