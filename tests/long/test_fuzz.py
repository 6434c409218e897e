"""Whatever is given, a command ends with a result or with one line: random cases of tests/fuzzing.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = int(os.environ.get("COPYFOLD_FUZZ", "1000"))  # COPYFOLD_FUZZ=5000 before a release
FUZZING = Path(__file__).parents[1] / "fuzzing.py"


@pytest.mark.parametrize("how", [["--cases", str(CASES)], ["--cases", str(CASES // 25), "--real"]])
def test_no_input_makes_a_command_fail_hang_or_fill_the_memory(how):
    line = [sys.executable, str(FUZZING), *how, "--workers", "1"]
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2000:]


def test_a_case_that_is_wrong_is_found(tmp_path):
    """The judge itself: a crash, a traceback, a hang and too much memory are not right."""
    script = f"""
import sys; sys.path.insert(0, {str(FUZZING.parent)!r})
import os, signal, time, pathlib, fuzzing
fuzzing.IDLE, fuzzing.MEMORY = 3, 1 << 30
ways = {{
    "crash by SIGSEGV": lambda words: os.kill(os.getpid(), signal.SIGSEGV),
    "fault": lambda words: 1 / 0,
    "hang": lambda words: time.sleep(60),
    "memory": lambda words: time.sleep(len(b"x" * (2 << 30)) * 0 + 2),
    "exit code 7": lambda words: 7,
    "": lambda words: 0,
}}
for wrong, fuzzing.main in ways.items():
    found = fuzzing.run(fuzzing.Case("words", "", []), pathlib.Path({str(tmp_path)!r}))
    assert found.wrong == wrong, (wrong, found)
    pathlib.Path({str(tmp_path)!r}, "said").unlink(missing_ok=True)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
