"""Verdicts from thresholds and intervals."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest

from copyfold.errors import CopyfoldError
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab


@dataclass(frozen=True)
class Two(Study):
    """Something is above 1 and something below 2."""

    claim: ClassVar[str] = "two"
    place: ClassVar[str] = "here"
    data: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[dict[Verdict, str]] = {}

    one: Above = Above(1.0)
    the_other: Below = Below(2.0)

    def measure(self, lab: Lab) -> Finding:
        """Nothing is measured."""
        return Finding({})


def number(value: float, half: float = 0.1) -> Estimate:
    return Estimate(value, value - half, value + half, 10, (value,))


def test_a_control_that_was_not_measured_is_an_error(monkeypatch):
    monkeypatch.setattr(Two, "controls", {"a third": (Below(1.0), "It is not so.")})
    with pytest.raises(CopyfoldError, match="did not measure a third"):
        Two().verdict({"one": number(2), "the other": number(1)})


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (number(2), number(1), Verdict.HOLDS),
        (number(0), number(3), Verdict.FAILS),
        (number(2), number(3), Verdict.MIXED),
        (number(1.05), number(1), Verdict.UNDECIDED),  # straddles
        (number(0), number(2.05), Verdict.UNDECIDED),
        (number(2), number(1.95), Verdict.UNDECIDED),
        (Estimate(math.nan, math.nan, math.nan, 1), number(1), Verdict.UNDECIDED),
    ],
)
def test_the_verdict_follows_from_the_thresholds_alone(one, other, verdict):
    numbers = {"one": one, "the other": other, "more": number(math.inf)}
    assert Two().verdict(numbers) == verdict
    assert Two().verdict(numbers, decides=False) == Verdict.UNDECIDED


def test_other_thresholds_give_another_verdict():
    assert (
        dataclasses.replace(Two(), one=Above(5.0)).verdict({"one": number(2), "the other": number(1)}) == "MIXED"
    )


def test_a_number_that_decides_must_be_measured():
    with pytest.raises(CopyfoldError, match="two did not measure the other"):
        Two().verdict({"one": number(2)})


def test_a_study_is_named_after_its_class():
    assert Two.name() == "two"
    assert type("VAEBlursMore", (Two,), {}).name() == "vae-blurs-more"
