"""Pages say why there is no verdict, and which control failed."""

from typing import ClassVar

import pytest

from copyfold.studies import pages
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict


class Made(Study):
    """A claim."""

    means: ClassVar = {Verdict.FAILS: "It does not."}
    controls: ClassVar = {"ended": (Below(1), "It is still under way.")}

    def measure(self, lab):
        return Finding({})

    def thresholds(self):
        return {"share": Above(0.5), "error": Below(1)}


@pytest.mark.parametrize(
    ("verdict", "share", "error", "said"),
    [
        ("FAILS", (0.1, 0.2), (2, 3), "It does not."),
        (
            "UNDECIDED",
            (0.4, 0.6),
            (2, 3),
            "does not hold: error is not as claimed. The interval of share contains its threshold.",
        ),
        ("UNDECIDED", (0.4, 0.6), (0.9, 1.1), "the intervals of share and error contain their thresholds."),
        ("UNDECIDED", (0.6, 0.7), (0.1, 0.2), "This budget is too small to decide."),
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
def test_a_page_says_which_control_failed(high, said):
    told = pages._unfair(Made(), {"numbers": {"ended": Estimate(0.8, 0.7, high, 9)}})
    assert [sentence.split(". ", 1)[1] for sentence in told] == said
    assert all(f"ended 0.8 [0.7, {high}], not < 1" in sentence for sentence in told)
