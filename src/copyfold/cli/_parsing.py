"""The options of a command: flags from signatures, by jsonargparse; words and recipes are checked before.

The annotations of the options and of the chosen classes decide here which flags there are, which take a value, and
whether a value fits. jsonargparse turns signatures into flags and help, and checks the type of a value. It never
reads a file, and imports nothing.
"""

import argparse
import difflib
import inspect
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

import docstring_parser
from jsonargparse import ActionYesNo, ArgumentError, ArgumentParser, Namespace

from copyfold import catalogue
from copyfold.cli import _choices, _classes, _help, _imports, _values
from copyfold.errors import LARGEST, UsageError
from copyfold.files import RECIPE, recipe_from
from copyfold.hub import fetched, is_address

RECIPES = Path(__file__).parents[1] / "recipes"
OURS = ("help", "config", "import")  # not in recipes
TYPED = ("run", "resume", "overwrite")  # not in recipes, which may come from someone else
WRITTEN = ("--run", "--out", "--picture", "--marks", "--pairs")  # names of what is written

CLOSE = 0.7  # the least similarity of a suggested name
USUAL = {  # what other programs call an option
    "max_steps": ("steps",),
    "iterations": ("steps",),
    "batch_size": ("batch",),
    "learning_rate": ("lr",),
}


Again = Callable[..., str]
"""The command line once more, with a word at its end."""


class Parser(ArgumentParser):
    """A parser that raises instead of exiting, with options that take a class of a family."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, formatter_class=_help.Help, **keywords)
        self.hints: dict[str, Any] = {}
        self.defaults: dict[str, str] = {}

    def add_choice(self, flag: str, hint: Any, help: str, default: str | None = None) -> None:
        """Add an option that takes a class and the options of that class: its annotation, and its default."""
        name = flag.removeprefix("--")
        self.hints[name] = hint
        if default:
            self.defaults[name] = default
        found = _choices.slot(hint)
        known = ", ".join(_classes.names(*found.families())) if found else ""
        more = f"{flag}.OPTION sets an option of the class, {flag}.help CLASS describes a class"
        self.add_argument(flag, metavar="CLASS", default=default, help=f"{help}; {more} ({known})")

    def print_help(self, file: Any = None) -> None:
        """As argparse, which says nothing where the disk behind stdout is full."""
        print(self.format_help(), end="", file=file)

    def flags(self) -> dict[str, argparse.Action]:
        """Every option by its flags."""
        return {flag: action for action in self._actions for flag in action.option_strings}


class Recipe(NamedTuple):
    """The file of a recipe that was given to --config, and what messages call it."""

    file: Path
    said: str

    def loaded(self) -> Mapping[str, Any]:
        """Its options; see `loaded`."""
        return loaded(self.file)


class Word(NamedTuple):
    """A flag of the command line, and its value where it has one."""

    flag: str
    value: str | None

    @property
    def path(self) -> list[str]:
        """The names on its path: those of --model.middle are model and middle."""
        return self.flag.removeprefix("--").removesuffix("+").split(".")


def parser(command: str, description: str | None) -> Parser:
    """A parser for one command, without its own options."""
    text = inspect.cleandoc(description or "")
    made = Parser(prog=f"copyfold {command}", description=text, exit_on_error=False, allow_abbrev=False)
    made.add_argument(_imports.FLAG, metavar="NAME", default=argparse.SUPPRESS, help=_imports.HELP)
    return made


def parse(parser: Parser, arguments: Sequence[str]) -> Namespace:
    """The options, with the objects that they describe. Flags override every --config, in any order.

    Their `config` is a list of `Recipe`. UsageError says what is wrong, suggests the nearest name, and names the
    file where it is in one.
    """
    words, others = split(parser, arguments)
    if any(word.flag in ("-h", "--help") for word in words):
        parser.print_help()
        raise SystemExit(0)
    choices = _choices.Choices(parser.hints)
    for name, default in parser.defaults.items():
        choices.set(name, default)
    takes_recipes = "--config" in parser.flags()
    configs = [recipe_of(word.value) for word in words if takes_recipes and word.flag == "--config"]
    below: dict[str, Any] = {}
    for recipe in configs:
        try:
            below |= _options(parser, choices, recipe.loaded())
            for name in parser.hints:
                choices.made(name)
        except UsageError as error:
            raise UsageError(f"--config {recipe.said}: {error}") from None
    for word in words:
        if word.flag in WRITTEN and word.value == "":
            raise UsageError(f"{word.flag} is empty: give a name, or leave it out")
    flags = _flags(parser, choices, [word for word in words if word.flag != "--config" or not configs])
    _count(parser, others)
    made = {name: choices.made(name) for name in parser.hints}
    try:
        found = parser.parse_args([*flags, "--", *others] if others else flags, namespace=Namespace(**below))
    except (ArgumentError, ValueError, TypeError, RecursionError) as error:
        said = " ".join(str(error).split()).removeprefix("argument ")
        raise UsageError(f"{said}: see {parser.prog} --help") from None
    for name, value in made.items():
        found[name] = value
    if configs:
        found["config"] = configs
    return found


def split(parser: Parser, arguments: Sequence[str]) -> tuple[list[Word], list[str]]:
    """The flags with their values, and the other words. In a flag a hyphen and an underscore are the same."""
    known, waiting = parser.flags(), list(arguments)
    spelled = {flag.replace("_", "-"): flag for flag in known}
    words: list[Word] = []
    others: list[str] = []
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return words, [*others, *waiting]
        if not _is_flag(word):
            others.append(word)
            continue
        flag, equals, value = word.partition("=")
        flag = spelled.get(flag.replace("_", "-"), flag)
        if flag.startswith("--") and "." in flag:  # names of Python, which have no hyphen
            flag = "--" + flag.removeprefix("--").replace("-", "_")
        if equals:
            words.append(Word(flag, value))
        elif waiting and not _is_flag(waiting[0]) and not (flag in known and known[flag].nargs == 0):
            words.append(Word(flag, _taken(waiting, known.get(flag))))
        else:
            words.append(Word(flag, None))
    return words, others


def again(command: str, arguments: Sequence[str], *more: str) -> str:
    """A command line once more, with more words at its end, to be pasted into a shell."""
    imports = (word for name in _imports.given for word in (_imports.FLAG, name))
    return shlex.join(["copyfold", command, *arguments, *imports, *more])


def unasked(recipe: str, data: object, again: Again | None, what: Literal["data", "masks"] = "data") -> str:
    """The error about images or masks that only a recipe names, with the command that names them."""
    named = "images" if what == "data" else "masks"
    said = f"{recipe} names the {named} {data!r}, and a file from others may name any place"
    word = str(data)
    known = word.isprintable() and (os.path.isabs(word) or word.startswith("hf://"))
    what_to_do = "if you want these to be read, name them" if known else f"give the {named} yourself"
    if again is None:
        return f"{said}: {what_to_do} by --masks"
    given = word if known else what.upper()
    return f"{said}: {what_to_do}, {again(given) if what == 'data' else again('--masks', given)}"


def at_least(options: Namespace, **least: int) -> None:
    """Refuse options below their least value, and those of 2^63 and above."""
    for name, value in least.items():
        if options[name] < value:
            raise UsageError(f"--{name} {options[name]} is invalid: expected at least {value}")
        if options[name] > LARGEST:
            raise UsageError(f"--{name} {options[name]} is invalid: expected a number below 2^63")


# ---------------------------------------------------------------- words


def _is_flag(word: str) -> bool:
    """Whether a word is a flag, and not a negative number."""
    if len(word) < 2 or not word.startswith("-") or " " in word.partition("=")[0]:
        return False
    return not _values.is_number(word)


def _flags(parser: Parser, choices: _choices.Choices, words: list[Word]) -> list[str]:
    """Put the flags of classes into the tree of choices, and return the other flags, each with its value.

    Classes are read first and their options then, in any order on the command line.
    """
    known = parser.flags()
    classes = [word for word in words if word.path[0] in parser.hints and word.path[-1] != "help"]
    named: list[Word] = []
    for word in sorted(classes, key=lambda word: len(word.path)):
        if word.value is not None and not word.flag.endswith("+") and choices.is_name(word.path):
            choices.option(word.path, word.value)
            named.append(word)
    plain, unknown = [], []
    for word in words:
        if any(word is done for done in named):
            continue
        if word.path[0] in parser.hints:
            _of_class(choices, word)
        elif word.flag in known:
            plain.append(_plain(word, known[word.flag]))
        else:
            unknown.append(word.flag)
    if unknown:
        _refuse(unknown[0], parser, choices)
    return plain


def _of_class(choices: _choices.Choices, word: Word) -> None:
    """Read an option that takes a class, or is an option of one; or print --model.help and exit."""
    if word.path[-1] == "help" and len(word.path) > 1:
        print("\n".join(choices.help(word.path[:-1], word.value)))
        raise SystemExit(0)
    if word.value is None:
        raise UsageError(f"{word.flag} needs a value: expected {choices.expected(word.path)}")
    choices.option(word.path, word.value, add=word.flag.endswith("+"))


def _plain(word: Word, action: argparse.Action) -> str:
    """A flag that takes no class, with its checked value."""
    if action.nargs == 0:
        if word.value is not None:
            raise UsageError(f"{word.flag} takes no value: write {' or '.join(action.option_strings)}")
        return word.flag
    hint = _hint(action)
    if word.value is None:
        raise UsageError(
            f"{word.flag} needs a value: expected {_values.expected(hint, _classes.names, word.flag)}"
        )
    if action.choices is not None and word.value not in action.choices:
        raise UsageError(f"{word.flag} {word.value} is invalid: expected {_values.either(action.choices)}")
    _classes.plain(word.flag, hint, word.value)
    return f"{word.flag}={word.value}"


def _hint(action: argparse.Action) -> Any:
    """The annotation of an option, which jsonargparse stores in its action; any string without one."""
    return bool if isinstance(action, ActionYesNo) else getattr(action, "_typehint", str | None)


def _taken(waiting: list[str], action: argparse.Action | None) -> str:
    """Take the value of a flag from the words: one of them, or as many numbers as it takes, as --range 0 4095."""
    count = 1 if action is None else _values.length(_hint(action))
    if count > 1 and len(waiting) >= count and all(map(_values.is_number, waiting[:count])):
        return f"[{','.join(waiting.pop(0) for _ in range(count))}]"
    return waiting.pop(0)


def _refuse(flag: str, parser: Parser, choices: _choices.Choices) -> NoReturn:
    """The error about an unknown flag, with the nearest, also among the options of the chosen classes."""
    every = [*(known for known in parser.flags() if len(known) > 2), *choices.all()]
    names: dict[str, str] = {}
    for known in sorted(every, key=lambda known: known.count(".")):
        for name in (known.removeprefix("--"), known.removeprefix("--").rpartition(".")[2]):
            names.setdefault(name.lower(), known)
    given = flag.lstrip("-").lower()
    near = [names[name] for name in difflib.get_close_matches(given, names, n=1, cutoff=CLOSE)]
    usual = [f"--{name}" for name in _usual(given, [known.removeprefix("--") for known in every])]
    meant = near if given in names else usual or near
    hint = f"did you mean {' or '.join(meant)}?" if meant else f"see {parser.prog} --help"
    raise UsageError(f"{flag} is not an option of {parser.prog}: {hint}")


def _usual(given: str, known: Iterable[str]) -> list[str]:
    """The options of the command that correspond to an option of another program."""
    return [name for name in USUAL.get(given.lower().replace("-", "_"), ()) if name in known]


def _count(parser: Parser, others: list[str]) -> None:
    """Refuse too many or too few positional arguments."""
    places = [action for action in parser._actions if not action.option_strings]
    if len(others) > len(places) and not any(action.nargs in ("*", "+") for action in places):
        raise UsageError(f"unexpected argument {others[len(places)]!r}: see {parser.prog} --help")
    missing = [action for action in places if action.nargs not in ("?", "*")][len(others) :]
    if missing:
        names = ", ".join(action.dest.upper() for action in missing)
        raise UsageError(f"{parser.prog} needs {names}: see {parser.prog} --help")


# ---------------------------------------------------------------- recipes


def recipes() -> list[str]:
    """The names of the recipes that come with copyfold."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_of(given: str | None) -> Recipe:
    """What --config gives: a file, that of a run's folder or of a run on the Hub, or one of copyfold's by name.

    Of a run on the Hub nothing else is fetched, once for each time that this is asked.
    """
    if not given:
        raise UsageError("--config needs a file: a recipe, as in RUN/recipe.yaml")
    if is_address(given):
        file = fetched(given, ("recipe.yaml",)) / "recipe.yaml"
        if not file.is_file():
            raise UsageError(f"--config {given} is not a run: there is no recipe.yaml in it")
        return Recipe(file, f"{given}/recipe.yaml")
    file = Path(given)
    if (file / "recipe.yaml").is_file():  # the folder of a run
        file /= "recipe.yaml"
    elif not file.exists() and file.name == given and not file.suffix:
        if given not in recipes():
            raise UsageError(
                f"--config {given} is neither a file nor a recipe: {catalogue.nearest(given, recipes())}"
            )
        file = RECIPES / f"{given}.yaml"
    return Recipe(file, str(file))


def loaded(file: Path) -> Mapping[str, Any]:
    """The content of a recipe. UsageError where it is none, or would fill the memory or the stack."""
    try:
        text = _start(file) if file.is_file() else _once(file)
        if len(text) > RECIPE:
            raise UsageError(f"it is too large for a recipe: expected at most {RECIPE} characters")
        return recipe_from(text)
    except FileNotFoundError:
        raise UsageError("it does not exist") from None
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        raise UsageError(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _start(file: Path) -> str:
    """As much of a file as a recipe may have, and one character more."""
    with file.open(encoding="utf-8") as opened:
        return opened.read(RECIPE + 1)


_once = cache(_start)
"""The same of a pipe, which gives its text only once."""


def _options(parser: Parser, choices: _choices.Choices, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Put the classes of a recipe into the tree of choices, and return its other options."""
    known = {action.dest: action for action in parser._actions if action.dest not in OURS}
    found: dict[str, Any] = {}
    for name, value in recipe.items():
        if name in TYPED and name in known:
            raise UsageError(f"{name} is not allowed in a recipe: give --{name} on the command line")
        if name not in known:
            usual = _usual(str(name), known)
            hint = f"did you mean {' or '.join(usual)}?" if usual else catalogue.nearest(str(name), known)
            raise UsageError(f"{name} is not an option of {parser.prog}: {hint}")
        if name in parser.hints:
            choices.set(name, value)
        else:
            where = f"--{name}" if known[name].option_strings else name
            found[name] = _classes.plain(where, _hint(known[name]), value, written=True)
    return found


# ---------------------------------------------------------------- from signatures


class Given(argparse.Action):
    """A positional argument that does not override a --config where it is not given."""

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

    They form one group of the help, with this title. A boolean parameter becomes a pair of flags, --skip-bad and
    --no-skip-bad. `but` names parameters to leave out that jsonargparse finds behind the function's **keywords.
    Returns the group, so that more options can be added to it.
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
