"""Tests that take minutes: training at full size, against thresholds fixed before the measurement."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import copyfold as cf
from copyfold.cli import _parsing, main


def test_landscapes_are_copied_and_unseen_noise_is_weakened(landscapes, tmp_path):
    """1,500 steps at 32x32 leave at most 5 % of the variance, and pass at most .8 of unseen noise (its energy)."""
    folder = str(tmp_path / "run")
    options = ["--size", "32", "--model", "UNet", "--model.width", "16", "--model.depth", "2", "--steps", "1500"]
    assert main(["train", str(landscapes), *options, "--run", folder]) == 0
    run, photos = cf.runs.open(folder), cf.Photos(landscapes, 32)
    x, mean = photos.images("held_out", 128), photos.images("train", 512).mean(0)
    noise = 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), run.model.using("running"):
        copy, noisy = run.model(x), run.model(x + noise)
    assert (copy - x).square().mean() <= 0.05 * (x - mean).square().mean()
    assert (noisy - copy).square().mean() <= 0.8 * 0.1**2


def test_the_linear_autoencoder_comes_close_to_pca_through_fit(tmp_path):
    """On the digits, ten dimensions: within 5 % of what scikit-learn's PCA leaves, and never under it."""
    photos = cf.Photos()
    torch.manual_seed(0)
    model = cf.Linear(photos.shape, latent_dim=10)
    run = cf.fit(model, cf.Classical(), photos, tmp_path / "run", epochs=150, batch=64, lr=1e-2, precision="32")
    x = photos.images("train").flatten(1).double().numpy()
    pca = PCA(10).fit(x)
    least = np.square(x - pca.inverse_transform(pca.transform(x))).mean()
    with torch.no_grad():
        ours = (run.model(photos.images("train")) - photos.images("train")).square().mean().item()
    assert least * 0.9999 <= ours <= 1.05 * least


def test_the_default_training_generates_digits_from_noise(tmp_path):
    """Nine epochs with the defaults; the film of 200 steps and the walk of 300 are written."""
    folder = str(tmp_path / "run")
    assert main(["train", "--run", folder, "--epochs", "9"]) == 0
    assert cf.runs.open(folder).history[-1]["held_out_mse"] < 0.01
    for arguments, name in ((["--sampler.steps", "200"], "noise.mp4"), (["--sampler", "Walk"], "walk.gif")):
        assert main(["sample", folder, *arguments, "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 10_000


@pytest.mark.parametrize("name", _parsing.recipes())
def test_every_recipe_trains_on_the_digits(name, tmp_path):
    """A few steps of the networks of a hundred million parameters, minutes of none; the error falls."""
    large = name in ("overcomplete", "essay", "unet-wide", "unet-deep", "unet-hidden")
    options = ["--limit", "32" if large else "320", "--epochs", "4", "--batch", "8" if large else "16"]
    options += ["--crop", "8"] * (name in ("denoiser", "noisy-only"))  # whose crops of 64 the digits do not have
    assert main(["train", "--config", name, *options, "--run", str(tmp_path / "run")]) == 0
    run = cf.runs.open(tmp_path / "run")
    errors = run.series("held_out_mse")[1]
    assert errors[-1] < errors[0]
    assert torch.isfinite(run.model(cf.Photos(size=run.model.shape[1]).images("held_out", 4))).all()


MEMORY = """
import json, resource, sys, torch
import copyfold as cf

frames, path = int(sys.argv[1]), sys.argv[2]
model = cf.UNet((3, 32, 32), width=4, depth=2).eval()
photos = torch.rand(16, 3, 32, 32)
cf.film(cf.Walk(steps=frames)(model, photos, torch.Generator().manual_seed(0)), path)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_film_of_2000_frames_needs_no_more_memory_than_one_of_200(suffix, tmp_path):
    peaks = []
    for frames in (200, 2000):
        command = [sys.executable, "-c", MEMORY, str(frames), str(tmp_path / f"{frames}{suffix}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
        peaks.append(json.loads(done.stdout))
    assert peaks[1] < 1.05 * peaks[0]
