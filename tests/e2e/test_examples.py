"""Every example runs as a user would run it: those that write files, and the scripts of the gallery, in small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
GALLERY = sorted((ROOT / "examples").glob("*/plot_*.py"))
QUICK = ("plot_1_bottleneck", "plot_5_scikit_learn", "score_field", "your_own_corruption")


def test_the_examples_are_found():
    assert EXAMPLES
    assert len(GALLERY) >= 14
    assert set(QUICK) <= {path.stem for path in (*EXAMPLES, *GALLERY)}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_writes_a_picture(example, tmp_path):
    if example.stem not in QUICK and "COPYFOLD_SLOW" not in os.environ:
        pytest.skip("make test-long runs it")
    done = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [p for p in tmp_path.rglob("*") if p.suffix in (".png", ".gif", ".mp4")]


@pytest.mark.parametrize("script", GALLERY, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_script_of_the_gallery_runs_and_its_pictures_are_saved(script, tmp_path):
    if script.stem not in QUICK and "COPYFOLD_SLOW" not in os.environ:
        pytest.skip("make docs runs it whole, and make test-long in small")
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "docs" / "figures.py", script],
        cwd=tmp_path,
        env={**os.environ, "COPYFOLD_TINY": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "figures").glob(f"{script.stem}-1.*"))
