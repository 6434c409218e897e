"""The command line: thin. A command is a module of this package that has a `command(arguments) -> exit code`."""

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from copyfold.cli import _imports
from copyfold.errors import CopyfoldError, UsageError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; messages go to stderr, in one line, without a traceback.

    0 done, 1 failed, 2 wrong use, 3 no usable data, 4 diverged, 130 and 143 stopped by a signal after saving.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        return _run(*_imports.taken(given))
    except CopyfoldError as error:
        return _fail(error, error.exit_code, debug)
    except KeyboardInterrupt as stop:
        return _fail(stop, getattr(stop, "exit_code", 130), debug)
    except SystemExit as stop:  # after --help
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BrokenPipeError:
        return 1
    except Exception as error:
        return _fail(error, 1, debug, _unforeseen(error))


def _run(given: list[str], own: list[str]) -> int:
    """Find the command and hand it its arguments, after importing what is a person's own."""
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
    """What --help says."""
    lines = [f"  {name:<9} {_head(name)}" for name in names]
    return "\n".join(
        [
            "usage: copyfold COMMAND ...     copyfold COMMAND --help says more",
            "",
            "Train an autoencoder on your images, then see what it learned.",
            "",
            *lines,
            "",
            "--import NAME, with any command: a module or a .py file with classes of your own.",
            "Results go to stdout, progress and messages to stderr; --debug shows a traceback.",
            "exit codes: 0 done, 1 failed, 2 wrong use, 3 no usable data, 4 diverged, 130/143 stopped, saved",
        ]
    )


def _head(name: str) -> str:
    """What a command says of itself first, read and not imported: that would import torch."""
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def _unforeseen(error: Exception) -> str:
    """What to say of an error that no part of copyfold speaks of: the machine's, or a fault."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError) or re.search(r"allocate memory|out of memory", str(error)):
        return "there is not enough memory for this: give a smaller model, --batch or --size"
    if own := _imports.blamed(error):
        return f"{type(error).__name__}: {error} ({own}); --debug shows all of it"
    whose = "a fault of copyfold: run again with --debug and report it"
    if _imports.modules:
        whose = f"a fault of a class that came by {_imports.FLAG}, or of copyfold: --debug shows where"
    return f"{type(error).__name__}: {error}; this is {whose}"


def _fail(error: BaseException, code: int, debug: bool, text: str | None = None) -> int:
    """Say what went wrong, in one line."""
    if debug:
        raise error
    message = " ".join((text or str(error) or "stopped").split())
    print(f"copyfold: {message}", file=sys.stderr)
    return code
