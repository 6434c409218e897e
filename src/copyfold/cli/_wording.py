"""What jsonargparse says of a wrong argument, as a person would: the option, the value, what would be right."""

import inspect
import re
from collections.abc import Sequence
from typing import Any, get_args

from jsonargparse import ArgumentParser

from copyfold import catalogue

FAMILIES = ("corruptions", "models", "objectives", "samplers", "probes")

_WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}

CONFIG = 'Parser key "config": '

_NO_CLASS = (
    r"Expected a dot import path string: (\S+)",
    r"Importing '(\S+)' is not allowed",
    r"Import path (\S+) does not correspond",
    r"Expected '(\S+)' to be",
)


def readable(message: str, parser: ArgumentParser) -> str:
    """One line about what is wrong: the option, the value, and the nearest that is valid."""
    text = " ".join(message.split())
    key = ".".join(re.findall(r'Parser key "([\w.]+)"', text))
    if found := re.search(r"unrecognized arguments: (\S+)", text):
        return _unknown_word(found[1].split("=")[0], parser)
    if found := re.search(r"--([\w.]+)\.help: .*: (\S+)", text):
        return (
            f"--{found[1]}.help {found[2]} is not known: {catalogue.nearest(found[2], _choices(found[1], parser))}"
        )
    if "Unexpected config" in text:
        return "it is no recipe, which is YAML of the form option: value"
    if key == "config" or "Problems parsing config" in text or "codec can't decode" in text:
        return f"it cannot be read: {text.replace(CONFIG, '')}"
    if found := next(filter(None, (re.search(pattern, text) for pattern in _NO_CLASS)), None):
        name = found[1].removeprefix("copyfold.")
        return f"--{key} {name} is not known: {catalogue.nearest(name, _choices(key, parser))}"
    if "is abstract" in text:
        return f"--{key} must be named before its options are: choose one of {', '.join(_choices(key, parser))}"
    if found := re.search(r"Option '([\w.-]+)\+?' is not accepted", text):
        return _unknown_option(found[1], key, text, parser)
    if found := re.search(
        r"Expected (?:an? |one of )?(.+?)\. Got value: (.*?)\.?(?: Got value| - Expected|$)", text
    ):
        return f"--{key} {found[2]} cannot be: it must be {_kinds(found[1], _choices(key, parser))}"
    if found := re.search(r"Subtypes: \[(.+)\] Errors:.* Given value: (.*?)\.?(?: Got value|$)", text):
        return f"--{key} {found[2]} cannot be: it must be {_kinds(found[1])}"
    if found := re.search(r"arguments are required: (.+)", text):
        return f"{parser.prog} needs {found[1].upper()}: see {parser.prog} --help"
    return f"{text.removeprefix('argument ')}: see {parser.prog} --help"


def classes(families: Sequence[str] = FAMILIES) -> dict[str, type]:
    """Every class of ours that can be an argument, by name."""
    found = {n: m for family in families for n, m in catalogue.members(f"copyfold.{family}").items()}
    return {name: member for name, member in found.items() if inspect.isclass(member)}


def _unknown_word(word: str, parser: ArgumentParser) -> str:
    """About a word on the command line that nothing takes."""
    if not word.startswith("-"):
        return f"{word!r} is one word too many: see {parser.prog} --help"
    flags = [flag for action in parser._actions for flag in action.option_strings if len(flag) > 2]
    return f"{word} is no option of {parser.prog}: {catalogue.nearest(word, flags)}"


def _unknown_option(option: str, key: str, text: str, parser: ArgumentParser) -> str:
    """About an option that its class does not have, or one of a config file that the command does not have."""
    owners = re.findall(r"given class_path '(?:\w+\.)*(\w+)'", text) or re.findall(
        r"class_path='(?:\w+\.)*(\w+)'", text
    )
    if not owners:
        return f"{option} is no option of {parser.prog}: " + catalogue.nearest(
            option, [action.dest for action in parser._actions if action.dest not in ("help", "config")]
        )
    takes = [name for name in inspect.signature(classes()[owners[-1]]).parameters if name != "shape"]
    return f"--{key}.{option} is no option of {owners[-1]}: " + (
        catalogue.nearest(option, takes) if takes else f"{owners[-1]} has none"
    )


def _choices(key: str, parser: ArgumentParser) -> list[str]:
    """The classes that an option can be: those of the family that its annotation names."""
    name = key.rpartition(".")[2]
    hints = [getattr(action, "_typehint", None) for action in parser._actions if action.dest == name]
    for owner in classes().values():
        parameter = inspect.signature(owner).parameters.get(name)
        hints += [parameter.annotation] if parameter else []
    bases = {
        base for hint in hints for base in _leaves(hint) if inspect.isclass(base) and inspect.isabstract(base)
    }
    return sorted({name for base in bases for name in catalogue.classes(base)})


def _leaves(hint: Any) -> list[Any]:
    """The types that an annotation is made of."""
    inside = hint if isinstance(hint, list) else get_args(hint)
    return [leaf for part in inside for leaf in _leaves(part)] if inside else [hint]


def _kinds(hints: str, inside: Sequence[str] = ()) -> str:
    """jsonargparse's list of types in words: "<class 'int'>, <class 'NoneType'>" is "a whole number"."""
    if "Sequence" in hints:
        return f"a list, as in [{inside[0] if inside else '1,2'}]"
    words = [str(_WORDS.get(name, name)) for name in re.findall(r"<class '(?:\w+\.)*(\w+)'>", hints)]
    words += re.findall(r"'(\w+)'(?!>)", hints)
    words = [word for word in words if word != "NoneType"] or [hints]
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
