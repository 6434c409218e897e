"""Running a study: from its measurement to a folder with finding.json, figures and films."""

import json
import logging
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from copyfold import __version__, catalogue, pictures
from copyfold.errors import CopyfoldError, UsageError
from copyfold.files import small_json, write_text
from copyfold.studies.base import Copying, Estimate, Finding, Study, Threshold, Verdict
from copyfold.studies.finding_page import COMMENT
from copyfold.studies.kept import FOLDER, Kept
from copyfold.studies.lab import Lab
from copyfold.studies.provenance import study_digest

log = logging.getLogger("copyfold")

INSTRUMENT = 2
"""What findings are measured by. Those that do not say it are of 0.1.0: narrower intervals, and no regime.

Those of a study that was not redesigned since, see `redesigned`, say 1: their verdicts follow by the rules of now,
and nobody knows how well their networks copy.
"""
FINDING = 16_000_000  # bytes of a finding.json, above which it is not read
FIGURE = 150_000  # bytes that a figure may have
FILM = 1_000_000


def studies(extra: Iterable[type[Study]] = ()) -> dict[str, Study]:
    """Every study by its name, in the order of the claims: copyfold's own, and the classes of `extra`.

    UsageError where one is incomplete (`check`), or two have the same name.
    """
    found: dict[str, Study] = {}
    for cls in (*catalogue.classes(Study).values(), *extra):
        study = _made(cls)
        other = found.setdefault(study.name(), study)
        if type(other) is not cls:
            raise UsageError(f"{_place(other)} and {_place(study)} are both {study.name()}: rename one of them")
    return dict(sorted(found.items(), key=lambda item: _rank(item[1])))


def find(names: Iterable[str], extra: Iterable[type[Study]] = ()) -> list[Study]:
    """The studies with these names or claims, among all and `extra`; UsageError suggests the nearest name."""
    known = studies(extra)
    claims: dict[str, list[Study]] = {}
    for study in known.values():
        claims.setdefault(study.claim.lower(), []).append(study)
    found: list[Study] = []
    for name in names:
        alike = [known[name]] if name in known else claims.get(name.lower(), [])
        if not alike:
            raise UsageError(f"no study is called {name!r}: {catalogue.nearest(name, [*known, *claims])}")
        if len(alike) > 1:
            said = " and of ".join(study.name() for study in alike)
            raise UsageError(f"{name} is the claim of {said}: give the name of one")
        found += alike
    return list({study.name(): study for study in found}.values())


def check(study: Study) -> None:
    """Refuse a study without a claim or thresholds; UsageError says what to add."""
    for name in ("claim", "place", "means"):
        if not hasattr(study, name):
            raise UsageError(f"{_place(study)} has no `{name}`: give its class one, as {name}: ClassVar = ...")
    if type(study).thresholds is Study.thresholds and not is_dataclass(study):
        raise UsageError(
            f"{_place(study)} is no dataclass: put @dataclass(frozen=True) above it, as its fields decide"
        )
    for name, threshold in study.thresholds().items():
        if not isinstance(threshold, Threshold):
            raise UsageError(
                f"{_place(study)}: {name}={threshold!r} is invalid: expected a threshold, as Above(0.5)"
            )


def run(study: Study, lab: Lab, out: Path, command: str, seeds: int | None = None, first: int = 0) -> Verdict:
    """Measure, decide the verdict, and write OUT/BUDGET/NAME: finding.json last, after its pictures.

    Of so many seeds from `first` on; unless given, of as many as the budget has, or the study asks for where the
    budget decides. What the study keeps of a seed (`Lab.by_seed`) is not measured again.
    """
    check(study)
    folder = out / lab.budget.name / study.name()
    count = seeds or (max(study.seeds, lab.budget.seeds) if lab.budget.decides else lab.budget.seeds)
    lab.begin(range(first, first + count), kept(study, lab, folder))
    start = time.monotonic()
    finding = study.measure(lab)
    if study.asked and not finding.came_out:
        raise CopyfoldError(f"{study.name()} does not say what came out: give its Finding a came_out")
    measured = [seed for seed in lab.seeds if seed not in lab.left_out]
    decides = lab.budget.decides and len(measured) > 1
    verdict = study.verdict(finding.numbers, decides, finding.copying)
    former = _pictures(folder)
    (folder / "finding.json").unlink(missing_ok=True)  # not beside new pictures, were this stopped
    figures = [_figure(figure, folder / f"{name}.png") for name, figure in finding.figures.items()]
    films = [_film(finding, name, folder) for name in finding.films]
    record = {
        "instrument": INSTRUMENT if redesigned(study) else 1,
        "claim": study.claim,
        "verdict": verdict,
        "came_out": finding.came_out,
        "thresholds": {name: str(threshold) for name, threshold in study.thresholds().items()},
        "copying": {name: _plain_copying(found) for name, found in finding.copying.items()},
        "budget": asdict(lab.budget),
        "decides": decides,
        "seeds": measured,
        "command": command,
        "numbers": {name: _plain(number) for name, number in finding.numbers.items()},
        "figures": figures,
        "captions": finding.captions,
        "films": films,
        "notes": [*lab.notes, *finding.notes],
        "data": {name: _named(lab.data.get(name, "digits")) for name in study.data},
        "training": round(lab.spent, 1),
        "seconds": round(time.monotonic() - start - lab.waited, 1),
        "made": {
            "copyfold": __version__,
            "code": study_digest(type(study)),
            "torch": torch.__version__,
            "device": str(lab.device),
            "threads": torch.get_num_threads(),
            "precision": sorted(lab.precisions),
            "date": date.today().isoformat(),
        },
    }
    write_text(folder / "finding.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
    for name in former.difference(figures, films):
        (folder / name).unlink(missing_ok=True)
    if (folder / COMMENT).is_file():
        log.warning("%s is a comment on an earlier finding: read it again beside this one", folder / COMMENT)
    return verdict


def measured(
    study: Study,
    lab: Lab,
    out: Path,
    command: str,
    seeds: int | None = None,
    first: int = 0,
    again: bool = False,
) -> Verdict | str:
    """The verdict of a finding that is there, or `run`, where it lacks some of the seeds asked for, or `again`.

    One by an older instrument than the study's is none: so studies that are measured anew, one after the other, go
    on where they were stopped, and the finding stays until there is another. UsageError where seeds would be added
    to a finding of other code or settings. No two processes measure one study at once: see `Lab.alone`.
    """
    folder = out / lab.budget.name / study.name()
    with lab.alone(lab.shelf(f"study-{study.name()}-{lab.budget.name}")):
        if again:
            forget(folder)
        if (folder / "finding.json").is_file():
            found = read(folder)
            if not outdated(study, found):
                if seeds is None or {*range(first, first + seeds)} <= {*found["seeds"]}:
                    return found["verdict"]
                check_more(study, lab, folder)
            else:
                log.info("%s was measured by an older instrument: it is measured again", folder)
        return run(study, lab, out, command, seeds, first)


def outdated(study: Study, found: Mapping[str, Any]) -> bool:
    """Whether a finding is of an older instrument than its study, which has been redesigned since."""
    return redesigned(study) and found.get("instrument", 0) < INSTRUMENT


def redesigned(study: Study) -> bool:
    """Whether a study is one of this instrument: it says what it asks, or how well its networks have to copy."""
    return bool(study.asked or study.regime)


def kept(study: Study, lab: Lab, folder: Path) -> Kept:
    """Where the seeds of a study are kept, and all that their numbers follow from."""
    budget = {name: value for name, value in asdict(lab.budget).items() if name != "seeds"}
    data = {name: _named(lab.data.get(name, "digits")) for name in study.data}
    return Kept(folder / FOLDER, {"code": study_digest(type(study)), "budget": budget, "data": data})


def check_more(study: Study, lab: Lab, folder: Path) -> None:
    """Refuse to add seeds to a finding of other code or settings; UsageError says what differs."""
    found, now = read(folder), kept(study, lab, folder)
    advice = "measure all again with --again"
    if not now.folder.is_dir():
        raise UsageError(f"{folder} keeps no numbers of its seeds, so that none can be added: {advice}")
    then = {"code": found["made"].get("code"), "data": found["data"]}
    then["budget"] = {name: value for name, value in found["budget"].items() if name != "seeds"}
    differ = [
        f"{name} of the study" if name == "code" else name for name in now.made if then[name] != now.made[name]
    ]
    if differ:
        raise UsageError(f"{folder} was measured with another {' and '.join(differ)}: {advice}")


def forget(folder: Path) -> None:
    """Delete a finding and its seeds, so that the study is measured again, from scratch."""
    (folder / "finding.json").unlink(missing_ok=True)
    Kept(folder / FOLDER, {}).clear()


def read(folder: Path) -> dict[str, Any]:
    """What finding.json in a folder says; CopyfoldError where it cannot be read."""
    path = folder / "finding.json"
    try:
        found = small_json(path, FINDING)
        found["numbers"] = {name: _estimate(number) for name, number in found["numbers"].items()}
        found["copying"] = {name: _copying(of) for name, of in found.get("copying", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CopyfoldError(f"{path} is no finding ({error}): delete it and run the study again") from None
    return found


def _made(cls: type[Study]) -> Study:
    try:
        study = cls()
    except TypeError as error:
        raise UsageError(
            f"{cls.__module__}.{cls.__qualname__} cannot be made without arguments: {error}"
        ) from None
    check(study)
    return study


def _place(study: Study) -> str:
    return f"{type(study).__module__}.{type(study).__qualname__}"


def _rank(study: Study) -> tuple[int, str]:
    """T1 to T32 in order, T12-angles after T12, then our own by name."""
    numbered = re.match(r"T(\d+)", study.claim)
    return (int(numbered[1]) if numbered else 99, study.claim)


def _pictures(folder: Path) -> set[str]:
    """The names of the pictures and films of the finding in a folder; none where there is none to be read."""
    try:
        found = read(folder)
    except CopyfoldError:
        return set()
    return {Path(name).name for name in (*found.get("figures", ()), *found.get("films", ()))}


def _figure(figure: Any, path: Path) -> str:
    """Write a figure, or images as a grid, as a PNG of few colours."""
    picture = pictures.grid(figure) if isinstance(figure, Tensor) else figure
    pictures.save_picture(picture, path, most=FIGURE)
    return path.name


def _film(finding: Finding, name: str, folder: Path) -> str:
    """Write a film as .mp4."""
    path = folder / f"{name}.mp4"
    pictures.film(finding.films[name], path, fps=finding.fps)
    if path.stat().st_size > FILM:
        log.warning("%s has %.1f MB, more than the megabyte a film should have", path, path.stat().st_size / 1e6)
    return path.name


def _named(source: str) -> str:
    """A source without the path of its folder, which differs between machines."""
    return source if source.startswith("hf://") else Path(source).name


def _plain(number: Estimate) -> dict[str, Any]:
    """JSON has no infinity and no NaN: both become null."""
    ends = {name: _number(getattr(number, name)) for name in ("value", "low", "high")}
    scale = {} if number.scale == "linear" else {"scale": number.scale}
    return ends | {"n": number.n, "seeds": [_number(seed) for seed in number.seeds]} | scale


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _estimate(number: dict[str, Any]) -> Estimate:
    value, low, high = (
        end if number[k] is None else number[k]
        for k, end in (("value", math.nan), ("low", -math.inf), ("high", math.inf))
    )
    seeds = tuple(math.nan if s is None else s for s in number["seeds"])
    return Estimate(value, low, high, number["n"], seeds, number.get("scale", "linear"))


def _plain_copying(found: Copying) -> dict[str, Any]:
    return {
        name: {seen: _plain(e) for seen, e in value.items()} if name in ("left", "psnr") else value
        for name, value in vars(found).items()
    }


def _copying(found: dict[str, Any]) -> Copying:
    left, psnr = ({seen: _estimate(e) for seen, e in found.pop(name).items()} for name in ("left", "psnr"))
    return Copying(left, psnr, **found)
