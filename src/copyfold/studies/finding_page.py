"""The page of one finding: what was asked, what came out and what to do; how it was measured; and its words."""

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from copyfold.studies.base import PARTLY, Copying, Estimate, Seen, Study, Verdict, threshold

COMMENT = "reading.md"
"""The file beside a finding with what a person says of it."""
OLD = {"FAILS": str(Verdict.DOES_NOT_HOLD), "MIXED": PARTLY}
"""What the old instrument's verdicts are called now."""
BESIDE: dict[Seen, Seen] = {"held out": "held out, batches of 64", "training": "training, batches of 64"}
CREDITS = {
    "landscapes": "the natural classes of the 15-scene collection of Oliva and Torralba, Fei-Fei and Perona, and "
    "Lazebnik et al., grey",
    "cifar10": "CIFAR-10, by Krizhevsky",
    "fashion_mnist": "Fashion-MNIST, by Zalando Research",
}


def page(study: Study, found: Mapping[str, Any], folder: Path, pictures: str, at_once: str) -> str:
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
        *([_NOT_REDESIGNED] if found.get("instrument") == 1 else []),
        *_unfair(study, found),
        comment(folder),
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


def number(found: Estimate) -> str:
    """An estimate as text: value [low, high]; an unbounded interval, as of one seed, is left out."""
    if math.isnan(found.value):
        return "no value"
    ends = f"[{found.low:.3g}, {found.high:.3g}]" if math.isfinite(found.high - found.low) else "(no interval)"
    return f"{found.value:.3g} {ends}"


def cells(*texts: str) -> str:
    """A row of a table; a bar inside a text, as in a norm, is escaped."""
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def marked(found: Mapping[str, Any]) -> str:
    """The verdict, and whether it is the old instrument's."""
    return f"{found['verdict']}{' (old)' * _old(found)}"


def outcomes(found: Mapping[str, Any]) -> dict[str, bool | None]:
    """Whether each deciding number is as claimed."""
    return {name: threshold(text).holds(found["numbers"][name]) for name, text in found["thresholds"].items()}


def decides(found: Mapping[str, Any]) -> bool:
    """Whether a verdict could follow from its numbers."""
    return found.get("decides", found["budget"]["seeds"] > 1) and found["verdict"] != Verdict.NOT_IN_REGIME


def meaning(study: Study, found: Mapping[str, Any]) -> str:
    """What the verdict means for someone who builds autoencoders, or why there is none."""
    verdict, held = found["verdict"], outcomes(found)
    if verdict == Verdict.NOT_IN_REGIME:
        missed = study.outside(found["copying"])
        told = "; ".join(
            f"{name} leaves {number(left)}, not {study.regime[name]}" for name, left in missed.items()
        )
        said = study.means.get(Verdict.NOT_IN_REGIME, "Train them longer.")
        return f"The networks do not copy well enough to say anything of the claim: {told}. {said}"
    straddling, off = ([name for name in held if held[name] is what] for what in (None, False))
    names = " and ".join(straddling)
    told = (
        f"intervals of {names} contain their thresholds"
        if straddling[1:]
        else f"interval of {names} contains its threshold"
    )
    refuted = verdict == Verdict.DOES_NOT_HOLD
    partly = study.means.get(PARTLY) if refuted and True in held.values() else None
    if not partly and not decides(found):
        return "This budget is too small to decide."
    if verdict == Verdict.UNDECIDED and not straddling:
        return "All deciding numbers are as claimed, but a control is not: it is not shown that the claim is why."
    if said := partly or study.means.get(OLD.get(verdict, verdict)):
        return (
            f"{said} This follows from {' and '.join(off)} alone: the {told}." if refuted and straddling else said
        )
    if not off:
        return f"Too few seeds and images to decide: the {told}."
    return f"It does not hold: {' and '.join(off)} {'are' if len(off) > 1 else 'is'} not as claimed. The {told}."


def comment(folder: Path) -> str:
    """The comment written after looking at a finding, from the reading.md beside it."""
    path = folder / COMMENT
    return f"*After measuring:* {path.read_text(encoding='utf-8').strip()}" if path.is_file() else ""


def _old(found: Mapping[str, Any]) -> bool:
    """Whether the instrument of 0.1.0 measured it."""
    return "instrument" not in found


_OLDER = (
    "*Measured by the old instrument ({version}): its intervals are too narrow where seeds differ, controls did "
    "not count, and how well the networks copy was not measured. The verdict is that of then.*"
)

_NOT_REDESIGNED = (
    "*This study is as it was in 0.1.0, by the rules of now: it asks no quality of its networks, and how well "
    "they copy was not measured.*"
)


def _at_once_said(verdict: str) -> str:
    return f"*With all deciding numbers of all claims tested at once (Holm's rule): {verdict}.*"


def _answer(study: Study, found: Mapping[str, Any]) -> list[str]:
    """Three sentences: what was asked, what came out, what to do; or the verdict and what it means."""
    verdict, means = found["verdict"], meaning(study, found)
    if not study.asked or not found.get("came_out"):
        return [f"**{verdict}.** {means}"]
    came = "" if verdict == Verdict.NOT_IN_REGIME else f" {found['came_out']}"
    return [f"**Asked:** {study.asked}", f"**Came out: {verdict}.**{came}", f"**What to do:** {means}"]


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
                cells(
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
    return cells(name, number(found), ", ".join(f"{seed:.3g}" for seed in found.seeds), f"{found.n:,}", claimed)


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
    sentences: list[str] = []
    for name, (claimed, said) in study.controls.items():
        control = found["numbers"].get(name)
        if control is not None and math.isnan(control.value):
            sentences.append(f"**A control has no value:** {name}: in a network there was too little to measure.")
        elif control is not None and claimed.holds(control) is not True:
            sentences.append(
                f"**A control misses its threshold:** {name} {number(control)}, not {claimed}. {said}"
            )
    return sentences
