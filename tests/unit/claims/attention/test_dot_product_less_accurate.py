"""T26 on networks of which one is constant."""

from copyfold.claims.attention.dot_product_less_accurate import DotProductLessAccurate
from copyfold.studies.base import Verdict
from known import Constant
from labs import judged


def test_the_network_that_sees_less_represents_less_accurately(by_attention):
    assert judged(DotProductLessAccurate(), by_attention(dot=Constant, steps=100))[0] == Verdict.HOLDS
    assert judged(DotProductLessAccurate(), by_attention(softmax=Constant, steps=100))[0] == Verdict.DOES_NOT_HOLD
