"""Estimates as figures."""

from collections.abc import Mapping
from typing import Any

from copyfold import pictures
from copyfold.studies.base import Estimate


def lines(
    numbers: Mapping[str, Estimate], xlabel: str, marks: Mapping[str, float] | None = None, logx: bool = False
) -> Any:
    """A figure with a line for every number: its interval, its seeds below, and marks to compare with."""
    rows = {name: (e.value, e.low, e.high) for name, e in numbers.items()}
    return pictures.intervals(rows, xlabel, marks, {name: e.seeds for name, e in numbers.items()}, logx=logx)
