"""Choices of classes: anywhere in mappings and lists, in defaults, and what their help says."""

from collections.abc import Sequence
from typing import Any

import pytest

import copyfold as cf
from copyfold.cli._choices import Choices
from copyfold.corruptions import Corruption

STRONG = {"class_path": "Gaussian", "init_args": {"std": 0.3}}


def made(hint: Any, value: Any) -> Any:
    choices = Choices({"parts": hint})
    choices.set("parts", value)
    return choices.made("parts")


def test_classes_are_made_anywhere_in_mappings_and_lists():
    assert made(dict[str, Corruption], {"a": STRONG, "b": 1}) == {"a": cf.Gaussian(0.3), "b": 1}
    assert made(dict[str, list[Corruption]], {"a": [STRONG, STRONG]}) == {"a": 2 * [cf.Gaussian(0.3)]}
    assert made(Sequence[Corruption], [STRONG, "Clean"]) == [cf.Gaussian(0.3), cf.Clean()]


def test_an_unknown_class_in_a_mapping_is_named_with_its_place():
    with pytest.raises(cf.UsageError, match=r"--parts.*Gausian.*Gaussian"):
        made(dict[str, Corruption], {"a": {"class_path": "Gausian"}})


def test_options_of_what_is_not_a_class_are_refused():
    choices = Choices({"parts": int, "noise": Corruption})
    with pytest.raises(cf.UsageError, match="--parts has no options: it is "):
        choices.help(["parts"], None)
    assert choices.help(["noise"], None)[0].endswith("--noise.help CLASS describes one")
    choices.set("noise", "Gaussian")
    for name in (None, "Gaussian"):
        assert any("std" in line for line in choices.help(["noise"], name))
    assert choices.all() == ["--noise.std"]
