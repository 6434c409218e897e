"""What arguments are checked by, in one place: numbers within a span."""

import math
import re

import numpy as np
import pytest
import torch

import copyfold as cf
from copyfold.errors import UsageError, within
from copyfold.estimators import AutoencoderDetector, AutoencoderTransformer
from copyfold.training.plan import Plan


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ("[0, inf)", (0, 0.0, 1e300, 10**400, np.float32(0.5)), (-1e-9, math.inf, math.nan)),
        ("[0, inf]", (0, math.inf), (-1, math.nan)),
        ("(0, 1]", (1e-9, 1, 1.0, np.int64(1)), (0, 1.0000001, math.nan)),
        ("[0, 1)", (0, 0.999), (1, -math.inf)),
        ("(-inf, inf)", (-1e300, 0, 7), (math.inf, -math.inf, math.nan)),
    ],
)
def test_numbers_within_a_span_are_taken_and_no_others(span, inside, outside):
    within(span, **{f"value_{i}": value for i, value in enumerate(inside)})
    for value in (*outside, True, "0.5", None, [0.5], 0.5j, torch.tensor(0.5)):
        with pytest.raises(UsageError, match=r"^rate=.* is invalid: expected a number "):
            within(span, rate=value)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ("[0, inf)", "of at least 0"),
        ("(0, inf)", "above 0"),
        ("(0, 0.5]", "above 0 and at most 0.5"),
        ("[1, 2)", "of at least 1 and below 2"),
        ("(-inf, inf)", "that is finite"),
    ],
)
def test_the_message_says_whose_argument_it_is_and_what_is_expected(span, words):
    with pytest.raises(
        UsageError, match=re.escape(f"Clean(rate='x') is invalid: expected a number {words}") + "$"
    ):
        within(span, cf.Clean(), rate="x")


@pytest.mark.parametrize("wrong", ["1", True, math.nan, torch.tensor(0.5)], ids=str)
@pytest.mark.parametrize(
    "made",
    [
        lambda value: cf.Muon(momentum=value),
        lambda value: cf.Adam(eps=value),
        lambda value: Plan(save_minutes=value),
        lambda value: Plan(lr=value),
        lambda value: Plan(average=value),
        lambda value: cf.Walk(std=value),
        lambda value: cf.Ascent(to_std=value),
        lambda value: cf.Deblur(threshold=value),
        lambda value: cf.Missing(rate=value),
        lambda value: AutoencoderTransformer(range=(0.0, value)).fit(np.eye(4)),
        lambda value: AutoencoderDetector(contamination=value).fit(np.eye(4)),
    ],
    ids=range(11),
)
def test_what_is_no_number_is_refused_in_one_line(made, wrong):
    with pytest.raises(UsageError, match=r"is invalid: expected") as refusal:
        made(wrong)
    assert "\n" not in str(refusal.value)
