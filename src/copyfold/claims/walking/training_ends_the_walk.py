"""T16: does training end the walk?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from copyfold import pictures
from copyfold.claims.walking import SECTION
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Estimate, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts, walks
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import qualities
from copyfold.studies.toolkit.walks import BEST, FATES, LEVELS, NAMES, SETS

EARLY, LATE = NAMES[LEVELS[0]], NAMES[BEST]
ESSAY, RUNNING = "batches of 64", "running statistics"


@dataclass(frozen=True)
class TrainingEndsTheWalk(Study):
    """With more training, far fewer images walk when they are mapped repeatedly.

    U-Nets of depth 2 memorise 32 and 256 photographs of 16 pixels a side. When 10, 3, 1, 0.3 and 0.1 % of the
    variance of their training images is left, the map is applied 300 times without noise to up to 64 training and
    64 held-out images, with running statistics and with those of batches of 64 and 16. An image then is one of:

    - escaping: a value of the last frame is below -1 or above 2;
    - cycling: its last frame is that of 2 to 8 steps before, within 0.001 RMS, and not that of one step before;
    - walking: its last frame is farther from its first than half the median distance of a training image to the
      nearest other, or has another nearest training image;
    - resting: none of these: it is where it was after the first step.

    The deciding numbers are the share of training images that walk at 0.1 % left minus that at 10 %, with the
    statistics of batches of 64, for both sets. The essay counted 7 of 8, and 1 of 8 after 200 more epochs, a
    change of -0.75; "substantially" is taken as at least half of it: below -0.375. The claim presupposes that the
    last network leaves at most 0.3 % of its training images: three times what it is trained for, so that a seed
    that ends early does not take the claim away.

    Control: fewer walks must mean more rest, more than half at the end, and not that images escape or cycle. All
    looks but the last are at networks on their way, whose learning rate falls from each to the next: what changes
    may follow from that, too, as it would in any training that ends. The identity, the untrained network, PCA with
    as many components as leave 1 %, and held-out images are shown beside, as is the largest singular value of the
    Jacobian at the training images.

    Of the set of 32 a batch of 64 is all 32. What changed: the old study counted held-out images of 64 pixels
    under networks that left about 13 % of them, the share was 1.00 at every length of training, before any too,
    and its verdict was FAILS. The essay starts from images that the network learned. Its threshold of -0.2 is
    replaced by -0.375.

    The first two figures show, for each set, what became of the training images against what is left of them, so
    that training goes from right to left; the third the share that walks in other ways; the fourth training
    images, and where they and held-out images end.
    """

    claim: ClassVar[str] = "T16"
    place: ClassVar[str] = f"{SECTION}: the last paragraph, from 7/8 to around 1/8"
    items: ClassVar[tuple[int, ...]] = (90, 91, 114, 146)
    asked: ClassVar[str] = (
        "If an autoencoder's output is fed back into it again and again, do more of the training images stay "
        "where they are the better it has memorised them?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Count the training images that stay: a walk shows that training is not finished, and a "
        "network that has memorised its images keeps them.",
        PARTLY: "How many images there are to memorise decides: do not take a walk that ends, or goes on, as a "
        "sign of how long a network was trained.",
        Verdict.DOES_NOT_HOLD: "Do not read a walk as a lack of training: images walk about as much once they are "
        "memorised.",
        Verdict.UNDECIDED: "Do not use the share of images that walk as a sign of training yet: networks differ "
        "too much, or images stop walking without coming to rest.",
        Verdict.NOT_IN_REGIME: "Train longer before asking: these networks have not memorised their images.",
    }
    seeds: ClassVar[int] = 8
    regime: ClassVar[Mapping[str, Regime]] = {
        walks.quality(count, BEST): Regime(0.003, "training") for count in SETS
    }
    controls: ClassVar[Mapping[str, Control]] = {
        f"resting, {count} images, {LATE}": (
            Above(0.5),
            "Most images do not rest at the end: they walk on, escape or cycle.",
        )
        for count in SETS
    }

    walking_late_minus_early_32_images: Below = Below(-0.375)
    walking_late_minus_early_256_images: Below = Below(-0.375)

    def measure(self, lab: Lab) -> Finding:
        """Count what becomes of the images at five qualities of every training."""
        found = {
            count: lab.by_seed(lambda seed, count=count: _picked(walks.walks(lab, count, seed)), str(count))
            for count in SETS
        }
        numbers: dict[str, Estimate] = {}
        for count, of in found.items():
            late, early = ([r.numbers[f"walking; {w}; training; {ESSAY}"] for r in of] for w in (LATE, EARLY))
            numbers[f"walking late minus early {count} images"] = statistics.difference(late, early)
        for count, of in found.items():
            numbers |= _shares(count, of)
        return Finding(
            numbers,
            self._figures(lab, found, numbers),
            notes=tuple(walks.unreached(found)),
            copying={name: of for readings in found.values() for name, of in qualities(readings).items()},
            came_out=self._said(numbers),
            captions={
                **{
                    f"{count}-images": f"What became of training images of a network that memorised {count}, "
                    "against what was left of them when it was looked at, with the statistics of batches of 64: "
                    "training goes from right to left"
                    for count in SETS
                },
                "other-ways": "The share that walks with running statistics, of training and of held-out images; "
                "training goes from right to left",
                "ends": "For each set its training images, what 300 passes made of them, early and late in "
                "training, and what they made of held-out images",
            },
        )

    def _said(self, numbers: Mapping[str, Estimate]) -> str:
        each = [
            f"of {count} memorised images {_walking(numbers, count, EARLY):.0%} walk at {EARLY} and "
            f"{_walking(numbers, count, LATE):.0%} at {LATE}"
            for count in SETS
        ]
        return f"With the statistics of batches of 64, {'; '.join(each)}."

    def _figures(
        self, lab: Lab, found: Mapping[int, list[Reading]], numbers: Mapping[str, Estimate]
    ) -> dict[str, Any]:
        left, sets = list(LEVELS), walks.sizes(lab)
        figures: dict[str, Any] = {}
        for count in SETS:
            lines = {
                fate: (left, [numbers[f"{fate}, {count} images, {NAMES[x]}"] for x in left]) for fate in FATES
            }
            figures[f"{count}-images"] = _against(lines, "share of the training images")
        lines = {
            f"{start}, {count} images": (
                left,
                [numbers[f"walking, {count} images, {NAMES[x]}, {start}, {RUNNING}"] for x in left],
            )
            for count in SETS
            for start in walks.STARTS
        }
        figures["other-ways"] = _against(lines, "share of images that walk")
        rows = {}
        for count, of in found.items():
            rows[f"{count} images: of training"] = walks.starting(lab, sets[count])["training"][:SHOWN]
            for name in (EARLY, LATE):
                rows[f"{count} images, {name}"] = of[0].images[f"last; {name}; training; {ESSAY}"]
            rows[f"{count} images, {LATE}, from held-out images"] = of[0].images[
                f"last; {LATE}; held out; {ESSAY}"
            ]
        figures["ends"] = pictures.comparison(rows)
        return figures


def _picked(reading: Reading) -> Reading:
    """What this claim keeps: what became of the images without noise, the copying, and where the images end."""
    numbers = {
        name: value
        for name, value in reading.numbers.items()
        if name.partition(";")[0] in (*FATES, "stopped", "left", "step", "singular") or name.startswith("copying")
    }
    shown = {
        name: x
        for name, x in reading.images.items()
        if name.startswith("last;") and name.endswith(ESSAY) and (EARLY in name or LATE in name)
    }
    return Reading(numbers, shown)


def _shares(count: int, of: list[Reading]) -> dict[str, Estimate]:
    """The shares of every fate for one set, and what explains them."""
    numbers: dict[str, Estimate] = {}
    for name in (*NAMES.values(), walks.UNTRAINED):
        for fate in FATES:
            numbers[f"{fate}, {count} images, {name}"] = walks.share(of, f"{fate}; {name}; training; {ESSAY}")
        ways = [
            (start, way) for start in walks.STARTS for way in walks.WAYS if (start, way) != ("training", ESSAY)
        ]
        for start, way in ways:
            numbers[f"walking, {count} images, {name}, {start}, {way}"] = walks.share(
                of, f"walking; {name}; {start}; {way}"
            )
        stopped = walks.share(of, f"stopped; {name}; training; {ESSAY}")
        numbers[f"walked and came to rest, {count} images, {name}"] = stopped
        tops = [r.numbers[f"singular; {name}; training"] for r in of]
        numbers[f"largest singular value, {count} images, {name}"] = statistics.mean(tops)
        if name != walks.UNTRAINED:
            left = [r.numbers[f"left; {name}"].item() for r in of]
            numbers[f"left of training images, {count} images, {name}"] = statistics.over_seeds(left, "log")
    for name in (walks.IDENTITY, walks.PCA):
        numbers[f"walking, {count} images, {name}"] = walks.share(of, f"walking; {name}; training; {RUNNING}")
    return numbers


def _walking(numbers: Mapping[str, Estimate], count: int, name: str) -> float:
    return numbers[f"walking, {count} images, {name}"].value


def _against(lines: Mapping[str, tuple[list[float], list[Estimate]]], ylabel: str) -> Any:
    """Shares against what is left."""
    return charts.curves(
        lines, "left of the training images, share of variance", ylabel, logx=True, ylim=(0, 1.02)
    )
