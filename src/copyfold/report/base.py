"""What a section of the report is: a question asked of a model, and the sentence that follows from its numbers.

A section is found by looking (`catalogue`): a new file in `report/sections` is on the page, with its sentence and
its thresholds and no edit elsewhere, and deleting the file removes exactly that.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from copyfold.catalogue import Recorded, parameters
from copyfold.errors import UsageError
from copyfold.report.context import Context

BELOW = float("-inf")


def error_said(value: float) -> str:
    """An error in three digits, without an exponent: 0.0312, 0.0000431."""
    return np.format_float_positional(value, precision=3, unique=False, fractional=False, trim="-")


@dataclass(frozen=True)
class Scale:
    """A number of a section, and the words for it: those of the highest level that the number reaches."""

    number: str
    meaning: str
    """How the number is defined."""
    levels: tuple[tuple[float, str], ...]
    """(from, words), rising, the first from minus infinity. The words may quote any number of the section, with
    _ in place of spaces: "{noise_left:.0%} remains"."""

    def words(self, numbers: Mapping[str, float]) -> str:
        """The words for these numbers; "" where the number is missing or NaN."""
        value = numbers.get(self.number, float("nan"))
        reached = [words for least, words in self.levels if value >= least]
        quoted = {name.replace(" ", "_"): number for name, number in numbers.items()}
        return reached[-1].format_map(quoted) if reached else ""


@dataclass(frozen=True)
class Figure:
    """A picture of the page, how to read it, and the command that makes it again."""

    picture: Any
    """What `pictures` makes: a figure of matplotlib, or a grid as an array."""
    caption: str
    command: str = ""


@dataclass(frozen=True)
class Content:
    """What a section found: a paragraph of text, figures, and numbers by name."""

    text: str = ""
    figures: tuple[Figure, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    """No two sections of a report have a number of the same name."""


class Section(Recorded, ABC):
    """One question of the report.

    It measures, and says nothing of good or bad: `scales` do. A section of your own is one class, given to
    `diagnose(model, photos, sections=[Brightness()])`:

        from copyfold.report.base import BELOW, Content, Scale, Section

        class Brightness(Section):
            title = "Is it as bright?"
            order = 15  # after "What it keeps"
            scales = (
                Scale(
                    "brightness",
                    "mean of the reconstructions / mean of the images",
                    ((BELOW, "Its reconstructions are darker"), (0.95, "Its reconstructions are as bright")),
                ),
            )

            def __call__(self, context):
                y = context.model(context.x)
                return Content(numbers={"brightness": y.mean() / context.x.mean()})
    """

    title: ClassVar[str] = ""
    """The heading of the section, and the name of its sentence; unique in a report."""
    order: ClassVar[float] = 1000
    """Where it stands: sections are sorted by it. copyfold's own are at 10, 20, 30 and so on."""
    scales: ClassVar[tuple[Scale, ...]] = ()
    """What its sentence at the top of the page is made of, one after the other; without any there is none."""
    home: ClassVar[str] = "copyfold.report.sections"

    @abstractmethod
    def __call__(self, context: Context) -> Content:
        """Ask the question. Nothing in the model is changed; random numbers come from `context.rng`."""

    @classmethod
    def default(cls) -> Self:
        """The section with its arguments at their defaults; UsageError where one has none."""
        anything = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        needed = [p.name for p in parameters(cls) if p.default is p.empty and p.kind not in anything]
        if needed:
            raise UsageError(f"the section {cls.__name__} needs {', '.join(needed)}: give its arguments defaults")
        return cls()

    def sentence(self, numbers: Mapping[str, float]) -> str:
        """The sentence that follows from the numbers of this section; "" where there is none."""
        said = "".join(scale.words(numbers) for scale in self.scales)
        return said if said.endswith(".") or not said else f"{said}."
