"""A copy, and a network that knows the images, against filters."""

import pytest

from copyfold.claims.denoising.better_than_linear import BetterThanLinear
from copyfold.studies.toolkit.copiers import D2, HALF
from labs import COPY


@pytest.mark.parametrize(
    ("half", "taught", "verdict"),
    [
        ("knowing", "knowing", "HOLDS"),
        ("knowing", "copy", "UNDECIDED"),  # as a network that is trained to denoise does not beat the filter
        ("copy", "knowing", "DOES NOT HOLD"),
    ],
)
def test_the_best_of_all_copiers_is_compared_with_the_filter(along, monkeypatch, half, taught, verdict):
    kinds = {"copy": COPY, "knowing": along.knowing()}
    monkeypatch.setattr(along.lab, "trained", lambda make, photos, seed, **plan: kinds[taught])
    came, found = along.judged(BetterThanLinear(), **{HALF: [(0.05, kinds[half])]})
    assert came == verdict
    if half == "knowing":
        assert any(f"only to copy, gaussian: {HALF} at" in note for note in found.notes)
    assert found.numbers[f"error over linear filter, least of {D2}, gaussian"].value > 1


def test_a_network_that_has_not_learned_to_copy_does_not_count(along, monkeypatch):
    knows = along.knowing(lambda x: 0.5 * x)
    monkeypatch.setattr(along.lab, "trained", lambda make, photos, seed, **plan: COPY)
    came, found = along.judged(BetterThanLinear(), **{HALF: [(0.3, knows)]})
    assert came == "DOES NOT HOLD"
    assert HALF not in " ".join(found.notes)
