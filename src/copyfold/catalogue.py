"""The catalogue: from a name to a class that is already known, never by importing a path.

A family is a module or a package of copyfold. Its members are the public names that are defined in it, so a
new file is found without an edit anywhere else. A user's own class is known as soon as it is defined, because
the bases of the families are `Recorded`; and those of installed plug-ins, entry points of the group
"copyfold.plugins", are known where a name is looked for.

The same names serialise objects as plain data: `{"class_path": "Gaussian", "init_args": {"std": 0.2}}`. A user's
own class is written with the module that it came from, `my_models.Tiny`, as information: reading never imports a
module because a file names it.
"""

import dataclasses
import difflib
import importlib
import inspect
import logging
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral, Real
from textwrap import shorten
from types import ModuleType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from copyfold.errors import UsageError

log = logging.getLogger("copyfold")

T = TypeVar("T")
R = TypeVar("R", bound="Recorded")

PLUGINS = "copyfold.plugins"
SCRIPT = "__main__"
DEEP = 20  # descriptions within descriptions; what people compose has a few

_recorded: dict[tuple[str, str], type] = {}


class Recorded:
    """A class whose subclasses are known by their names from the moment they are defined.

    Of the same module and qualified name the newest is known, as where a cell of a notebook is run again. Of the
    same name in two modules both are. The constructor's arguments are the configuration: the fields of a
    dataclass, or the arguments of `__init__`, each stored under its own name.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        _recorded[cls.__module__, cls.__qualname__] = cls

    def __repr__(self) -> str:
        """The call that makes it again; a dataclass has its own, which says the same."""
        try:
            given = ", ".join(f"{name}={value!r}" for name, value in arguments(self).items())
        except UsageError:
            return object.__repr__(self)
        return f"{type(self).__name__}({given})"


# ---------------------------------------------------------------- what there is


def modules(package: str, deep: bool = False) -> list[Any]:
    """Import a module and, where it is a package, the modules in its folder, or with `deep` all below it."""
    root = importlib.import_module(package)
    walk = pkgutil.walk_packages if deep else pkgutil.iter_modules
    inside = walk(getattr(root, "__path__", []), f"{package}.")
    return [root, *(importlib.import_module(module.name) for module in inside)]


def members(package: str, deep: bool = False) -> dict[str, Any]:
    """The public classes and functions that a family defines, by name."""
    return {
        name: member
        for module in modules(package, deep)
        for name, member in vars(module).items()
        if not name.startswith("_") and getattr(member, "__module__", None) == module.__name__
    }


def classes(base: type[T]) -> dict[str, type[T]]:
    """Every public class of base's own family that can be made, by name: copyfold's own, and no one else's.

    The family is the module or package in which base is defined: `copyfold.models` for
    `copyfold.models.base.Autoencoder`. Or it is kept elsewhere, in folders, where base says so: `home`.
    """
    found = relatives(base) if base is not Recorded else {cls.__name__: cls for cls in _recorded.values()}
    return {
        name: member
        for name, member in sorted(found.items())
        if inspect.isclass(member) and issubclass(member, base) and not inspect.isabstract(member) and own(member)
    }


def relatives(base: type) -> dict[str, Any]:
    """The public members of the family that a class of copyfold's own belongs to, by name; of another's, none."""
    if not own(base):
        return {}
    if home := getattr(base, "home", ""):
        return members(home, deep=True)
    return members(".".join(base.__module__.split(".")[:2]))


def own(cls: type) -> bool:
    """Whether a class is copyfold's own."""
    return cls.__module__.partition(".")[0] == "copyfold"


def others(base: type[T]) -> list[type[T]]:
    """Every class of this base that is not copyfold's own, can be made, and is known: defined in this process."""
    return [
        cls for cls in _recorded.values() if issubclass(cls, base) and not own(cls) and not inspect.isabstract(cls)
    ]


def offered(module: ModuleType) -> list[type]:
    """The classes that a module gives to copyfold: those defined in it or below it, and those that it imported."""
    inside = (module.__name__, f"{module.__name__}.")
    named = {id(member) for member in vars(module).values()}
    return [
        cls
        for (where, _), cls in _recorded.items()
        if not own(cls)
        and not inspect.isabstract(cls)
        and (id(cls) in named or where == inside[0] or where.startswith(inside[1]))
    ]


@cache
def plugins() -> tuple[ModuleType, ...]:
    """The modules of installed packages that say they are copyfold's: entry points of the group copyfold.plugins.

    Imported once. One that cannot be imported, or takes the name of a class of copyfold's own, is left out with a
    warning.
    """
    return tuple(module for point in entry_points(group=PLUGINS) if (module := _loaded(point)) is not None)


def _loaded(point: EntryPoint) -> ModuleType | None:
    try:
        point.load()
        module = importlib.import_module(point.module)
        for cls in offered(module):
            path(cls)
        return module
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, KeyboardInterrupt):
            raise
        reason: BaseException = stop
    except Exception as error:  # a third-party package may raise anything
        reason = error
    log.warning("the plug-in %s (%s) is left out: %s: %s", point.name, point.value, type(reason).__name__, reason)
    return None


# ---------------------------------------------------------------- from a name to a class


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: the one that was probably meant, or all of them."""
    names = sorted(names)
    folded = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[close[0]]}?" if close else f"choose one of {', '.join(names)}"


def find(base: type[T], name: str, among: Iterable[type[T]] | None = None) -> type[T]:
    """The class of that name: one of copyfold's own, or another that is known; nothing is imported for it.

    `name` is a bare name, or what `path` gives. `among` are the other classes to choose from, all that are known
    unless given. UsageError where the name is not known, which says what was probably meant or what to import;
    and where two modules have a class of that bare name.
    """
    ours = classes(base)
    if name in ours:
        return ours[name]
    module, _, bare = name.rpartition(".")
    offer = others(base) if among is None else list(among)
    alike = _alike(offer, name)
    if not alike and among is None and plugins():
        offer = others(base)
        alike = _alike(offer, name)
    if len(alike) > 1:
        said = ", ".join(sorted(map(_place, alike)))
        raise UsageError(f"{bare} is the name of {len(alike)} classes: say which of {said}")
    if alike:
        if module not in ("", SCRIPT, alike[0].__module__):
            log.warning("%s came from %s, and is taken as %s", bare, module, _place(alike[0]))
        return alike[0]
    if not module or not all(part.isidentifier() for part in name.replace("<locals>.", "").split(".")):
        names = [*ours, *(cls.__name__ for cls in offer)]
        raise UsageError(f"no {base.__name__} is called {name!r}: {nearest(name, names)}")
    if module == SCRIPT:
        raise UsageError(
            f"{bare} is not known here: it was defined in a script or notebook; define it again first, or put it "
            "into a file of its own and import that (--import FILE.py)"
        )
    raise UsageError(
        f"{bare} is not known here: it came from {module}; import that first, or give --import {module}"
    )


def _alike(offer: list[type[T]], name: str) -> list[type[T]]:
    """The classes of these that a name can mean: the one of that path, or else all of that bare name."""
    exact = [cls for cls in offer if _place(cls) == name]
    return exact or [cls for cls in offer if cls.__name__ == name.rpartition(".")[2]]


def path(cls: type) -> str:
    """How a class is written down: its bare name where it is copyfold's own, else with the module it came from.

    UsageError where a class that is not copyfold's own has the name of one that is.
    """
    if own(cls):
        return cls.__name__
    for base in cls.__mro__:
        if own(base) and base is not Recorded and cls.__name__ in relatives(base):
            raise UsageError(
                f"{_place(cls)} has the name of a class of copyfold's own, {cls.__name__}: give it another name"
            )
    return _place(cls)


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# ---------------------------------------------------------------- objects as plain data


def arguments(value: object) -> dict[str, Any]:
    """The configuration of an object: its constructor's arguments by name, as they are now.

    Of a dataclass its fields; of any other class the arguments of `__init__`, each read from the attribute of its
    name. UsageError where there is none, and for *args and **keywords, which have no names to be stored under.
    """
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    name, found = type(value).__name__, {}
    for parameter in parameters(type(value)):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UsageError(
                f"{name} cannot be written down: its constructor takes {str(parameter).partition(':')[0]}; "
                "name every argument, and store it under its name"
            )
        try:
            found[parameter.name] = getattr(value, parameter.name)
        except AttributeError:
            raise UsageError(
                f"{name} cannot be written down: its argument {parameter.name} is not stored; write "
                f"self.{parameter.name} = {parameter.name} in its constructor"
            ) from None
    return found


def parameters(cls: type) -> list[inspect.Parameter]:
    """The arguments of a class's constructor, without self, with the defaults and annotations that they stand for.

    That of a field is what its default_factory makes, and without an annotation the family that the default is of,
    or Any.
    """
    if cls.__init__ is object.__init__:
        return []
    made, hinted = _made_defaults(cls), hints(cls)

    def resolved(parameter: inspect.Parameter) -> inspect.Parameter:
        default = made.get(parameter.name, parameter.default)
        bases = [base for base in type(default).__mro__ if own(base) and inspect.isabstract(base)]
        hint = hinted.get(parameter.name, bases[0] if bases else Any)
        return parameter.replace(default=default, annotation=hint)

    return [resolved(parameter) for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]]


def _made_defaults(cls: type) -> dict[str, Any]:
    """What the default factories of a dataclass make, by the names of the fields."""
    if not dataclasses.is_dataclass(cls):
        return {}
    fields = [f for f in dataclasses.fields(cls) if f.init and f.default_factory is not dataclasses.MISSING]
    return {f.name: cast("Any", f.default_factory)() for f in fields}


def hints(cls: type) -> dict[str, Any]:
    """The annotations of a class's arguments, evaluated; none where one of them cannot be."""
    try:
        return get_type_hints(cls if dataclasses.is_dataclass(cls) else cls.__init__)
    except Exception:  # an annotation that cannot be evaluated says nothing
        return {}


def changed(value: T, **new: Any) -> T:
    """The same object with some of its arguments changed, made again."""
    return type(value)(**arguments(value) | new)


def describe(value: Any, name: str = "") -> Any:
    """Serialise a configuration as plain data: classes of the families by name and arguments, tuples as lists.

    UsageError where something cannot be serialised; the message calls it `name`.
    """
    if isinstance(value, Recorded) or (dataclasses.is_dataclass(value) and own(type(value))):
        kind = type(value)
        given = {key: describe(item, f"{kind.__name__}.{key}") for key, item in arguments(value).items()}
        return {"class_path": path(kind)} | ({"init_args": given} if given else {})
    if isinstance(value, list | tuple):
        return [describe(item, name) for item in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value)
        if all(isinstance(key, str) for key in items) and "class_path" not in items:
            return {key: describe(item, f"{name}[{key!r}]") for key, item in items.items()}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral | Real):  # numpy's numbers too
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, str):
        return str(value)
    raise UsageError(
        f"{name or 'this'} is a {type(value).__name__} and cannot be written down: give a number, a word, a list "
        "of them, or a class of one of copyfold's families"
    )


def foreign(described: Any) -> bool:
    """Whether a description has a class that is not copyfold's own."""
    if isinstance(described, dict):
        inside = cast("dict[str, Any]", described)
        return "." in str(inside.get("class_path", "")) or any(map(foreign, inside.values()))
    return isinstance(described, list) and any(map(foreign, cast("list[Any]", described)))


def build(base: type[T], spec: Any) -> T:
    """Build the object that `describe` described; its class must be a known one of base's family."""
    described = cast("dict[str, Any]", spec) if isinstance(spec, dict) else {}
    if not set(described) <= {"class_path", "init_args"} or not isinstance(described.get("class_path"), str):
        raise UsageError(f"{spec!r} does not describe a {base.__name__}: expected a class_path")
    if _depth(described) > DEEP:  # before anything is built: each may cost as much as all that it holds
        raise UsageError(f"{described['class_path']} holds descriptions more than {DEEP} deep: expected fewer")
    chosen = find(base, described["class_path"])
    given = described.get("init_args", {})
    try:
        return chosen(**{name: _built(chosen, name, value) for name, value in given.items()})
    except UsageError:
        raise
    except (AttributeError, TypeError) as error:
        raise UsageError(f"{chosen.__name__} cannot be made from {shorten(str(given), 200)}: {error}") from None


def _depth(described: Any) -> int:
    """How many descriptions stand within each other."""
    if isinstance(described, dict):
        inside = cast("dict[str, Any]", described)
        return ("class_path" in inside) + max(map(_depth, inside.values()), default=0)
    return max(map(_depth, cast("list[Any]", described)), default=0) if isinstance(described, list) else 0


def _built(chosen: type, name: str, value: Any) -> Any:
    """An argument: descriptions in it are built, and lists become tuples where the annotation says so."""
    return _tuples(hints(chosen).get(name), _inside(chosen, name, value))


def _inside(chosen: type, name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_inside(chosen, name, item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    inside = cast("dict[str, Any]", value)
    if "class_path" in inside:
        return build(kind(chosen, name), inside)
    return {key: _inside(chosen, name, item) for key, item in inside.items()}


def _tuples(hint: Any, value: Any) -> Any:
    """Lists as the tuples that an annotation says they are."""
    for member in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if get_origin(member) is tuple and isinstance(value, list):
            kinds, items = get_args(member), cast("list[Any]", value)
            kinds = kinds[:1] * len(items) if kinds[1:] == (Ellipsis,) else kinds
            if len(kinds) == len(items):
                return tuple(map(_tuples, kinds, items))
    return value


def kind(chosen: type, name: str) -> type:
    """The family that an argument of a class is of, by its annotation; any, where that does not say."""
    named = hints(chosen).get(name)
    found = [leaf for leaf in leaves(named) if inspect.isclass(leaf) and issubclass(leaf, Recorded)]
    return found[0] if found else Recorded


def leaves(hint: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    inside = cast("list[Any]", hint) if isinstance(hint, list) else get_args(hint)
    for part in inside:
        yield from leaves(part)
    if not inside:
        yield hint
