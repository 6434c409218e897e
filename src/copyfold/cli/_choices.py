"""The classes chosen for options that take a class, and the options of these classes.

`--model UNet --model.middle Affine --model.middle.hidden 8`, and the same in a recipe, become a tree of choices,
from which the objects are made.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, get_args

from copyfold import catalogue
from copyfold.catalogue import Recorded
from copyfold.cli import _values
from copyfold.cli._classes import described, named, names, option, options, plain
from copyfold.errors import UsageError
from copyfold.files import aliases


@dataclass(frozen=True)
class Choice:
    """A class, and the arguments to create it with: values, choices, or lists of them."""

    cls: type
    given: dict[str, Any] = field(default_factory=dict)


class Slot(NamedTuple):
    """Which classes an annotation takes, alone or in a list."""

    bases: tuple[type, ...]
    """The families from which it takes one class."""
    items: Any
    """The annotation of the items, where it takes a list of classes."""
    rest: tuple[Any, ...]
    """The other types it takes."""
    null: bool
    skip: int
    """How many of the class's first arguments are given later: those of a callable that returns one."""

    def families(self) -> tuple[type, ...]:
        """The families that it takes classes of, one or a list of them."""
        inside = None if self.bases else slot(self.items)
        return inside.bases if inside else self.bases


class Place(NamedTuple):
    """Where an option stands in a tree of choices."""

    holder: dict[str, Any]
    name: str
    hint: Any
    default: Any


def slot(hint: Any) -> Slot | None:
    """Which classes an annotation takes; None where it takes none."""
    bases, rest, items, skip = [], [], None, 0
    for member in _values.members(hint):
        made = _values.made_by(member)
        if _values.family(member):
            bases.append(member)
        elif _values.family(made):
            bases.append(made)
            skip = len(get_args(member)[0])
        elif (inside := _values.item(member)) is not None and slot(inside):
            items = inside
        elif member is not type(None):
            rest.append(member)
    null = type(None) in _values.members(hint)
    return Slot(tuple(bases), items, tuple(rest), null, skip) if bases or items is not None else None


def chosen(value: Any) -> Any:
    """An object, such as a default, as the choice that would create it; lists of them too."""
    if isinstance(value, Recorded):
        return Choice(type(value), {name: chosen(item) for name, item in catalogue.arguments(value).items()})
    if isinstance(value, list | tuple) and any(isinstance(item, Recorded) for item in value):
        return [chosen(item) for item in value]
    return value


# ---------------------------------------------------------------- the tree of choices


class Choices:
    """The tree of choices, by the options that take a class, and the annotations of these options."""

    def __init__(self, hints: Mapping[str, Any]) -> None:
        self.hints = hints
        self.tree: dict[str, Any] = {}
        self.added: set[tuple[str, ...]] = set()  # lists with an added item: its options are meant

    def set(self, name: str, value: Any, written: bool = True) -> None:
        """Choose the value of an option of the command; the same class keeps the options that it had."""
        self._put(self.tree, name, self._read(f"--{name}", self.hints[name], value, written))

    def is_name(self, path: Sequence[str]) -> bool:
        """Whether an option takes one class: it is read before the options of that class."""
        try:
            found = slot(self._at(path, lists=False).hint)
        except UsageError:
            return False
        return found is not None and bool(found.bases)

    def option(self, path: Sequence[str], word: str, add: bool = False) -> None:
        """Read one word of the command line: the option at this path, or one more item for the list there."""
        at, where = self._at(path), "--" + ".".join(path)
        (self.added.add if add else self.added.discard)(tuple(path))
        if not add:
            self._put(at.holder, at.name, self._read(where, at.hint, word, written=False))
            return
        more = self._read(where, at.hint, word if word.lstrip().startswith("[") else f"[{word}]", written=False)
        at.holder[at.name] = [*(at.holder.get(at.name, at.default) or ()), *more]

    def help(self, path: Sequence[str], name: str | None) -> list[str]:
        """The help of the class of that name, or of the one chosen, and its options."""
        at, where = self._at(path), "--" + ".".join(path)
        found = slot(at.hint)
        if found is None:
            raise UsageError(self._without_options(where, at.hint))
        bases, choice = found.families(), at.holder.get(at.name)
        if name is not None:
            cls = named(bases, name, f"{where}.help", written=False)
        elif isinstance(choice, Choice):
            cls = choice.cls
        else:
            return [f"{where} can be {_values.either(names(*bases))}: {where}.help CLASS describes one"]
        return described(cls, where, found.skip)

    def all(self) -> list[str]:
        """Every option of the classes that are chosen, as a flag."""

        def below(where: str, value: Any, skip: int) -> Iterator[str]:
            value = value[-1] if isinstance(value, list) and value else value
            if not isinstance(value, Choice):
                return
            for name, p in options(value.cls, skip).items():
                yield f"{where}.{name}"
                yield from below(f"{where}.{name}", value.given.get(name, chosen(p.default)), 0)

        return [flag for name, value in self.tree.items() for flag in below(f"--{name}", value, self._skip(name))]

    def made(self, name: str) -> Any:
        """The object that an option describes; for a callable annotation, a partial that creates it."""
        return _made(f"--{name}", self.tree.get(name), self._skip(name))

    def expected(self, path: Sequence[str]) -> str:
        """The values that an option takes, in words."""
        return _values.expected(self._at(path).hint, names)

    def _skip(self, name: str) -> int:
        found = slot(self.hints[name])
        return found.skip if found else 0

    def _at(self, path: Sequence[str], lists: bool = True) -> "Place":
        """Where an option stands in the tree; UsageError where no chosen class has it."""
        at, skip = Place(self.tree, path[0], self.hints[path[0]], None), self._skip(path[0])
        for depth, part in enumerate(path[1:], 1):
            where, choice = "--" + ".".join(path[:depth]), at.holder.get(at.name)
            if isinstance(choice, list) and lists:
                choice = choice[-1] if tuple(path[:depth]) in self.added else _holder(where, choice, part)
            if not isinstance(choice, Choice):
                raise UsageError(self._without_options(where, at.hint))
            parameter = option(where, part, choice.cls, skip)
            default = chosen(parameter.default)
            if part not in choice.given and default is not parameter.default:
                choice.given[part] = default
            at, skip = Place(choice.given, part, parameter.annotation, default), 0
        return at

    def _without_options(self, where: str, hint: Any) -> str:
        """The message about an option of something that is no chosen class."""
        found = slot(hint)
        if found is None:
            return f"{where} has no options: it is {_values.expected(hint, names)}"
        bases = found.families()
        return f"{where} has no class yet, so it has no options: choose one of {', '.join(names(*bases))} first"

    @staticmethod
    def _put(holder: dict[str, Any], name: str, value: Any) -> None:
        holder[name] = _over(holder.get(name), value)

    def _read(self, where: str, hint: Any, value: Any, written: bool) -> Any:
        """A word, or a value of a recipe, read for an annotation: a value, a choice, or a list of choices."""
        _values.check_few(where, value)
        found, read = slot(hint), value
        if isinstance(value, str) and not written and not aliases(value) and (found or hint is Any):
            read = value if _path(value) and value != "null" else _values.load(value)
        if found is None:
            if (bases := _families(hint)) and _has_class(read):
                return self._read_any(where, bases, read, written)
            return read if hint is Any else plain(where, hint, value, written)
        if read is None and found.null:
            return None
        if found.items is not None and isinstance(read, list):
            return [self._read(where, found.items, item, written=written) for item in read]
        if found.bases and isinstance(read, Mapping | str):
            with suppress(*[UsageError] if found.rest else []):
                return self._choice(where, found.bases, read, found.skip, written)
        said = ""
        for rest in found.rest:
            try:
                return _values.read(rest, value)
            except _values.Misfit as misfit:
                said = said or str(misfit)
        raise UsageError(f"{_values.invalid(where, value, hint, names)}{said}")

    def _read_any(self, where: str, bases: tuple[type, ...], value: Any, written: bool) -> Any:
        """Choices anywhere in lists and dicts whose annotation does not say where."""
        if isinstance(value, list):
            return [self._read_any(where, bases, item, written) for item in value]
        if not isinstance(value, Mapping):
            return value
        if "class_path" in value:
            return self._choice(where, bases, value, 0, written)
        return {key: self._read_any(where, bases, item, written) for key, item in value.items()}

    def _choice(self, where: str, bases: tuple[type, ...], value: Any, skip: int, written: bool) -> Choice:
        """The choice that a name describes, or a dict of class_path and init_args."""
        if isinstance(value, str):
            return Choice(named(bases, value, where, written))
        path, given = value.get("class_path"), value.get("init_args", {})
        if (
            not isinstance(path, str)
            or not isinstance(given, Mapping)
            or value.keys() - {"class_path", "init_args"}
        ):
            raise UsageError(
                f"{where} {_values.shown(value)} is invalid: expected the name of a class, or its class_path "
                "and init_args"
            )
        cls = named(bases, path, where, written)
        read = {}
        for name, item in given.items():
            if written and item is None and name not in options(cls, skip) and name in _arguments(cls):
                continue  # the command line cannot give it, and it was not given
            hint = option(where, str(name), cls, skip).annotation
            read[name] = self._read(f"{where}.{name}", hint, item, written)
        return Choice(cls, read)


# ---------------------------------------------------------------- parts


def _arguments(cls: type) -> set[str]:
    return {p.name for p in catalogue.parameters(cls)}


def _holder(where: str, choices: list[Any], name: str) -> Any:
    """The one class of a list that has an option, or the last; UsageError where several have it."""
    having = [choice for choice in choices if isinstance(choice, Choice) and name in options(choice.cls)]
    if len(having) > 1:
        said = " and ".join(choice.cls.__name__ for choice in having)
        one = f"{{class_path: {having[0].cls.__name__}, init_args: {{{name}: ...}}}}"
        raise UsageError(
            f"{where}.{name} is ambiguous: {said} have it; write it with its class, as in {where} '[{one}, ...]'"
        )
    return having[0] if having else choices[-1] if choices else None


def _over(former: Any, value: Any) -> Any:
    """A choice in place of a former one; of the same class, options that are not given again stay."""
    if isinstance(former, Choice) and isinstance(value, Choice) and former.cls is value.cls:
        return Choice(value.cls, former.given | {k: _over(former.given.get(k), v) for k, v in value.given.items()})
    return value


def _made(where: str, value: Any, skip: int = 0) -> Any:
    """The object that a choice describes, with the objects in it."""
    if isinstance(value, list):
        return [_made(where, item) for item in value]
    if isinstance(value, dict):
        return {key: _made(where, item) for key, item in value.items()}
    if not isinstance(value, Choice):
        return value
    name = value.cls.__name__
    for p in catalogue.parameters(value.cls)[skip:]:
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in value.given:
            said = "" if _values.sayable(p.annotation) else ", and the command line cannot give it"
            raise UsageError(f"{where}.{p.name} is required: {name} has no default for it{said}")
    given = {key: _made(f"{where}.{key}", item) for key, item in value.given.items()}
    if skip:
        return partial(value.cls, **given)
    try:
        return value.cls(**given)
    except UsageError:
        raise
    except Exception as error:  # whatever a user's class may raise
        raise UsageError(f"{where} {name} cannot be created: {type(error).__name__}: {error}") from error


def _path(text: str) -> bool:
    """Whether a text can be the name of a class, with the module it is in or without."""
    return all(part.isidentifier() for part in text.replace("<locals>.", "").split("."))


def _has_class(value: Any) -> bool:
    """Whether a class is described somewhere in a value."""
    if isinstance(value, Mapping):
        return "class_path" in value or any(map(_has_class, value.values()))
    return isinstance(value, list) and any(map(_has_class, value))


def _families(hint: Any) -> tuple[type, ...]:
    """The families that an annotation has somewhere in it; any, of one that allows anything."""
    found = list(catalogue.leaves(hint))
    return (Recorded,) if Any in found else tuple(leaf for leaf in found if _values.family(leaf))
