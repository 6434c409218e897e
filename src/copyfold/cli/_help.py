"""The help of an option: what it is, its possible values and its default, in words and not as Python types."""

import argparse
from typing import Any, Literal, get_origin

from jsonargparse import ActionYesNo, DefaultHelpFormatter

from copyfold.cli import _classes, _values


class Help(DefaultHelpFormatter):
    """jsonargparse's help without Python types."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._HelpAction):  # pyright: ignore[reportPrivateUsage]
            return super()._get_help_string(action)
        text, said = action.help or "", "; ".join(filter(None, (_kinds(action), _default(action))))
        # an option without help of its own is formatted twice, the second time with the first result
        return text if not said or text.endswith(f"({said})") else f"{text} ({said})".lstrip()


def _kinds(action: argparse.Action) -> str:
    """The possible values of an option; "" where the usage line or the help of a class lists them."""
    hint = getattr(action, "_typehint", None) or action.type
    if hint in (None, bool) or get_origin(hint) is Literal or isinstance(action, ActionYesNo) or action.choices:
        return ""
    return _values.expected(hint, _classes.names, action.dest)


def _default(action: argparse.Action) -> str:
    """The default, as one would type it; "" where there is none, and for a switch that is off."""
    value: Any = action.default
    switch = isinstance(action, ActionYesNo) or action.nargs == 0
    if value is None or (switch and not value) or value == argparse.SUPPRESS or value in ((), []):
        return ""
    return f"default {_classes.written(value)}"
