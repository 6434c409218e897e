"""The diagnosis: what can be asked of an autoencoder, on one page that begins with five sentences."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from copyfold.data import Photos, Stream
from copyfold.errors import UsageError
from copyfold.files import write_text
from copyfold.models.base import Autoencoder
from copyfold.report.parts import sections
from copyfold.report.parts.page import page
from copyfold.report.parts.sentences import SENTENCES, sentences
from copyfold.report.parts.subject import HELD, Section, Subject
from copyfold.runs import Run
from copyfold.types import Progress

__all__ = ["Report", "diagnose"]

COMPARED = 8  # images to fit baselines on, at least


@dataclass(frozen=True)
class Report:
    """What a diagnosis found: numbers by name, five sentences by question, and the page that shows it all."""

    numbers: Mapping[str, float]
    sentences: Mapping[str, str]
    html: str
    facts: Mapping[str, Any]

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write the page to `path`, an .html file, and its numbers beside it as .json; return both paths."""
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"cannot save {path}: a report is a page, give it the suffix .html")
        beside = path.with_suffix(".json")
        content = {
            "facts": dict(self.facts),
            "sentences": dict(self.sentences),
            "numbers": dict(self.numbers),
            "thresholds": {topic: [asdict(scale) for scale in scales] for topic, scales in SENTENCES.items()},
        }
        write_text(path, self.html)
        write_text(beside, json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")
        return path, beside


def diagnose(
    model: Autoencoder,
    photos: Photos | Stream,
    run: Run | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Look at what an autoencoder learned, with every probe and sampler.

    Args:
        model: Any Autoencoder: one of ours or an adopted one. Nothing in it is changed.
        photos: Images of the model's shape. Numbers are over up to 128 held-out ones; the classical baselines
            are fitted on up to 1,024 training ones, both spread evenly over the photos. Of `whole` photos, which
            are not those that it was trained on, a quarter of 1,152 at most is measured beside the others.
        run: The run that the model comes from, for its loss curves and its recipe.
        seed: Of every noise, and of which images are looked at.
        progress: Called after each part.

    It is computed where the model is. Batch norm uses its running averages wherever an image's result must not
    depend on others; what the model makes from noise is made with the model's own `statistics`. UsageError where
    the photos do not fit the model, are too few, or a weight is not a number.
    """
    _check(model, photos)
    started = time.monotonic()
    subject = Subject.of(model, photos, run, seed)
    made: list[Section] = []
    for number, part in enumerate(sections.PARTS, 1):
        section = part(subject)
        made.append(section)
        if progress:
            progress("diagnosing", number, len(sections.PARTS))
    numbers = {name: value for section in made for name, value in section.numbers.items()}
    said, known = sentences(numbers), facts(subject)
    title = f"What {known['model']} learned"
    line = f"{known['model']}: {known['summary']}. Photos: {known['photos']}. {known['training']}"
    html = page(title, line, said, made, numbers, time.monotonic() - started)
    return Report(numbers, said, html, known)


def facts(subject: Subject) -> dict[str, Any]:
    """What was trained on what."""
    model, photos, run = subject.model, subject.photos, subject.run
    recipe = {} if run is None else run.recipe
    last = run.history[-1] if run is not None and run.history else {}
    trained = (
        f"Trained {last['epoch']:.0f} epochs, {last['step']:.0f} steps."
        if last
        else "How it was trained is not known."
    )
    channels, height, width = photos.shape
    return {
        "model": model.name if hasattr(model, "name") else type(model).__name__,
        "summary": str(model.summary()),
        "photos": f"{photos.recipe()['data'] or 'the digits'}, {_divided(subject)}, "
        f"{channels} x {height} x {width}",
        "training": trained,
        "recipe": recipe,
    }


def _divided(subject: Subject) -> str:
    """Which of the photos are measured, and beside which others."""
    measured, known, photos = len(subject.measured), len(subject.known), subject.photos
    if subject.training == "training":
        return (
            f"{len(photos)} to train on, {len(photos.held_out)} held out: {measured} held-out images are measured "
            f"and {known} training images are the reference"
        )
    return f"{len(photos)} images: {measured} are measured and {known} others are the reference"


def _check(model: Autoencoder, photos: Photos | Stream) -> None:
    """Refuse what cannot be diagnosed, before anything is computed."""
    if photos.shape != model.shape:
        raise UsageError(
            f"the model is for images of {model.shape}, the photos are {photos.shape}: make them with "
            f"Photos(..., size={model.shape[1]})"
        )
    if isinstance(photos, Photos) and photos.whole:
        if len(photos) < HELD + COMPARED:
            raise UsageError(
                f"a diagnosis needs at least {HELD} images to measure and {COMPARED} to compare with, there are "
                f"{len(photos)}: give more images"
            )
    elif len(photos.held_out) < HELD or len(photos) < COMPARED:
        raise UsageError(
            f"a diagnosis needs at least {COMPARED} images to compare with and {HELD} held out, there are "
            f"{len(photos)} and {len(photos.held_out)}: give more images"
        )
    bad = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    if bad:
        raise UsageError(
            f"{len(bad)} weights of the model are not numbers, the first in {bad[0]}: nothing can be said of "
            "it; train it anew with a smaller --lr"
        )


def _plain(value: Any) -> Any:
    """Plain data without infinities, which JSON has no word for."""
    match value:
        case dict():
            return {k: _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case float() if not abs(value) < float("inf"):
            return None
        case _:
            return value
