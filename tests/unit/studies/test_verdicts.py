"""Verdicts from thresholds and intervals."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest

from copyfold.errors import CopyfoldError
from copyfold.studies.base import (
    Above,
    Below,
    Copying,
    Estimate,
    Finding,
    Regime,
    Study,
    Verdict,
    threshold,
)
from copyfold.studies.lab import Lab


@dataclass(frozen=True)
class Two(Study):
    """Something is above 1 and something below 2."""

    claim: ClassVar[str] = "two"
    place: ClassVar[str] = "here"
    data: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[dict[str, str]] = {}

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
        (number(0), number(3), Verdict.DOES_NOT_HOLD),
        (number(2), number(3), Verdict.DOES_NOT_HOLD),  # one is enough
        (number(1.05), number(3), Verdict.DOES_NOT_HOLD),
        (number(0), number(2.05), Verdict.DOES_NOT_HOLD),  # though the other straddles
        (number(1.05), number(1), Verdict.UNDECIDED),
        (number(2), number(1.95), Verdict.UNDECIDED),
        (Estimate(math.nan, math.nan, math.nan, 1), number(1), Verdict.UNDECIDED),
    ],
)
def test_the_verdict_follows_from_the_thresholds_alone(one, other, verdict):
    numbers = {"one": one, "the other": other, "more": number(math.inf)}
    assert Two().verdict(numbers) == verdict
    assert Two().verdict(numbers, decides=False) == Verdict.UNDECIDED


def test_other_thresholds_give_another_verdict():
    strict = dataclasses.replace(Two(), one=Above(5.0))
    assert strict.verdict({"one": number(2), "the other": number(1)}) == "DOES NOT HOLD"


@pytest.mark.parametrize(
    ("control", "one", "verdict"),
    [
        (number(0.5), number(2), Verdict.HOLDS),
        (number(0.95), number(2), Verdict.UNDECIDED),  # it may be missed
        (number(3), number(2), Verdict.UNDECIDED),
        (number(3), number(0), Verdict.DOES_NOT_HOLD),  # a refutation stands
    ],
)
def test_a_control_vetoes_that_a_claim_holds_and_no_more(monkeypatch, control, one, verdict):
    monkeypatch.setattr(Two, "controls", {"a third": (Below(1.0), "It is not so.")})
    assert Two().verdict({"one": one, "the other": number(1), "a third": control}) == verdict


def copying(left: float, training: float = 0.01) -> dict[str, Copying]:
    seen = {"held out": number(left), "training": number(training)}
    return {"U-Net": Copying(seen, {}, {}, 9, 9, 9, 9)}


@pytest.mark.parametrize(
    ("left", "regime", "verdict"),
    [
        (0.02, Regime(0.02), Verdict.HOLDS),
        (0.021, Regime(0.02), Verdict.NOT_IN_REGIME),
        (math.nan, Regime(0.02), Verdict.NOT_IN_REGIME),
        (0.5, Regime(0.02, "training"), Verdict.HOLDS),
    ],
)
def test_a_network_that_does_not_copy_says_nothing(monkeypatch, left, regime, verdict):
    monkeypatch.setattr(Two, "regime", {"U-Net": regime})
    fine, wrong = {"one": number(2), "the other": number(1)}, {"one": number(0), "the other": number(1)}
    assert Two().verdict(fine, copying=copying(left)) == verdict
    assert Two().verdict(fine, decides=False, copying=copying(left)) == Verdict.UNDECIDED
    if verdict == Verdict.NOT_IN_REGIME:
        assert Two().verdict(wrong, copying=copying(left)) == verdict
    with pytest.raises(CopyfoldError, match="did not measure how U-Net copies"):
        Two().verdict(fine, copying={})


@pytest.mark.parametrize("one", [Above(0.5), Below(1e-5)])
def test_a_threshold_is_read_from_a_finding(one):
    assert threshold(str(one)) == one


def test_a_number_that_decides_must_be_measured():
    with pytest.raises(CopyfoldError, match="two did not measure the other"):
        Two().verdict({"one": number(2)})


def test_a_study_is_named_after_its_class():
    assert Two.name() == "two"
    assert type("VAEBlursMore", (Two,), {}).name() == "vae-blurs-more"
