"""Running a study: from its measurement to a folder with finding.json, figures and films."""

import json
import logging
import math
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from copyfold import __version__, catalogue, pictures
from copyfold.errors import CopyfoldError, UsageError
from copyfold.files import write_text
from copyfold.studies.base import Estimate, Finding, Study, Threshold, Verdict
from copyfold.studies.lab import Lab

log = logging.getLogger("copyfold")

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


def run(study: Study, lab: Lab, out: Path, command: str) -> Verdict:
    """Measure, decide the verdict, and write OUT/BUDGET/NAME: finding.json last, after its pictures."""
    check(study)
    folder = out / lab.budget.name / study.name()
    lab.begin()
    start = time.monotonic()
    finding = study.measure(lab)
    verdict = study.verdict(finding.numbers, lab.budget.decides)
    (folder / "finding.json").unlink(missing_ok=True)  # not beside new pictures, were this stopped
    figures = [_figure(figure, folder / f"{name}.png") for name, figure in finding.figures.items()]
    films = [_film(finding, name, folder) for name in finding.films]
    record = {
        "claim": study.claim,
        "verdict": verdict,
        "thresholds": {name: str(threshold) for name, threshold in study.thresholds().items()},
        "budget": asdict(lab.budget),
        "seeds": list(lab.seeds),
        "command": command,
        "numbers": {name: _plain(asdict(number)) for name, number in finding.numbers.items()},
        "figures": figures,
        "films": films,
        "notes": [*lab.notes, *finding.notes],
        "data": {name: _named(lab.data.get(name, "digits")) for name in study.data},
        "training": round(lab.spent, 1),
        "seconds": round(time.monotonic() - start - lab.waited, 1),
        "made": {
            "copyfold": __version__,
            "torch": torch.__version__,
            "device": str(lab.device),
            "threads": torch.get_num_threads(),
            "precision": sorted(lab.precisions),
            "date": date.today().isoformat(),
        },
    }
    write_text(folder / "finding.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
    return verdict


def read(folder: Path) -> dict[str, Any]:
    """What finding.json in a folder says; CopyfoldError where it cannot be read."""
    path = folder / "finding.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["numbers"] = {name: _estimate(number) for name, number in found["numbers"].items()}
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


def _plain(number: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity and no NaN: both become null."""
    ends = {k: v if math.isfinite(v) else None for k, v in number.items() if k != "seeds"}
    return ends | {"seeds": [v if math.isfinite(v) else None for v in number["seeds"]]}


def _estimate(number: dict[str, Any]) -> Estimate:
    value, low, high = (
        end if number[k] is None else number[k]
        for k, end in (("value", math.nan), ("low", -math.inf), ("high", math.inf))
    )
    return Estimate(value, low, high, number["n"], tuple(math.nan if s is None else s for s in number["seeds"]))
