"""Ranges, depths, channels and missing pixels on the command line."""

import json

import numpy as np
import pytest
import yaml

import copyfold as cf

RNG = np.random.default_rng(0)
MLP = ("--model=MLP", "--model.hidden=[8]", "--model.latent_dim=4", "--epochs=1", "--no-pictures", "--size=8")


@pytest.fixture
def ct(tmp_path):
    """Forty images of whole numbers from -1000 to 3000, and which of their pixels are observed."""
    values = RNG.integers(-1000, 3001, (40, 8, 8)).astype(np.int16)
    values[:, 0, :2] = -1000, 3000
    np.save(tmp_path / "ct.npy", values)
    np.save(tmp_path / "masks.npy", RNG.random((40, 8, 8)) > 0.3)
    return tmp_path / "ct.npy"


@pytest.mark.parametrize(
    "form",
    [("--range", "-1000", "3000"), ("--range=[-1000,3000]",), ("--range", "[-1000,3e3]"), ("--range=-1000,3000",)],
)
def test_a_range_is_two_numbers_or_a_list(form, ct, tmp_path, copyfold):
    if form == ("--range=-1000,3000",):
        copyfold("train", ct, *MLP, *form, "--run", tmp_path / "r").refused(2, "--range", "a list of 2 numbers")
        return
    copyfold("train", *form, ct, *MLP, "--run", tmp_path / "r").done()
    assert yaml.safe_load((tmp_path / "r" / "recipe.yaml").read_text())["range"] == [-1000.0, 3000.0]
    copyfold("train", "--config", tmp_path / "r", "--run", tmp_path / "again").done()
    first, again = (json.loads((tmp_path / name / "data.json").read_text()) for name in ("r", "again"))
    assert first["fingerprint"] == again["fingerprint"]
    assert first["fingerprint"] == cf.Photos(ct, 8, range=(-1000, 3000)).fingerprint


def test_what_a_refusal_says_can_be_typed(ct, tmp_path, copyfold):
    said = copyfold("train", ct, *MLP, "--run", tmp_path / "r").refused(3, "-1000 to 3000", "--range -1000 3000")
    words = said[said.index("--range") :].rstrip(")").split()[:3]
    copyfold("train", ct, *MLP, *words, "--run", tmp_path / "r").done()


@pytest.mark.parametrize(
    "words", [("--range", "5"), ("--range", "5", "2"), ("--range", "[1,2,3]"), ("--bits", "12")]
)
def test_what_is_no_range_is_refused(words, ct, tmp_path, copyfold):
    copyfold("train", ct, *MLP, *words, "--run", tmp_path / "r").refused(2, words[0].removeprefix("--"))


def test_a_run_with_masks_is_trained_resumed_probed_and_reported(ct, tmp_path, copyfold):
    run, masks = tmp_path / "r", tmp_path / "masks.npy"
    line = ("train", ct, *MLP, "--range", "-1000", "3000", "--bits=16", "--masks", masks, "--run", run)
    copyfold(*line).refused(3, "NaN", "masks=", "--objective.fidelity Observed")
    copyfold(*line, "--objective.fidelity=Observed").done()
    copyfold("train", "--resume", "--run", run, "--epochs=2").done()
    assert cf.runs.open(run).history[-1]["epoch"] == 2
    said = copyfold("report", run).done()
    assert any("reconstruct" in line or "keeps" in line for line in said.out)
    numbers = json.loads((run / "report.json").read_text())["numbers"]
    untold = {name.removesuffix(": arrived") for name, value in numbers.items() if value == 0} | {"novelty"}
    unknown = [name for name, value in numbers.items() if value is None and name.split(": ")[0] not in untold]
    assert unknown in ([], ["encoder.0: psnr"])  # infinite, of a layer that only flattens
    for probe in ("Denoising", "IdentityGap"):
        copyfold("probe", run, f"--probe={probe}", "--count=4").done()
    copyfold("probe", run, ct, "--masks", masks, "--probe=IdentityGap", "--count=4").done()  # in the run's range
    copyfold("sample", run, "--sampler=Walk", "--sampler.steps=2", "--count=4", "--out", tmp_path / "a.png").done()
    copyfold("embed", run, "--out", tmp_path / "codes.parquet").done()


def test_masks_are_not_for_streams(ct, photos, tmp_path, copyfold):
    line = ("train", photos, *MLP, "--stream", "--run", tmp_path / "r")
    copyfold(*line, "--masks", tmp_path / "masks.npy").refused(2, "--masks", "--stream")


def test_data_says_that_images_are_dark(tmp_path, copyfold):
    np.save(tmp_path / "a.npy", RNG.integers(0, 4096, (12, 16, 16)).astype(np.uint16))
    said = copyfold("data", tmp_path / "a.npy").done()
    assert any("of 65,535: give range=(0, 4095) (--range 0 4095)" in line for line in said.out)
    np.save(tmp_path / "b.npy", RNG.integers(-1000, 3000, (12, 16, 16)).astype(np.int16))
    said = copyfold("data", tmp_path / "b.npy").done()
    assert any("--range -9" in line or "--range -1000" in line for line in said.out)
