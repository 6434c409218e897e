"""Values that annotations take, and their description in words, also for annotations copyfold does not use."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
import torch
from torch import nn

from copyfold.cli import _classes, _values
from copyfold.corruptions import Corruption
from copyfold.data.reading.values import Range
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.types import Images


class Side(Enum):
    """Left or right."""

    LEFT = 1
    RIGHT = 2


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (Optional[float], "a number"),  # noqa: UP045
        (str | Path | None, "a string"),
        (Literal["a", "b", "c"], "a, b or c"),
        (Literal["a", None], "a"),
        (list[bool], "a list of true or false, as in [true]"),
        (float | tuple[float, float], "a number or a list of 2 numbers, as in [0.1,0.5]"),
        (tuple[tuple[int, ...], ...], "a list of lists of whole numbers, as in [[8]]"),
        (Sequence[Literal["up", "down"]], "a list, as in [up]"),
        (Sequence[Corruption], "a list, as in [Blur]"),
        (Callable[[int], Corruption] | None, "Blur, Clean, Gaussian, Masking, Mix or Patches"),
        (Callable[[float], float], "a callable, which the command line cannot give; use Python"),
        (Callable[[float], float] | float, "a number"),
        (dict[str, int], "a mapping, as in {a: 1}"),
        (complex, "a value, which the command line cannot give; use Python"),
        (Any, "a value"),
        (Side, "LEFT or RIGHT"),
    ],
)
def test_annotations_are_described_in_words(hint, words):
    assert _values.expected(hint, _classes.names) == words


def test_an_option_may_have_an_example_of_its_own():
    assert _values.expected(Range | None, _classes.names, "--range") == "a list of 2 numbers, as in [0,4095]"
    assert _values.expected(Range | None, _classes.names) == "a list of 2 numbers, as in [0.1,0.5]"


@pytest.mark.parametrize(
    ("hint", "value", "read"),
    [
        (int, "3", 3),
        (float, "1e-3", 0.001),
        (float, 3, 3.0),
        (float, "-3.4e38", -3.4e38),
        (float, ".inf", float("inf")),  # which is for the classes to refuse
        (str, "5", "5"),
        (str | None, "null", None),
        (tuple[float, ...], "[1, 2]", (1.0, 2.0)),
        (dict[str, int], "{a: 1}", {"a": 1}),
        (Mapping[str, int], {"a": 1}, {"a": 1}),
        (Side, "LEFT", Side.LEFT),
        (Any, "8", 8),
        (Any, "a: [", "a: ["),
    ],
)
def test_valid_values_are_read(hint, value, read):
    assert _values.read(hint, value) == read


@pytest.mark.parametrize(
    ("hint", "value"),
    [(int, "x"), (int, 2.5), (str, 5), (bool, "5"), (Literal["a"], "b"), (list[int], "3"), (Side, "UP"),
     (tuple[int, int], [1]), (int | None, "&a [*a]"), (nn.Module | None, "torch.nn.ReLU"), (int, "[" * 5000)],
)  # fmt: skip
def test_invalid_values_are_refused(hint, value):
    with pytest.raises(_values.Misfit):
        _values.read(hint, value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [(float, "1e39"), (float, -1e300), (float, 10**100), (tuple[float, float], [0, 1e39]),
     (dict[str, float], {"a": 1e39})],
)  # fmt: skip
def test_numbers_that_float32_does_not_hold_are_refused(hint, value):
    with pytest.raises(_values.Misfit, match=r"no larger than 3.4e\+38"):
        _values.read(hint, value)


@pytest.mark.parametrize("value", [",", "\n", [0] * 1001, {"a": [[0] * 501, [0] * 500]}])
def test_items_are_counted_in_words_lists_and_mappings(value):
    value = 1000 * value if isinstance(value, str) else value
    with pytest.raises(UsageError, match=r"--a .* is invalid: expected at most 1,000 items"):
        _values.check_few("--a", value)
    _values.check_few("--a", value[1:] if isinstance(value, str | list) else {"a": [[0] * 500, [0] * 500]})


def test_values_that_cannot_be_typed_are_no_options():
    assert [h for h in (Images | None, torch.Tensor, nn.Module, None, type(None)) if _values.sayable(h)] == [None]
    for hint in (
        int,
        list,
        dict,
        Any,
        list[int] | None,
        Side,
        Autoencoder,
        Callable[[int], Corruption],
        Literal["a"],
    ):
        assert _values.sayable(hint), hint
