"""The classes that options take: their names, their own options, and their help.

The names are those of copyfold's own classes, and of the classes of --import and of plug-ins. Nothing is imported
because a word or a file names it.
"""

import inspect
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from copyfold import catalogue
from copyfold.catalogue import Recorded
from copyfold.cli import _imports, _values
from copyfold.errors import UsageError

log = logging.getLogger("copyfold")


def names(*bases: type) -> list[str]:
    """The names of the classes of these families: copyfold's own first."""
    ours = [name for base in bases for name in catalogue.classes(base)]
    others = [cls for base in bases for cls in _imports.offered(base)]
    bare = [cls.__name__ for cls in others]
    return [
        *ours,
        *(name if bare.count(name) == 1 else catalogue.path(cls) for cls, name in zip(others, bare, strict=True)),
    ]


def named(bases: Sequence[type], name: str, where: str, written: bool) -> type:
    """The class of that name. `where` is the option; `written` says that the name stands in a recipe.

    UsageError where there is none: it suggests the nearest name, and for a recipe says what to import.
    """
    offer = [cls for base in bases for cls in _imports.offered(base)]
    for base in bases:
        for bare, cls in catalogue.classes(base).items():
            if name in (bare, f"copyfold.{bare}", f"{cls.__module__}.{bare}"):
                return cls
    last = name.rpartition(".")[2]
    alike = [cls for cls in offer if catalogue.path(cls) == name] or [
        cls for cls in offer if cls.__name__ == last and (written or last == name)
    ]
    if len(alike) == 1:
        if last != name and catalogue.path(alike[0]) != name and not name.startswith(f"{catalogue.SCRIPT}."):
            log.warning(
                "%s came from %s, and is taken as %s", last, name.rpartition(".")[0], catalogue.path(alike[0])
            )
        return alike[0]
    if len(alike) > 1:
        said = ", ".join(sorted(map(catalogue.path, alike)))
        raise UsageError(f"{where} {last} is the name of {len(alike)} classes: say which of {said}")
    if written and last != name and all(part.isidentifier() for part in name.split(".")):
        return catalogue.find(bases[0], name, offer)
    near = catalogue.nearest(name, names(*bases))
    own = "" if near.startswith("did you mean") else f"; for a class of your own give {_imports.FLAG} FILE.py"
    raise UsageError(f"{where} {_values.shown(name)} is not known: {near}{own}")


def options(cls: type, skip: int = 0) -> dict[str, inspect.Parameter]:
    """The arguments of a class that can be options, by name, without its first `skip`, which are given later."""
    return {
        p.name: p
        for p in catalogue.parameters(cls)[skip:]
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and _values.sayable(p.annotation)
    }


def option(where: str, name: str, cls: type, skip: int) -> inspect.Parameter:
    """The argument of a class that an option sets; UsageError with the nearest name where it has none."""
    found = options(cls, skip)
    if name not in found:
        near = catalogue.nearest(name, found) if found else f"{cls.__name__} has no options"
        raise UsageError(f"{where}.{_values.shown(name)} is not an option of {cls.__name__}: {near}")
    return found[name]


def plain(where: str, hint: Any, value: Any, written: bool = False) -> Any:
    """A value that is no class, read for an annotation; UsageError where it does not fit.

    A string that is `written` in a recipe stays a string where the annotation takes one: "5" is not 5 there.
    """
    _values.check_few(where, value)
    try:
        if written and isinstance(value, str) and str in _values.members(hint):
            return value
        return _values.read(hint, value)
    except _values.Misfit as misfit:
        raise UsageError(f"{_values.invalid(where, value, hint, names)}{misfit}") from None


# ---------------------------------------------------------------- help


def described(cls: type, where: str, skip: int = 0) -> list[str]:
    """The help of a class: its docstring, and its options with flag, default and possible values."""
    head = f"{cls.__name__}: {inspect.cleandoc(cls.__doc__ or '')}".removesuffix(": ")
    table = rows(cls, where, skip)
    return [head, "", *(["options and their defaults:", *columns(table)] if table else ["no options"])]


def rows(cls: type, where: str, skip: int) -> list[tuple[str, str, str]]:
    """The options of a class: flag, default and possible values."""
    found = options(cls, skip)
    return [
        (f"{where}.{p.name}", written(p.default), _values.expected(p.annotation, names)) for p in found.values()
    ]


def written(value: Any) -> str:
    """A default as one would type it, without the arguments of a class."""
    if value is inspect.Parameter.empty:
        return "required"
    if isinstance(value, Recorded):
        return type(value).__name__
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if str(value) else "''"


def columns(table: Iterable[Sequence[str]]) -> list[str]:
    """Rows as aligned text."""
    table = list(table)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  " + "  ".join(f"{w:<{n}}" for w, n in zip(row, widths, strict=True)).rstrip() for row in table]
