"""T26 on networks of which one is constant."""

from copyfold.claims.attention.dot_product_less_accurate import DotProductLessAccurate
from copyfold.studies.base import Verdict
from known import Constant
from labs import as_claimed, judged


def test_the_network_that_sees_less_represents_less_accurately(by_attention):
    verdict, numbers = judged(DotProductLessAccurate(), by_attention(dot=Constant, steps=100))
    assert as_claimed(DotProductLessAccurate(), numbers)
    assert verdict == Verdict.UNDECIDED  # a constant output is no target that a search could miss or reach
    assert judged(DotProductLessAccurate(), by_attention(softmax=Constant, steps=100))[0] == Verdict.DOES_NOT_HOLD
