"""Flags from signatures, by jsonargparse."""

import argparse
import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import docstring_parser
import yaml
from jsonargparse import ActionYesNo, ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from copyfold import catalogue
from copyfold.cli import _help, _wording
from copyfold.errors import UsageError

RECIPES = Path(__file__).parents[1] / "recipes"
RECIPE_LENGTH = 16_000  # one has a thousand characters; libyaml crashes on what is nested 20,000 deep


class _Parser(ArgumentParser):
    """jsonargparse's, with our help: of the command, and of every class that an option can be."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _help.Help)
        super().__init__(*args, **kwargs)


def parser(command: str, description: str | None, families: Sequence[str] = _wording.FAMILIES) -> ArgumentParser:
    """A parser for one command that raises instead of leaving, and knows the classes of these families by name.

    A flag or a config can name those classes and nothing else: any other import path is refused unimported.
    """
    known = _wording.classes(families).items()
    ours = [f"{place}.{name}" for name, cls in known for place in ("copyfold", cls.__module__)]
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=ours)
    text = inspect.cleandoc(description or "")
    return _Parser(prog=f"copyfold {command}", description=text, exit_on_error=False, allow_abbrev=False)


def parse(parser: ArgumentParser, arguments: Sequence[str], below: Namespace | None = None) -> Namespace:
    """Parse, and make every object that a flag describes. UsageError says what was wrong, and what is near it."""
    try:
        return parser.instantiate(parser.parse_args(list(arguments), namespace=below))
    except UsageError:
        raise
    except (ArgumentError, ValueError, TypeError, RecursionError) as error:
        raise UsageError(_wording.readable(str(error), parser)) from None


def at_least(options: Namespace, **least: int) -> None:
    """Refuse options below the least that they can be."""
    for name, value in least.items():
        if options[name] < value:
            raise UsageError(f"--{name} {options[name]} cannot be: it must be at least {value}")


def parse_over(parser: ArgumentParser, below: Sequence[str], arguments: Sequence[str]) -> Namespace:
    """Parse with every --config beneath the flags, wherever it stands; an error says which file it is in."""
    configs = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    configs.add_argument("--config", action="append", default=[])
    try:
        found, flags = configs.parse_known_args(arguments)
    except argparse.ArgumentError:
        raise UsageError("--config needs a file: a recipe, as in RUN/recipe.yaml") from None
    for file in map(_recipe, found.config):
        _refuse_bombs(Path(file))
        below = [*below, f"--config={file}"]
        try:
            parse(parser, below)
        except UsageError as error:
            raise UsageError(f"--config {file}: {error}") from None
    base = parser.parse_args(list(below))
    _forget(base, flags)
    return parse(parser, flags, base)


def recipes() -> list[str]:
    """The names of the recipes that come with copyfold."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def _recipe(given: str) -> str:
    """The file that --config means: a file, or the name of one of copyfold's own."""
    if Path(given).exists() or Path(given).name != given or Path(given).suffix:
        return given
    if given not in recipes():
        raise UsageError(f"--config {given} is neither a file nor a recipe: {catalogue.nearest(given, recipes())}")
    return str(RECIPES / f"{given}.yaml")


def _refuse_bombs(file: Path) -> None:
    """Refuse a recipe that is made to fill the memory or the stack; what else is wrong with it is said later."""
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(RECIPE_LENGTH + 1)
    except (OSError, ValueError):
        return
    if len(text) > RECIPE_LENGTH:
        raise UsageError(f"--config {file} is larger than any recipe of copyfold's: it was not read")
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with suppress(yaml.YAMLError):
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, fast)):
            raise UsageError(f"--config {file} uses aliases, which a recipe has no need of: it was not read")


def _forget(base: Namespace, flags: Sequence[str]) -> None:
    """Drop the arguments of every class that a flag replaces by another.

    They would be lent to it where a name is the same: the std of a recipe's Gaussian to a Blur.
    """
    words = [part for flag in flags for part in flag.split("=", 1)]
    for option, name in pairwise(words):
        path = option.removeprefix("--").replace(".", ".init_args.")
        former = base.get(path) if option.startswith("--") else None
        if isinstance(former, Namespace) and former.get("class_path", name).rpartition(".")[2] != name:
            former.pop("init_args", None)


class Given(argparse.Action):
    """A positional argument that leaves what a config says alone where it is not given."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Store the word, if there is one."""
        if values is not None:
            setattr(namespace, self.dest, values)


def takes(
    parser: ArgumentParser, function: Callable[..., Any], *names: str, title: str, but: Sequence[str] = ()
) -> Any:
    """Add the named parameters of a function or class as flags: types, defaults and help from its signature.

    They stand together in the help, under a title that says what they are for in this command. A yes-or-no
    parameter becomes a pair of flags, --skip-bad and --no-skip-bad. `but` are those not to be taken that
    jsonargparse finds behind the function's **keywords. Returns their group, for others to be added to it.
    """
    parameters = inspect.signature(function).parameters
    switches = [name for name in names if parameters[name].annotation is bool]
    skip: set[str | int] = {name for name in parameters if name not in names or name in switches}
    skip |= set(but)
    group = parser.add_argument_group(title)
    if inspect.isclass(function):
        group.add_class_arguments(function, skip=skip, as_group=False)
    else:
        group.add_function_arguments(function, skip=skip, as_group=False)
    helps = {p.arg_name: p.description for p in docstring_parser.parse(inspect.getdoc(function) or "").params}
    for name in switches:
        group.add_argument(
            f"--{name.replace('_', '-')}",
            action=ActionYesNo(no_prefix="no-"),
            default=parameters[name].default,
            help=helps.get(name),
        )
    return group
