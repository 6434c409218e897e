"""The diagnosis of an autoencoder: all sections on one page, which begins with a summary in words."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from copyfold import catalogue, screen
from copyfold.data import Photos, Stream
from copyfold.data.beside import as_photos, check_shape
from copyfold.data.reading.opening import Given
from copyfold.errors import UsageError, option
from copyfold.files import check_file, write_texts
from copyfold.models.base import Autoencoder, class_name
from copyfold.models.checks import check_model
from copyfold.models.storing import WEIGHTS
from copyfold.report.base import Content, Scale, Section
from copyfold.report.context import HELD, Context
from copyfold.report.page import page
from copyfold.runs import Run
from copyfold.types import Progress

__all__ = ["Report", "diagnose"]

COMPARED = 8  # images to fit baselines on, at least
TOO_FEW = "a diagnosis needs at least"  # what the error of too few images begins with
FEW = 8  # images measured, below which their numbers say little of others


@dataclass(frozen=True, repr=False)
class Report:
    """What a diagnosis found: numbers by name, sentences by question, and the page that shows it all."""

    numbers: Mapping[str, float]
    sentences: Mapping[str, str]
    html: str
    facts: Mapping[str, Any]
    thresholds: Mapping[str, tuple[Scale, ...]]
    """What the sentences follow from, by question."""

    def __repr__(self) -> str:
        return f"Report({self.facts.get('model')}: {len(self.numbers)} numbers, {len(self.sentences)} sentences)"

    def _repr_html_(self) -> str:
        """The page, in a frame of a notebook."""
        return f'<iframe srcdoc="{escape(self.html)}" style="width: 100%; height: 40em; border: 0"></iframe>'

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write the page to `path`, an .html file, and its numbers beside it as .json; return both paths."""
        path = Path(path)
        check_page(path)
        beside = path.with_suffix(".json")
        content = {
            "facts": dict(self.facts),
            "sentences": dict(self.sentences),
            "numbers": dict(self.numbers),
            "thresholds": {
                title: [asdict(scale) for scale in scales] for title, scales in self.thresholds.items()
            },
        }
        write_texts({path: self.html, beside: json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"})
        return path, beside


def check_page(path: Path) -> None:
    """UsageError where a report cannot be saved as this file."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"cannot save {path}: a report is a page, give it the suffix .html")
    check_file(path)


def diagnose(
    model: Autoencoder,
    photos: Photos | Stream | Given,
    run: Run | None = None,
    seed: int = 0,
    progress: Progress | bool | None = None,
    sections: Sequence[Section] = (),
) -> Report:
    """Look at what an autoencoder learned, with most probes and three samplers.

    Args:
        model: Any Autoencoder: one of ours or an adopted one. Nothing in it is changed.
        photos: Images of the model's shape; any other source of images that `Photos` takes is read at the model's
            own height, width and channels, and divided as by fit(seed=seed). Numbers are over up to 128 held-out
            ones; the classical baselines are fitted on up to 1,024 training ones, both spread evenly over the
            photos. With fewer than 4 held-out ones what the model makes is not compared with photos by numbers. Of
            `whole` photos, which are not those that it was trained on, a quarter of 1,152 at most is measured
            beside the others.
        run: The run that the model comes from, for its loss curves and its recipe.
        seed: Of every noise, and of which images are looked at.
        progress: As in `fit`, after each section.
        sections: Sections of your own, beside copyfold's; see `Section`.

    It is computed where the model is. Batch norm uses its running averages wherever an image's result must not
    depend on others; what the model makes from noise is made with the model's own `statistics`. UsageError where
    the photos do not fit the model, are too few, or a weight is NaN or infinite; and where a section has no title,
    or the title or a number of another one.
    """
    check_model(model)
    photos = as_photos(photos, model, seed=seed, progress=progress)
    _check(model, photos)
    asked = _in_order(sections)
    started = time.monotonic()
    context = Context.of(model, photos, run, seed)
    with screen.told(progress) as told:
        parts, numbers = _measured(asked, context, told)
    said = {section.title: section.sentence(found.numbers) for section, found in parts if section.scales}
    known = facts(context)
    title = f"What {known['model']} learned"
    dated = f" Its weights are of {known['weights']}." if known["weights"] else ""
    line = f"{known['model']}: {known['summary']}. Photos: {known['photos']}. {known['training']}{dated}"
    html = page(title, line, parts, time.monotonic() - started)
    return Report(
        numbers, said, html, known, {section.title: section.scales for section in asked if section.scales}
    )


def _in_order(sections: Sequence[Section]) -> list[Section]:
    """Copyfold's own sections and those given, as they stand on the page; refused where one cannot stand there."""
    made = [cls.default() for cls in catalogue.classes(Section).values()]
    found = sorted([*made, *sections], key=lambda section: getattr(section, "order", 0))
    titles: set[str] = set()
    for section in found:
        if not isinstance(section, Section):
            raise UsageError(f"{section!r} is no section: give an instance of a class that derives from Section")
        if not section.title or section.title in titles:
            wrong = f"the title {section.title!r} of another one" if section.title else "no title"
            raise UsageError(f"the section {type(section).__name__} has {wrong}: give it a `title` of its own")
        titles.add(section.title)
    return found


def _measured(
    asked: Sequence[Section], context: Context, progress: Progress | None
) -> tuple[list[tuple[Section, Content]], dict[str, float]]:
    """What every section found, and the numbers of all by name."""
    parts: list[tuple[Section, Content]] = []
    numbers: dict[str, float] = {}
    for count, section in enumerate(asked, 1):
        content = _content(section, context)
        if twice := numbers.keys() & content.numbers.keys():
            raise UsageError(
                f"the section {section.title!r} has the number {min(twice)!r}, and so has another one: give it "
                "another name"
            )
        numbers |= content.numbers
        parts.append((section, content))
        if progress:
            progress("diagnosing", count, len(asked), {})
    return parts, numbers


def _content(section: Section, context: Context) -> Content:
    """What a section found, with plain numbers."""
    content = section(context)
    if not isinstance(content, Content):
        raise UsageError(f"the section {section.title!r} returned a {type(content).__name__}: expected a Content")
    return replace(content, numbers={name: float(value) for name, value in content.numbers.items()})


def facts(context: Context) -> dict[str, Any]:
    """What was trained on what."""
    model, photos, run = context.model, context.photos, context.run
    recipe = {} if run is None else run.recipe
    channels, height, width = photos.shape
    return {
        "model": class_name(model),
        "summary": str(model.summary()),
        "photos": f"{photos.recipe()['data'] or 'the digits'}, {_divided(context)}, "
        f"{channels} x {height} x {width}{'' if photos.crop is None else ' crops'}",
        "training": trained(run),
        "step": None if run is None else run.step,
        "weights": None if run is None else _written(run),
        "recipe": recipe,
    }


def trained(run: Run | None) -> str:
    """A sentence on how long a run was trained."""
    history = [] if run is None else run.history
    if not history:
        return "How it was trained is not known."
    epochs, steps = history[-1].get("epoch", 0.0), history[-1]["step"]
    return f"Trained {epochs:.0f} epoch{'s' * (round(epochs) != 1)}, {steps:.0f} steps."


def _written(run: Run) -> str | None:
    """When the weights of a run were written, by their file; None of a run on the Hub, whose was written here."""
    file = run.folder / "model" / WEIGHTS
    if run.address is not None or not file.is_file():
        return None
    return f"{datetime.fromtimestamp(file.stat().st_mtime):%Y-%m-%d, %H:%M}"


def _divided(context: Context) -> str:
    """Which of the photos are measured, and beside which others."""
    measured, reference, photos = len(context.measured), len(context.reference), context.photos
    is_are = f"image{'s are' if measured != 1 else ' is'} measured"
    few = "; so few say little of other images" if measured < FEW else ""
    if context.reference_word == "training":
        return (
            f"{len(photos)} to train on, {len(photos.held_out)} held out: {measured} held-out {is_are} "
            f"and {reference} training images are the reference{few}"
        )
    return f"{len(photos)} images: {measured} are measured and {reference} others are the reference{few}"


def _check(model: Autoencoder, photos: Photos | Stream) -> None:
    """Refuse what cannot be diagnosed, before anything is computed."""
    check_shape(model, photos)
    if isinstance(photos, Photos) and photos.whole:
        if len(photos) < HELD + COMPARED:
            raise UsageError(
                f"{TOO_FEW} {HELD} images to measure and {COMPARED} to compare with, there are "
                f"{len(photos)}: give more images"
            )
    elif len(photos) < COMPARED:
        raise UsageError(
            f"{TOO_FEW} {COMPARED} images that were trained on, to compare with, and there are "
            f"{len(photos)}: train on more images"
        )
    bad = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    if bad:
        raise UsageError(
            f"{len(bad)} weight tensors of the model are NaN or infinite, the first in {bad[0]}: nothing can be "
            f"said of it; train again, from scratch, with a smaller {option('lr')}"
        )


def _plain(value: Any) -> Any:
    """Plain data without infinities and NaN, which JSON has no word for."""
    match value:
        case dict():
            return {k: _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case float() if not abs(value) < float("inf"):
            return None
        case _:
            return value
