"""Which code a trained model comes from: a digest of the sources that its training depends on."""

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path

from copyfold.catalogue import Recorded
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective

TRAINING = "copyfold.training.fitting"
ASIDE = (
    "copyfold.data.reading",  # its output is pixels, which are in the key of a training anyway
    "copyfold.pictures",  # what is shown of a training changes nothing in it
    "copyfold.screen",
)
TOLD = {"claim", "place", "items", "controls", "regime", "seeds", "asked", "means"}
"""Class variables of a study that say something of its measurement, and change nothing in it."""
INSTRUMENT = (
    "base",
    "budget",
    "datasets",
    "finding_page",
    "kept",
    "pages",
    "provenance",
    "runner",
    "statistics",
    "toolkit.charts",
)
"""Modules of studies that numbers of a seed do not depend on."""
LIBRARIES = {"torch", "huggingface_hub", *sys.stdlib_module_names}


def code_digest(model: Autoencoder, objective: Objective) -> str:
    """Identify the code that training this model depends on, by 16 hexadecimal digits.

    Included are the sources of every module that defines a class of the model's parts or of the objective's, of
    `fit`, and of all that these import within copyfold, except what reads image files and what draws. Comments,
    docstrings and layout do not count, nor does another architecture, sampler, probe or study. Of a class from
    elsewhere, such as a user's own, the module that defines it counts, where it has a source: in a notebook it
    has none.
    Every source is read once, when it is first needed, so that it is the code that runs.
    """
    kinds = {kind for part in _parts(model, objective) for kind in type(part).__mro__}
    foreign = [kind for kind in kinds if kind.__module__.partition(".")[0] not in {"copyfold", *LIBRARIES}]
    theirs = [_read(_source(kind)) for kind in foreign]
    found = _reached(
        {TRAINING, *(kind.__module__ for kind in kinds), *chain(*(imported for _, imported in theirs))}
    )
    return _hash(sorted({*found.values(), *(digest for digest, _ in theirs)}))


def study_digest(study: type) -> str:
    """Identify the code that the numbers of a study's seeds depend on, by 16 hexadecimal digits.

    The source of the study, without what it says of itself (`TOLD`), and all that it imports within copyfold,
    except what reads files, draws figures, or only turns the numbers of seeds into findings.
    """
    own, imported = _read(_source(study))
    return _hash(sorted({own, *_reached(imported - {study.__module__}, _instrument()).values()}))


def module_digest(name: str) -> str:
    """Identify the code of a module within copyfold and of all that it imports, except as in `study_digest`."""
    return _hash(sorted(_reached({name}, _instrument()).values()))


def _instrument() -> tuple[str, ...]:
    return tuple(f"copyfold.studies.{name}" for name in INSTRUMENT)


def _reached(waiting: set[str] | frozenset[str], aside: tuple[str, ...] = ()) -> dict[str, str]:
    """Digests of these modules of copyfold and of all that they import, except those aside, by name."""
    sources, found, left = _sources(), dict[str, str](), set(waiting)
    while left:
        name = left.pop()
        if name in sources and name not in found and not name.startswith((*ASIDE, *aside)):
            found[name], imported = _read(sources[name])
            left |= imported
    return found


def _parts(model: Autoencoder, objective: Objective) -> Iterator[object]:
    """A model's modules, an objective, and the objects that configure them."""
    modules = list(model.modules())
    yield from modules
    yield from _within([objective, *chain(*(vars(module).values() for module in modules))])


def _within(values: Iterable[object]) -> Iterator[object]:
    """Every configuration object among some values, and in turn those inside it."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _within(value)
        elif isinstance(value, Recorded) and not isinstance(value, Autoencoder):
            yield value
            yield from _within(vars(value).values())


@cache
def _sources() -> dict[str, str]:
    """The source of every module of copyfold by its name."""
    root = Path(__file__).parents[1]
    paths = {path: path.relative_to(root.parent).with_suffix("").parts for path in root.rglob("*.py")}
    names = {path: ".".join(parts).removesuffix(".__init__") for path, parts in paths.items()}
    return {name: path.read_text(encoding="utf-8") for path, name in names.items()}


@cache
def _source(kind: type) -> str:
    """The source of the module that defines a third-party class; empty where there is none."""
    try:
        return inspect.getsource(sys.modules[kind.__module__])
    except (KeyError, OSError, TypeError):
        return ""


@cache
def _read(source: str) -> tuple[str, frozenset[str]]:
    """A digest of what a source does, and the names of the modules that it may import."""
    tree, imported = ast.parse(source), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
            if isinstance(node, ast.ClassDef):
                node.body = [statement for statement in node.body if not _tells(statement)]
    return _hash([ast.dump(tree)]), frozenset(imported)


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a string and nothing else, as docstrings are."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _tells(statement: ast.stmt) -> bool:
    """Whether a statement of a class is what a study says of itself."""
    return (
        isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and statement.target.id in TOLD
        and "ClassVar" in ast.dump(statement.annotation)
    )


def _hash(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
