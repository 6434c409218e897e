"""benchmarks/gpu.sh from beginning to end without a GPU, at tiny sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), "--device", "cpu", "--quick", *arguments]
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_section_measures_and_every_check_holds(tmp_path: Path) -> None:
    done = script("--minutes", "80", "--out", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["device"] == "cpu"
    sections = {row["section"] for row in found["rows"]}
    listed = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert len(sections) == 10
    assert all(section in listed for section in sections)
    assert found["peak TFLOP/s"] > 0
    whole = [row["numbers"] for row in found["rows"] if "fit images/s" in row["numbers"]]
    assert all(numbers["fit of peak"] > 0 for numbers in whole)
    assert len(whole) == 2


def test_skipped_sections_are_named_and_reported_at_the_end(tmp_path: Path) -> None:
    done = script("--minutes", "0", "--out", str(tmp_path / "gpu.json"))
    assert done.returncode == 1
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row["numbers"].get("skipped") for row in rows} == {"no time left"}
    assert "architectures" in {row["section"] for row in rows}


@pytest.mark.parametrize("wrong", ["--sections", "--seconds"])
def test_an_unknown_option_is_refused(wrong: str) -> None:
    done = script(wrong)
    assert done.returncode == 2
    assert wrong in done.stderr
