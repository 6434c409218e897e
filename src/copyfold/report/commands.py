"""The command, or the line of Python, that asks the same again."""

import shlex
from typing import Any

from copyfold import catalogue
from copyfold.catalogue import Recorded
from copyfold.probes.base import Probe
from copyfold.report.context import Context
from copyfold.samplers.base import Sampler
from copyfold.types import Statistics


def command(context: Context, asked: Probe | Sampler, count: int, statistics: Statistics | None = None) -> str:
    """A command line where the model is a run's; else Python, which an adopted model has anyway.

    It asks of as many images as the section did, `count`: of a run's own the same ones, by the same seed.
    `statistics` are those that a sampler was given, where they are not the model's own.
    """
    if context.run is None:
        return f"{_python(asked)}(model, x, rng)"
    given = [str(context.photos.recipe()["data"])] if context.reference_word != "training" else []
    many = ["--count", str(count), *(["--seed", str(context.seed)] if context.seed else [])]
    if isinstance(asked, Probe):
        words = ["copyfold", "probe", context.run.where, *given, *_flags("--probe", asked), *many]
    else:
        start = ["--start", *given] if given and not asked.generates() else []
        words = ["copyfold", "sample", context.run.where, *start, *_flags("--sampler", asked), *many]
        words += ["--statistics", statistics] if statistics and context.model.has_statistics else []
    return " ".join(shlex.quote(word) for word in words)


def _given(thing: Recorded) -> dict[str, Any]:
    """The arguments that are not at their defaults and can be written down."""
    usual = {parameter.name: parameter.default for parameter in catalogue.parameters(type(thing))}
    return {
        name: value
        for name, value in catalogue.arguments(thing).items()
        if isinstance(value, int | float | str | bool | Recorded) and value != usual[name]
    }


def _flags(option: str, thing: Recorded) -> list[str]:
    words = [option, type(thing).__name__]
    for name, value in _given(thing).items():
        inner = f"{option}.{name}"
        words += _flags(inner, value) if isinstance(value, Recorded) else [inner, str(value)]
    return words


def _python(thing: Recorded) -> str:
    given = (
        f"{name}={_python(value) if isinstance(value, Recorded) else repr(value)}"
        for name, value in _given(thing).items()
    )
    return f"{'cf.' if catalogue.own(type(thing)) else ''}{type(thing).__name__}({', '.join(given)})"
