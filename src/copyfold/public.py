"""The public names, and how a package resolves one when it is first used.

A module says in `__all__` what it offers. One without it offers its classes of the families: a family's base, and
those that can be made. A package without it offers what its modules offer, and copyfold what its families do. So a
new class in a new file is public with no edit elsewhere, and a function where its own module says so.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from copyfold.catalogue import Recorded, modules, nearest

FAMILIES = (
    *("types", "errors", "corruptions", "models", "objectives", "samplers", "probes", "problems", "pictures"),
    *("data", "runs", "restoration", "inverse", "report", "detection"),
    "training",  # what is slow to import comes last
)
"""Where copyfold's own names come from."""

SHOWN = ("measures", "runs")
"""Modules whose functions are called with the module's name, as in `copyfold.runs.open`."""


def names(package: str) -> dict[str, Any]:
    """What a module or package of copyfold offers, by name; all of it is imported."""
    return {name: member for source in sources(package) for name, member in offered(source).items()}


def resolve(package: str, name: str) -> Any:
    """What `package.name` is: a module in it, or what it offers under that name, imported only now.

    AttributeError where it is neither, with what was probably meant.
    """
    if not name.startswith("_"):
        if importlib.util.find_spec(f"{package}.{name}"):
            return importlib.import_module(f"{package}.{name}")
        for source in sources(package):
            if name in (found := offered(source)):
                setattr(sys.modules[package], name, found[name])  # so that it is not looked for again
                return found[name]
        raise AttributeError(f"{package} has no {name!r}: {nearest(name, listed(package))}")
    raise AttributeError(f"{package} has no {name!r}")


def listed(package: str) -> list[str]:
    """The names to complete: what the package offers, and of copyfold itself the modules that are shown."""
    return sorted({*names(package), *(SHOWN if package == "copyfold" else ())})


def lazy(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that imports nothing until it is asked for a name."""
    return partial(resolve, package), partial(listed, package)


def sources(package: str) -> Iterator[Any]:
    """The modules that the names of a package come from, each imported when its turn comes."""
    if package == "copyfold":
        for family in FAMILIES:
            yield from sources(f"copyfold.{family}")
        return
    root = importlib.import_module(package)
    if "__all__" in vars(root) or not hasattr(root, "__path__"):
        yield root
    else:
        yield from modules(package)[1:]


def offered(module: Any) -> dict[str, Any]:
    """What one module offers, by name."""
    if "__all__" in vars(module):
        return {name: getattr(module, name) for name in module.__all__}
    return {name: member for name, member in vars(module).items() if _of_a_family(name, member, module)}


def _of_a_family(name: str, member: Any, module: Any) -> bool:
    """Whether it is a family's base or a class of a family that can be made, defined in this module."""
    return (
        inspect.isclass(member)
        and issubclass(member, Recorded)
        and member.__module__ == module.__name__
        and not name.startswith("_")
        and (Recorded in member.__bases__ or not inspect.isabstract(member))
    )
