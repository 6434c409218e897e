"""Claims on what layers represent: the numbers, controls and figures of what is measured in `represented`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import Any

import torch
from torch import Tensor

from copyfold.errors import Diverged
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Control, Estimate
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.copying import MARK
from copyfold.studies.toolkit.represented import IDENTITY, KNOWN, QUARTER, RANDOM, SEED, measured
from copyfold.studies.toolkit.search import STARTS, UNSEEN
from copyfold.types import Images

ROUNDING = 255**-1 * 12**-0.5  # std of what 8 bits round off, in units of the range
OFF = f"noise left, {RANDOM}, off three quarters"


def picked(reading: Reading, layers: Sequence[str], others: bool = True) -> Reading:
    """What a claim on these layers keeps: numbers and images of them, of known maps, and the copying."""

    def kept(name: str) -> bool:
        parts = name.split("; ")
        return (
            name.startswith(MARK)
            or name == SEED
            or (parts[-1] in layers if len(parts) == 3 else others or len(parts) == 1)
        )

    return Reading(
        *({name: v for name, v in of.items() if kept(name)} for of in (reading.numbers, reading.images))
    )


def by_seed(lab: Lab, name: str, layers: Sequence[str], part: str = "") -> list[Reading]:
    """What a claim on these layers keeps of a network, of every seed; `part` as of `Lab.by_seed`."""
    return lab.by_seed(lambda seed: picked(measured(lab, name, seed), layers), part)


def paired(lab: Lab, found: Mapping[str, Sequence[Reading]]) -> dict[str, list[Reading]]:
    """The readings of the seeds that every network has: one that diverged in any is left out, which is noted.

    Diverged where no seed is in all.
    """
    seeds = {name: [int(r.numbers[SEED]) for r in of] for name, of in found.items()}
    common = set.intersection(*({*each} for each in seeds.values()))
    missing = sorted({seed for each in seeds.values() for seed in each} - common)
    if missing:
        lost = {name: [str(seed) for seed in missing if seed not in of] for name, of in seeds.items()}
        said = "; ".join(f"{name} lacks {', '.join(of)}" for name, of in lost.items() if of)
        lab.note(f"networks are compared on the seeds that all of them have: {said}")
    if not common:
        raise Diverged("no seed could be trained of all networks: see the messages above")
    kept = {name: [r for r, s in zip(of, seeds[name], strict=True) if s in common] for name, of in found.items()}
    for name, of in found.items():  # images are of the first seed that a network has, which others may lack
        kept[name][0] = Reading(kept[name][0].numbers, next((r.images for r in of if r.images), {}))
    return kept


def together(found: Mapping[str, Sequence[Reading]]) -> list[Reading]:
    """The numbers of several networks that are `paired`, seed by seed, called "NAME: WHAT"."""
    return [
        Reading({f"{name}: {k}": v for name, r in zip(found, each, strict=True) for k, v in r.numbers.items()})
        for each in zip(*found.values(), strict=True)
    ]


def of(found: Sequence[Reading], what: str) -> list[Tensor]:
    """One number of every seed's reading."""
    return [r.numbers[what] for r in found]


def median(found: Sequence[Reading], what: str) -> Estimate:
    """Its median over images."""
    return statistics.median(of(found, what))


def ratio(found: Sequence[Reading], a: str, b: str, least: float = ROUNDING) -> Estimate:
    """The median over images of one number over that of another; below `least` none is told apart.

    That is the rounding of 8 bits, for distances. Over images that have an answer in both: one may have none where
    it is hardest, and would be compared on easier images.
    """
    pairs = list(zip(of(found, a), of(found, b), strict=True))
    both = [~(x.isnan() | y.isnan()) for x, y in pairs]
    known = [[x.clamp(min=least).where(k, torch.nan) for x in pair] for pair, k in zip(pairs, both, strict=True)]
    return statistics.ratio_of_medians([x for x, _ in known], [y for _, y in known])


def noise_ratio(found: Sequence[Reading], a: str, b: str) -> Estimate:
    """The same of shares of noise that are left: below what the identity may leave, none is told apart."""
    return ratio(found, a, b, UNSEEN)


def either(estimate: Callable[[str], Estimate]) -> Estimate:
    """An estimate of the error of found images, whose interval contains that from either start.

    `estimate` gives it for "error", "error from light" and "error from dark". So a threshold is on one side of it
    only where it is for both.
    """
    mean, *each = (estimate(what) for what in ("error", *(f"error from {start}" for start in STARTS)))
    return replace(mean, low=min(e.low for e in (mean, *each)), high=max(e.high for e in (mean, *each)))


def error_ratio(found: Sequence[Reading], a: str, b: str) -> Estimate:
    """`ratio` of errors of found images by `either` start; in both names {} stands for "error"."""
    return either(lambda what: ratio(found, a.format(what), b.format(what)))


def no_answer(found: Estimate) -> Estimate:
    """The same, of which nothing follows: of a measure that does not see what it is to measure."""
    return replace(found, low=-inf, high=inf)


def answers(found: Sequence[Reading], what: str) -> Estimate:
    """The share of images that have one."""
    return statistics.fraction(of(found, what))


def summary(found: Sequence[Reading], where: Mapping[str, str]) -> dict[str, Estimate]:
    """For every place, called as the page has it: the noise left near the image, and what is found, with answers.

    Places that were not measured in a way are left out.
    """
    numbers: dict[str, Estimate] = {}
    for called, at in where.items():
        if f"near noise left; {at}" in found[0].numbers:
            numbers[f"noise left, {called}"] = median(found, f"near noise left; {at}")
            numbers[f"answers near the image, {called}"] = answers(found, f"near answer; {at}")
        if f"found error; {at}" in found[0].numbers:
            numbers[f"error found, {called}"] = _error(found, at)
            numbers[f"noise found, {called}"] = median(found, f"found noise; {at}")
            numbers[f"answers found, {called}"] = answers(found, f"found answer; {at}")
            numbers[f"starts agree, {called}"] = answers(found, f"found agree; {at}")
            numbers[f"layer over reference, found, {called}"] = median(found, f"found layer over reference; {at}")
    return numbers


def known_numbers(found: Sequence[Reading]) -> dict[str, Estimate]:
    """Noise left near the image, and the error of what is found, of the maps that are known."""
    numbers = {f"noise left, {known}": median(found, f"near noise left; {known}") for known in KNOWN}
    numbers[OFF] = statistics.median(
        [(x - 1 + 1 / QUARTER).abs() for x in of(found, f"near noise left; {RANDOM}")]
    )
    return numbers | {f"error found, {known}": _error(found, known) for known in KNOWN}


def _error(found: Sequence[Reading], at: str) -> Estimate:
    """The median error of found images by either start."""
    return either(lambda what: median(found, f"found {what}; {at}"))


def sees() -> dict[str, Control]:
    """Controls: the share of noise that known maps leave is found.

    The identity leaves at most 0.3^2, by the tolerance. A random layer that keeps a quarter of the numbers leaves
    3/4, whatever the image: of the noise of one image of 256 numbers within sqrt(2 3/4 1/4 / 256) = .04.
    """
    return {
        f"noise left, {IDENTITY}": (Below(0.1), "The measure sees noise where all is represented."),
        OFF: (Below(0.05), "The measure does not find the three quarters that a random layer leaves."),
    }


def answered(called: str, why: str = "") -> dict[str, Control]:
    """A control: more than half of the images found at this place are answers."""
    said = why or "Half of the searches or more end elsewhere: what they found says little of the layer."
    return {f"answers found, {called}": (Above(0.5), said)}


def arrives(called: str) -> dict[str, Control]:
    """A control: more than half of the searches near an image arrive at this place."""
    said = "Half of the searches near the image or more do not arrive: the noise left is that of the others."
    return {f"answers near the image, {called}": (Above(0.5), said)}


def along(lines: Mapping[str, Sequence[Estimate]], names: Sequence[str], ylabel: str) -> Any:
    """A figure of a number along four layers; a point that has no answer is left out."""
    drawn = {
        name: ([i for i, e in enumerate(line, 1) if known(e)], [e for e in line if known(e)])
        for name, line in lines.items()
    }
    none = {"no answer": ([1], [Estimate(0.0, 0.0, 0.0, 0)])}
    return charts.curves(
        {name: of for name, of in drawn.items() if of[0]} or none, f"layer: {', '.join(names)}", ylabel
    )


def beside(images: Images, seen: Mapping[str, Mapping[str, Images]], at: str) -> Any:
    """The images, and what each network represents of them: found by the search, and from the image with noise."""
    ways = {"found": "found", "near": "from the image with noise"}
    return charts.first_images(
        {"images": images}
        | {f"{kind}, {words}": of[f"{way}; {at}"] for way, words in ways.items() for kind, of in seen.items()}
    )


def known(found: Estimate) -> bool:
    """Whether a number has a value and an interval."""
    return all(isfinite(x) for x in (found.value, found.low, found.high))


def said(found: Estimate, digits: int = 3) -> str:
    """A number for a sentence; too few answers where it has no value."""
    return f"{found.value:.{digits}g}" if isfinite(found.value) else "(too few answers for a number)"
