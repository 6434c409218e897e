"""What --help says of an option: what it is, what it can be and its default, in words and not in types."""

import argparse
from typing import Any, Literal, get_origin

from jsonargparse import ActionYesNo, DefaultHelpFormatter

from copyfold.cli import _classes, _values


class Help(DefaultHelpFormatter):
    """jsonargparse's help without the types of the code."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._HelpAction):  # pyright: ignore[reportPrivateUsage]
            return super()._get_help_string(action)
        text, said = action.help or "", "; ".join(filter(None, (_kinds(action), _default(action))))
        # what has no words of its own is asked for twice, the second time with the answer to the first
        return text if not said or text.endswith(f"({said})") else f"{text} ({said})".lstrip()


def _kinds(action: argparse.Action) -> str:
    """What an option can be; "" where the usage says it, or the help of a class does."""
    hint = getattr(action, "_typehint", None) or action.type
    if hint in (None, bool) or get_origin(hint) is Literal or isinstance(action, ActionYesNo) or action.choices:
        return ""
    return _values.expected(hint, _classes.names)


def _default(action: argparse.Action) -> str:
    """What holds unless given, as one would type it; "" where nothing does, and of a switch, which is off."""
    value: Any = action.default
    switch = isinstance(action, ActionYesNo) or action.nargs == 0
    if value is None or (switch and not value) or value == argparse.SUPPRESS or value in ((), []):
        return ""
    return f"default {_classes.written(value)}"
