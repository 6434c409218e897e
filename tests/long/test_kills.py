"""A training killed at any moment and resumed gives bit-identical weights."""

import csv
import importlib
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

import copyfold as cf
from copyfold.corruptions import noise_like

KILLS = int(os.environ.get("COPYFOLD_KILLS", "24"))  # at least, over the trainings below; make test-kills has 200
OPTIONS = ["--batch", "16", "--epochs", "8", "--threads", "1", "--lr", "3e-3"]
DIGITS = ["--size", "16", "--limit", "600"]
PHOTOGRAPHS = ["photographs", "--channels", "1"]  # 60 of 32x32, which the test makes
WAYS = {  # every one with a corruption, so that the randomness of a step matters
    "batch": ["--model.norm", "batch", "--flip"],
    "bf16": ["--model.norm", "none", "--precision", "bf16", "--clip", "1.0"],
    "average": ["--model.norm", "group", "--average", "0.99", "--accumulate", "2", "--schedule", "cosine"],
    "variational": ["--model", "Variational", "--core", "Conv", "--objective.penalties+=Divergence"],
    "crops": [*PHOTOGRAPHS, "--crop", "16", "--flip", "--turn", "--model.norm", "none"],
    "stream": [*PHOTOGRAPHS, "--stream", "--size", "16", "--buffer", "20", "--model.norm", "group"],
    "own": ["--import", "mine.py", "--model", "Own", "--optimizer", "Muon"],
    "devices": ["--devices", "2", "--model.norm", "group"],
    "logger": ["--log", "tensorboard", "--model.norm", "none"],
}
MINE = """
import torch
import copyfold as cf

class Own(cf.Autoencoder):
    def __init__(self, shape):
        super().__init__(shape)
        self.inner = torch.nn.Conv2d(shape[0], 8, 3, padding=1)
        self.outer = torch.nn.Conv2d(8, shape[0], 3, padding=1)

    def encode(self, x):
        return self.inner(x).relu()

    def logits(self, z):
        return self.outer(z)
"""
UNET = ["--model", "UNet", "--model.width", "8", "--model.depth", "2"]


def arguments(way: str) -> list[str]:
    chosen = WAYS[way]
    shape = [] if "--model" in chosen else UNET
    images = [] if "photographs" in chosen else DIGITS
    return [*chosen, *OPTIONS, *images, *shape, "--objective.corruption", "Gaussian"]


def command(folder: Path, way: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "copyfold", "train", "--run", str(folder), *arguments(way), *more]


def steps(folder: Path) -> list[int]:
    """The steps of the log as anyone may read it at any moment."""
    with (folder / "log.csv").open(newline="") as file:
        return [int(float(row["step"])) for row in csv.DictReader(file)]


def state(folder: Path) -> dict:
    return torch.load(folder / "last.ckpt", weights_only=True)


def readable(folder: Path, way: str) -> None:
    """Every file is whole, no row stands twice, and the checkpoint is not older than the last two saves."""
    kept = state(folder)["global_step"]
    cf.load(folder)
    assert cf.runs.open(folder).recipe["batch"] == 16
    seen = steps(folder)
    assert len(set(seen)) == len(seen)
    assert not seen or seen[-1] - kept <= 75  # an epoch: rows come with a save before or after them


def killed(folder: Path, way: str, rng: random.Random) -> bool:
    """Train on until a moment that has nothing to do with what the training is at, and kill it there.

    False where it had ended before.
    """
    before = (folder / "last.ckpt").stat().st_mtime_ns if (folder / "last.ckpt").exists() else 0
    # a checkpoint every fifth step, so that a good part of the kills fall into the writing of one
    every = ["--save_steps", "5", "--keep", "2"]
    with subprocess.Popen(command(folder, way, *every, "--resume"), stderr=subprocess.PIPE, text=True) as process:
        try:
            begin = time.monotonic()
            while process.poll() is None and time.monotonic() - begin < 120:
                checkpoint = folder / "last.ckpt"
                if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                    break
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.6))
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
        assert process.wait() in (-signal.SIGKILL, 0), process.stderr.read()  # 0 where it was done already
        return process.returncode != 0


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_and_resumed_training_gives_the_weights_of_an_uninterrupted_one(way, tmp_path, monkeypatch):
    if way == "logger":
        pytest.importorskip("tensorboard")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    if way == "own":
        importlib.import_module("mine")
    (tmp_path / "photographs").mkdir()
    for k, pixels in enumerate(cf.data.scenes(60, 32)):
        Image.fromarray(pixels).save(tmp_path / "photographs" / f"{k:02}.png")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    subprocess.run(command(whole, way), check=True, capture_output=True)
    rng = random.Random(way)
    kills = 0
    while kills < math.ceil(KILLS / len(WAYS)):
        done = not killed(parts, way, rng)
        kills += not done
        readable(parts, way)
        if done:  # from the beginning, so that there is something to kill
            same(whole, parts)
            shutil.rmtree(parts)
    subprocess.run(command(parts, way, "--resume"), check=True, capture_output=True)
    same(whole, parts)


def same(whole: Path, parts: Path) -> None:
    """A training that was killed has the weights, the optimiser's state, the log and the films of the other."""
    a, b = state(whole), state(parts)
    for name, tensor in a["state_dict"].items():
        assert torch.equal(tensor, b["state_dict"][name]), name
    for one, other in zip(
        a["optimizer_states"][0]["state"].values(), b["optimizer_states"][0]["state"].values(), strict=True
    ):
        assert all(torch.equal(one[name], other[name]) for name in one)
    for name in cf.load(whole).state_dict():
        assert torch.equal(cf.load(whole).state_dict()[name], cf.load(parts).state_dict()[name])
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in cf.runs.open(f).history]
        for f in (whole, parts)
    ]
    assert rows[0] == rows[1]
    noise = noise_like(torch.empty(2, *cf.load(whole).shape), 0.7, 0.2, torch.Generator().manual_seed(0))
    films = [
        list(cf.Renoising(steps=3)(cf.load(f), noise, torch.Generator().manual_seed(1))) for f in (whole, parts)
    ]
    assert all(torch.equal(x, y) for x, y in zip(*films, strict=True))
    assert not [name for name in os.listdir(parts) if name.endswith(".ckpt") and name.startswith(".")]
