"""What a study is: a claim, thresholds fixed before measuring, a measurement, and the verdict that follows."""

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from copyfold.catalogue import Recorded
from copyfold.errors import CopyfoldError
from copyfold.types import Film

if TYPE_CHECKING:
    from copyfold.studies.lab import Lab


class Verdict(StrEnum):
    """What became of a claim."""

    HOLDS = "HOLDS"
    FAILS = "FAILS"
    MIXED = "MIXED"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, over n images, pairs, trials or seeds, and its value for each seed."""

    value: float
    low: float
    high: float
    n: int
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Threshold(ABC):
    """What a number has to be for the claim to hold."""

    @abstractmethod
    def holds(self, found: Estimate) -> bool | None:
        """Whether the whole interval is where the claim wants it; None where it straddles the threshold."""


@dataclass(frozen=True)
class Above(Threshold):
    """The number is above a value."""

    least: float

    def holds(self, found: Estimate) -> bool | None:
        """True where the interval begins above, False where it ends below."""
        return True if found.low > self.least else False if found.high < self.least else None

    def __str__(self) -> str:
        return f"> {self.least:g}"


@dataclass(frozen=True)
class Below(Threshold):
    """The number is below a value."""

    most: float

    def holds(self, found: Estimate) -> bool | None:
        """True where the interval ends below, False where it begins above."""
        return True if found.high < self.most else False if found.low > self.most else None

    def __str__(self) -> str:
        return f"< {self.most:g}"


Control: TypeAlias = tuple[Threshold, str]
"""What a number has to be for the test of the claim to be fair, and what it means where it is not."""


@dataclass(frozen=True)
class Finding:
    """What a study found: numbers with intervals, figures, films and notes.

    `figures` (of `pictures`, or images to show as a grid) and `films` have file names without suffix as keys; a
    film is shown at `fps` frames a second. `notes` are sentences that a reader of the numbers must know.
    """

    numbers: dict[str, Estimate]
    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    films: dict[str, Film] = field(default_factory=dict[str, Film])
    notes: tuple[str, ...] = ()
    fps: int = 10


class Study(Recorded, ABC):
    """A claim of a text, and its measurement.

    The first line of a study's docstring is the claim, the rest its method, its control and how to read its
    figure. Its fields are thresholds: the number of the same name (blanks for underscores) decides. They are fixed
    before the first measurement and are not changed after it.
    """

    home: ClassVar[str] = "copyfold.claims"
    """Where copyfold's own studies are: one file for each claim, in folders."""
    claim: ClassVar[str]
    """T1 to T32, or a name of our own."""
    place: ClassVar[str]
    """Where the texts make the claim: which text, the heading of the section, the equation or figure."""
    items: ClassVar[tuple[int, ...]] = ()
    """Numbers of items of the checklist, docs/coverage.yaml; none for a claim that is not from the texts."""
    data: ClassVar[tuple[str, ...]] = ("landscapes",)
    """The data sets that it uses; none where it makes its own data."""
    controls: ClassVar[Mapping[str, Control]] = {}
    """Numbers that are not part of the claim: where one misses its threshold, the page says so."""
    means: ClassVar[Mapping[Verdict, str]]
    """What it would mean for someone who builds autoencoders, verdict by verdict: written before measuring."""

    @abstractmethod
    def measure(self, lab: "Lab") -> Finding:
        """Train what is to be compared, and measure it."""

    @classmethod
    def name(cls) -> str:
        """The name on the command line: NotTheIdentity is not-the-identity."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__).lower()

    @classmethod
    def said(cls) -> str:
        """The claim, as the docstring begins."""
        return (cls.__doc__ or "").partition("\n")[0]

    def thresholds(self) -> dict[str, Threshold]:
        """What decides, by the name of the number."""
        fields = dataclasses.fields(self)  # pyright: ignore[reportArgumentType]
        return {f.name.replace("_", " "): getattr(self, f.name) for f in fields}

    def verdict(self, numbers: Mapping[str, Estimate], decides: bool = True) -> Verdict:
        """What follows from the thresholds alone.

        HOLDS where every number is where the claim wants it, FAILS where none is, MIXED where some are and the
        others are not; UNDECIDED where an interval straddles a threshold, or the budget is too small to decide.
        """
        thresholds = self.thresholds()
        if missing := {*thresholds, *self.controls} - numbers.keys():
            raise CopyfoldError(
                f"{self.name()} did not measure {', '.join(sorted(missing))}: a fault of the study"
            )
        outcomes = {threshold.holds(numbers[name]) for name, threshold in thresholds.items()}
        if not decides or None in outcomes or not outcomes:
            return Verdict.UNDECIDED
        return Verdict.MIXED if len(outcomes) > 1 else Verdict.HOLDS if outcomes == {True} else Verdict.FAILS
