"""Estimates as figures, and in words: what is drawn and said is what was found."""

from typing import ClassVar

import numpy as np
import pytest

from copyfold.studies import pages
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.toolkit import charts

FOUND = {"a": ((1, 2), [Estimate(0.5, 0.4, 0.7, 9), Estimate(0.6, 0.5, 0.8, 9)])}


class Made(Study):
    """A claim."""

    means: ClassVar = {Verdict.FAILS: "It does not."}
    controls: ClassVar = {"ended": (Below(1), "It is still under way.")}

    def measure(self, lab):
        return Finding({})

    def thresholds(self):
        return {"share": Above(0.5), "error": Below(1)}


def test_a_curve_has_its_intervals_as_a_band_and_level_lines_beside():
    axes = charts.curves(FOUND, "x", "y", {"nothing": 0.9}, ylim=(0, 1)).axes[0]
    curve, level = axes.lines
    np.testing.assert_allclose(curve.get_xydata(), [(1, 0.5), (2, 0.6)])
    np.testing.assert_allclose(level.get_xydata(), [(1, 0.9), (2, 0.9)])
    corners = axes.collections[0].get_paths()[0].vertices
    assert {(1, 0.4), (1, 0.7), (2, 0.5), (2, 0.8)} <= {tuple(corner) for corner in corners.round(6)}
    assert axes.get_ylim() == (0, 1)
    assert axes.get_xscale() == axes.get_yscale() == "linear"


@pytest.mark.parametrize(
    ("verdict", "share", "error", "said"),
    [
        ("FAILS", (0.1, 0.2), (2, 3), "It does not."),
        (
            "UNDECIDED",
            (0.4, 0.6),
            (2, 3),
            "cannot hold: error is not as claimed. Open, as the interval of share holds the threshold.",
        ),
        ("UNDECIDED", (0.4, 0.6), (0.9, 1.1), "the interval of share and of error holds the threshold."),
        ("UNDECIDED", (0.6, 0.7), (0.1, 0.2), "This budget decides nothing."),
    ],
)
def test_a_page_says_why_there_is_no_verdict(verdict, share, error, said):
    numbers = {"share": Estimate(0.5, *share, 9), "error": Estimate(1.0, *error, 9)}
    found = {
        "verdict": verdict,
        "numbers": numbers,
        "thresholds": {"share": "> 0.5", "error": "< 1"},
        "budget": {"seeds": 3},
    }
    assert pages._meaning(Made(), found).endswith(said)


@pytest.mark.parametrize(
    ("high", "said"), [(0.9, []), (1.1, ["It is still under way."]), (9, ["It is still under way."])]
)
def test_a_page_says_which_control_is_not_surely_as_it_has_to_be(high, said):
    told = pages._unfair(Made(), {"numbers": {"ended": Estimate(0.8, 0.7, high, 9)}})
    assert [sentence.split(". ", 1)[1] for sentence in told] == said
    assert all(f"ended 0.8 [0.7, {high}], not < 1" in sentence for sentence in told)
