"""copyfold denoise with a run and without, its strength, and what it says of the noise."""

import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import camera

import copyfold as cf


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """Make a package copyfold_weights whose denoiser is the given model."""

    def package(model):
        model.save(tmp_path / "site" / "copyfold_weights" / "denoiser")
        (tmp_path / "site" / "copyfold_weights" / "__init__.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.delitem(sys.modules, "copyfold_weights", raising=False)

    return package


@pytest.fixture
def weights(packaged):
    """A package copyfold_weights whose denoiser makes every image black."""
    model = cf.Conv((1, 8, 8), (1,), activation="identity", bias=False)
    model.load_state_dict({name: torch.zeros_like(value) for name, value in model.state_dict().items()})
    packaged(model)


@pytest.fixture
def photo(tmp_path):
    eta = np.random.default_rng(0).standard_normal((64, 64))
    Image.fromarray((128 + 20 * eta).round().clip(0, 255).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def test_without_a_run_it_takes_the_network_of_the_package(weights, photo, copyfold, tmp_path):
    said = copyfold("denoise", photo, "--out", tmp_path / "out").done()
    assert said.out == [str(tmp_path / "out" / "photo.png")]
    assert said.err[0] == "the denoiser is that of the package copyfold-weights"
    found = float(said.err[-1].split("noise of std ")[1].split(" of 255")[0])
    assert abs(found - 20) < 1.5
    assert not pixels(tmp_path / "out" / "photo.png").any()


def test_strength_is_the_share_of_the_change(weights, photo, copyfold, tmp_path):
    copyfold("denoise", photo, "--strength=0.25", "--out", tmp_path / "out").done()
    assert abs(pixels(tmp_path / "out" / "photo.png") - 0.75 * pixels(photo)).max() <= 0.5 + 1e-3
    for strength in ("-0.1", "1.5"):
        said = copyfold("denoise", photo, f"--strength={strength}", "--out", tmp_path / "no")
        said.refused(2, f"--strength {strength} is invalid: expected a number from 0 to 1, or sure")


def test_an_ensemble_denoises_a_turned_photograph_as_the_photograph(packaged, photo, copyfold, tmp_path):
    torch.manual_seed(0)
    packaged(cf.UNet((1, 8, 8), width=4, depth=1, skips="concat", norm="none", residual=True))
    turned = tmp_path / "turned.png"
    Image.open(photo).transpose(Image.Transpose.ROTATE_90).save(turned)
    said = copyfold("denoise", photo, turned, "--ensemble", "--out", tmp_path / "out").done()
    assert "turned images" not in " ".join(said.err)
    found = [pixels(tmp_path / "out" / name) for name in (photo.name, turned.name)]
    assert abs(np.rot90(found[0]) - found[1]).max() <= 1
    copyfold("denoise", photo, "--out", tmp_path / "once").done()
    assert (pixels(tmp_path / "once" / photo.name) != found[0]).any()


def test_a_network_that_learned_from_noisy_images_is_better_used_by_steins_estimate(
    run, photo, copyfold, tmp_path
):
    blind = shutil.copytree(run, tmp_path / "blind")
    recipe = (blind / "recipe.yaml").read_text()
    (blind / "recipe.yaml").write_text(recipe.replace("class_path: Classical", "class_path: BlindSpot"))
    hint = "--strength sure leaves less error where the noise is white"
    said = copyfold("denoise", blind, photo, "--out", tmp_path / "all").done()
    assert hint in " ".join(said.err)
    said = copyfold("denoise", blind, photo, "--strength=sure", "--out", tmp_path / "sure").done()
    assert hint not in " ".join(said.err)
    found = [pixels(tmp_path / out / photo.name) for out in ("all", "sure")]
    assert (found[0] != found[1]).any()
    said = copyfold("denoise", run, photo, "--ensemble", "--out", tmp_path / "run").done()
    assert hint not in " ".join(said.err)
    assert "this network did not learn from turned images (--turn): --ensemble may leave more" in " ".join(
        said.err
    )


def test_a_photograph_without_noise_stays_as_it_is_by_steins_estimate(weights, copyfold, tmp_path):
    Image.new("L", (64, 64), 77).save(tmp_path / "flat.png")
    said = copyfold("denoise", tmp_path / "flat.png", "--strength=sure", "--out", tmp_path / "out").done()
    assert (pixels(tmp_path / "out" / "flat.png") == 77).all()
    assert said.err[-1].endswith("noise of std 0.0 of 255, as estimated: --strength sure leaves it unchanged")


def test_a_run_alone_and_neither_run_nor_package_are_refused(run, photo, copyfold, monkeypatch):
    copyfold("denoise", run).refused(2, "denoise needs photographs", f"after {run}")
    monkeypatch.setattr("copyfold.models.packaged.PACKAGE", "copyfold_weights_that_are_not_there")
    copyfold("denoise", photo).refused(2, "copyfold-weights", "is not installed", "--config denoiser")
    copyfold("restore", photo, "--problem=Deblur").refused(2, "copyfold-weights", "is not installed")


@pytest.mark.skipif(find_spec("copyfold_weights") is None, reason="the package copyfold-weights is not installed")
def test_the_network_of_the_package_removes_noise_of_photographs(copyfold, tmp_path):
    clean = camera().astype(float)
    noisy = (clean + 25 * np.random.default_rng(0).standard_normal(clean.shape)).round().clip(0, 255)
    Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / "noisy.png")
    copyfold("denoise", tmp_path / "noisy.png", "--out", tmp_path / "out").done()
    before, after = (np.square(x - clean).mean() for x in (noisy, pixels(tmp_path / "out" / "noisy.png")))
    assert 10 * np.log10(before / after) > 8.5  # dB; 9.7 where the noise is not clipped to 8 bits
