"""The errors of copyfold. A message is one line: what, where, why, what to do. Each kind has an exit code."""

import math
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Real
from operator import ge, gt, le, lt
from typing import TypeGuard, get_args

__all__ = ["CopyfoldError", "DataError", "Diverged", "UsageError"]


class CopyfoldError(Exception):
    """A failure that is not the caller's mistake: a full disk, a run folder in use."""

    exit_code = 1


class UsageError(CopyfoldError, ValueError):
    """An invalid call: a size that the model cannot take, an unknown name, a negative number."""

    exit_code = 2


class DataError(CopyfoldError, ValueError):
    """No usable data: a missing folder, unreadable images, values out of range."""

    exit_code = 3


class Diverged(CopyfoldError, ArithmeticError):
    """The loss, a weight or an image of a sampler became NaN, infinite or far too large; checkpoints are kept."""

    exit_code = 4


LARGEST = 2**63 - 1
"""The largest whole number of an argument: what torch's tensors and seeds hold."""

NUMBERS = 2**24
"""The numbers of one image at most, those of all channels together: of `Photos`, of a crop and of a model."""

MEGAPIXELS = 100
"""Millions of pixels of a photograph at most: of one that is read, and of one that is made."""

FLOAT = 3.4e38
"""The largest number of an argument that is no whole number: what float32 holds."""

_flags: ContextVar[bool] = ContextVar("flags", default=False)


@contextmanager
def at_the_command_line() -> Generator[None]:
    """Name options as flags in the messages that are made within a with-block."""
    token = _flags.set(True)
    try:
        yield
    finally:
        _flags.reset(token)


def option(name: str, value: object = None) -> str:
    """An option in the reader's words, for a message: --size 64 at the command line, size=64 in Python.

    Without a value its name, --size or size; with True --skip-bad or skip_bad=True.
    """
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if not _flags.get():
        return name if value is None else f"{name}={value!r}" if isinstance(value, str) else f"{name}={text}"
    flag = "--" + name.replace("_", "-")
    return flag if value is None or value is True else f"{flag} {text}"


def options(**given: object) -> str:
    """Several options of one call: --run a --resume, or run='a', resume=True in Python."""
    return (" " if _flags.get() else ", ").join(option(name, value) for name, value in given.items())


def of_model(name: str, value: object = None) -> str:
    """The same of an argument of the model: --model.output sigmoid, or output='sigmoid' in Python."""
    return option(f"model.{name}" if _flags.get() else name, value)


def worded(text: str) -> str:
    """A text in which an option is written {fit=pad}, so that it can be kept, with `option` in its place."""
    return re.sub(r"\{(\w+)=(\w+)\}", lambda found: option(found[1], found[2]), text)


def one_of(choices: object, name: str, value: object) -> None:
    """UsageError where a value is none of a Literal's choices; the message lists the choices."""
    if value not in get_args(choices):
        raise UsageError(f"{name}={value!r} is invalid: expected one of {', '.join(map(str, get_args(choices)))}")


def at_least(least: int, **values: object) -> None:
    """UsageError, naming the argument, where a value is not a whole number of at least `least`, below 2^63."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(f"{name}={value!r} is invalid: expected a whole number of at least {least}")
        if value > LARGEST:
            raise UsageError(f"{name}={value} is invalid: expected a number below 2^63")


def overflowed(error: Exception) -> bool:
    """Whether an error says that a number, such as the size of a weight, is too large to be computed with."""
    return isinstance(error, OverflowError) or "overflow" in str(error).lower()


def image_numbers(height: int, width: int, channels: int, said: str) -> None:
    """UsageError where an image has more than `NUMBERS` numbers; `said` is the argument that asks for it."""
    if (count := height * width * channels) > NUMBERS:
        colours = "" if channels == 1 else f" with {channels} channels"
        raise UsageError(
            f"{said} is invalid: images of {height}x{width}{colours} have "
            f"{count:,} numbers: expected at most {NUMBERS:,} numbers in an image, as in 4096x4096 in grey"
        )


def numbers(**values: object) -> None:
    """UsageError, naming the argument, where a value is no sequence: one number is not a list of one."""
    for name, value in values.items():
        if not isinstance(value, Sequence) or isinstance(value, str):
            example = f"[{value}]" if isinstance(value, int) else "[8, 16]"
            raise UsageError(f"{name}={value!r} is invalid: expected a list of whole numbers, as in {example}")


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a real number: True and "1" are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def within(span: str, of: object = None, **values: object) -> None:
    """UsageError, naming the argument, where a value is not a real number in a span, such as "[0, 1)".

    Infinity is in a span only where that ends with "inf]", and NaN in none. The message names the class of `of`,
    whose argument it is.
    """
    low, high = map(float, span[1:-1].split(","))
    above, least = (ge, "of at least") if span[0] == "[" else (gt, "above")
    below, most = (le, "at most") if span[-1] == "]" else (lt, "below")
    for name, value in values.items():
        if is_number(value) and above(value, low) and below(value, high):
            continue
        given = f"{name}={value!r}" if of is None else f"{type(of).__name__}({name}={value!r})"
        ends = [f"{word} {end:g}" for word, end in ((least, low), (most, high)) if math.isfinite(end)]
        raise UsageError(f"{given} is invalid: expected a number {' and '.join(ends) or 'that is finite'}")
