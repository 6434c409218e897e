"""Every example runs as a user would run it, and writes its files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def test_the_examples_are_found():
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_writes_a_picture(example, tmp_path):
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


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_main_example_is_short(example):
    lines = [line for line in example.read_text().splitlines() if line and not line.startswith(('"""', "import"))]
    assert example.stem != "from_noise" or len(lines) <= 10
