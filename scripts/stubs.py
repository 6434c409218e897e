"""Write the type stubs of what is found only at run time: python scripts/stubs.py, or make stubs.

copyfold and the packages of the families import nothing before they are asked for a name, and `fit` takes every
field of `Plan`. Type checkers and editors see neither: an __init__.pyi says what a package offers, and the .pyi
beside the module of `fit` spells its arguments out. tests/laws/test_face.py holds them to the source.
"""

import ast
import builtins
import importlib
from pathlib import Path
from typing import Any, TypeVar

import copyfold
from copyfold import public
from copyfold.training import Plan, fit

D = TypeVar("D", ast.FunctionDef, ast.ClassDef)

ROOT = Path(copyfold.__file__).parent
HEAD = "# Written by scripts/stubs.py: run `make stubs` where public names or the arguments of fit have changed."


def stubs() -> dict[Path, str]:
    """Every stub that there should be, by its path."""
    packages = ["copyfold", *(f"copyfold.{family}" for family in public.FAMILIES)]
    lazy = [package for package in packages if "__getattr__" in vars(importlib.import_module(package))]
    return {_path(f"{package}.__init__"): _package(package) for package in lazy} | {_path(fit.__module__): _fit()}


def stale() -> list[Path]:
    """The stubs that are missing, say something else than the source, or are of nothing any more."""
    wanted = stubs()
    there = {path: path.read_text(encoding="utf-8") for path in ROOT.rglob("*.pyi")}
    return sorted(path for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))


def main() -> None:
    """Write what is missing or old, and delete what is of nothing any more."""
    wanted = stubs()
    for path in stale():
        if path in wanted:
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()


def _path(module: str) -> Path:
    return ROOT.parent.joinpath(*module.split(".")).with_suffix(".pyi")


def _package(package: str) -> str:
    """What a package offers, one name a line."""
    places = {}
    for source in public.sources(package):
        for name, member in public.offered(source).items():
            where = str(getattr(member, "__module__", ""))  # of an alias of a type, that of the type
            places[name] = where if where.startswith("copyfold.") else source.__name__
    lines = [
        f"from {places[name]} import {name} as {name}"
        for name in sorted(places, key=lambda n: (places[n], *_rank(n)))
    ]
    if package == "copyfold":
        modules = sorted({*public.FAMILIES, *public.SHOWN, "catalogue"})
        lines = [*(f"from copyfold import {name} as {name}" for name in modules), *lines, "", "__version__: str"]
    return "\n".join([HEAD, "", *lines, ""])


def _rank(name: str) -> tuple[int, str]:
    """The place of a name among those of its module, as ruff sorts imports: constants, classes, the others."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _fit() -> str:
    """`fit`, with every field of Plan in place of **plan."""
    function, plan = _defined(fit, ast.FunctionDef), _defined(Plan, ast.ClassDef)
    given = function.args
    defaults = [None] * (len(given.args) - len(given.defaults)) + given.defaults
    lines = [
        *map(_argument, given.args, defaults),
        "*",
        *map(_argument, given.kwonlyargs, given.kw_defaults),
        *(ast.unparse(field) for field in plan.body if isinstance(field, ast.AnnAssign)),
    ]
    returned = ast.unparse(function.returns or ast.Constant(None))
    signature = "\n".join(["def fit(", *(f"    {line}," for line in lines), f") -> {returned}: ..."])
    return "\n".join([HEAD, "", *_imports(signature), "", signature.replace("'", '"'), ""])


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")


def _imports(signature: str) -> list[str]:
    """What the signature of `fit` needs: imported as in the modules of `fit` and Plan, or from these."""
    places = {}
    for module in (Plan.__module__, fit.__module__):
        for node in _tree(module).body:
            if isinstance(node, ast.ImportFrom):
                places |= {alias.asname or alias.name: node.module for alias in node.names}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                places[node.target.id] = module
    names = {node.id for node in ast.walk(ast.parse(signature)) if isinstance(node, ast.Name)} - set(dir(builtins))
    modules: dict[str, list[str]] = {}
    for name in sorted(names, key=_rank):
        modules.setdefault(places[name], []).append(name)
    lines = [f"from {module} import {', '.join(modules[module])}" for module in sorted(modules)]
    ours = [line for line in lines if line.startswith("from copyfold")]
    return [*(line for line in lines if line not in ours), "", *ours]


def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).with_suffix(".py").read_text(encoding="utf-8"))


def _defined(thing: Any, kind: type[D]) -> D:
    """Where a function or class is defined, in its module's syntax tree."""
    tree = _tree(thing.__module__)
    return next(node for node in tree.body if isinstance(node, kind) and node.name == thing.__name__)


if __name__ == "__main__":
    main()
