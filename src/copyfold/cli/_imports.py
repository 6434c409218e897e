"""Classes of the user: those of `--import NAME`, imported before parsing, and those of installed plug-ins."""

import importlib
import importlib.util
import logging
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from copyfold.errors import UsageError
from copyfold.files import absolute, real

log = logging.getLogger("copyfold")

T = TypeVar("T")

FLAG = "--import"
HELP = "Import a module or a .py file; its classes can be used like copyfold's. May be given several times."

BASES = "models derive from copyfold.Autoencoder, corruptions from copyfold.Corruption, and so on"

modules: list[ModuleType] = []
"""The modules that this command imported for --import."""

given: list[str] = []
"""What --import was given."""


def taken(words: list[str]) -> tuple[list[str], list[str]]:
    """The words without `--import`, and the names given to it."""
    kept: list[str] = []
    names: list[str] = []
    waiting = iter(words)
    for word in waiting:
        flag, equals, name = word.partition("=")
        if flag != FLAG:
            kept.append(word)
            continue
        name = name if equals else next(waiting, "")
        if not name or name.startswith("-"):
            raise UsageError(f"{FLAG} needs a module or a .py file, as in {FLAG} my_models.py")
        names.append(name)
    return kept, names


def load(names: list[str]) -> None:
    """Import the named modules, and check that their classes can be recorded in files."""
    from copyfold import catalogue

    modules.clear()
    given[:] = names
    for name in names:
        module = _from_file(name) if name.endswith(".py") or "/" in name else _by_name(name)
        modules.append(module)
        offer = catalogue.offered(module)
        for cls in offer:
            try:
                catalogue.path(cls)
            except UsageError as error:
                raise UsageError(f"{FLAG} {name}: {error}") from None
        if not offer:
            log.warning("%s %s: it has no class that copyfold can use; %s", FLAG, name, BASES)


def offered(base: type[T]) -> list[type[T]]:
    """The user's classes of this base: those of --import, and of plug-ins."""
    from copyfold import catalogue

    found = (cls for module in (*modules, *catalogue.plugins()) for cls in catalogue.offered(module))
    return [cls for cls in dict.fromkeys(found) if issubclass(cls, base)]


def origin(cls: type) -> str:
    """Where a class came from, to be shown: its module and the file."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return f"{cls.__module__}, {file}" if file else cls.__module__


def blamed(error: BaseException) -> str | None:
    """The last line of a user's module in the traceback of an error; None where there is none."""
    from copyfold import catalogue

    own = {cls.__module__ for cls in catalogue.others(object)} | {module.__name__ for module in modules}
    files = {getattr(sys.modules.get(name), "__file__", None) for name in own}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else None


def _from_file(given: str) -> ModuleType:
    """The module of a .py file; its folder is added to the import path, for its own imports."""
    file = real(absolute(given))
    if not file.is_file():
        raise UsageError(f"{FLAG} {given}: no such file; give a .py file, or the name of a module")
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise UsageError(
            f"{FLAG} {given} is invalid: expected a file whose name Python can import, as in my_models.py"
        )
    _reach(file.parent)
    present = _place(file.stem)
    if present != file:
        raise UsageError(
            f"{FLAG} {given}: another module is called {file.stem} ({present or 'part of Python'}): rename the "
            "file"
        )
    return _imported(given, file.stem)


def _by_name(name: str) -> ModuleType:
    """The module of that name, on Python's path or in the current folder."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{FLAG} {name} is invalid: expected a module, as in my_models, or a .py file")
    first = name.partition(".")[0]
    if first not in sys.modules and importlib.util.find_spec(first) is None:
        _reach(Path.cwd())
    return _imported(name, name)


def _reach(folder: Path) -> None:
    """Add a folder to the end of the import path."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()  # the file may be newer than the cached listing of its folder


def _place(name: str) -> Path | None:
    """The file of a module that is or would be imported."""
    if name in sys.modules:
        file = getattr(sys.modules[name], "__file__", None)
    else:
        spec = importlib.util.find_spec(name)
        file = spec.origin if spec and spec.has_location else None
    return real(file) if file else None


def _imported(given: str, name: str) -> ModuleType:
    """Import a module; an error becomes a UsageError of one line."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"{FLAG} {given}: no module {error.name}; give a .py file, or a module that Python can find"
            ) from None
        reason: BaseException = error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the module raises, SystemExit and its own kinds too
        reason = error
    said = f"{type(reason).__name__}: {next(iter(str(reason).splitlines()), '')}".removesuffix(": ")
    raise UsageError(f"{FLAG} {given} failed: {said} ({_line(reason)}); --debug shows the traceback") from reason


def _line(error: BaseException) -> str:
    """The file and line at which an import failed: the last one in the folder of the imported module."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    through = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in through if "importlib" not in frame.filename and frame.filename != __file__]
    if not frames:
        return "before its first line"
    folder = Path(frames[0].filename).parent
    last = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)][-1]
    return f"{last.filename}, line {last.lineno}"
