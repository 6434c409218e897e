"""Training on an array needs five packages and their dependencies; importing copyfold needs none."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

NEEDED = ("torch", "lightning-fabric", "numpy", "safetensors", "huggingface_hub")
SOURCE = Path(__file__).resolve().parents[2] / "src"

TRAINING = """
import sys
from copyfold import Classical, MLP, fit
from copyfold.data import Photos, scenes

photos = Photos(scenes(20, 16))
run = fit(MLP(photos.shape, hidden=(8,), latent_dim=4), Classical(), photos, sys.argv[1], epochs=1, batch=9)
print(run.history[-1]["step"], *sorted({"PIL", "jaxtyping", "sklearn", "datasets"} & set(sys.modules)))
"""

NOTHING = """
import sys
before = set(sys.modules)
import copyfold
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages in which there is nothing but the needed ones and their own requirements."""
    folder = tmp_path_factory.mktemp("site")
    for name in _closure():
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(found.locate_file(top))).resolve())
    return folder


def _closure() -> set[str]:
    """The distributions that come with the needed ones; of extras, those that one of them asks for."""
    waiting, found = [Requirement(name) for name in NEEDED], set[tuple[str, str]]()
    while waiting:
        wanted = waiting.pop()
        for extra in {"", *wanted.extras} - {extra for name, extra in found if name == wanted.name}:
            try:
                requires = distribution(wanted.name).requires or ()
            except PackageNotFoundError:  # for another platform, or another Python
                continue
            found.add((wanted.name, extra))
            inner = map(Requirement, requires)
            waiting += [r for r in inner if r.marker is None or r.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


def run(code: str, *arguments: str, path: str) -> str:
    """What a fresh Python prints that sees the standard library and this path alone."""
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-S", "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_training_on_an_array_needs_five_packages(site: Path, tmp_path: Path) -> None:
    assert not (site / "PIL").exists()
    assert run(TRAINING, str(tmp_path / "run"), path=f"{site}{os.pathsep}{SOURCE}") == "2.0"


def test_importing_copyfold_imports_no_dependency(tmp_path: Path) -> None:
    assert run(NOTHING, path=str(SOURCE)) == "copyfold"
