"""The U-Net with attention in its skips, compared with itself."""

from copyfold.claims.attention.attention_in_skips_denoises_poorly import AttentionInSkipsDenoisesPoorly
from copyfold.studies.base import Verdict
from known import Identity
from labs import judged


def test_the_same_network_is_no_worse_than_itself(by_attention):
    verdict, numbers = judged(AttentionInSkipsDenoisesPoorly(), by_attention(softmax=Identity))
    assert numbers["error attention unet over unet"].value == 1
    assert verdict != Verdict.HOLDS
