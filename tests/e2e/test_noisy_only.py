"""A stack of noisy 16-bit pages, trained on and denoised without any clean image."""

import numpy as np
import pytest
import tifffile
import yaml

import copyfold as cf

TINY = ("--model.width=8", "--model.depth=1", "--batch=4", "--precision=32", "--threads=1", "--no-pictures")


@pytest.fixture
def stack(tmp_path):
    """Eight pages of waves and noise, and what they are without it; in the middle of the range."""
    rng, i = np.random.default_rng(0), np.arange(72)
    clean = 30000 + 8000 * np.sin(i[:, None] / 9 + np.arange(8)[:, None, None]) * np.cos(i / 11)
    noisy = np.rint(clean + 4000 * rng.standard_normal(clean.shape)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", noisy, photometric="minisblack")
    return clean, noisy


def test_a_stack_of_16_bits_is_learned_from_and_comes_back_with_its_pages(stack, tmp_path, copyfold):
    clean, noisy = stack
    run = tmp_path / "run"
    line = ("train", tmp_path / "stack.tif", "--config", "noisy-only", "--bits", "16", "--crop", "64")
    said = copyfold(*line, *TINY, "--run", run, "--steps=120").done()
    assert not [line for line in said.err if "correlated" in line]
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recipe["objective"]["class_path"] == "BlindSpot"
    assert (recipe["bits"], recipe["crop"]) == (16, 64)

    copyfold("denoise", run, tmp_path / "stack.tif", "--out", tmp_path / "restored").done()
    restored = tifffile.imread(tmp_path / "restored" / "stack.tif")
    assert (restored.shape, restored.dtype) == (noisy.shape, np.uint16)
    assert len(np.unique(restored)) > 2**9  # not a picture of 8 bits
    before, after = (np.square(pages - clean).mean((1, 2)) for pages in (noisy, restored))
    assert (after < before / 2).all(), after / before
    assert cf.runs.open(run).history[-1]["held_out_mse"] > 0.5 * (4000 / 65535) ** 2  # against the noisy pages


def test_correlated_noise_is_said(stack, tmp_path, copyfold):
    clean, noisy = stack
    noise = noisy - clean
    smooth = clean + (noise + np.roll(noise, 1, 2)) / 2**0.5
    tifffile.imwrite(tmp_path / "smooth.tif", np.rint(smooth).astype(np.uint16), photometric="minisblack")
    line = ("train", tmp_path / "smooth.tif", "--config", "noisy-only", "--bits", "16", "--crop", "64", *TINY)
    said = copyfold(*line, "--run", tmp_path / "run", "--steps=1").done()
    assert [line for line in said.err if "correlated" in line and "horizontally" in line and "--crop" in line]
