"""The table of all claims, and a page for each beside it, from the findings on disk."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from copyfold.files import write_text
from copyfold.studies import runner, statistics
from copyfold.studies.base import Study, Verdict, threshold
from copyfold.studies.finding_page import OLD, cells, comment, decides, marked, meaning, number, outcomes, page

HEAD = """# The claims and their verdicts

Every claim of the texts is a study that anyone can repeat: `copyfold study NAME --again --budget {budget}
--data ROOT`. The essay is "Autoencoders: Learning by Copying"; the notes are on section 20.3 of Murphy's
*Probabilistic Machine Learning: An Introduction* (2022). {verdicts}

| claim | verdict | one number | one picture |
|---|---|---|---|
{short}

Verdicts marked (old) are of findings measured by the old instrument, that of 0.1.0: intervals that were too narrow
where seeds differ, controls that did not count, and no record of how well the networks had learned to copy. There
FAILS is what DOES NOT HOLD is now, and MIXED says that some numbers were as claimed and others not. They stay as
they were until their studies are measured again.

## How a verdict is reached

Thresholds are fixed before the first measurement, and the verdict follows from them alone. A claim is the
conjunction of its deciding numbers. **HOLDS**: the whole 95 % interval of every one is on the claimed side of its
threshold, and every control is met. **DOES NOT HOLD**: the whole interval of one is on the other side.
**UNDECIDED**: neither; an interval contains its threshold, or a control is missed. **NOT IN REGIME**: a network
does not copy as well as the claim presupposes, so that its numbers say nothing of it. A study of one seed decides
nothing.

Not everything was fixed blind. How long networks are trained, and at which rate, was chosen by trials that
looked at how well they copy. A trial of one network had shown the curve's direction, and its control at the end
of the training was added when one seed was known; other claims are read off the same networks. Parts of T9,
T10, T11 and the tails follow from algebra. Of those marked (old): the threshold of T12's first block was made
absolute after a trial on digits, where a ratio was 0 / 0, and the settings of T6 were chosen after a trial with
untrained networks.

A page first says what was asked, what came out and what to do about it, and then comments on it after a look at
all numbers and pictures. HOLDS and DOES NOT HOLD are about the sentence in the first column: "tails" holds where
the essay is wrong, and T10 is a law that the essay does not give.

An interval is, on each side, the wider of two: the two-way bootstrap over seeds and images, which is too narrow
where seeds differ greatly, and Student's t over the seeds, on the logarithms of ratios. For one number per seed it
is Student's alone; of a proportion also Wilson's. In simulations they cover the truth in at least 93 of 100 cases
with 3, 5 and 8 seeds, whether seeds differ or not.

## All deciding numbers at once

{holm}

## Measured a second time

{second}

## Every deciding number

| claim | statement | where | verdict | deciding numbers | figures |
|---|---|---|---|---|---|
"""

WIDTH = 120  # pixels of a picture in the table


SECOND = "second"
"""The folder of second measurements, beside the budgets in that of results."""

DRAWN = (
    "generalises-under-descent",
    "norm-not-needed-to-see",
    "looks-gaussian",
    "skips-teach-the-identity",
    "iterating-beats-one-pass",
)
"""The studies to measure twice: random.Random(21).sample(names, 5), of the 39 redesigned ones by the alphabet."""

CONTRADICTIONS = {
    "Does more compute make better samples? The essay says visibly better, an earlier version of its conclusion "
    "not much better.": ("T18",),
    "Can an autoencoder without a variational code make images? The notes say no; the essay makes them by "
    "denoising repeatedly.": ("T30", "T17"),
}
"""Where the texts, or an earlier version of one, contradict each other, and the claims that decide it."""


def write(results: Path, out: Path, budget: str) -> list[Path]:
    """Write OUT/findings.md and OUT/findings/NAME.md for what lies in RESULTS/BUDGET; returns what was written.

    A study without a finding is in the table, as not measured yet. The page of a finding whose study has been
    redesigned since stays as it is: it says how that was measured, which the study says no longer.
    """
    rows, short, made, came, open_ = [], [], [], {}, []
    verdicts: Counter[str] = Counter()
    known = runner.studies()
    findings = _read(results / budget, known)
    rejected = _rejected(findings)
    for name, study in known.items():
        folder, found = results / budget / name, findings.get(name)
        came[study.claim] = f"{study.claim} is not measured yet."
        if found is None:
            rows.append(cells(f"{study.claim}, {name}", study.said(), study.place, "not measured yet", "", ""))
            verdicts["not measured yet"] += 1
            continue
        path = out / "findings" / f"{name}.md"
        at_once = _at_once(found, {number for of, number in rejected if of == name})
        if not path.is_file() or not runner.outdated(study, found):
            write_text(path, page(study, found, folder, os.path.relpath(folder, path.parent), at_once))
            made.append(path)
        short.append(_short(study, found, name, os.path.relpath(folder, out)))
        rows.append(_row(study, found, name, os.path.relpath(folder, out)))
        said = f"{marked(found)}. {meaning(study, found)} {comment(folder)}".strip()
        came[study.claim] = f"[{study.claim}](findings/{name}.md): {said}"
        verdicts[marked(found)] += 1
        if found["verdict"] in (Verdict.UNDECIDED, Verdict.NOT_IN_REGIME):
            open_.append(f"- [{study.claim}](findings/{name}.md): {meaning(study, found)}")
    told = [
        f"- {asked} " + " ".join(came.get(claim, f"No study here measures {claim}.") for claim in claims)
        for asked, claims in CONTRADICTIONS.items()
    ]
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    head = HEAD.format(
        budget=budget,
        verdicts=f"Of {verdicts.total()} claims: {counted}.",
        short="\n".join(short),
        holm=_told_at_once(known, findings, rejected),
        second=_told_twice(known, findings, results / SECOND / budget),
    )
    parts = [
        head + "\n".join(rows),
        "## Where the texts contradict each other",
        "\n".join(told),
        "## What this budget cannot decide",
        "\n".join(open_) or "Nothing.",
    ]
    table = out / "findings.md"
    write_text(table, "\n\n".join(parts) + "\n")
    return [table, *made]


def orphans(results: Path, budget: str) -> list[str]:
    """The findings in RESULTS/BUDGET that belong to no study here: of claims that were removed."""
    found = {path.parent.name for path in (results / budget).glob("*/finding.json")}
    return sorted(found - runner.studies().keys())


def head(results: Path, budget: str, count: int) -> str:
    """The first `count` rows of a shorter table, for the README: of the studies that were measured."""
    known = runner.studies()
    rows = [
        cells(f"[{known[name].claim}](docs/findings/{name}.md)", known[name].said(), marked(found))
        for name, found in _read(results / budget, known).items()
    ]
    return "\n".join(["| claim | statement | verdict |", "|---|---|---|", *rows[:count]]) + "\n"


def _read(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The findings in a folder by name, of the studies that have one there."""
    return {name: runner.read(folder / name) for name in names if (folder / name / "finding.json").is_file()}


def _short(study: Study, found: Mapping[str, Any], name: str, folder: str) -> str:
    """The row of a claim in the table that comes first: one number, of those that decide, and one picture."""
    held = outcomes(found)
    which = next((name for name, is_so in held.items() if is_so is False), next(iter(held)))
    inside = found["verdict"] != Verdict.NOT_IN_REGIME
    image = f'<img src="{folder}/{found["figures"][0]}" alt="{name}" width="{WIDTH}">' if found["figures"] else ""
    return cells(
        f"[{study.said()}](findings/{name}.md)",
        marked(found),
        *([_value(found, which), image] if inside else ["", ""]),
    )


def _value(found: Mapping[str, Any], which: str) -> str:
    """A deciding number, and what was claimed of it."""
    return f"{which} {number(found['numbers'][which])}, claimed {found['thresholds'][which]}"


def _row(study: Study, found: Mapping[str, Any], name: str, folder: str) -> str:
    inside = found["verdict"] != Verdict.NOT_IN_REGIME
    deciding = "; ".join(_value(found, which) for which in found["thresholds"] if inside)
    figures = ", ".join(f"[{Path(figure).stem}]({folder}/{figure})" for figure in found["figures"] if inside)
    claim = f"{study.claim}, [{name}](findings/{name}.md)"
    return cells(claim, study.said(), study.place, marked(found), deciding, figures)


def _told_twice(known: Mapping[str, Study], findings: Mapping[str, Mapping[str, Any]], folder: Path) -> str:
    """The verdicts and deciding numbers of both measurements of the studies that were drawn."""
    drawn = [name for name in DRAWN if name in findings]
    again = _read(folder, drawn)
    if not again:
        return "Nothing yet."
    rows = [
        cells(f"[{known[name].claim}](findings/{name}.md)", *map(_verdict_and_numbers, (findings[name], found)))
        for name, found in again.items()
    ]
    missing = [known[name].claim for name in drawn if name not in again]
    parts = (
        "Claims drawn by lot, before their second measurement, are measured again with other networks and other "
        "random numbers: `--first-seed 100 --out results/second`. The photographs are the same.",
        "\n".join(["| claim | first | second |", "|---|---|---|", *rows]),
        f"Drawn, and not measured again yet: {', '.join(missing)}." if missing else "",
    )
    return "\n\n".join(filter(None, parts))


def _verdict_and_numbers(found: Mapping[str, Any]) -> str:
    numbers = "; ".join(f"{which} {number(found['numbers'][which])}" for which in found["thresholds"])
    return f"{marked(found)}: {numbers}"


def _rejected(findings: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, str]]:
    """The deciding numbers, by study and name, that are told from their thresholds when all are tested at once."""
    ps = {
        (name, which): statistics.p_value(found["numbers"][which], threshold(text).at)
        for name, found in findings.items()
        if decides(found)
        for which, text in found["thresholds"].items()
    }
    return statistics.holm(ps)


def _at_once(found: Mapping[str, Any], rejected: set[str]) -> str:
    """The verdict where only these deciding numbers count as told from their thresholds."""
    held, verdict = outcomes(found), found["verdict"]
    if verdict == Verdict.HOLDS:
        return verdict if held.keys() <= rejected else str(Verdict.UNDECIDED)
    if verdict in (Verdict.DOES_NOT_HOLD, *OLD):
        wrong = {name for name, is_so in held.items() if is_so is False}
        return verdict if wrong & rejected else str(Verdict.UNDECIDED)
    return verdict


def _told_at_once(
    known: Mapping[str, Study], findings: Mapping[str, Mapping[str, Any]], rejected: set[tuple[str, str]]
) -> str:
    """What Holm's rule changes."""
    tested = sum(len(found["thresholds"]) for found in findings.values() if decides(found))
    if not tested:
        return "No number decides at this budget."
    changed: list[str] = []
    for name, found in findings.items():
        verdict = _at_once(found, {number for of, number in rejected if of == name})
        if verdict != found["verdict"]:
            changed.append(f"[{known[name].claim}](findings/{name}.md) ({found['verdict']}, then {verdict})")
    return (
        f"{tested} numbers decide, each by its own 95 % interval, so that a few of them are expected to be on a "
        "side by chance. Holm's rule allows a chance of 5 % of a single such error among all. A number's p is the "
        "larger of two: of Student's t over its seeds, and of a normal distribution with its interval. By this "
        f"rule {len(rejected)} of them are told from their thresholds. The verdicts that it changes: "
        f"{', '.join(changed) or 'none'}. With few seeds a small p needs a distance of many intervals: more seeds "
        "are what this rule asks for."
    )
