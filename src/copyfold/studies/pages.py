"""The pages of the findings: a table of all claims and a page for each, from the findings on disk."""

import inspect
import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from copyfold.files import write_text
from copyfold.studies import runner
from copyfold.studies.base import Estimate, Study

HEAD = """# The claims and their verdicts

Every claim of the texts is a study that anyone can repeat: `copyfold study NAME --budget {budget} --data ROOT`.
The essay is "Autoencoders: Learning by Copying"; the notes are on section 20.3 of Murphy's *Probabilistic
Machine Learning: An Introduction* (2022). Thresholds were fixed before the first measurement at this budget,
and the verdict follows from them alone. HOLDS: the whole 95 % interval of every deciding number is on the
claimed side of its threshold. FAILS: the whole interval of every one is on the other side. MIXED: some are on
the one side, some on the other. UNDECIDED: an interval contains its threshold.

Not everything was fixed blind. The threshold of T12's first block was made absolute after a trial on digits,
where a ratio was 0 / 0; the settings of T6 were chosen after a trial with untrained networks; and parts of T9,
T10, T11 and the tails follow from algebra. What a verdict means was written before measuring too, except for
T31's FAILS: its wording, and the control of ten times the training, followed its first measurement.

Controls do not decide. Where a control misses its threshold, the page says so; some of these thresholds were
added after a measurement had shown the need. A page first says what its verdict means, as written beforehand,
and then comments on it after a look at all numbers and pictures. HOLDS and FAILS are about the sentence in the
second column: "tails" holds where the essay is wrong, and T10 is a law that the essay does not give.

There are three kinds of intervals, and n tells which. For numbers per image (n images): the two-way bootstrap over
seeds and images. With three seeds its ends can hardly leave the range of the seeds, so that it is narrow where
seeds differ greatly. For one number per seed (n = 3): Student's t interval, which is wide and may extend beyond
possible values. For counts: Wilson's interval.

{verdicts}

| claim | statement | where | verdict | deciding numbers | figures |
|---|---|---|---|---|---|
"""


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
    rows, made, came, open_ = [], [], {}, []
    verdicts: Counter[str] = Counter()
    for name, study in runner.studies().items():
        folder = results / budget / name
        came[study.claim] = f"{study.claim} is not measured yet."
        if not (folder / "finding.json").is_file():
            rows.append(_cells(f"{study.claim}, {name}", study.said(), study.place, "not measured yet", "", ""))
            verdicts["not measured yet"] += 1
            continue
        found = runner.read(folder)
        page = out / "findings" / f"{name}.md"
        write_text(page, _page(study, found, folder, os.path.relpath(folder, page.parent)))
        made.append(page)
        rows.append(_row(study, found, name, os.path.relpath(folder, out)))
        said = f"{found['verdict']}. {_meaning(study, found)} {_read(folder)}".strip()
        came[study.claim] = f"[{study.claim}](findings/{name}.md): {said}"
        verdicts[found["verdict"]] += 1
        if found["verdict"] == "UNDECIDED":
            open_.append(f"- [{study.claim}](findings/{name}.md): {_meaning(study, found)}")
    told = [
        f"- {asked} " + " ".join(came.get(claim, f"No study here measures {claim}.") for claim in claims)
        for asked, claims in CONTRADICTIONS.items()
    ]
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    parts = [
        HEAD.format(budget=budget, verdicts=f"Of {verdicts.total()} claims: {counted}.") + "\n".join(rows),
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


def _row(study: Study, found: Mapping[str, Any], name: str, folder: str) -> str:
    deciding = "; ".join(
        f"{which} {number(found['numbers'][which])}, claimed {threshold}"
        for which, threshold in found["thresholds"].items()
    )
    figures = ", ".join(f"[{Path(figure).stem}]({folder}/{figure})" for figure in found["figures"])
    claim = f"{study.claim}, [{name}](findings/{name}.md)"
    return _cells(claim, study.said(), study.place, found["verdict"], deciding, figures)


def _cells(*texts: str) -> str:
    """A row of a table; a bar inside a text, as in a norm, is escaped."""
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _page(study: Study, found: Mapping[str, Any], folder: Path, pictures: str) -> str:
    """One study: the claim, its verdict, the figures, the method, how to repeat it."""
    said, *text = inspect.cleandoc(study.__doc__ or "").split("\n", 1)
    decide = found["thresholds"]
    deciding = [_measured(f"**{name}**", found["numbers"][name], claimed) for name, claimed in decide.items()]
    others = [_measured(name, value) for name, value in found["numbers"].items() if name not in decide]
    budget, made = found["budget"], found["made"]
    sets = "; ".join(_credited(*of) for of in found["data"].items()) or "made here"
    cost = (
        f"Images: {sets}. Budget {budget['name']}: {budget['seeds']} seeds. Training{_precision(made)} took "
        f"{_minutes(found['training'])}, shared in part with other studies, and measuring "
        f"{_minutes(found['seconds'])}, on {made['device']}{_threads(made)}; {made['date']}, "
        f"torch {made['torch']}."
    )
    parts = [
        f"# {said}",
        f"**{found['verdict']}.** {_meaning(study, found)}",
        *_unfair(study, found),
        _read(folder),
        f"Claim {study.claim}; {study.place}.",
        *(
            f"![{name}]({pictures}/{name})\n\n*Figure {i}: {Path(name).stem}*"
            for i, name in enumerate(found["figures"], 1)
        ),
        *(f"Film: [{name}]({pictures}/{name})" for name in found["films"]),
        "## How it was measured",
        *text,
        "## Numbers",
        "Value with its 95 % interval, the value of each seed, n, and the threshold where the number decides.",
        "\n".join(["| number | value | seeds | n | claimed |", "|---|---:|---:|---:|---:|", *deciding, *others]),
        *("- " + note for note in found["notes"]),
        "## How to repeat it",
        f"```\n{found['command']}\n```",
        cost,
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


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
    """A sentence for every control that does not clearly meet its threshold."""
    return [
        f"**A control misses its threshold:** {name} {number(found['numbers'][name])}, not {threshold}. {said}"
        for name, (threshold, said) in study.controls.items()
        if threshold.holds(found["numbers"][name]) is not True
    ]


def _meaning(study: Study, found: Mapping[str, Any]) -> str:
    """What the verdict means for someone who builds autoencoders, or why it is undecided."""
    if said := study.means.get(found["verdict"]):
        return said
    thresholds = study.thresholds()
    held = {name: thresholds[name].holds(found["numbers"][name]) for name in found["thresholds"]}
    straddling, off = ([name for name in held if held[name] is what] for what in (None, False))
    if found["budget"]["seeds"] == 1 or not straddling:
        return "This budget is too small to decide."
    names = " and ".join(straddling)
    told = (
        f"intervals of {names} contain their thresholds"
        if straddling[1:]
        else f"interval of {names} contains its threshold"
    )
    if not off:
        return f"Too few seeds and images to decide: the {told}."
    return f"It does not hold: {' and '.join(off)} {'are' if len(off) > 1 else 'is'} not as claimed. The {told}."
