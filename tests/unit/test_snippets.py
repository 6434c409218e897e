"""The examples of the reference and of the README run, and every public name has one."""

import inspect
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import copyfold
import copyfold.estimators
import copyfold.testing
from copyfold import catalogue, public
from copyfold.types import __all__ as types

ROOT = Path(__file__).parents[2]
CELLS = re.split(r"^# %%(.*)\n", (ROOT / "docs" / "snippets.py").read_text(encoding="utf-8"), flags=re.MULTILINE)
EXAMPLES = {name.strip(): code for name, code in zip(CELLS[1::2], CELLS[2::2], strict=True)}
BEFORE = compile(EXAMPLES.pop(""), "the first cell", "exec")
SLOW = ("Report", "diagnose")
LABELS = ("When", "Cost", "Fails", "Source")
CHOSEN = {
    f"{base}.{name}": cls
    for base in ("Autoencoder", "Objective", "Penalty", "Sampler", "Probe")
    for name, cls in catalogue.classes(getattr(copyfold, base)).items()
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name, tmp_path, monkeypatch):
    if name in SLOW and "COPYFOLD_SLOW" not in os.environ:
        pytest.skip("half a minute: make test-long runs it")
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "example"}
    exec(BEFORE, space)
    exec(compile(EXAMPLES[name], name, "exec"), space)


def test_every_public_name_has_an_example():
    names = set(public.names("copyfold")) - set(types)
    names |= set(public.offered(copyfold.testing)) | set(public.offered(copyfold.estimators))
    assert names - set(EXAMPLES) == set()
    assert set(EXAMPLES) - names == set()


def test_the_pages_of_public_names_differ_where_case_does_not_count():
    names = [*EXAMPLES, "index", "types"]
    assert len({name.lower() for name in names}) == len(names)


@pytest.mark.parametrize("name", CHOSEN)
def test_a_class_says_when_to_use_it_what_it_costs_where_it_fails_and_who_proposed_it(name):
    doc = inspect.getdoc(CHOSEN[name]) or ""
    found = re.findall(rf"^({'|'.join(LABELS)}): (\S.{{9,}}|\S+\.)$", doc, re.MULTILINE)
    assert [label for label, _ in found] == list(LABELS)


SHOWN = [
    page
    for name in ("README.md", "docs/using.md", "docs/start/first_picture.md")
    if (page := ROOT / name).exists()
]
PYTHON = {
    f"{page.stem}-{i}": code
    for page in SHOWN
    for i, code in enumerate(re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S))
}


def test_the_readme_has_python():
    assert "README-0" in PYTHON


@pytest.mark.parametrize("block", PYTHON)
def test_the_python_of_a_page_runs(block, tmp_path, monkeypatch, digits_as_a_folder):
    if "network" in PYTHON[block]:
        pytest.skip("it needs a network of one's own: plot_4_own_classes of the gallery has one")
    monkeypatch.chdir(tmp_path)
    code = PYTHON[block].replace('"a/folder"', repr(str(digits_as_a_folder)))
    code = code.replace("minutes=3", "minutes=0.02").replace("epochs=3", "steps=4")
    code = code.replace("latent_dim=16", "latent_dim=16, epochs=1")
    exec(compile(code, block, "exec"), {"__name__": "page", "cf": copyfold})


DOCUMENTED = {
    "copyfold": copyfold,
    "suggest": copyfold.suggest,
    "solve": copyfold.solve,
    "outliers": copyfold.outliers,
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_example_of_a_docstring_runs(name, tmp_path, monkeypatch, digits_as_a_folder):
    monkeypatch.chdir(tmp_path)
    lines = (inspect.getdoc(DOCUMENTED[name]) or "").splitlines()
    code = "\n".join(line[4:] for line in lines if re.match(r"    [\w.]+( =|\(| copyfold as cf|\.)", line))
    for folder in ("my/photos", "new", "good"):
        code = code.replace(f'"{folder}"', repr(str(digits_as_a_folder)))
    code = code.replace(", 64", ", 16").replace("minutes=3", "minutes=0.02").replace("samples=8", "samples=2")
    code = code.replace('run="runs/first"', 'run="runs/first", steps=2')
    assert "cf." in code
    space: dict[str, object] = {"__name__": "example"}
    exec(BEFORE, space)
    space |= {"mask": copyfold.Missing(0.5).known(16, 16), "photographs": space["x"][:2]}  # type: ignore[index]
    space["run"] = SimpleNamespace(model=space["model"])
    if name == "solve":
        code = f"photographs = cf.Inpaint(mask).measure(photographs)\n{code}"
    exec(compile(code, name, "exec"), space)


@pytest.fixture
def digits_as_a_folder(tmp_path):
    """A folder of digits of 16 x 16 pixels: 24 to train on, and 60 held out."""
    from PIL import Image

    for i, pixels in enumerate(copyfold.Photos(size=16).train[:84, :, :, 0]):
        place = tmp_path / "digits" / ("train" if i < 24 else "test")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i}.png")
    return tmp_path / "digits"
