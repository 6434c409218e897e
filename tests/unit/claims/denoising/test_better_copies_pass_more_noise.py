"""The curve where it is known how much noise each network passes."""

import pytest

from copyfold.claims.denoising.better_copies_pass_more_noise import BetterCopiesPassMoreNoise, crossing
from copyfold.studies.toolkit.copiers import D1, D2
from labs import GREY


@pytest.mark.parametrize(
    ("late", "verdict"), [("dulled", "HOLDS"), ("projection", "UNDECIDED"), ("knowing", "DOES NOT HOLD")]
)
def test_a_copy_that_passes_noise_is_told_from_pca(along, late, verdict):
    kinds = {"dulled": along.dulled(0.09), "projection": along.projection(0.01), "knowing": along.knowing()}
    early = (0.1, along.projection(0.1))
    came, found = along.judged(BetterCopiesPassMoreNoise(), **{D2: [early, (0.01, kinds[late])], D1: [early]})
    assert came == verdict
    if late == "dulled":
        rival = found.numbers["noise passed, best linear filter"].value
        assert found.numbers["noise passed, U-Net, depth 2 at 0.1"].value < rival < 0.9
        assert 0.008 < found.numbers["crossing with best linear filter, U-Net, depth 2"].value < 0.1
        unseen = "U-Net, depth 1 passes no more at its end"
        assert any(note.startswith(f"{unseen} than PCA of equal error, in ") for note in found.notes)


def test_a_network_that_does_not_copy_is_not_in_the_regime(along):
    assert along.judged(BetterCopiesPassMoreNoise(), **{D2: [(1.0, GREY)]})[0] == "NOT IN REGIME"


def test_copies_that_pass_less_than_pca_at_their_end_veto(along):
    looks = [(0.1, along.projection(0.1)), (0.01, along.dulled(0.09)), (0.009, along.knowing())]
    verdict, found = along.judged(BetterCopiesPassMoreNoise(), **{D2: looks})
    assert found.numbers["noise passed over PCA of equal error"].low > 1
    assert found.numbers["noise passed over PCA of equal error, end"].high < 1
    assert verdict == "UNDECIDED"


@pytest.mark.parametrize(
    ("excess", "expected"),
    [
        ([-1, -1, 1, 1], 10**-1.5),
        ([1, -1, 1, 1], 10**-1.5),  # above at first, by chance or before it had learned
        ([-1, 1, -3, 1], 10**-2.75),
        ([1, 2, 3, 4], None),
        ([-4, -3, -2, -1], None),
        ([-1, 1, 1, 0], None),
    ],
)
def test_a_crossing_is_the_last_one_and_stays(excess, expected):
    assert crossing([1.0, 0.1, 0.01, 0.001], excess) == (expected if expected is None else pytest.approx(expected))
