"""What --help says of an option: what it is, what it can be and its default, in words and not in types."""

import argparse
import types
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ActionYesNo, DefaultHelpFormatter, Namespace

WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}


class Help(DefaultHelpFormatter):
    """jsonargparse's help without the types of the code; without options that only Python can give, too."""

    def add_usage(self, usage: Any, actions: Iterable[argparse.Action], *args: Any, **kwargs: Any) -> None:
        """Leave out what cannot be typed."""
        super().add_usage(usage, [action for action in actions if _typed(action)], *args, **kwargs)

    def add_argument(self, action: argparse.Action) -> None:
        """Leave out what cannot be typed."""
        if _typed(action):
            super().add_argument(action)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return "NAME" if _of_a_class(action) else super()._format_args(action, default_metavar)

    def _get_help_string(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._HelpAction):
            return super()._get_help_string(action)
        if _of_a_class(action):
            return "Say what one of them takes, and exit."
        text, said = action.help or "", "; ".join(filter(None, (_kinds(action), _default(action))))
        # what has no words of its own is asked for twice, the second time with the answer to the first
        return text if not said or text.endswith(f"({said})") else f"{text} ({said})".lstrip()


def _typed(action: argparse.Action) -> bool:
    """Whether a person can type a value: not where images or labels are meant."""
    return "Tensor" not in str(getattr(action, "_typehint", None))


def _of_a_class(action: argparse.Action) -> bool:
    """Whether an option is the --NAME.help of another one."""
    return any(option.endswith(".help") for option in action.option_strings)


def _kinds(action: argparse.Action) -> str:
    """What an option can be: names of classes, else choices or kinds of values; "" where the usage says it."""
    hint = getattr(action, "_typehint", None) or action.type
    if hint in (None, bool) or get_origin(hint) is Literal or isinstance(action, ActionYesNo) or action.choices:
        return ""
    known = action.extra_help() if hasattr(action, "extra_help") else ""  # pyright: ignore[reportAttributeAccessIssue]
    if known:
        names = [path.rpartition(".")[2] for path in known.partition(": ")[2].split(", ")]
        return ("a list of " if _listed(hint) else "") + ", ".join(names)
    return " or ".join(dict.fromkeys(_words(hint)))


def _listed(hint: Any) -> bool:
    return isinstance(get_origin(hint), type) and issubclass(get_origin(hint), Sequence)


def _words(hint: Any) -> list[str]:
    """The kinds of values that an annotation allows."""
    if hint in (None, types.NoneType):
        return []
    if get_origin(hint) is Literal:
        return [str(choice) for choice in get_args(hint)]
    inside = [word for part in get_args(hint) if part is not Ellipsis for word in _words(part)]
    if _listed(hint):
        return [f"list of {' or '.join(dict.fromkeys(inside))}"]
    return inside or [WORDS.get(hint, getattr(hint, "__name__", str(hint)).lower())]


def _default(action: argparse.Action) -> str:
    """What holds unless given, as one would type it; "" where nothing does, and of a switch, which is off."""
    value = action.default
    switch = isinstance(action, ActionYesNo) or action.nargs == 0
    if value is None or (switch and not value) or value == argparse.SUPPRESS or value in ((), []):
        return ""
    return f"default {_plain(value)}"


def _plain(value: Any) -> str:
    """A value; where it is a description of a class, its name with its arguments."""
    value = value.as_dict() if isinstance(value, Namespace) else value
    if isinstance(value, dict) and "class_path" in value:
        given = ", ".join(f"{name}={_plain(part)}" for name, part in value.get("init_args", {}).items())
        return value["class_path"].rpartition(".")[2] + (f"({given})" if given else "")
    return str(value).lower() if isinstance(value, bool) else str(value)
