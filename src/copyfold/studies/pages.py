"""The pages of the findings: a table of all claims and a page for each, from the findings on disk."""

import inspect
import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from copyfold.files import write_text
from copyfold.studies import runner, statistics
from copyfold.studies.base import PARTLY, Copying, Estimate, Seen, Study, Verdict, threshold

HEAD = """# The claims and their verdicts

Every claim of the texts is a study that anyone can repeat: `copyfold study NAME --budget {budget} --data ROOT`.
The essay is "Autoencoders: Learning by Copying"; the notes are on section 20.3 of Murphy's *Probabilistic
Machine Learning: An Introduction* (2022). {verdicts}

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

Not everything was fixed blind. The threshold of T12's first block was made absolute after a trial on digits,
where a ratio was 0 / 0; the settings of T6 were chosen after a trial with untrained networks; and parts of T9,
T10, T11 and the tails follow from algebra. What a verdict means was written before measuring too, except for
T31's FAILS: its wording, and the control of ten times the training, followed its first measurement.

A page first says what was asked, what came out and what to do about it, and then comments on it after a look at
all numbers and pictures. HOLDS and DOES NOT HOLD are about the sentence in the first column: "tails" holds where
the essay is wrong, and T10 is a law that the essay does not give.

An interval is, on each side, the wider of two: the two-way bootstrap over seeds and images, which is too narrow
where seeds differ greatly, and Student's t over the seeds, on the logarithms of ratios. For one number per seed it
is Student's alone; of a proportion also Wilson's. In simulations they cover the truth in at least 93 of 100 cases
with 3, 5 and 8 seeds, whether seeds differ or not.

## All deciding numbers at once

{holm}

## Every deciding number

| claim | statement | where | verdict | deciding numbers | figures |
|---|---|---|---|---|---|
"""

OLD = {"FAILS": str(Verdict.DOES_NOT_HOLD), "MIXED": PARTLY}
"""What the old instrument's verdicts are called now."""
BESIDE: dict[Seen, Seen] = {"held out": "held out, batches of 64", "training": "training, batches of 64"}
WIDTH = 120  # pixels of a picture in the table


CONTRADICTIONS = {
    "Does more compute make better samples? The essay says visibly better, an earlier version of its conclusion "
    "not much better.": ("T18",),
    "Can an autoencoder without a variational code make images? The notes say no; the essay makes them by "
    "denoising repeatedly.": ("T30", "T17"),
}
"""Where the texts, or an earlier version of one, contradict each other, and the claims that decide it."""

CREDITS = {
    "landscapes": "the natural classes of the 15-scene collection of Oliva and Torralba, Fei-Fei and Perona, and "
    "Lazebnik et al., grey",
    "cifar10": "CIFAR-10, by Krizhevsky",
    "fashion_mnist": "Fashion-MNIST, by Zalando Research",
}


def write(results: Path, out: Path, budget: str) -> list[Path]:
    """Write OUT/findings.md and OUT/findings/NAME.md for what lies in RESULTS/BUDGET; returns what was written.

    A study without a finding is in the table, as not measured yet.
    """
    rows, short, made, came, open_ = [], [], [], {}, []
    verdicts: Counter[str] = Counter()
    known, findings = runner.studies(), dict[str, dict[str, Any]]()
    for name in known:
        if (results / budget / name / "finding.json").is_file():
            findings[name] = runner.read(results / budget / name)
    rejected = _rejected(findings)
    for name, study in known.items():
        folder, found = results / budget / name, findings.get(name)
        came[study.claim] = f"{study.claim} is not measured yet."
        if found is None:
            rows.append(_cells(f"{study.claim}, {name}", study.said(), study.place, "not measured yet", "", ""))
            verdicts["not measured yet"] += 1
            continue
        page = out / "findings" / f"{name}.md"
        at_once = _at_once(found, {number for of, number in rejected if of == name})
        write_text(page, _page(study, found, folder, os.path.relpath(folder, page.parent), at_once))
        made.append(page)
        short.append(_short(study, found, name, os.path.relpath(folder, out)))
        rows.append(_row(study, found, name, os.path.relpath(folder, out)))
        said = f"{_marked(found)}. {_meaning(study, found)} {_read(folder)}".strip()
        came[study.claim] = f"[{study.claim}](findings/{name}.md): {said}"
        verdicts[_marked(found)] += 1
        if found["verdict"] in (Verdict.UNDECIDED, Verdict.NOT_IN_REGIME):
            open_.append(f"- [{study.claim}](findings/{name}.md): {_meaning(study, found)}")
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
    rows = []
    for name, study in runner.studies().items():
        folder = results / budget / name
        if (folder / "finding.json").is_file():
            link = f"[{study.claim}](docs/findings/{name}.md)"
            rows.append(_cells(link, study.said(), runner.read(folder)["verdict"]))
    return "\n".join(["| claim | statement | verdict |", "|---|---|---|", *rows[:count]]) + "\n"


def number(found: Estimate) -> str:
    """An estimate as text: value [low, high]; an unbounded interval, as of one seed, is left out."""
    ends = f"[{found.low:.3g}, {found.high:.3g}]" if math.isfinite(found.high - found.low) else "(no interval)"
    return f"{found.value:.3g} {ends}"


def _short(study: Study, found: Mapping[str, Any], name: str, folder: str) -> str:
    """The row of a claim in the table that comes first: one number, of those that decide, and one picture."""
    held = _outcomes(found)
    which = next((name for name, is_so in held.items() if is_so is False), next(iter(held)))
    inside = found["verdict"] != Verdict.NOT_IN_REGIME
    image = f'<img src="{folder}/{found["figures"][0]}" alt="{name}" width="{WIDTH}">' if found["figures"] else ""
    return _cells(
        f"[{study.said()}](findings/{name}.md)",
        _marked(found),
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
    return _cells(claim, study.said(), study.place, _marked(found), deciding, figures)


def _old(found: Mapping[str, Any]) -> bool:
    """Whether the instrument of 0.1.0 measured it."""
    return "instrument" not in found


def _marked(found: Mapping[str, Any]) -> str:
    """The verdict, and whether it is the old instrument's."""
    return f"{found['verdict']}{' (old)' * _old(found)}"


def _outcomes(found: Mapping[str, Any]) -> dict[str, bool | None]:
    """Whether each deciding number is as claimed."""
    return {name: threshold(text).holds(found["numbers"][name]) for name, text in found["thresholds"].items()}


def _decides(found: Mapping[str, Any]) -> bool:
    """Whether a verdict could follow from its numbers."""
    return found.get("decides", found["budget"]["seeds"] > 1) and found["verdict"] != Verdict.NOT_IN_REGIME


def _rejected(findings: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, str]]:
    """The deciding numbers, by study and name, that are told from their thresholds when all are tested at once."""
    ps = {
        (name, which): statistics.p_value(found["numbers"][which], threshold(text).at)
        for name, found in findings.items()
        if _decides(found)
        for which, text in found["thresholds"].items()
    }
    return statistics.holm(ps)


def _at_once(found: Mapping[str, Any], rejected: set[str]) -> str:
    """The verdict where only these deciding numbers count as told from their thresholds."""
    held, verdict = _outcomes(found), found["verdict"]
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
    tested = sum(len(found["thresholds"]) for found in findings.values() if _decides(found))
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


def _cells(*texts: str) -> str:
    """A row of a table; a bar inside a text, as in a norm, is escaped."""
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _page(study: Study, found: Mapping[str, Any], folder: Path, pictures: str, at_once: str) -> str:
    """One study: what was asked, what came out, what to do; how well its networks copy; numbers and method."""
    said, *text = inspect.cleandoc(study.__doc__ or "").split("\n", 1)
    budget, made = found["budget"], found["made"]
    sets = "; ".join(_credited(*of) for of in found["data"].items()) or "made here"
    cost = (
        f"Images: {sets}. Budget {budget['name']}: {_seeds(found)}. Training{_precision(made)} took "
        f"{_minutes(found['training'])}, shared in part with other studies, and measuring "
        f"{_minutes(found['seconds'])}, on {made['device']}{_threads(made)}; {made['date']}, "
        f"torch {made['torch']}."
    )
    captions = found.get("captions", {})
    shown = [
        *(
            f"![{name}]({pictures}/{name})\n\n*Figure {i}: {captions.get(Path(name).stem, Path(name).stem)}*"
            for i, name in enumerate(found["figures"], 1)
        ),
        *(f"Film: [{name}]({pictures}/{name})" for name in found["films"]),
    ]
    inside = found["verdict"] != Verdict.NOT_IN_REGIME
    parts = [
        f"# {said}",
        *_answer(study, found),
        *([] if at_once == found["verdict"] else [_at_once_said(at_once)]),
        *([_OLDER.format(version=made["copyfold"])] if _old(found) else []),
        *_unfair(study, found),
        _read(folder),
        f"Claim {study.claim}; {study.place}.",
        *(shown if inside else []),
        "## How well its networks copy",
        _copied(study, found),
        "## How it was measured",
        *text,
        *(_numbers(found) if inside else []),
        "\n".join("- " + note for note in found["notes"]),
        "## How to repeat it",
        f"```\n{found['command']}\n```",
        cost,
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


_OLDER = (
    "*Measured by the old instrument ({version}): its intervals are too narrow where seeds differ, controls did "
    "not count, and how well the networks copy was not measured. The verdict is that of then.*"
)


def _at_once_said(verdict: str) -> str:
    return f"*With all deciding numbers of all claims tested at once (Holm's rule): {verdict}.*"


def _answer(study: Study, found: Mapping[str, Any]) -> list[str]:
    """Three sentences: what was asked, what came out, what to do; or the verdict and what it means."""
    verdict, meaning = found["verdict"], _meaning(study, found)
    if not study.asked or not found.get("came_out"):
        return [f"**{verdict}.** {meaning}"]
    came = "" if verdict == Verdict.NOT_IN_REGIME else f" {found['came_out']}"
    return [f"**Asked:** {study.asked}", f"**Came out: {verdict}.**{came}", f"**What to do:** {meaning}"]


def _numbers(found: Mapping[str, Any]) -> list[str]:
    """The table of all numbers, those that decide first; and what they can tell apart."""
    decide = found["thresholds"]
    deciding = [_measured(f"**{name}**", found["numbers"][name], claimed) for name, claimed in decide.items()]
    others = [_measured(name, value) for name, value in found["numbers"].items() if name not in decide]
    return [
        "## Numbers",
        "Value with its 95 % interval, the value of each seed, n, and the threshold where the number decides.",
        "\n".join(["| number | value | seeds | n | claimed |", "|---|---:|---:|---:|---:|", *deciding, *others]),
        _told_apart(found),
    ]


def _seeds(found: Mapping[str, Any]) -> str:
    """How many seeds it has, in words."""
    return f"{len(found['seeds'])} seed{'s' * (len(found['seeds']) != 1)}"


def _told_apart(of: Mapping[str, Any]) -> str:
    """The power of a study: how far each deciding number has to be from its threshold to be told from it."""
    if len(of["seeds"]) < 2:
        return "One seed tells nothing apart: intervals are over images alone, or unbounded."
    said: list[str] = []
    for name in of["thresholds"]:
        found = of["numbers"][name]
        if not math.isfinite(found.high - found.low):
            said.append(f"{name}: from none")
        elif found.scale == "log" and found.low > 0:
            said.append(f"{name}: a factor of {math.sqrt(found.high / found.low):.3g}")
        else:
            said.append(f"{name}: {(found.high - found.low) / 2:.2g}")
    return (
        f"What {_seeds(of)} can tell apart: a deciding number from a threshold that is farther away than this, "
        f"half of its interval: {'; '.join(said)}."
    )


def _copied(study: Study, found: Mapping[str, Any]) -> str:
    """How well the networks copy, and what the claim presupposes of them."""
    copying: Mapping[str, Copying] = found.get("copying", {})
    if not copying:
        return "Not measured here."
    rows = [
        "| network | images | leaves | in batches of 64 | PSNR, dB | PCA of as many numbers | steps | epochs |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, of in copying.items():
        seen: Seen
        for seen, batches in BESIDE.items():
            rows.append(
                _cells(
                    name, seen, number(of.left[seen]), number(of.left[batches]),
                    f"{of.psnr[seen].value:.1f}", f"{of.pca[seen]:.3g}", f"{of.steps:,.0f}", f"{of.epochs:,.0f}",
                )
            )  # fmt: skip
    sizes = ". ".join(
        f"{name} has a code of {of.numbers:,} numbers and copies held-out images as PCA does with "
        f"{of.components:,.0f} components"
        for name, of in copying.items()
    )
    asked = "; ".join(f"{name} {regime}" for name, regime in study.regime.items())
    presupposed = f"The claim presupposes: {asked}." if asked else "The claim presupposes no quality."
    said = (
        "A network leaves the share of the images' variance about the mean training image that its copies miss: "
        f"with running statistics, and with those of batches of 64. {sizes}. {presupposed}"
    )
    return "\n\n".join(["\n".join(rows), said])


def _measured(name: str, found: Estimate, claimed: str = "") -> str:
    """A row of a page's table."""
    return _cells(name, number(found), ", ".join(f"{seed:.3g}" for seed in found.seeds), f"{found.n:,}", claimed)


def _read(folder: Path) -> str:
    """The comment written after looking at a finding, from the reading.md beside it."""
    path = folder / "reading.md"
    return f"*After measuring:* {path.read_text(encoding='utf-8').strip()}" if path.is_file() else ""


def _credited(name: str, source: str) -> str:
    """A data set and its authors, where it is the known one of that name."""
    return f"{name} ({CREDITS[name] if source == name and name in CREDITS else source})"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"


def _threads(made: Mapping[str, Any]) -> str:
    """The number of threads, where the device is a CPU."""
    return f", {made['threads']} thread{'s' * (made['threads'] > 1)}" if made["device"] == "cpu" else ""


def _precision(made: Mapping[str, Any]) -> str:
    """The precision that the networks were trained in, where that was recorded."""
    return f" in {' and '.join(made['precision'])}" if made.get("precision") else ""


def _unfair(study: Study, found: Mapping[str, Any]) -> list[str]:
    """A sentence for every control that does not clearly meet its threshold; of a finding in its regime."""
    if found["verdict"] == Verdict.NOT_IN_REGIME:
        return []
    return [
        f"**A control misses its threshold:** {name} {number(found['numbers'][name])}, not {claimed}. {said}"
        for name, (claimed, said) in study.controls.items()
        if name in found["numbers"] and claimed.holds(found["numbers"][name]) is not True
    ]


def _meaning(study: Study, found: Mapping[str, Any]) -> str:
    """What the verdict means for someone who builds autoencoders, or why there is none."""
    verdict, held = found["verdict"], _outcomes(found)
    if verdict == Verdict.NOT_IN_REGIME:
        missed = study.outside(found["copying"])
        told = "; ".join(
            f"{name} leaves {number(left)}, not {study.regime[name]}" for name, left in missed.items()
        )
        return f"The networks do not copy well enough to say anything of the claim: {told}. Train them longer."
    if verdict == Verdict.DOES_NOT_HOLD and True in held.values() and (said := study.means.get(PARTLY)):
        return said
    if not _decides(found):
        return "This budget is too small to decide."
    if said := study.means.get(OLD.get(verdict, verdict)):
        return said
    straddling, off = ([name for name in held if held[name] is what] for what in (None, False))
    if not straddling:
        return "All deciding numbers are as claimed, but a control is not: it is not shown that the claim is why."
    names = " and ".join(straddling)
    told = (
        f"intervals of {names} contain their thresholds"
        if straddling[1:]
        else f"interval of {names} contains its threshold"
    )
    if not off:
        return f"Too few seeds and images to decide: the {told}."
    return f"It does not hold: {' and '.join(off)} {'are' if len(off) > 1 else 'is'} not as claimed. The {told}."
