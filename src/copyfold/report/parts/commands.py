"""The command, or the line of Python, that asks the same again."""

import dataclasses
import shlex
from typing import Any

from copyfold.probes.base import Probe
from copyfold.report.parts.subject import Subject
from copyfold.samplers.base import Sampler


def command(subject: Subject, asked: Probe | Sampler) -> str:
    """A command line where the model is a run's; else Python, which an adopted model has anyway."""
    if subject.run is None:
        return f"{_python(asked)}(model, x, rng)"
    given = [str(subject.photos.recipe()["data"])] if subject.training != "training" else []
    if isinstance(asked, Probe):
        words = ["copyfold", "probe", str(subject.run.folder), *given, *_flags("--probe", asked)]
    else:
        start = ["--start", *given] if given and not asked.generates() else []
        words = ["copyfold", "sample", str(subject.run.folder), *start, *_flags("--sampler", asked)]
    return " ".join(shlex.quote(word) for word in words)


def _given(thing: Any) -> dict[str, Any]:
    """The fields that are not at their defaults and can be written down."""
    found = {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing)}
    usual = {
        f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        for f in dataclasses.fields(thing)
    }
    plain = {
        k: v for k, v in found.items() if isinstance(v, int | float | str | bool) or dataclasses.is_dataclass(v)
    }
    return {k: v for k, v in plain.items() if v != usual[k]}


def _flags(option: str, thing: Any) -> list[str]:
    words = [option, type(thing).__name__]
    for name, value in _given(thing).items():
        inner = f"{option}.{name}"
        words += _flags(inner, value) if dataclasses.is_dataclass(value) else [inner, str(value)]
    return words


def _python(thing: Any) -> str:
    given = (
        f"{name}={_python(value) if dataclasses.is_dataclass(value) else repr(value)}"
        for name, value in _given(thing).items()
    )
    return f"cf.{type(thing).__name__}({', '.join(given)})"
