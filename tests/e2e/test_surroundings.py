"""Homes that cannot be written, files that may not be read, full disks behind stdout, numbers of many digits."""

import ctypes
import io
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from copyfold import runs
from copyfold.cli import main
from copyfold.data.reading.remembered import remember

OVERRIDE, SEARCH = 1, 2  # capabilities of Linux by which root reads and writes whatever the permissions are
DROP = 24  # prctl: for this process and its children
SCRIPT = """
import json, os, sys
from contextlib import redirect_stderr
from io import StringIO
from copyfold.cli import main

for env, hidden, words in json.loads(sys.argv[1]):
    os.environ.update(env)
    mode = hidden and os.stat(hidden).st_mode
    if hidden:
        os.chmod(hidden, 0)
    with redirect_stderr(StringIO()) as said:
        code = main(words)
    if hidden:
        os.chmod(hidden, mode)
    print(json.dumps([code, said.getvalue().splitlines()[-1:]]), file=sys.__stderr__)
"""


def ordinary() -> None:
    """Take from root, in a child process, what an ordinary user does not have."""
    if sys.platform == "linux":
        for capability in (OVERRIDE, SEARCH):
            ctypes.CDLL(None).prctl(DROP, capability, 0, 0, 0)


def as_ordinary(*lines: tuple[dict[str, str], Path | None, list[object]]) -> list[tuple[int, str]]:
    """Commands in one process of an ordinary user, each with an environment and a file that may not be read."""
    if os.getuid() == 0 and sys.platform != "linux":
        pytest.skip("root may read and write all")
    given = [(env, hidden and str(hidden), [str(word) for word in words]) for env, hidden, words in lines]
    env = {name: value for name, value in os.environ.items() if name not in ("COPYFOLD_CACHE", "XDG_CACHE_HOME")}
    line = [sys.executable, "-W", "error", "-c", SCRIPT, json.dumps(given)]
    ended = subprocess.run(line, env=env, preexec_fn=ordinary, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in ended.stderr.splitlines()]
    assert len(found) == len(lines)
    return [(code, "".join(said)) for code, said in found]


@pytest.fixture
def home(tmp_path):
    """A home that cannot be written."""
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    yield home
    home.chmod(0o755)


def test_a_read_only_home_is_named_and_another_cache_helps(home, run, photos, tmp_path):
    embed = ["embed", run, photos, "--out", tmp_path / "codes.parquet"]
    elsewhere = {"XDG_CACHE_HOME": str(home / "xdg")}
    own = {"COPYFOLD_CACHE": str(tmp_path / "cache")}
    in_home, in_xdg, mine, pictures = as_ordinary(
        ({"HOME": str(home)}, None, embed),
        (elsewhere, None, embed),
        (own, None, embed),
        ({}, None, ["sample", run, "--sampler.steps=1", "--out", tmp_path / "a.png"]),
    )
    for (code, said), place in ((in_home, home / ".cache" / "copyfold"), (in_xdg, home / "xdg" / "copyfold")):
        assert code == 1
        assert said.startswith(f"copyfold: the image cache {place} cannot be written: Permission denied; point ")
        assert "COPYFOLD_CACHE" in said
    assert mine[0] == pictures[0] == 0
    assert (tmp_path / "codes.parquet").is_file()


def test_files_that_may_not_be_read_are_named(copied, tmp_path):
    env = {"COPYFOLD_CACHE": str(tmp_path / "cache")}
    sample = ["sample", copied, "--sampler.steps=1", "--out", tmp_path / "a.png"]
    resume = ["train", "--run", copied, "--resume", "--epochs=3"]
    met = {
        "model/config.json": sample,
        "model/model.safetensors": sample,
        "recipe.yaml": resume,
        "last.ckpt": resume,
        "log.csv": resume,
    }
    kept = ("model/model.safetensors", "last.ckpt", "log.csv")
    before = {name: (copied / name).read_bytes() for name in kept}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPYFOLD_CACHE", env["COPYFOLD_CACHE"])
        remember(copied, runs.open(copied).recipe)
    found = as_ordinary(*((env, copied / name, words) for name, words in met.items()))
    for name, (code, said) in zip(met, found, strict=True):
        assert code == 2, said
        assert said.startswith("copyfold: ")
        assert str(copied / name) in said
        assert said.count("Permission denied") == 1
        assert "JSON" not in said
    assert {name: (copied / name).read_bytes() for name in before} == before


# ---------------------------------------------------------------- stdout and stderr


@pytest.fixture
def full():
    """A stream to a disk that is full."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    stream = io.TextIOWrapper(io.BufferedWriter(io.FileIO("/dev/full", "w")), write_through=False)
    yield stream
    with suppress(OSError):  # what is still in its buffer
        stream.close()


@pytest.mark.parametrize(
    "line", ["--help", "train --help", "--version", "models", "models UNet", "study --list", "data"]
)
def test_a_full_disk_behind_stdout_is_no_bug(line, full, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", full)
    assert main(line.split()) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("copyfold: stdout cannot be written: No space left on device")


def test_a_process_with_a_full_stdout_ends_with_one_line(start, ended):
    with Path("/dev/full").open("w") as full:
        process = start("models", stdout=full)
    assert ended(process).refused(1, "stdout cannot be written")
    assert process.returncode == 1


def test_a_full_stderr_changes_no_exit_code(full, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", full)
    assert main(["nothing"]) == 2
    full.write("so that closing it fails too")


def test_a_training_goes_on_where_its_messages_are_lost(start, ended, tmp_path):
    line = ["train", "--size", "8", "--model", "MLP", "--steps", "2", "--no-pictures", "--run"]
    with Path("/dev/full").open("w") as full:
        ended(start(*line, tmp_path / "r", stderr=full)).done()
    assert (tmp_path / "r" / "model").is_dir()


def test_closed_streams_are_as_nothing(monkeypatch, capfd):
    """What is printed to one is lost, and goes to no other stream nor into a file that gets its number."""
    for name in ("stdin", "stdout", "stderr"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, None)
            assert main(["--version"]) == 0
            assert main(["nothing"]) == 2
            with getattr(sys, name) as opened:
                assert opened.name == os.devnull
        said = capfd.readouterr()
        assert bool(said.out) == (name != "stdout")
        assert bool(said.err) == (name != "stderr")


# ---------------------------------------------------------------- names and numbers


def test_a_working_folder_that_was_deleted_is_said(tmp_path, monkeypatch, copyfold):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    copyfold("models").refused(2, "the working folder was deleted", "change to another")


def test_the_home_of_an_unknown_user_is_no_folder(tmp_path, monkeypatch, copyfold):
    monkeypatch.chdir(tmp_path)
    name = "~nobody-of-this-name/photos"
    copyfold("data", name).refused(3, "there is no folder or file", name)
    copyfold("train", name, "--run", tmp_path / "r").refused(3, "there is no folder or file", name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", [["--run=~/r"], ["--run", "~/r"]])
def test_the_home_of_the_user_is_meant_where_no_shell_says_so(line, tmp_path, monkeypatch, copyfold):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    copyfold("train", *line, "--size=16", "--model.width=4", "--steps", 1, "--no-pictures").done()
    assert (tmp_path / "home" / "r" / "recipe.yaml").is_file()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("seed", [2**63, 2**64, 10**30])
@pytest.mark.parametrize(
    "line",
    [
        "train --run=RUN",
        "sample RUN",
        "report RUN",
        "probe RUN --probe=Nearest",
        "restore RUN a --problem=Missing",
    ],
)
def test_a_seed_of_more_than_63_bits_is_refused(line, seed, run, copyfold):
    words = [str(run) if word == "RUN" else word.replace("RUN", "nothing") for word in line.split()]
    copyfold(*words, f"--seed={seed}").refused(2, "seed", str(seed), "is invalid: expected", "below 2^63")
