"""The images that a command uses with a run: the run's own or others, in the size and channels of its model."""

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

READING = ("fit", "limit", "layout", "skip_bad", "column")
STREAM = ("size", "fit", "flip", "channels", "column", "buffer", "held_out", "seed", "skip_bad")


def flags(parser: ArgumentParser, what: str = "DATA") -> None:
    """Add the options for reading other photos; the run's own images are read as for training."""
    _parsing.takes(parser, Photos, *READING, title=f"how {what} is read")


def chosen(run: Run, source: str | None, options: Namespace) -> Photos | Stream:
    """The photos of `source`, or the run's own where none is given."""
    return own(run) if source is None else given(run, source, options)


def own(run: Run) -> Photos | Stream:
    """The photos that the run was trained on, with the same training and held-out parts."""
    recipe = run.recipe
    if recipe.get("stream"):
        taken = {name: recipe[name] for name in STREAM if name in recipe}
        with _screen.progress() as progress:
            return Stream(recipe["data"], **taken, progress=progress)
    return _read(run, recipe.get("data"), {name: recipe.get(name) for name in (*READING, "seed")})


def given(run: Run, source: str, options: Namespace) -> Photos:
    """Other photos, in the size and channels of the run's model; none is held out, since none is trained on."""
    return _read(run, source, {name: options[name] for name in READING} | {"whole": True})


def reference(photos: Photos | Stream) -> Sample:
    """Training images, or other photos where given: to fit on, and to search for nearest neighbours."""
    return photos.sample("train", REFERENCE)


def equipped(thing: T, **found: Callable[[], Any]) -> T:
    """The same probe or sampler, with those of these arguments filled in that are None."""
    names = [p.name for p in catalogue.parameters(type(thing)) if p.name in found]
    missing = {name: found[name]() for name in names if getattr(thing, name) is None}
    return catalogue.changed(thing, **missing) if missing else thing


def _read(run: Run, source: str | None, taken: dict[str, Any]) -> Photos:
    channels, height, width = run.model.shape
    if height != width:
        raise UsageError(
            f"the model takes images of {height}x{width}, but photos are read as squares: use it from Python"
        )
    taken = {name: value for name, value in taken.items() if value is not None}
    with _screen.progress() as progress:
        return Photos(source, height, channels=channels, **taken, progress=progress)
