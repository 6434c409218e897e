"""The public interface in an editor: the names of copyfold, their types, and errors about wrong names."""

import ast
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import copyfold as cf
import typed
from copyfold import public, types
from copyfold.training import Plan

ROOT = Path(__file__).parents[2]
SOURCE = Path(cf.__file__).parents[1]
PACKAGES = [f"copyfold.{family}" for family in public.FAMILIES]

FIRST = """
import sys
import copyfold.samplers
copyfold.samplers.__path__.append(sys.argv[1])
from copyfold.samplers import Walk, Zigzag
from copyfold.models import UNet
from copyfold.probes import Inversion
from copyfold.objectives import Classical, L1
from copyfold.corruptions import Gaussian
from copyfold import Photos, fit
import copyfold as cf
assert cf.Zigzag is Zigzag and {"Zigzag", "fit"} <= set(dir(cf))
assert cf.samplers.zigzag.internal and not hasattr(cf, "internal") and "internal" not in dir(cf)
print(*{"lightning", "sklearn", "datasets", "matplotlib", "scipy"} & set(sys.modules))
"""

ZIGZAG = """
from copyfold.samplers.walk import Walk

class Zigzag(Walk):
    "A walk that turns."

def internal():
    "Of use here only."
"""


@pytest.fixture(scope="module")
def stubs():
    """scripts/stubs.py."""
    spec = importlib.util.spec_from_file_location("scripts_stubs", ROOT / "scripts" / "stubs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- which names there are


def test_there_are_70_to_120_public_names_sorted():
    """Where there are more: what a module offers beside its classes of the families is what its __all__ says."""
    assert 70 <= len(dir(cf)) <= 120
    assert dir(cf) == sorted(set(dir(cf)))


@pytest.mark.parametrize("name", dir(cf))
def test_every_public_name_exists_and_has_a_docstring(name):
    member = getattr(cf, name)
    if name in types.__all__:
        assert _said(Path(types.__file__), name)
        return
    assert member.__doc__
    assert inspect.getdoc(member)
    assert inspect.ismodule(member) == (name in public.SHOWN)
    assert not inspect.isabstract(member) or cf.catalogue.Recorded in member.__bases__


def _said(path: Path, alias: str) -> bool:
    """Whether a text stands under the definition of an alias."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    (place,) = (
        i
        for i, node in enumerate(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == alias
    )
    after = body[place + 1]
    return isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and bool(after.value.value)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_exports_copyfold_s_own_names_and_none_hides_a_module(package):
    """A module of the same name would hide it, or not, by what was imported before."""
    module = importlib.import_module(package)
    modules = {found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))}
    assert public.names(package)
    for name, member in public.names(package).items():
        assert getattr(module, name) is member
        assert getattr(cf, name) is member
        assert name not in modules
    if "__getattr__" in vars(module):
        assert dir(module) == sorted(public.names(package))


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *typed.EXAMPLES, *sorted((ROOT / "docs").glob("*.md"))], ids=str
)
def test_every_name_in_readme_and_docs_exists(path):
    text = path.read_text(encoding="utf-8")
    shown = re.findall(r"\bcf\.(\w+)", text) + re.findall(r"^from copyfold import (\w+)", text, re.MULTILINE)
    assert set(shown) <= set(dir(cf))
    for package, name in re.findall(r"^from (copyfold\.\w+) import (\w+)", text, re.MULTILINE):
        assert hasattr(importlib.import_module(package), name)


def test_a_wrong_name_gets_the_nearest_suggestion():
    with pytest.raises(AttributeError, match=r"^copyfold has no 'UNett': did you mean UNet\?$"):
        cf.UNett  # noqa: B018
    with pytest.raises(AttributeError, match=r"^copyfold\.models has no 'unett': did you mean UNet\?$"):
        cf.models.unett  # noqa: B018
    with pytest.raises(AttributeError, match=r"^copyfold has no '_offered'$"):
        cf._offered  # noqa: B018
    with pytest.raises(ImportError, match="noise_like"):
        from copyfold import noise_like  # noqa: F401
    assert not hasattr(cf, "save")


def test_a_class_in_a_new_file_is_public_whatever_was_imported_first(tmp_path):
    """A function in it is not, and nothing of what is slow to import is for it."""
    (tmp_path / "zigzag.py").write_text(ZIGZAG)
    command = [sys.executable, "-c", FIRST, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


# ---------------------------------------------------------------- what type checkers see


def test_the_stubs_agree_with_the_source(stubs):
    old = [str(path.relative_to(SOURCE)) for path in stubs.stale()]
    assert not old, f"{', '.join(old)} not as in the source: run `make stubs`, or python scripts/stubs.py"


def test_outdated_and_orphaned_stubs_are_found(stubs, monkeypatch):
    wanted = stubs.stubs()
    path = SOURCE / "copyfold" / "models" / "__init__.pyi"
    assert "from copyfold.models.unet import UNet as UNet" in wanted[path].splitlines()
    monkeypatch.setattr(stubs, "stubs", lambda: {**wanted, path: wanted[path] + "from a import b as b\n"})
    assert stubs.stale() == [path]
    monkeypatch.setattr(stubs, "stubs", lambda: {key: text for key, text in wanted.items() if key != path})
    assert stubs.stale() == [path]


def test_the_signature_of_fit_has_every_field_of_plan():
    parameters = inspect.signature(cf.fit).parameters
    assert [*parameters][-len(fields(Plan)) :] == [field.name for field in fields(Plan)]
    assert all(parameters[field.name].default == field.default for field in fields(Plan))
    assert not [p for p in parameters.values() if p.kind is p.VAR_KEYWORD]


def pyright(folder: Path) -> set[tuple[str, int]]:
    """File and line of every error that pyright finds."""
    (folder / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(SOURCE)]}))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "-p", str(folder)]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert said["summary"]["filesAnalyzed"] == len([*folder.glob("*.py")])
    errors = [found for found in said["generalDiagnostics"] if found["severity"] == "error"]
    return {(Path(error["file"]).name, error["range"]["start"]["line"] + 1) for error in errors}


def test_pyright_finds_the_errors_and_no_others(tmp_path):
    marked = typed.written(tmp_path)
    assert pyright(tmp_path) == marked
