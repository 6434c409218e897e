"""The command line. Each module of this package with a function `command(arguments) -> exit code` is a command."""

import ast
import importlib
import io
import os
import pkgutil
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from os.path import expanduser
from pathlib import Path

from copyfold.cli import _imports
from copyfold.errors import CopyfoldError, UsageError, at_the_command_line, overflowed
from copyfold.files import ESCAPED, FULL, NAMES

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; messages go to stderr, in one line, without a traceback.

    0 done, 1 error, 2 usage error, 3 no usable data, 4 diverged, 129, 130 and 143 stopped by a signal after
    saving.
    """
    _open_closed()
    _write_any_name()
    given = [_at_home(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        with at_the_command_line():
            try:
                code = _run(*_imports.taken(given))
            except SystemExit as stop:  # after --help
                code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        sys.stdout.flush()  # here, where a full disk behind it is an error like others
        return code
    except CopyfoldError as error:
        return _fail(error, error.exit_code, debug)
    except KeyboardInterrupt as stop:
        return _fail(stop, getattr(stop, "exit_code", 130), debug)
    except BrokenPipeError:
        return 1
    except Exception as error:
        return _fail(error, 1, debug, _unexpected(error))


def _at_home(word: str) -> str:
    """`~/photos` and `--run=~/r` with the folder of the user, also where a shell left the ~ as it is."""
    flag, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return flag + sign + expanduser(value) if value == "~" or value.startswith("~/") else word


def _open_closed() -> None:
    """Have nothing behind a closed stream: the next file would get its number, and print take another stream."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (open to the end)


def _write_any_name() -> None:
    """Have stdout and stderr take every name of a file, though it may be no UTF-8, or they only ASCII.

    stdout gets the bytes that the name has, so that it can be piped to other programs; stderr something to read.
    """
    for stream, errors in ((sys.stdout, NAMES), (sys.stderr, ESCAPED)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _run(given: list[str], own: list[str]) -> int:
    """Find the command and call it with its arguments, after importing the modules of --import."""
    names = commands()
    if not given or given[0] in ("-h", "--help", "help"):
        print(_overview(names))
        return 0
    if given[0] == "--version":
        from copyfold import __version__

        print(f"copyfold {__version__}")
        return 0
    if given[0] not in names:
        from copyfold.catalogue import nearest

        raise UsageError(f"copyfold has no command {given[0]!r}: {nearest(given[0], names)}")
    try:
        Path.cwd()
    except FileNotFoundError:  # torch would end the process, with words of its own
        raise UsageError("the working folder was deleted: change to another folder first") from None
    from copyfold.cli import _memory

    _memory.kept()
    _memory.import_torch()
    from copyfold.cli import _screen

    with _screen.messages():
        _imports.load(own)
        return importlib.import_module(f"copyfold.cli.{given[0]}").command(given[1:])


def commands() -> list[str]:
    """The names of the commands: the public modules of this package."""
    return [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]


def _overview(names: list[str]) -> str:
    """The text of --help."""
    lines = [f"  {name:<10} {_head(name)}" for name in names]
    return "\n".join(
        [
            "usage: copyfold COMMAND ...     copyfold COMMAND --help describes a command",
            "",
            "Train an autoencoder on your images, then see what it learned.",
            "",
            *lines,
            "",
            "--import NAME, with any command: import a module or a .py file with your own classes.",
            "Results go to stdout, progress and messages to stderr; --debug shows a traceback.",
            "exit codes: 0 done, 1 error, 2 usage error, 3 no usable data, 4 diverged, 129/130/143 stopped,",
            "and all is saved; 75 more to do (study --minutes)",
        ]
    )


def _head(name: str) -> str:
    """The first line of a command's docstring, read from its file: importing it would import torch."""
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def _unexpected(error: Exception) -> str:
    """The message about an error that copyfold did not raise itself: of the operating system, or a bug."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in FULL:  # of a file it would have the name
        return f"stdout cannot be written: {error.strerror}; what the command wrote into files is there"
    if isinstance(error, MemoryError) or re.search(r"allocate memory|out of memory", str(error)):
        return "not enough memory: use a smaller model, --size, --batch or --count"
    if own := _imports.blamed(error):
        return f"{type(error).__name__}: {error} ({own}); --debug shows the traceback"
    if overflowed(error):
        return "a number is too large to be computed with: give smaller ones; --debug shows the traceback"
    cause = "a bug in copyfold: run again with --debug and report it"
    if _imports.modules:
        cause = f"a bug in a class of {_imports.FLAG}, or in copyfold: --debug shows the traceback"
    return f"{type(error).__name__}: {error}; this is {cause}"


def _fail(error: BaseException, code: int, debug: bool, text: str | None = None) -> int:
    """Print what went wrong, in one line."""
    if debug:
        raise error
    message = " ".join((text or str(error) or "stopped").split())
    with suppress(OSError):  # a full stderr changes no exit code
        print(f"copyfold: {message}", file=sys.stderr)
    return code
