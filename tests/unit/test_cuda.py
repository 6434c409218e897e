"""Results agree on CUDA and CPU, where CUDA is available: benchmarks/gpu_checks.py, and commands."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import copyfold as cf
from copyfold import catalogue
from copyfold.cli import main

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

DEVICE = "cuda"
BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
LOOKING = [*catalogue.classes(cf.Sampler), *catalogue.classes(cf.Probe)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What the section `correct` of benchmarks/gpu.py says, at a tiny size, in a process of its own."""
    file = tmp_path_factory.mktemp("cuda") / "rows"
    options = ("--quick", "--device", DEVICE, "--seconds", "300", "--rows", str(file))
    subprocess.run([sys.executable, str(BENCHMARK), "correct", *options], capture_output=True, check=True)
    return {row["what"]: row["numbers"] for row in map(json.loads, file.read_text().splitlines())}


@pytest.mark.parametrize("name", LOOKING)
def test_samplers_and_probes_agree_on_cuda_and_cpu(name: str, rows: dict[str, dict[str, object]]) -> None:
    assert not {"wrong", "error", "skipped", "needs"} & rows[f"{name}, as on the CPU"].keys()


def test_training_loading_and_restoring_work_on_cuda(rows: dict[str, dict[str, object]]) -> None:
    """Learning, resuming, loading, restoring."""
    others = {what: numbers for what, numbers in rows.items() if what.split(",")[0] not in LOOKING}
    assert len(others) == 5
    assert not [what for what, numbers in others.items() if {"wrong", "error", "skipped"} & numbers.keys()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    photos = cf.Photos(limit=40)
    model = cf.Conv(photos.shape, channels=(4,))
    folder = tmp_path_factory.mktemp("run") / "run"
    return cf.fit(model, None, photos, folder, epochs=1, batch=8, precision="32").folder


def test_the_commands_run_on_cuda(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a film from noise is the same, to a level of 256 or two."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.chdir(tmp_path)
    photo = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    Image.fromarray(photo).save("photo.png")
    for device in ("cpu", DEVICE):
        lines = (
            ("sample", run, "--sampler.steps=3", f"--out={device}.png"),
            ("probe", run, "--probe=SpectralNorm", f"--out={device}"),
            ("embed", run, f"--out={device}.parquet"),
            ("denoise", run, "photo.png", f"--out={device}"),
        )
        for line in lines:
            assert main([*map(str, line), f"--device={device}"]) == 0, capsys.readouterr().err
    for name in ("{}.png", "{}/photo.png"):
        here, there = (np.asarray(Image.open(name.format(device)), dtype=int) for device in ("cpu", DEVICE))
        assert abs(here - there).max() <= 2
    here, there = (json.loads(Path(f"{device}/spectralnorm.json").read_text()) for device in ("cpu", DEVICE))
    assert there["encoder"] == pytest.approx(here["encoder"], rel=1e-2)
