"""Flags from signatures, by jsonargparse; and its messages, rewritten for people."""

import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import docstring_parser
import yaml
from jsonargparse import ActionYesNo, ArgumentError, ArgumentParser, Namespace

from copyfold import catalogue
from copyfold.errors import UsageError

_FAMILIES = ("corruptions", "models", "objectives", "samplers", "probes")


def parser(command: str, description: str | None) -> ArgumentParser:
    """A parser for one command that raises instead of leaving, and knows every class of ours by its name."""
    for family in _FAMILIES:
        catalogue.modules(f"copyfold.{family}")
    text = inspect.cleandoc(description or "")
    return ArgumentParser(prog=f"copyfold {command}", description=text, exit_on_error=False)


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parse, and make every object that a flag describes. UsageError says what was wrong, and what is near it."""
    try:
        return parser.instantiate(parser.parse_args(list(arguments)))
    except ArgumentError as error:
        raise UsageError(_readable(str(error), parser)) from None
    except (ValueError, TypeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(_readable(str(error), parser)) from None


def trusted(path: str | Path) -> str:
    """The path of a config file, once it is certain that it names nothing but copyfold's own classes."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"--config {path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"--config {path} is not a recipe: it must be YAML of the form option: value")
    for key, value in _strings({k: v for k, v in content.items() if k not in ("data", "run")}):
        if "." in value and not re.fullmatch(r"[-+0-9.e]+", value):
            raise UsageError(
                f"--config {path}: {key}: {value!r} is not a name of copyfold's; a config can name only its own classes"
            )
    return str(path)


def _strings(value: Any, key: str = "") -> list[tuple[str, str]]:
    """Every string within nested lists and dicts, with the key it stands under."""
    if isinstance(value, dict):
        return [found for k, v in value.items() for found in _strings(v, str(k))]
    if isinstance(value, list):
        return [found for v in value for found in _strings(v, key)]
    return [(key, value)] if isinstance(value, str) else []


def _readable(message: str, parser: ArgumentParser) -> str:
    """What jsonargparse says, as a person would: the option, the value, and the nearest that is valid."""
    text = " ".join(message.split())
    if found := re.search(r"unrecognized arguments: (\S+)", text):
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        name = found[1].split("=")[0]
        return f"{name} is no option of {parser.prog}: {catalogue.nearest(name, flags)}"
    classes = {name: c for family in _FAMILIES for name, c in catalogue.members(f"copyfold.{family}").items()}
    if found := re.search(r"Expected a dot import path string: (\S+?)\.?$|Undefined class_path: (\S+)", text):
        name = found[1] or found[2]
        key = _key(text)
        known = [n for n, c in classes.items() if inspect.isclass(c) and not inspect.isabstract(c)]
        return f"--{key} {name} is not known: {catalogue.nearest(name, known)}"
    if found := re.search(r"Option '(\w+)\+?' is not accepted", text):
        owner = re.findall(r"class_path(?:=| )'[\w.]*?(\w+)'", text)
        takes = list(inspect.signature(classes[owner[-1]]).parameters) if owner and owner[-1] in classes else []
        return f"--{_key(text)}.{found[1]} is no option of {owner[-1] if owner else _key(text)}: " + (
            catalogue.nearest(found[1], [name for name in takes if name != "shape"])
        )
    if found := re.search(r"Expected (?:a|an|one of) (.+?)\. Got value: (\S+?)\.?(?: |$)", text):
        wanted = re.sub(r"<class '(\w+)'>|typing\.", r"\1", found[1])
        return f"--{_key(text)} {found[2]} cannot be: it must be {wanted}"
    if found := re.search(r"Subtypes: \[(.+?)\].*Given value: (.+)$", text):
        return f"--{_key(text)} {found[2]} cannot be: it must be one of {found[1]}"
    return text


def _key(text: str) -> str:
    """The option that a message of jsonargparse is about."""
    return ".".join(re.findall(r'Parser key "([\w.]+)"', text)) or "option"


def takes(parser: ArgumentParser, function: Callable[..., Any], *names: str) -> None:
    """Add the named parameters of a function or class as flags: types, defaults and help from its signature.

    A yes-or-no parameter becomes a pair of flags, --skip-bad and --no-skip-bad.
    """
    parameters = inspect.signature(function).parameters
    switches = [name for name in names if parameters[name].annotation is bool]
    skip = set(parameters) - set(names) | set(switches)
    add = parser.add_class_arguments if inspect.isclass(function) else parser.add_function_arguments
    add(function, skip=skip)
    helps = {p.arg_name: p.description for p in docstring_parser.parse(inspect.getdoc(function) or "").params}
    for name in switches:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            action=ActionYesNo(no_prefix="no-"),
            default=parameters[name].default,
            help=helps.get(name),
        )
