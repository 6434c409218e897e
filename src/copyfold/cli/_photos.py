"""The images that a command uses with a run: the run's own or others, in the size and channels of its model."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeVar

from jsonargparse import ArgumentParser, Namespace

from copyfold import catalogue
from copyfold.cli import _parsing, _screen
from copyfold.data import Photos, Sample, Stream
from copyfold.data.reading.remembered import is_remembered
from copyfold.data.sampling import REFERENCE
from copyfold.errors import UsageError
from copyfold.files import absolute
from copyfold.measures import filled
from copyfold.runs import Run

T = TypeVar("T")

READING = ("fit", "limit", "layout", "skip_bad", "range", "column")
OWN = (*READING, "bits", "masks", "seed")
STREAM = (
    *("size", "crop", "fit", "flip", "turn", "channels", "range", "bits", "column"),
    *("buffer", "held_out", "seed", "skip_bad"),
)
MASKS = "Masks beside the images: a .npy or .npz file, or a folder of masks of their names; 0 is a missing pixel."


def flags(parser: ArgumentParser, what: str = "DATA") -> None:
    """Add the options for reading other photos; the run's own images are read as for training."""
    _parsing.takes(parser, Photos, *READING, title=f"how {what} is read").add_argument(
        "--masks", type=str | None, help=MASKS
    )


def chosen(run: Run, source: str | None, options: Namespace, again: _parsing.Again) -> Photos | Stream:
    """The photos of `source`, or the run's own where none is given."""
    if is_own(run, source, options):
        found = own(run, again, source is not None, options.get("masks"))
    else:
        assert source is not None
        found = given(run, source, options)
    tell_missing(found)
    return found


def tell_missing(photos: Photos | Stream) -> None:
    """Say how pictures show pixels that are missing, where there may be any."""
    if photos.missing:
        _screen.log.info("some pixels of the images are missing: they are grey in pictures")


def is_own(run: Run, source: str | None, options: Namespace) -> bool:
    """Whether the photos asked for are the run's own, with the same parts held out.

    None is given; or the run was trained elsewhere, and those that its recipe names are given to have them opened.
    """
    if source is None or may_open(run):
        return source is None
    given = {"masks": options.get("masks"), **{name: options[name] for name in READING}}
    return _named(source) == run.recipe.get("data") and all(
        _is_as_trained(run, name, value) for name, value in given.items()
    )


def _is_as_trained(run: Run, name: str, value: Any) -> bool:
    """Whether an option for reading images is left out, or repeats what the run was trained with."""
    if name == "masks":
        return value is None or _named(value) == run.recipe.get(name)
    usual = inspect.signature(Photos).parameters[name].default
    return value == usual or (list(value) if name == "range" else value) == run.recipe.get(name)


def _named(source: str) -> str:
    """A source as a recipe names it."""
    return source if source.startswith("hf://") else str(absolute(source))


def may_open(run: Run) -> bool:
    """Whether the images that a run's recipe names may be read unasked: the digits, or what the user gave it."""
    return _may_open(run, "data") and _may_open(run, "masks")


def _may_open(run: Run, name: Literal["data", "masks"]) -> bool:
    place = run.recipe.get(name)
    return place is None or is_remembered(run.folder, place)


def own(
    run: Run, again: _parsing.Again | None = None, named: bool = True, masks: str | None = None
) -> Photos | Stream:
    """The photos that the run was trained on, with the same training and held-out parts.

    UsageError where only the run's recipe names them, or their masks, and they may not be opened for that; `again`
    is the command line with more words at its end. The images may be `named`, and the masks given, by the user.
    """
    recipe = run.recipe
    if not named and not _may_open(run, "data"):
        raise UsageError(_parsing.unasked(f"{run.where}/recipe.yaml", recipe["data"], again))
    if masks is None and not _may_open(run, "masks"):
        more = again if named else None
        raise UsageError(_parsing.unasked(f"{run.where}/recipe.yaml", recipe["masks"], more, "masks"))
    if recipe.get("stream"):
        taken = {name: recipe[name] for name in STREAM if name in recipe}
        with _screen.progress() as progress:
            return Stream(recipe["data"], **taken, progress=progress)
    taken = {name: recipe.get(name) for name in OWN}
    return _read(run, recipe.get("data"), taken | ({} if masks is None else {"masks": masks}))


def given(run: Run, source: str, options: Namespace) -> Photos:
    """Other photos, in the size, channels, range and bits of the run; none is held out: none is trained on.

    For a run on crops, the fixed grid of crops of each. Those that the run was trained on are read in its layout,
    and of its column, unless others are given.
    """
    taken = {name: options[name] for name in (*READING, "masks")}
    inherited = ("range", "layout", "column") if _named(source) == run.recipe.get("data") else ("range",)
    taken |= {name: taken[name] or run.recipe.get(name) for name in inherited}
    taken["bits"] = run.recipe.get("bits")
    return _read(run, source, taken | {"whole": True})


def files(run: Run, paths: list[str]) -> Photos:
    """Single image files, in the size, channels, range and bits of the run."""
    taken = {name: run.recipe.get(name) for name in ("range", "bits", "fit")}
    return _read(run, paths, taken | {"whole": True})


def reference(photos: Photos | Stream, seed: int = 0) -> Sample:
    """Training images, or other photos where given: to fit on, and to search for nearest neighbours."""
    found = photos.sample("train", REFERENCE, seed)
    return replace(found, images=filled(found.images))


def equipped(thing: T, **found: Callable[[], Any]) -> T:
    """The same probe or sampler, with those of these arguments filled in that are None."""
    names = [p.name for p in catalogue.parameters(type(thing)) if p.name in found]
    missing = {name: found[name]() for name in names if getattr(thing, name) is None}
    return catalogue.changed(thing, **missing) if missing else thing


def _read(run: Run, source: str | list[str] | None, taken: dict[str, Any]) -> Photos:
    channels, height, width = run.model.shape
    size = "size" if run.recipe.get("crop") is None else "crop"
    taken = {name: value for name, value in taken.items() if value is not None}
    with _screen.progress() as progress:
        return Photos(source, **{size: (height, width)}, channels=channels, **taken, progress=progress)
