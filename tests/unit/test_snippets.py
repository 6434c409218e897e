"""The examples of the reference and of the README run, and every public name has one."""

import inspect
import os
import re
from pathlib import Path

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


PYTHON = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)


def test_the_readme_has_python():
    assert PYTHON


@pytest.mark.parametrize("block", range(len(PYTHON)))
def test_a_block_of_the_readme_runs(block, tmp_path, monkeypatch, digits_as_a_folder):
    monkeypatch.chdir(tmp_path)
    code = PYTHON[block].replace('"a/folder"', repr(str(digits_as_a_folder)))
    code = code.replace("minutes=3", "minutes=0.02").replace("epochs=3", "steps=4")
    exec(compile(code, f"README, block {block + 1}", "exec"), {"__name__": "readme", "cf": copyfold})


@pytest.fixture
def digits_as_a_folder(tmp_path):
    """A folder of 24 images of digits, 16 pixels high and wide."""
    from PIL import Image

    (tmp_path / "digits").mkdir()
    for i, pixels in enumerate(copyfold.Photos(size=16).train[:24, :, :, 0]):
        Image.fromarray(pixels).save(tmp_path / "digits" / f"{i}.png")
    return tmp_path / "digits"
