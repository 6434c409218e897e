"""mypy finds the errors that pyright finds in tests/laws/test_face.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

import copyfold as cf
import typed

SOURCE = Path(cf.__file__).parents[1]


def mypy(folder: Path) -> set[tuple[str, int]]:
    """File and line of every error that mypy finds."""
    options = ["--follow-imports=silent", "--cache-dir", str(folder / "cache"), "--config-file="]
    command = [sys.executable, "-m", "mypy", *options, *map(str, sorted(folder.glob("*.py")))]
    environment = {**os.environ, "MYPYPATH": str(SOURCE)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    errors = re.findall(r"^(.+):(\d+): error:", done.stdout, re.MULTILINE)
    return {(Path(file).name, int(line)) for file, line in errors}


def test_mypy_finds_the_errors_and_no_others(tmp_path):
    marked = typed.written(tmp_path)
    assert mypy(tmp_path) == marked
