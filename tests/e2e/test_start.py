"""Commands import only what they use: `--help` not even torch, the help of a command no other large library."""

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from copyfold.cli import commands

LARGE = {
    *("lightning_fabric", "datasets", "pandas", "scipy", "sklearn", "skimage", "matplotlib", "sympy"),
    *("av", "pywt"),
}

IMPORTED = """
import contextlib, io, json, sys
from copyfold.cli import main

found = {}
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(line)
    found[" ".join(line)] = code, sorted(set(sys.modules) - set(sys.stdlib_module_names))
print(json.dumps(found))
"""


def imported(*lines: list[str]) -> dict[str, tuple[int, set[str]]]:
    """Exit code, and modules imported by then, of every command line, run one after the other in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, json.dumps(lines)], capture_output=True, text=True, check=True
    )
    return {line: (code, set(modules)) for line, (code, modules) in json.loads(done.stdout).items()}


def test_help_imports_only_copyfold() -> None:
    found = imported(["--help"], ["--version"], ["trian"])
    assert [code for code, _ in found.values()] == [0, 0, 2]
    for line, (_, modules) in found.items():
        assert not {"torch", "numpy", "jsonargparse", "yaml"} & modules, line


def test_the_help_of_a_command_imports_no_large_library() -> None:
    """Nor does a wrong option, which is refused before anything is done."""
    helped = imported(*([command, "--help"] for command in commands()), ["train", "--epochs=x"])
    assert len(helped) > 8
    for line, (code, modules) in helped.items():
        assert "torch" in modules, line  # so that the names are those that would be found
        assert code == (2 if "=x" in line else 0), line
        assert not LARGE & modules, line


def test_a_running_command_imports_no_unused_large_library(run: Path, photos: Path, tmp_path: Path) -> None:
    """pyarrow imports pandas where it is there, and torch sympy, for the shape of a code that is not computed."""
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.png")
    out = f"--out={tmp_path}/restored.png"
    lines = (
        ["data", str(photos)],
        ["denoise", str(run), str(tmp_path / "photo.png"), f"--out={tmp_path}/denoised"],
        ["restore", str(run), f"{tmp_path}/photo.png", "--problem=Deblur", "--ascent.steps=2", out],
        ["sample", str(run), "--sampler.steps=2", f"--out={tmp_path}/sample.png"],
        ["probe", str(run), "--probe=CodeStatistics", f"--out={tmp_path}"],
        ["embed", str(run), f"--out={tmp_path}/codes.parquet"],
    )
    for line, (code, modules) in imported(*lines).items():
        allowed = {"pandas", "sympy"} if line.startswith("embed") else set()
        assert code == 0, line
        assert not (LARGE - allowed) & modules, line


def test_garbage_collection_is_on_after_importing_torch_and_skips_it() -> None:
    code = """
import gc
from copyfold.cli import main
main(["data", "--help"])
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True True"
