"""The classes that options can be: their names, their own options, and what is said of them.

Names are those of copyfold's own classes, and of those that came by --import or with a plug-in: nothing is ever
imported because a word or a file names it.
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
    """The names that a class of these families can be called by: copyfold's own first."""
    ours = [name for base in bases for name in catalogue.classes(base)]
    others = [cls for base in bases for cls in _imports.offered(base)]
    bare = [cls.__name__ for cls in others]
    return [
        *ours,
        *(name if bare.count(name) == 1 else catalogue.path(cls) for cls, name in zip(others, bare, strict=True)),
    ]


def named(bases: Sequence[type], name: str, where: str, written: bool) -> type:
    """The class of that name. `where` is the option; `written` says that a recipe has it.

    UsageError where there is none, with the nearest, and for a recipe with what to import.
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
    own = "" if near.startswith("did you mean") else f"; a class of your own is there with {_imports.FLAG} FILE.py"
    raise UsageError(f"{where} {_values.shown(name)} is not known: {near}{own}")


def options(cls: type, skip: int = 0) -> dict[str, inspect.Parameter]:
    """The arguments of a class that can be options, by name; its first `skip` are given later."""
    return {
        p.name: p
        for p in catalogue.parameters(cls)[skip:]
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and _values.sayable(p.annotation)
    }


def option(where: str, name: str, cls: type, skip: int) -> inspect.Parameter:
    """The argument of a class that an option is; UsageError with the nearest where it has none of that name."""
    found = options(cls, skip)
    if name not in found:
        near = catalogue.nearest(name, found) if found else f"{cls.__name__} has none"
        raise UsageError(f"{where}.{_values.shown(name)} is no option of {cls.__name__}: {near}")
    return found[name]


def plain(where: str, hint: Any, value: Any, written: bool = False) -> Any:
    """What a value that is no class says for an annotation; UsageError where it does not fit.

    A text that is `written` in a recipe is a text where the annotation takes one: "5" is not 5 there.
    """
    try:
        if written and isinstance(value, str) and str in _values.members(hint):
            return value
        return _values.read(hint, value)
    except _values.Misfit:
        raise UsageError(_values.invalid(where, value, hint, names)) from None


# ---------------------------------------------------------------- in words


def described(cls: type, where: str, skip: int = 0) -> list[str]:
    """A class in words, and its options: flag, default, and what it can be."""
    head = f"{cls.__name__}: {inspect.cleandoc(cls.__doc__ or '')}".removesuffix(": ")
    table = rows(cls, where, skip)
    return [head, "", *(["options and their defaults:", *columns(table)] if table else ["it has no options"])]


def rows(cls: type, where: str, skip: int) -> list[tuple[str, str, str]]:
    """The options of a class: flag, default, and what it can be."""
    found = options(cls, skip)
    return [
        (f"{where}.{p.name}", written(p.default), _values.expected(p.annotation, names)) for p in found.values()
    ]


def written(value: Any) -> str:
    """A default as it would be typed, without the arguments of a class."""
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
