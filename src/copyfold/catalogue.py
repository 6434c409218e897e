"""A name resolves to one of our own classes, found by looking, and never to an import path.

A family is a module or a package of copyfold. Its members are the public names that are defined in it, so a
new file is found without an edit anywhere else. The same names write objects down as plain data and read
them back: `{"class_path": "Gaussian", "init_args": {"std": 0.2}}`.
"""

import dataclasses
import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from typing import Any, TypeVar

from copyfold.errors import UsageError

T = TypeVar("T")


def modules(package: str) -> list[Any]:
    """The module named, and those in its folder where it is a package, all imported."""
    root = importlib.import_module(package)
    inside = pkgutil.iter_modules(getattr(root, "__path__", []), f"{package}.")
    return [root, *(importlib.import_module(module.name) for module in inside)]


def members(package: str) -> dict[str, Any]:
    """The public classes and functions that a family defines, by name."""
    return {
        name: member
        for module in modules(package)
        for name, member in vars(module).items()
        if not name.startswith("_") and getattr(member, "__module__", None) == module.__name__
    }


def classes(base: type[T]) -> dict[str, type[T]]:
    """Every public class of base's own family that can be made, by name.

    The family is the module or package in which base is defined: `copyfold.models` for
    `copyfold.models.base.Autoencoder`.
    """
    family = ".".join(base.__module__.split(".")[:2])
    return {
        name: member
        for name, member in sorted(members(family).items())
        if inspect.isclass(member) and issubclass(member, base) and not inspect.isabstract(member)
    }


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: the one that was probably meant, or all of them."""
    names = sorted(names)
    folded = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[close[0]]}?" if close else f"choose one of {', '.join(names)}"


def find(base: type[T], name: str) -> type[T]:
    """The class of that name, or a UsageError that says which was probably meant."""
    known = classes(base)
    if name not in known:
        raise UsageError(f"no {base.__name__} is called {name!r}: {nearest(name, known)}")
    return known[name]


def describe(value: Any) -> Any:
    """Write a configuration down as plain data: dataclasses of ours by name and fields, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"class_path": type(value).__name__} | ({"init_args": fields} if fields else {})
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    return value


def build(base: type[T], spec: Any) -> T:
    """Make what `describe` wrote down; only classes of base's family can come of it."""
    if not isinstance(spec, dict) or not set(spec) <= {"class_path", "init_args"} or "class_path" not in spec:
        raise UsageError(f"{spec!r} does not describe a {base.__name__}: it needs a class_path")
    chosen = find(base, str(spec["class_path"]))
    try:
        return chosen(**spec.get("init_args", {}))
    except TypeError as error:
        raise UsageError(f"{chosen.__name__} cannot be made from {spec.get('init_args')}: {error}") from None
