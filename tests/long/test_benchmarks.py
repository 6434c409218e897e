"""The speed benchmarks run at a tiny size, and count correctly."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from copyfold.data import scenes

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def table(name: str, *arguments: object) -> dict[str, list[str]]:
    """The rows of all tables that a benchmark prints, by their first cell."""
    line = [sys.executable, BENCHMARKS / f"{name}.py", *arguments]
    done = subprocess.run([str(part) for part in line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("|").split("|") for line in done.stdout.splitlines() if line.startswith("| ")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_nothing_is_decoded_twice() -> None:
    rows = table("data", "--count", 4, "--rounds", 1, "--only", "again")
    found = {name: (cells[0], cells[1].split()[0], cells[2].split()[0], cells[3]) for name, cells in rows.items()}
    assert found.pop("") is not None  # the header
    assert len(found) == 3
    for name, (images, first, second, epoch) in found.items():
        assert int(first) >= int(images) == (4 if "JPEG" in name else 20)
        assert (second, epoch) == ("0", "0")


def test_the_flops_of_a_linear_model_are_those_of_its_two_matrix_products(tmp_path: Path) -> None:
    out, figure = tmp_path / "out.json", tmp_path / "figure.png"
    arguments = ("--quick", "--only", "Linear", "--seconds", 0, "--out", out, "--figure", figure)
    rows = table("scaling", *arguments)
    point = json.loads(out.read_text())["Linear size=48 width=16 batch=2"]
    assert point["infer operations"] == 2 * (2 * 2 * (3 * 48 * 48) * 32)  # each way: batch x pixels x code
    assert "Linear" in rows
    assert figure.stat().st_size > 10_000
    before = out.stat().st_mtime_ns
    assert table("scaling", *arguments) == rows  # from the file
    assert out.stat().st_mtime_ns == before


def test_an_mlp_learns_with_fit_and_with_a_plain_loop(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", scenes(600, 28, channels=1))
    kinds = ("fit", "plain loop, float32")
    rows = table("pythae", tmp_path / "images.npy", "--rounds", 1, "--epochs", 2, "--only", *kinds)
    black = np.square(scenes(600, 28, channels=1) / 255).mean()  # the error of a black image, and of no training
    for kind in kinds:
        assert float(rows[kind][0].replace(",", "")) > 0
        assert 0 < float(rows[kind][-1]) < black


def test_every_option_is_benchmarked() -> None:
    size = ("--width", 2, "--side", 16, "--batch", 2, "--rounds", 1, "--steps", 1)
    rows = table("speed_options", "--no-compile", *size)
    assert {"bf16, channels_last, fused Adam", "bf16, fused Adam"} < rows.keys()  # of the U-Net, of the perceptron
    for name in ("plain: float32, NCHW, Adam in a loop", "bf16, fused Adam", "the same, recomputing activations"):
        assert float(rows[name][0]) > 0
        assert float(rows[name][3]) > 3 * 4 * 835_374 / 2**20  # weights and Adam's two averages, in MiB
