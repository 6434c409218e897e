"""The images that a run is looked at with: its own or others, read as its model takes them."""

from collections.abc import Callable
from typing import Any, TypeVar

from jsonargparse import ArgumentParser, Namespace

from copyfold import catalogue
from copyfold.cli import _parsing, _screen
from copyfold.data import Photos, Sample, Stream
from copyfold.data.sampling import REFERENCE
from copyfold.errors import UsageError
from copyfold.runs import Run

T = TypeVar("T")

READING = ("fit", "limit", "layout", "skip_bad")
STREAM = ("size", "fit", "flip", "channels", "buffer", "held_out", "seed", "skip_bad")


def flags(parser: ArgumentParser, what: str = "DATA") -> None:
    """Add how photos are read that are given; the run's own images are read as they were for training."""
    _parsing.takes(parser, Photos, *READING, title=f"how {what} are read")


def chosen(run: Run, source: str | None, options: Namespace) -> Photos | Stream:
    """The photos of `source`, or the run's own where none is given."""
    return own(run) if source is None else given(run, source, options)


def own(run: Run) -> Photos | Stream:
    """The photos that the run was trained on, divided as they were then."""
    recipe = run.recipe
    if recipe.get("stream"):
        taken = {name: recipe[name] for name in STREAM if name in recipe}
        with _screen.progress() as progress:
            return Stream(recipe["data"], **taken, progress=progress)
    return _read(run, recipe.get("data"), {name: recipe.get(name) for name in (*READING, "seed")})


def given(run: Run, source: str, options: Namespace) -> Photos:
    """Other photos, in the size and the channels of the run's model: all of them, for nothing trains on them."""
    return _read(run, source, {name: options[name] for name in READING} | {"whole": True})


def reference(photos: Photos | Stream) -> Sample:
    """Training images, or other ones where they are given: to fit on, and to look for neighbours among."""
    return photos.sample("train", REFERENCE)


def equipped(thing: T, **found: Callable[[], Any]) -> T:
    """The same probe or sampler, with its arguments of these names filled where they are None."""
    names = [p.name for p in catalogue.parameters(type(thing)) if p.name in found]
    missing = {name: found[name]() for name in names if getattr(thing, name) is None}
    return catalogue.changed(thing, **missing) if missing else thing


def _read(run: Run, source: str | None, taken: dict[str, Any]) -> Photos:
    channels, height, width = run.model.shape
    if height != width:
        raise UsageError(f"the model is for images of {height}x{width}, and photos are read as squares")
    taken = {name: value for name, value in taken.items() if value is not None}
    with _screen.progress() as progress:
        return Photos(source, height, channels=channels, **taken, progress=progress)
