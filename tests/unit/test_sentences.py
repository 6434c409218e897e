"""The sentences of a report follow from its numbers by the table of thresholds, and from nothing else."""

import math
import string

import pytest

from copyfold.report.parts.sentences import BELOW, SENTENCES, Scale, sentences

SCALES = [scale for scales in SENTENCES.values() for scale in scales]
EVERY = {scale.number: 0.5 for scale in SCALES} | {"psnr": 20.0, "rival left": 0.1}


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.number)
def test_every_number_has_words(scale: Scale):
    levels = [least for least, _ in scale.levels]
    assert levels[0] == BELOW
    assert levels == sorted(set(levels))
    for least, words in scale.levels:
        numbers = EVERY | {scale.number: least}
        quoted = {name.replace(" ", "_"): value for name, value in numbers.items()}
        assert scale.says(numbers) == words.format(**quoted)
    assert scale.says(EVERY | {scale.number: math.nan}) == ""


def test_the_words_are_those_of_the_highest_level_reached():
    scale = Scale("x", "", ((BELOW, "low"), (1.0, "middle {x:.0f}"), (2.0, "high")))
    assert [scale.says({"x": value}) for value in (-5.0, 0.999, 1.0, 1.4, 2.0, 9.0)] == [
        "low", "low", "middle 1", "middle 1", "high", "high",
    ]  # fmt: skip
    assert scale.says({"y": 1.0}) == ""


def test_there_are_five_whole_sentences():
    said = sentences(EVERY)
    assert len(said) == 5
    for sentence in said.values():
        assert sentence.endswith(".")
        assert "{" not in sentence


def test_words_quote_only_numbers_that_the_scales_or_the_page_know():
    known = {name.replace(" ", "_") for name in EVERY}
    for scale in SCALES:
        for _, words in scale.levels:
            quoted = {field for _, field, _, _ in string.Formatter().parse(words) if field}
            assert quoted <= known


GOOD = {
    "kept": 0.95, "varied": 0.9, "psnr": 25.0, "passed": 0.02, "noise left": 0.2, "rival": 0.8,
    "rival left": 0.25, "walking": 0.1, "blown up": 0.0, "stretch": 1.1, "likeness": 2.0, "novelty": 1.2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "topic", "words"),
    [
        ({}, "What it keeps", "most of an image"),
        ({"kept": -0.01, "varied": 0.001, "used": 0.0}, "What it keeps", "Its code has collapsed"),
        ({"kept": -0.01, "varied": 0.001}, "What it keeps", "the same image comes out whatever goes in."),
        ({"kept": -3.0, "varied": 0.3}, "What it keeps", "does not give images back"),
        ({"passed": -0.001}, "Does it copy?", "an image 0% comes out again"),
        ({"passed": 0.95}, "Does it copy?", "has become the identity"),
        ({"passed": 0.2}, "Does it copy?", "copies in part"),
        ({"noise left": 1.3, "rival": 5.0}, "What noise it removes", "removes no noise"),
        ({"walking": 0.9}, "Is its manifold stable?", "nearly every image wanders off"),
        ({"walking": 0.9, "blown up": 0.6}, "Is its manifold stable?", "60% out of all bounds"),
        ({"novelty": 0.1}, "What it makes", "remembered"),
    ],
)
def test_what_is_said_of_kinds_of_models(numbers, topic, words):
    assert words in sentences(GOOD | numbers)[topic]
