"""Figures: estimates with their intervals, and the first images of every row."""

from collections.abc import Mapping, Sequence
from typing import Any

from copyfold import pictures
from copyfold.studies.base import Estimate
from copyfold.types import Images

SHOWN = 8  # images of a row


def intervals(
    numbers: Mapping[str, Estimate], xlabel: str, marks: Mapping[str, float] | None = None, logx: bool = False
) -> Any:
    """A figure with a line for every number: its interval, its seeds below, and reference marks."""
    rows = {name: (e.value, e.low, e.high) for name, e in numbers.items()}
    return pictures.intervals(rows, xlabel, marks, {name: e.seeds for name, e in numbers.items()}, logx=logx)


def curves(
    numbers: Mapping[str, tuple[Sequence[float], Sequence[Estimate]]],
    xlabel: str,
    ylabel: str,
    level: Mapping[str, float] | None = None,
    logx: bool = False,
    logy: bool = False,
    ylim: tuple[float, float] | None = None,
) -> Any:
    """A figure with a curve for every row of numbers over its x, their intervals as bands, and level lines."""
    series = {name: (x, [e.value for e in of]) for name, (x, of) in numbers.items()}
    bands = {name: ([e.low for e in of], [e.high for e in of]) for name, (_, of) in numbers.items()}
    ends = [end(x) for end in (min, max) for x, _ in numbers.values()]
    series |= {name: ([min(ends), max(ends)], [y, y]) for name, y in (level or {}).items()}
    return pictures.curves(series, xlabel, ylabel, bands=bands, logx=logx, logy=logy, ylim=ylim)


def first_images(rows: Mapping[str, Images]) -> Any:
    """A figure of the first few images of every row."""
    return pictures.comparison({name: images[:SHOWN] for name, images in rows.items()})
