"""What a study is: a claim, thresholds fixed before measuring, a measurement, and the verdict that follows."""

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from copyfold.catalogue import Recorded
from copyfold.errors import CopyfoldError
from copyfold.types import Film

if TYPE_CHECKING:
    from copyfold.studies.lab import Lab


class Verdict(StrEnum):
    """What became of a claim; `Study.verdict` has the rule."""

    HOLDS = "HOLDS"
    DOES_NOT_HOLD = "DOES NOT HOLD"
    UNDECIDED = "UNDECIDED"
    NOT_IN_REGIME = "NOT IN REGIME"


PARTLY = "DOES NOT HOLD, in part"
"""A key of `means` beside the verdicts: DOES NOT HOLD, where other deciding numbers are as claimed."""

Scale: TypeAlias = Literal["linear", "log", "fisher"]
"""Of an interval: where seeds are averaged by themselves, by their logarithms, or by Fisher's z."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, over n images, pairs, trials or seeds, and its value for each seed."""

    value: float
    low: float
    high: float
    n: int
    seeds: tuple[float, ...] = ()
    scale: Scale = "linear"


@dataclass(frozen=True)
class Threshold(ABC):
    """What a number has to be for the claim to hold."""

    @property
    @abstractmethod
    def at(self) -> float:
        """The number itself."""

    @abstractmethod
    def holds(self, found: Estimate) -> bool | None:
        """Whether the whole interval is where the claim wants it; None where it straddles the threshold."""


@dataclass(frozen=True)
class Above(Threshold):
    """The number is above a value."""

    least: float

    @property
    def at(self) -> float:
        """The number itself."""
        return self.least

    def holds(self, found: Estimate) -> bool | None:
        """True where the interval begins above, False where it ends below."""
        return True if found.low > self.least else False if found.high < self.least else None

    def __str__(self) -> str:
        return f"> {self.least:g}"


@dataclass(frozen=True)
class Below(Threshold):
    """The number is below a value."""

    most: float

    @property
    def at(self) -> float:
        """The number itself."""
        return self.most

    def holds(self, found: Estimate) -> bool | None:
        """True where the interval ends below, False where it begins above."""
        return True if found.high < self.most else False if found.low > self.most else None

    def __str__(self) -> str:
        return f"< {self.most:g}"


Control: TypeAlias = tuple[Threshold, str]
"""What a number has to be for the test of the claim to be fair, and what it means where it is not."""

Seen: TypeAlias = Literal["held out", "training", "held out, batches of 64", "training, batches of 64"]
"""Which images a network copies; with running statistics, or with those of batches."""


@dataclass(frozen=True)
class Regime:
    """How well a network has to copy for a claim about it to have a meaning: it leaves at most this share.

    `left` is the share of the images' variance that a copy leaves as error, see `Copying`.
    """

    left: float
    seen: Seen = "held out"

    def __str__(self) -> str:
        return f"<= {self.left:g}, {self.seen}"


@dataclass(frozen=True)
class Copying:
    """How well a network copies, over the seeds: measured by `toolkit.copying`.

    `left` is the mean squared error over the variance about the mean training image, 1 for a network that has
    learned nothing else, the geometric mean over seeds; `psnr` is in dB. `pca` is what PCA with as many components
    as the code has `numbers` leaves of the same images; `components` are as many as leave, held out, what the
    network leaves.
    """

    left: Mapping[Seen, Estimate]
    psnr: Mapping[Seen, Estimate]
    pca: Mapping[str, float]
    components: float
    numbers: int
    steps: float
    epochs: float


@dataclass(frozen=True)
class Finding:
    """What a study found: numbers with intervals, figures, films and notes.

    `figures` (of `pictures`, or images to show as a grid) and `films` have file names without suffix as keys; a
    film is shown at `fps` frames a second. `notes` are sentences that a reader of the numbers must know. `copying`
    says of every network how well it copies; `came_out` is one sentence, with numbers, on what was found;
    `captions` say in words what a figure shows.
    """

    numbers: dict[str, Estimate]
    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    films: dict[str, Film] = field(default_factory=dict[str, Film])
    notes: tuple[str, ...] = ()
    fps: int = 10
    copying: dict[str, Copying] = field(default_factory=dict[str, Copying])
    came_out: str = ""
    captions: dict[str, str] = field(default_factory=dict[str, str])


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
    """Numbers that are not part of the claim: where one misses its threshold, the claim cannot hold."""
    regime: ClassVar[Mapping[str, Regime]] = {}
    """How well the networks of these names have to copy: where one does not, the study says nothing else."""
    seeds: ClassVar[int] = 0
    """Trainings of every network, where the budget decides: as many as the budget says, or more."""
    asked: ClassVar[str] = ""
    """What is asked, in a sentence for someone who builds autoencoders: the first of the page's three."""
    means: ClassVar[Mapping[str, str]]
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

    def verdict(
        self,
        numbers: Mapping[str, Estimate],
        decides: bool = True,
        copying: Mapping[str, Copying] | None = None,
    ) -> Verdict:
        """What follows from the regime, the thresholds and the controls alone, in this order.

        UNDECIDED where the budget is too small to decide. NOT IN REGIME where a network leaves more than `regime`
        allows: its numbers then say nothing of the claim. DOES NOT HOLD where the interval of one deciding number
        is on the wrong side of its threshold, whatever the others and the controls are: a claim is the conjunction
        of its numbers. HOLDS where every one is on the claimed side and every control clearly met; else UNDECIDED.
        So a control that is missed, or may be, vetoes HOLDS alone: it says that the numbers could be as claimed
        for another reason. What would make a refutation unfair, such as a network that has not learned or a search
        that has not ended, belongs into the regime, or is no answer.
        """
        thresholds = self.thresholds()
        if missing := {*thresholds, *self.controls} - numbers.keys():
            raise CopyfoldError(
                f"{self.name()} did not measure {', '.join(sorted(missing))}: a fault of the study"
            )
        if missing := self.regime.keys() - (copying or {}).keys() if copying is not None else ():
            raise CopyfoldError(
                f"{self.name()} did not measure how {', '.join(sorted(missing))} copies: a fault of the study"
            )
        if not decides or not thresholds:
            return Verdict.UNDECIDED
        if self.outside(copying or {}):
            return Verdict.NOT_IN_REGIME
        outcomes = {t.holds(numbers[name]) for name, t in thresholds.items()}
        if False in outcomes:
            return Verdict.DOES_NOT_HOLD
        fair = all(threshold.holds(numbers[name]) for name, (threshold, _) in self.controls.items())
        return Verdict.HOLDS if fair and outcomes == {True} else Verdict.UNDECIDED

    def outside(self, copying: Mapping[str, Copying]) -> dict[str, Estimate]:
        """The networks that do not copy well enough for the claim, and what each leaves; NaN is not enough."""
        left = {name: copying[name].left[regime.seen] for name, regime in self.regime.items() if name in copying}
        return {name: found for name, found in left.items() if not found.value <= self.regime[name].left}


def threshold(text: str) -> Threshold:
    """The threshold that a finding says, such as > 0.5."""
    kind, at = text.split()
    return (Above if kind == ">" else Below)(float(at))
