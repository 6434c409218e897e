"""Values, typed or in a recipe, checked against annotations, and what annotations take, in words."""

import math
import types
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from copyfold.catalogue import Recorded
from copyfold.errors import FLOAT, UsageError
from copyfold.files import aliases, huge

LISTS = (list, tuple, Sequence, Iterable)
MAPPINGS = (dict, Mapping)
WORDS: dict[Any, tuple[str, str, str]] = {  # one of them, several, an example
    int: ("a whole number", "whole numbers", "8"),
    float: ("a number", "numbers", "0.5"),
    str: ("a string", "strings", "a"),
    Path: ("a path", "paths", "a"),
    bool: ("true or false", "true or false", "true"),
    Any: ("a value", "values", "8"),
}
PAIR = tuple[int, int]
ASCENDING = tuple[float, float]  # a smallest and a largest value, wherever there is such an option
EXAMPLES = {"range": "[0,4095]"}  # by the option, where any value of the type would do as little as [0.1,0.5]
TYPED = ("builtins", "collections.abc", "pathlib")
SHOWN = 80  # characters of a value, in a message
MANY = 1_000  # items of a list; jsonargparse takes the square of their number in time

set_parsing_settings(import_path_denylist=["*"])  # jsonargparse imports nothing that a value may name


class Misfit(ValueError):
    """A value that its annotation does not take; the text, if any, ends the message about it."""


def members(hint: Any) -> list[Any]:
    """The types that an annotation allows: those of a union, or itself."""
    return list(get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else [hint]


def item(hint: Any) -> Any:
    """The annotation of the items of a list; None where it is not of a list, or of one of fixed length."""
    inside = get_args(hint)
    if get_origin(hint) not in LISTS or (len(inside) > 1 and inside[1:] != (Ellipsis,)):
        return None
    return inside[0] if inside else Any


def length(hint: Any) -> int:
    """How many numbers an annotation takes: 2 of tuple[float, float], or None; 1 of one that takes others too."""
    kinds = [member for member in members(hint) if member is not types.NoneType]
    if len(kinds) != 1 or get_origin(kinds[0]) is not tuple or item(kinds[0]) is not None:
        return 1
    return len(get_args(kinds[0])) if set(get_args(kinds[0])) <= {int, float} else 1


def is_number(word: str) -> bool:
    """Whether a word is a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def made_by(hint: Any) -> Any:
    """The return type of an annotation that is a callable; None for another."""
    return get_args(hint)[-1] if get_origin(hint) is Callable and get_args(hint) else None


def _is_callable(hint: Any) -> bool:
    """Whether an annotation is Callable, with or without its arguments."""
    return Callable in (hint, get_origin(hint))


def family(hint: Any) -> bool:
    """Whether an annotation is a class of one of copyfold's families."""
    return isinstance(hint, type) and issubclass(hint, Recorded)


def sayable(hint: Any) -> bool:
    """Whether some value of an annotation can be typed: a number, a string, a class by name, a list of these.

    Images, other tensors and modules cannot.
    """
    if hint is Any or get_origin(hint) is Literal or family(hint) or family(made_by(hint)):
        return True
    if inside := get_args(hint):
        return any(map(sayable, inside))
    if isinstance(hint, type):
        return (hint.__module__ in TYPED and hint is not types.NoneType) or issubclass(hint, Enum)
    return True


def check_few(where: str, value: Any) -> None:
    """UsageError where a word, or a value of a recipe, has more than `MANY` items, those of all its lists."""
    if _items(value) > MANY:
        raise UsageError(f"{where} {shown(value)} is invalid: expected at most {MANY:,} items")


def _items(value: Any) -> int:
    """The items in a value; of a word as many as it has commas and lines."""
    if isinstance(value, str):
        return 1 + value.count(",") + value.count("\n")
    inside = cast("dict[Any, Any]", value).values() if isinstance(value, Mapping) else value
    return sum(map(_items, inside)) if isinstance(value, Mapping | list | tuple) else 1


def read(hint: Any, value: Any) -> Any:
    """A typed word, or a value of a recipe, converted for an annotation; Misfit where it does not fit.

    jsonargparse decides whether a value fits; its message is not used.
    """
    if isinstance(value, str) and aliases(value):
        raise Misfit
    try:
        small = _reader(hint) if isinstance(hint, Hashable) else _reader.__wrapped__(hint)
        if isinstance(value, str):
            found = small.parse_args([f"--value={value}"]).value
        else:
            found = small.parse_object({"value": value}).value
        if huge(found):
            raise Misfit
    except (ArgumentError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise Misfit from None
    if _beyond(found):
        raise Misfit(f", no larger than {FLOAT:g}")
    return found


def _beyond(value: Any) -> bool:
    """Whether a number, or one in a value, is finite and no float32; torch raises errors of all kinds for one."""
    if isinstance(value, dict):
        return any(map(_beyond, cast("dict[Any, Any]", value).values()))
    if isinstance(value, list | tuple):
        return any(map(_beyond, cast("list[Any]", value)))
    return isinstance(value, float) and FLOAT < abs(value) < math.inf


@lru_cache(maxsize=256)
def _reader(hint: Any) -> ArgumentParser:
    """A parser with the one option --value; it takes any value of a type that jsonargparse cannot check."""
    small = ArgumentParser(exit_on_error=False, add_help=False)
    with suppress(ValueError):
        small.add_argument("--value", type=hint)
        return small
    small.add_argument("--value", type=Any)
    return small


def load(text: str) -> Any:
    """A string read as YAML; the string itself where it is not YAML."""
    try:
        found = yaml.safe_load(text)
        return text if huge(found) else found
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def shown(value: Any) -> str:
    """A value for a message, in one line, cut after 80 characters."""
    if value is None or isinstance(value, list | dict):
        value = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n")
    text = " ".join(str(value).split()) or "''"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


# ---------------------------------------------------------------- words for annotations


def invalid(where: str, value: Any, hint: Any, names: Callable[[type], Iterable[str]]) -> str:
    """The message about a value that does not fit; `names` gives the class names of a family."""
    return f"{where} {shown(value)} is invalid: expected {expected(hint, names, where)}"


def expected(hint: Any, names: Callable[[type], Iterable[str]], where: str = "") -> str:
    """What an annotation takes, in words: "a whole number", "crop or pad", "a list of numbers, as in [0.5]".

    `where` is the option, which may have an example of its own.
    """
    kinds = members(hint)
    if PAIR in kinds:  # a size, which is a string where it is typed
        kinds = [kind for kind in kinds if kind is not str]
    example = EXAMPLES.get(where.removeprefix("--"), "")
    words = [word for member in kinds for word in _words(member, names, example)]
    found = either(dict.fromkeys(word for word in words if word != WORDS[Path][0] or len(words) == 1))
    if found:
        return found
    kind = "a callable" if any(map(_is_callable, members(hint))) else "a value"
    return f"{kind}, which the command line cannot give; use Python"


def _words(hint: Any, names: Callable[[type], Iterable[str]], example: str) -> list[str]:
    """The words of one member of an annotation."""
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint) if value is not None]
    base = made_by(hint) or hint
    if family(base):
        return list(names(base))
    if hint == PAIR:
        return ["height x width, as in 48x64"]
    if get_origin(hint) in LISTS:
        example = example or _example(hint, names)
        return [f"{_several(hint, names)}, as in {example}" if example else _several(hint, names)]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return list(hint.__members__)
    if hint in MAPPINGS or get_origin(hint) in MAPPINGS:
        return ["a mapping, as in {a: 1}"]
    return [WORDS[hint][0]] if hint in WORDS else []


def _several(hint: Any, names: Callable[[type], Iterable[str]], many: bool = False) -> str:
    """A list or lists in words: "a list of whole numbers", "lists of 2 whole numbers"."""
    inside, kind = get_args(hint), "lists" if many else "a list"
    if not inside:
        return kind
    count = f"{len(inside)} " if item(hint) is None else ""
    first = members(inside[0])[0]
    if get_origin(first) in LISTS:
        return f"{kind} of {count}{_several(first, names, many=True)}"
    if first in WORDS:
        return f"{kind} of {count}{WORDS[first][1]}"
    return kind


def _example(hint: Any, names: Callable[[type], Iterable[str]]) -> str:
    """An example value of the annotation, as it is typed; "" where there is none."""
    first = members(hint)[0]
    if get_origin(first) is Literal:
        return str(get_args(first)[0])
    if get_origin(first) in LISTS:
        if first == ASCENDING:
            return "[0.1,0.5]"
        inside = get_args(first) or (Any,)
        one = _example(inside[0], names)
        return f"[{','.join([one] * (1 if item(first) is not None else len(inside)))}]" if one else ""
    if family(first):
        return next(iter(names(first)), "")
    return WORDS[first][2] if first in WORDS else ""


def either(words: Iterable[str]) -> str:
    """Words as an enumeration: "a, b or c"."""
    *others, last = [*words] or [""]
    return f"{', '.join(others)} or {last}" if others else last
