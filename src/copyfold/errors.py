"""What can go wrong, said in one line: what, where, why, and what to do. Each kind has its exit code."""

from typing import get_args

__all__ = ["CopyfoldError", "DataError", "Diverged", "UsageError"]


class CopyfoldError(Exception):
    """Something failed that is not the caller's mistake: a full disk, a run folder in use."""

    exit_code = 1


class UsageError(CopyfoldError, ValueError):
    """The call cannot mean anything: a size the model cannot take, an unknown name, a negative number."""

    exit_code = 2


class DataError(CopyfoldError, ValueError):
    """There is no usable data: no such folder, unreadable images, values out of range."""

    exit_code = 3


class Diverged(CopyfoldError, ArithmeticError):
    """The loss stopped being a number; the last good checkpoint is kept."""

    exit_code = 4


def one_of(choices: object, name: str, value: object) -> None:
    """Refuse a value that is none of a Literal's choices, with all of them in the message."""
    if value not in get_args(choices):
        raise UsageError(f"{name}={value!r} is not known: choose one of {', '.join(map(str, get_args(choices)))}")


def at_least(least: int, **values: object) -> None:
    """Refuse whole numbers below `least` (and anything that is not a whole number), by name."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(f"{name}={value!r} is invalid: expected a whole number of at least {least}")


def not_negative(owner: object, **values: float) -> None:
    """Refuse numbers below 0, and what is no number, by the class that they are given to and their name."""
    for name, value in values.items():
        if not value >= 0:
            raise UsageError(f"{type(owner).__name__}({name}={value}) is invalid: expected a number of at least 0")
