"""A copy, and a network that memorised the photographs, against filters."""

import pytest

from copyfold.claims.denoising import better_than_linear
from copyfold.claims.denoising.better_than_linear import BetterThanLinear
from copyfold.models.dense import MLP
from copyfold.studies.base import Verdict
from labs import COPY, GREY, as_claimed, fixed, judged


@pytest.fixture
def one_strength(monkeypatch):
    """Filters and denoisers take the time of these tests: only the noise that decides."""
    monkeypatch.setattr(better_than_linear, "STRENGTHS", (0.2,))


def test_a_copy_denoises_worse_than_a_filter(prepared, one_strength):
    verdict, numbers = judged(BetterThanLinear(), prepared(lambda model: COPY))
    assert verdict == Verdict.DOES_NOT_HOLD
    assert numbers["error over doing nothing, fully connected, gaussian 0.2"].value == pytest.approx(1)


def test_a_network_that_memorises_the_photographs_beats_the_filter(prepared, one_strength):
    it = prepared(lambda model: GREY)
    x = it.images(it.photos("landscapes"))
    knows = fixed(lambda noisy: x if len(noisy) == len(x) else noisy)
    it.trained = lambda make, photos, seed, **plan: knows if isinstance(make(photos.shape), MLP) else GREY
    verdict, numbers = judged(BetterThanLinear(), it)
    assert as_claimed(BetterThanLinear(), numbers)
    assert verdict == Verdict.UNDECIDED  # as the networks that are taught to denoise do not beat it
    assert numbers["error over linear filter gaussian"].value == 0
