"""The command line in tests: run a command, check its output, and a run to work on."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from copyfold import runs
from copyfold.cli import main
from copyfold.data import scenes
from copyfold.data.reading.remembered import remember

TINY = ("--size=16", "--model.width=4", "--model.depth=2", "--precision=32", "--schedule=constant")


@dataclass(frozen=True)
class Output:
    """The output of a command, and its exit code."""

    code: int
    out: list[str]
    err: list[str]

    def done(self) -> "Output":
        assert self.code == 0, self.err
        assert not [line for line in self.err if line.startswith("copyfold:")]
        return self

    def refused(self, code: int, *words: str) -> str:
        """Check that the command failed with one line that has all of these words; returns the line."""
        said = [line for line in self.err if line.startswith("copyfold: ")]
        assert self.code == code, self.err
        assert said == self.err[-1:]
        assert not [line for line in self.err if "Traceback" in line or "bug in copyfold" in line]
        assert not [word for word in words if word not in said[0]], said[0]
        return said[0]


@pytest.fixture(scope="session")
def copyfold() -> Callable[..., Output]:
    """Run a command within this process."""

    def copyfold(*arguments: object) -> Output:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
        return Output(code, out.getvalue().splitlines(), err.getvalue().splitlines())

    return copyfold


@pytest.fixture
def start() -> Callable[..., "subprocess.Popen[str]"]:
    """Start a command in its own process, with warnings as errors; it is killed at the end of the test."""
    started = []

    def start(*arguments: object, **options) -> "subprocess.Popen[str]":
        line = [sys.executable, "-W", "error", "-m", "copyfold", *map(str, arguments)]
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(line, env=dict(os.environ), **(piped | options)))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def ended() -> Callable[["subprocess.Popen[str]"], Output]:
    """Wait for a process and return its output."""

    def ended(process: "subprocess.Popen[str]") -> Output:
        out, err = process.communicate(timeout=300)
        return Output(process.returncode, (out or "").splitlines(), (err or "").splitlines())

    return ended


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty photographs: colour and grey, PNG and JPEG, nested, of different sizes."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "sub" / "deep").mkdir(parents=True)
    for k, pixels in enumerate(scenes(40, 24)):
        image = Image.fromarray(pixels)
        image = image.resize((20 + k, 30)) if k % 3 == 0 else image
        image = image.convert("L") if k % 4 == 0 else image
        place = (folder, folder / "sub", folder / "sub" / "deep")[k % 3]
        image.save(place / f"{k:02d}.{('png', 'jpg', 'JPEG')[k % 3]}")
    return folder


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """The options of the smallest U-Net."""
    return TINY


@pytest.fixture(scope="session")
def run(photos: Path, copyfold: Callable[..., Output], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on the forty photographs; tests must not write to it."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPYFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))
        said = copyfold("train", photos, *TINY, "--epochs=2", "--run", folder).done()
    assert said.out[0] == str(folder)
    return folder


@pytest.fixture(autouse=True)
def _remembered(request: pytest.FixtureRequest) -> None:
    """The note that this user trained the run, which each test's own cache lacks."""
    if "run" in request.fixturenames:
        folder = request.getfixturevalue("run")
        remember(folder, runs.open(folder).recipe)


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """The run, to be written to, as if it had been trained there."""
    folder = shutil.copytree(run, tmp_path / "copied")
    remember(folder, runs.open(run).recipe)
    return folder
