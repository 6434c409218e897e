"""What a person sees of copyfold in an editor: its names, their types, and what is said of a wrong one."""

import ast
import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import copyfold as cf
from copyfold import public, types
from copyfold.training import Plan

ROOT = Path(__file__).parents[2]
SOURCE = Path(cf.__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PACKAGES = [f"copyfold.{family}" for family in public.FAMILIES]

RIGHT = """
from typing import assert_type

import torch
from torch import Generator, Tensor, nn

import copyfold as cf
from copyfold.corruptions import Gaussian
from copyfold.data import Batches, Photos, Stream
from copyfold.models import Autoencoder, UNet, Variational
from copyfold.objectives import L1, Classical
from copyfold.pictures import film
from copyfold.probes import Inversion
from copyfold.report import diagnose
from copyfold.samplers import Walk
from copyfold.training import Plan, fit


class Tiny(cf.Autoencoder):
    def __init__(self, shape: cf.Shape, width: int = 8) -> None:
        super().__init__(shape)
        self.width = width
        self.encoder = nn.Conv2d(shape[0], width, 2, 2)
        self.decoder = nn.ConvTranspose2d(width, shape[0], 2, 2)

    def encode(self, x: cf.Images) -> cf.Code:
        return self.encoder(x)

    def logits(self, z: cf.Code) -> cf.Images:
        return self.decoder(z)


class Twice(cf.Sampler):
    def __call__(self, model: cf.Autoencoder, x: cf.Images, rng: Generator) -> cf.Film:
        yield model(model(x))


photos = cf.Photos()
x, rng = photos.images("held_out", 8), Generator()
assert_type(x, Tensor)
model = cf.UNet(photos.shape, width=8, depth=3, skips="none")
assert_type(model, UNet)
assert_type(model(x), Tensor)
assert_type(model.decode(model.encode(x)), Tensor)
objective = cf.Classical(cf.Gaussian(0.2), penalties=[L1(2.0)])
assert_type(objective(model, x), dict[str, Tensor])
run = cf.fit(Tiny(photos.shape), objective, photos, run="runs/r", epochs=3, minutes=0.5, batch=8, precision="auto")
assert_type(run, cf.Run)
assert_type(run.model, Autoencoder)
assert_type(run.history, list[dict[str, float]])
assert_type(cf.load("runs/r"), Autoencoder)
assert_type(cf.adopt(nn.Identity(), photos.shape), Autoencoder)
assert_type(cf.restore(run.model, x), Tensor)
assert_type(cf.film(Walk(steps=3)(model, x, rng), "walk.gif"), int)
assert_type(cf.film(Twice()(model, cf.Renoising().noise(16, photos.shape, rng), rng), "twice.gif"), int)
reading = cf.Denoising(Gaussian(0.2))(model, x, rng)
assert_type(reading.numbers["restored"], Tensor)
assert_type(Inversion("encoder")(model, x, rng), cf.Reading)
cf.save_picture(cf.comparison(reading.images, title="restored"), "restored.png")
assert_type(cf.diagnose(model, photos), cf.Report)
assert_type(cf.runs.open("runs/r"), cf.Run)
assert_type(cf.measures.psnr(x, model(x)), Tensor)
"""

WRONG = """
import copyfold as cf
from copyfold.models import UNett  # wrong

photos = cf.Photos()
cf.UNett(photos.shape)  # wrong
cf.UNet(photos.shape, width="8")  # wrong
cf.UNet(photos.shape, widht=8)  # wrong
model = cf.Variational(cf.MLP(photos.shape, hidden=[64]), latent_dim=3)
cf.fit(model, epoch=1)  # wrong
cf.fit(model, epochs="3")  # wrong
cf.fit(model, precision="bf32")  # wrong
cf.Gaussian(sdt=0.2)  # wrong
cf.save(model, "here")  # wrong
model(photos)  # wrong
"""

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


def test_there_are_the_names_that_a_person_needs_and_not_many_more():
    """Where there are more: what a module offers beside its classes of the families is what its __all__ says."""
    assert 70 <= len(dir(cf)) <= 95
    assert dir(cf) == sorted(set(dir(cf)))


@pytest.mark.parametrize("name", dir(cf))
def test_a_name_is_there_and_says_what_it_is(name):
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
def test_what_a_package_offers_is_copyfold_s_and_no_module_has_its_name(package):
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


@pytest.mark.parametrize("path", [ROOT / "README.md", *EXAMPLES, *sorted((ROOT / "docs").glob("*.md"))], ids=str)
def test_what_is_shown_to_people_is_there(path):
    text = path.read_text(encoding="utf-8")
    shown = re.findall(r"\bcf\.(\w+)", text) + re.findall(r"^from copyfold import (\w+)", text, re.MULTILINE)
    assert set(shown) <= set(dir(cf))
    for package, name in re.findall(r"^from (copyfold\.\w+) import (\w+)", text, re.MULTILINE):
        assert hasattr(importlib.import_module(package), name)


def test_a_wrong_name_is_told_the_nearest():
    with pytest.raises(AttributeError, match=r"^copyfold has no 'UNett': did you mean UNet\?$"):
        cf.UNett  # noqa: B018
    with pytest.raises(AttributeError, match=r"^copyfold\.models has no 'unett': did you mean UNet\?$"):
        cf.models.unett  # noqa: B018
    with pytest.raises(AttributeError, match=r"^copyfold has no '_offered'$"):
        cf._offered  # noqa: B018
    with pytest.raises(ImportError, match="noise_like"):
        from copyfold import noise_like  # noqa: F401
    assert not hasattr(cf, "save")


def test_a_class_in_a_new_file_is_public_and_a_name_is_found_whatever_was_imported_first(tmp_path):
    """A function in it is not, and nothing of what is slow to import is for it."""
    (tmp_path / "zigzag.py").write_text(ZIGZAG)
    command = [sys.executable, "-c", FIRST, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


# ---------------------------------------------------------------- what type checkers see


def test_the_stubs_say_what_the_source_says(stubs):
    old = [str(path.relative_to(SOURCE)) for path in stubs.stale()]
    assert not old, f"{', '.join(old)} not as in the source: run `make stubs`, or python scripts/stubs.py"


def test_a_stub_that_is_old_or_of_nothing_is_found(stubs, monkeypatch):
    wanted = stubs.stubs()
    path = SOURCE / "copyfold" / "models" / "__init__.pyi"
    assert "from copyfold.models.unet import UNet as UNet" in wanted[path].splitlines()
    monkeypatch.setattr(stubs, "stubs", lambda: {**wanted, path: wanted[path] + "from a import b as b\n"})
    assert stubs.stale() == [path]
    monkeypatch.setattr(stubs, "stubs", lambda: {key: text for key, text in wanted.items() if key != path})
    assert stubs.stale() == [path]


def test_fit_shows_every_choice_of_a_plan():
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


def mypy(folder: Path) -> set[tuple[str, int]]:
    """File and line of every error that mypy finds."""
    options = ["--follow-imports=silent", "--cache-dir", str(folder / "cache"), "--config-file="]
    command = [sys.executable, "-m", "mypy", *options, *map(str, sorted(folder.glob("*.py")))]
    environment = {**os.environ, "MYPYPATH": str(SOURCE)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    errors = re.findall(r"^(.+):(\d+): error:", done.stdout, re.MULTILINE)
    return {(Path(file).name, int(line)) for file, line in errors}


@pytest.mark.parametrize("checker", [pyright, mypy])
def test_a_type_checker_finds_the_mistakes_and_nothing_in_what_is_right(checker, tmp_path):
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    for example in EXAMPLES:
        (tmp_path / example.name).write_bytes(example.read_bytes())
    marked = {("wrong.py", n) for n, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}
    assert len(marked) > 8
    assert checker(tmp_path) == marked
