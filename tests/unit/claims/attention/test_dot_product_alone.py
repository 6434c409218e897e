"""T27 on an identity and on a bottleneck."""

from copyfold.claims.attention.dot_product_alone import DotProductAlone
from copyfold.models.dense import Linear
from copyfold.studies.base import Verdict
from known import Identity
from labs import judged


def test_an_identity_is_not_singular_and_a_bottleneck_is(by_attention):
    verdict, numbers = judged(DotProductAlone(), by_attention(dot=Identity))
    assert numbers["full rank trained"].value == 1
    assert numbers["log10 condition trained"].value == 0
    assert verdict == Verdict.DOES_NOT_HOLD
    numbers = judged(DotProductAlone(), by_attention(dot=Linear))[1]  # 32 of 64
    assert numbers["full rank trained"].value == 0
