"""Flags from signatures, by jsonargparse."""

import argparse
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import docstring_parser
from jsonargparse import ActionYesNo, ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from copyfold import catalogue
from copyfold.cli import _wording
from copyfold.errors import UsageError


def parser(command: str, description: str | None) -> ArgumentParser:
    """A parser for one command that raises instead of leaving, and knows every class of ours by its name.

    A flag or a config can name those classes and nothing else: any other import path is refused unimported.
    """
    for family in _wording.FAMILIES:
        catalogue.modules(f"copyfold.{family}")
    ours = [f"{place}.{n}" for n, c in _wording.classes().items() for place in ("copyfold", c.__module__)]
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=ours)
    text = inspect.cleandoc(description or "")
    return ArgumentParser(prog=f"copyfold {command}", description=text, exit_on_error=False, allow_abbrev=False)


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parse, and make every object that a flag describes. UsageError says what was wrong, and what is near it."""
    try:
        return parser.instantiate(parser.parse_args(list(arguments)))
    except UsageError:
        raise
    except (ArgumentError, ValueError, TypeError) as error:
        raise UsageError(_wording.readable(str(error), parser)) from None


def parse_over(parser: ArgumentParser, below: Sequence[str], arguments: Sequence[str]) -> Namespace:
    """Parse with every --config beneath the flags, wherever it stands; an error says which file it is in."""
    configs = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    configs.add_argument("--config", action="append", default=[])
    try:
        found, flags = configs.parse_known_args(arguments)
    except argparse.ArgumentError:
        raise UsageError("--config needs a file: a recipe, as in RUN/recipe.yaml") from None
    for file in found.config:
        below = [*below, f"--config={file}"]
        try:
            parse(parser, below)
        except UsageError as error:
            raise UsageError(f"--config {file}: {error}") from None
    return parse(parser, [*below, *flags])


class Given(argparse.Action):
    """A positional argument that leaves what a config says alone where it is not given."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Store the word, if there is one."""
        if values is not None:
            setattr(namespace, self.dest, values)


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
