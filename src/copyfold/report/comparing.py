"""Runs beside each other: the settings that differ, what came of them, and how they got there."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from copyfold import catalogue, pictures, runs
from copyfold.catalogue import Recorded
from copyfold.errors import UsageError
from copyfold.files import readable, real, small_text, write_texts
from copyfold.models.storing import load
from copyfold.report.page import encoded, rendered

__all__ = ["compare"]

Cells: TypeAlias = dict[str, Any]

NUMBERS = {
    "left": "left, %",
    "psnr": "PSNR, dB",
    "seconds": "training time",
    "step": "steps taken",
    "parameters": "parameters",
}
"""What came of a run, and what its column is called on the page."""

NONE = "-"
CHOOSE = ("size", "seed", "limit", "held_out")
"""Options of photos and streams that say how large images are, or choose among them."""

README = 1_000_000
"""Bytes of a model's README above which it is not read."""

EXPLAINED = (
    "Left: the squared error on held-out images at the end of training, over that of the mean training image, in "
    "per cent; 100 is a model that has learned nothing but the mean. PSNR is of the same images, the mean over "
    "them. A minus says that the run's log, or its data.json, does not have the number. Behind them are the "
    "settings in which the recipes differ."
)
CAPTION = (
    "Squared error per pixel on held-out images while training, against the seconds and the steps behind it; one "
    "point is one look, mostly at the end of an epoch."
)


@dataclass(frozen=True)
class Comparison:
    """Several runs, a row each: what `compare` returns."""

    rows: Sequence[Mapping[str, Any]]
    """A run each: "run", "left" (held-out squared error over that of the mean training image, in per cent), "psnr"
    (dB), "seconds", "step", "parameters", and the settings that differ by their dotted names. None: unknown."""
    notes: Sequence[str]
    """Sentences on what makes the numbers hard to compare."""
    figure: Any
    """The held-out error against seconds and steps, a figure of matplotlib; None where no run has looked at it."""

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.rows[0])

    @property
    def table(self) -> list[list[str]]:
        """The rows as a person reads them, below their headings."""
        shown = [[_shown(name, row[name]) for name in self.columns] for row in self.rows]
        return [[NUMBERS.get(name, name) for name in self.columns], *shown]

    @cached_property
    def html(self) -> str:
        """The page, which needs no other file."""
        heads, *cells = self.table
        return rendered(
            "comparison.html",
            title=f"{len(self.rows)} runs compared",
            notes=self.notes,
            columns=dict(zip(self.columns, heads, strict=True)),
            numbers=set(NUMBERS),
            rows=[dict(zip(self.columns, row, strict=True)) for row in cells],
            explained=EXPLAINED,
            picture="" if self.figure is None else encoded(self.figure),
            caption=CAPTION,
        )

    @property
    def csv(self) -> str:
        """The rows as comma-separated values, the numbers in full; what is not known is empty."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def _repr_html_(self) -> str:
        """The page, in a frame of a notebook."""
        return f'<iframe srcdoc="{escape(self.html)}" style="width: 100%; height: 40em; border: 0"></iframe>'

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write comparison.html and comparison.csv into a folder, and return their paths."""
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file: expected a folder for comparison.html and comparison.csv")
        page, table = folder / "comparison.html", folder / "comparison.csv"
        write_texts({page: self.html, table: self.csv})
        return page, table


def compare(chosen: Sequence[runs.Run | str | Path]) -> Comparison:
    """Put runs beside each other: a row each, and the curves of their held-out error.

    The rows have the settings in which the recipes differ, and what came of them at the end of training, from
    log.csv, data.json and model/: the images need not be there any more. `save(folder)` writes a page and a table.
    What is no run, or one that cannot be read, is left out, and `notes` say so.

    UsageError where none is a run, one is given twice, or there are fewer than two.
    """
    if isinstance(chosen, str | Path | runs.Run) or len(chosen) < 2:
        count = len(chosen) if isinstance(chosen, Sequence) and not isinstance(chosen, str) else 1
        raise UsageError(f"there is nothing to compare {count} run with: give at least 2 runs")
    opened, left_out = _opened([run.where if isinstance(run, runs.Run) else run for run in chosen])
    found = _named(opened)
    recipes = {name: {"data": "the digits", **_set(run.recipe)} for name, run in found.items()}
    options = dict.fromkeys(option for recipe in recipes.values() for option in recipe)
    settings: dict[str, Cells] = {}
    for option in options:
        settings |= _differing({name: recipe.get(option) for name, recipe in recipes.items()}, option)
    rows = [
        {"run": name, **_numbers(run), **{setting: values[name] for setting, values in settings.items()}}
        for name, run in found.items()
    ]
    return Comparison(rows, [*left_out, *_notes(list(found.values()))], _figure(found))


def _opened(folders: Sequence[str | Path]) -> tuple[list[runs.Run], list[str]]:
    """The runs in folders, and a sentence on each that has none that can be read; UsageError where none has."""
    found: list[runs.Run] = []
    refused: list[UsageError] = []
    for folder in folders:
        try:
            run = runs.open(folder)
            _ = run.recipe, run.history, run.data, run.machine
            found.append(run)
        except UsageError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return found, [f"Left out: {str(error).partition(';')[0]}." for error in refused]


def _named(found: list[runs.Run]) -> dict[str, runs.Run]:
    """Runs by the names of their folders; by their paths where two have one name."""
    places = Counter(real(run.folder) for run in found)
    if twice := [run.folder for run in found if places[real(run.folder)] > 1]:
        raise UsageError(f"{twice[0]} is given twice: give runs in different folders")
    names = Counter(real(run.results).name for run in found)
    return {
        readable(name if names[name] == 1 else run.where): run
        for name, run in ((real(run.results).name, run) for run in found)
    }


# ---------------------------------------------------------------- settings


def _set(recipe: Mapping[str, Any]) -> Cells:
    """The settings that are set; an option that an older recipe does not have is one that is not."""
    return {name: value for name, value in recipe.items() if value is not None}


def _differing(values: Mapping[str, Any], name: str) -> Iterator[tuple[str, Cells]]:
    """The settings under a name that are not the same in all runs, each with its value in every run.

    Where all chose the same class, its options: model.width. Where they chose others, the choice as a whole: each
    class with those of its options that are not at their defaults.
    """
    if not _vary(values.values()):
        return
    kinds = {str(value["class_path"]) if _of_class(value) else None for value in values.values()}
    if len(kinds) > 1 or None in kinds:
        yield name, {run: _said(value) for run, value in values.items()}
        return
    given = {run: _arguments(value) for run, value in values.items()}
    for option in dict.fromkeys(option for options in given.values() for option in options):
        yield from _differing({run: given[run].get(option) for run in given}, f"{name}.{option}")


def _said(value: Any) -> Any:
    """A setting as one reads it: classes by name, with the options that are not at their defaults."""
    if isinstance(value, list):
        return f"[{', '.join(str(_said(item)) for item in value)}]"
    if not _of_class(value):
        return value
    usual = _usual(str(value["class_path"]))
    options = {name: item for name, item in _arguments(value).items() if item != usual.get(name, ...)}
    given = ", ".join(f"{name}={_said(item)}" for name, item in options.items())
    return f"{value['class_path']}({given})" if given else value["class_path"]


def _of_class(value: Any) -> bool:
    """Whether a setting is a class with its options, as a recipe that training wrote has all of them."""
    return isinstance(value, Mapping) and "class_path" in value


def _arguments(value: Any) -> Mapping[str, Any]:
    """The options of a class in a recipe; none where a recipe that was edited by hand has none."""
    found = value.get("init_args") if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


@cache
def _usual(name: str) -> dict[str, Any]:
    """The defaults of a class's options as a recipe would have them; none of a class that is not known here."""
    for family in ("copyfold.models", "copyfold.objectives", "copyfold.training"):
        catalogue.modules(family)  # imported, their classes are known
    try:
        parameters = catalogue.parameters(catalogue.find(Recorded, name))
        return {p.name: catalogue.describe(p.default) for p in parameters if p.default is not p.empty}
    except UsageError:
        return {}


# ---------------------------------------------------------------- what came of them


def _numbers(run: runs.Run) -> Cells:
    """What a run has at the end of its training; None where it is not known."""
    history, mean_error = run.history, run.mean_error
    looks = [row for row in history if "held_out_mse" in row]
    last, look = history[-1] if history else {}, looks[-1] if looks else {}
    left = 100 * look["held_out_mse"] / mean_error if look and mean_error is not None else None
    step = last.get("step")
    return {
        "left": left,
        "psnr": look.get("held_out_psnr"),
        "seconds": last.get("seconds"),
        "step": None if step is None else round(step),
        "parameters": _parameters(run),
    }


def _parameters(run: runs.Run) -> int | None:
    """The number of a run's weights; None where it is not known.

    Where the model is of a class that is not known here it is what the model's README says: the weights' file does
    not tell parameters from buffers, and has shared ones twice.
    """
    try:
        return sum(parameter.numel() for parameter in load(run.folder).parameters())
    except UsageError:
        with suppress(OSError, ValueError):
            text = small_text(run.folder / "model" / "README.md", README)
            if said := re.search(r"^([\d,]+) parameters;", text, re.MULTILINE):
                return int(said[1].replace(",", ""))
    return None


def _images(datas: Sequence[Mapping[str, Any]]) -> str:
    """A sentence where runs, by their data.json, are not measured on the same pixels; "" where they are."""
    key = "held_out_digest" if all(data.get("held_out_digest") for data in datas) else "fingerprint"
    if not _vary(data.get(key) for data in datas):
        return ""
    how = _prepared(datas)
    if how and not _vary(data.get("selection") for data in datas) and datas[0].get("selection"):
        return (
            f"The runs hold out the same images {how}: PSNR does not compare, as other pixels are easier or "
            "harder to copy; left, which is relative to the mean image of the same pixels, compares roughly."
        )
    said = "may be of different images: nothing says that" if how else "are of different images:"
    hold = "hold out" if how else "do not hold out"
    return f"The numbers {said} the runs {hold} the same ones, so left and PSNR say little of which run is better."


def _prepared(datas: Sequence[Mapping[str, Any]]) -> str:
    """How runs differ in what they made of the images that they chose, in words; "" where nothing says it."""
    shapes = [data.get("shape") for data in datas]
    sizes = dict.fromkeys("x".join(map(str, shape[1:])) for shape in shapes if isinstance(shape, list))
    found = [data.get("options") for data in datas]
    options = [_set(given) if isinstance(given, Mapping) else {} for given in found]
    names = dict.fromkeys(name for given in options for name in given if name not in CHOOSE)
    other = [name for name in names if _vary(given.get(name) for given in options)]
    said = [f"at different sizes ({', '.join(sizes)})"] if len(sizes) > 1 else []
    return " and ".join([*said, *([f"with different options ({', '.join(other)})"] if other else [])])


def _notes(found: Sequence[runs.Run]) -> list[str]:
    """What makes the numbers of these runs hard to compare, in sentences."""
    images = _images([run.data for run in found])
    corruptions = [_arguments(run.recipe.get("objective")).get("corruption") for run in found]
    devices = sorted({str(run.machine.get("device", "unknown")) for run in found})
    notes = {
        images: bool(images),
        "The runs corrupt their images differently, and left and PSNR are of what each makes of its own "
        "corrupted images.": _vary(corruptions),
        f"The runs were trained on different devices ({', '.join(devices)}), so their times do not compare.": (
            len(devices) > 1
        ),
    }
    return [sentence for sentence, holds in notes.items() if holds]


def _vary(values: Any) -> bool:
    return len({json.dumps(value, default=str) for value in values}) > 1


def _figure(found: Mapping[str, runs.Run]) -> Any:
    """The held-out error of every run against seconds and steps."""
    panels = {
        label: {name: points for name, run in found.items() if (points := run.series("held_out_mse", column))[0]}
        for label, column in (("seconds of training", "seconds"), ("steps", "step"))
    }
    if not any(y > 0 for series in panels.values() for _, values in series.values() for y in values):
        return None
    return pictures.beside(panels, "held-out squared error per pixel", logy=True)


def _shown(name: str, value: Any) -> str:
    """A cell as a person reads it."""
    if value is None:
        return NONE
    if name == "seconds":
        return _duration(value)
    if name in ("step", "parameters"):
        return f"{value:,}"
    return f"{value:.3g}" if name in NUMBERS or isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    """Seconds in the unit that fits: 12 s, 3.5 min, 2.1 h."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"
