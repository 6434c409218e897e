"""Report sections: documentation, and sentences that follow from numbers by the scales alone."""

import inspect
import math
import string

import pytest

from copyfold import catalogue
from copyfold.report.base import BELOW, Scale, Section, error_said

SECTIONS = list(catalogue.classes(Section).values())
SPEAKING = {section.title: section() for section in SECTIONS if section.scales}
SCALES = [scale for section in SPEAKING.values() for scale in section.scales]
WITHOUT_SCALE = {"What it keeps": "psnr", "What noise it removes": "noise left by the best baseline"}
EVERY = {scale.number: 0.5 for scale in SCALES} | dict.fromkeys(WITHOUT_SCALE.values(), 0.1)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_section_is_documented(section: type[Section]):
    first = inspect.cleandoc(section.__doc__ or "").splitlines()[0]
    assert 10 < len(first) <= 80
    assert first.endswith((".", ":"))
    assert section.title
    assert catalogue.describe(section.default()) == {"class_path": section.__name__}
    assert section.__module__.startswith(f"{Section.home}.")


def test_titles_orders_and_numbers_of_sections_are_unique():
    for values in (
        [section.title for section in SECTIONS],
        [section.order for section in SECTIONS],
        [scale.number for scale in SCALES],
    ):
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.number)
def test_every_number_of_a_section_has_words(scale: Scale):
    levels = [least for least, _ in scale.levels]
    assert levels[0] == BELOW
    assert levels == sorted(set(levels))
    for least, words in scale.levels:
        numbers = EVERY | {scale.number: least}
        quoted = {name.replace(" ", "_"): value for name, value in numbers.items()}
        assert scale.words(numbers) == words.format(**quoted)
    assert scale.words(EVERY | {scale.number: math.nan}) == ""


def test_the_words_are_those_of_the_highest_level_reached():
    scale = Scale("x", "", ((BELOW, "low"), (1.0, "middle {x:.0f}"), (2.0, "high")))
    assert [scale.words({"x": value}) for value in (-5.0, 0.999, 1.0, 1.4, 2.0, 9.0)] == [
        "low", "low", "middle 1", "middle 1", "high", "high",
    ]  # fmt: skip
    assert scale.words({"y": 1.0}) == ""


@pytest.mark.parametrize("title", SPEAKING)
def test_a_section_says_whole_sentences(title: str):
    said = SPEAKING[title].sentence(EVERY)
    assert said.endswith(".")
    assert "{" not in said
    assert SPEAKING[title].sentence({}) == ""


@pytest.mark.parametrize("title", SPEAKING)
def test_words_quote_only_numbers_of_their_section(title: str):
    """And of no other, which may be deleted."""
    numbers = [*(scale.number for scale in SPEAKING[title].scales), WITHOUT_SCALE.get(title, "")]
    known = {number.replace(" ", "_") for number in numbers}
    for scale in SPEAKING[title].scales:
        for _, words in scale.levels:
            quoted = {field for _, field, _, _ in string.Formatter().parse(words) if field}
            assert quoted <= known


GOOD = {
    "kept": 0.95, "variance ratio": 0.9, "psnr": 25.0, "passed": 0.02, "noise left": 0.2,
    "ratio to the best baseline": 0.8, "noise left by the best baseline": 0.25, "drifting": 0.1, "diverged": 0.0,
    "largest singular value": 1.1, "sliced Wasserstein ratio": 2.0, "variety": 0.9, "novelty": 1.2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "title", "words"),
    [
        ({}, "What it keeps", "It keeps most of an image: 95.0% of the variance between images (PSNR 25.0 dB)."),
        (
            {"kept": -0.01, "variance ratio": 0.001, "active units": 0.0},
            "What it keeps",
            "posterior has collapsed",
        ),
        ({"kept": -0.01, "variance ratio": 0.001}, "What it keeps", "nearly the same whatever the input is."),
        ({"kept": -3.0, "variance ratio": 0.3}, "What it keeps", "does not reconstruct images"),
        ({}, "Does it copy?", "It does not simply copy: 2% of an added perturbation passes through."),
        ({"passed": -0.001}, "Does it copy?", ": 0% of an added perturbation"),
        ({"passed": 0.95}, "Does it copy?", "has become the identity"),
        ({"passed": 0.2}, "Does it copy?", "copies in part"),
        ({}, "What noise it removes", "remains, less than after the best classical denoiser"),
        ({"noise left": 1.3, "ratio to the best baseline": 5.0}, "What noise it removes", "removes no noise"),
        ({}, "Is its manifold stable?", "few images have drifted away (10%); a small change"),
        ({"drifting": 0.9}, "Is its manifold stable?", "most images have drifted away (90%); "),
        ({"drifting": 0.9, "diverged": 0.6}, "Is its manifold stable?", "(90%), and 60% have diverged; "),
        (
            {"novelty": 0.1},
            "What it makes",
            "roughly resembles the photos (2.0 times as far from them as other photos are), and is memorised: "
            "training images come back.",
        ),
        ({}, "What it makes", "as other photos are), and is not memorised."),
        (
            {"sliced Wasserstein ratio": 5.4, "variety": 0.1, "novelty": math.nan},
            "What it makes",
            "not look like the photos (5.4 times as far from them as other photos are), and is nearly the same "
            "every time.",
        ),
        (
            {"sliced Wasserstein ratio": 5.4, "novelty": math.nan},
            "What it makes",
            "does not look like the photos (5.4 times as far from them as other photos are).",
        ),
    ],
)
def test_sentences_for_every_kind_of_model(numbers, title, words):
    assert words in SPEAKING[title].sentence(GOOD | numbers)


def test_an_error_is_said_in_three_digits_however_small():
    said = {0.0312345: "0.0312", 4.3123e-5: "0.0000431", 0.0: "0", 0.5: "0.5", math.inf: "inf"}
    assert {value: error_said(value) for value in said} == said
