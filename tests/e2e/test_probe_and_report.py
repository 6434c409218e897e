"""What a user asks of a trained model on the command line: one question, or all of them."""

import json

import numpy as np
import pytest

import copyfold as cf
from copyfold import catalogue
from copyfold.probes.base import Probe

QUICK = {"Evidence": None, "Inversion": ["--probe.steps=5"], "Stability": ["--probe.steps=5"]}


@pytest.mark.parametrize("name", sorted(catalogue.classes(Probe)))
def test_every_probe_can_be_asked(name, run, tmp_path, copyfold):
    options = QUICK.get(name, [])
    line = ("probe", run, "--probe", name, *(options or []), "--count=8", "--out", tmp_path)
    if options is None:  # the run's model has no posterior
        copyfold(*line, "--probe.std=0.1").refused(2, "wrap it in Variational")
        return
    said = copyfold(*line).done()
    numbers = json.loads((tmp_path / f"{name.lower()}.json").read_text())
    assert numbers
    for key in numbers:
        assert any(text.startswith(key) for text in said.out)
    assert said.out[-1].startswith(str(tmp_path))


def test_a_probe_s_numbers_are_its_own(run, tmp_path, copyfold):
    copyfold("probe", run, "--probe", "Denoising", "--count=8", "--out", tmp_path).done()
    found = json.loads((tmp_path / "denoising.json").read_text())
    model, recipe = cf.load(run), cf.runs.open(run).recipe
    x = cf.Photos(recipe["data"], model.shape[1], channels=model.shape[0]).images("held_out", 8)
    with model.using("running"):
        ours = cf.measures.mse(model(x), x)
    np.testing.assert_allclose(found["reconstruction"], ours.detach().numpy(), rtol=1e-4)
    assert "wavelet" in found
    assert (tmp_path / "denoising.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--probe", "Inversio"], ["--probe Inversio is not known", "did you mean Inversion?"]),
        (["--probe", "Inversion", "--probe.layer", "encoder.don1"], ["did you mean encoder.down1?"]),
        (["--count=0"], ["--count 0", "at least 1"]),
        (["--probe.corruption", "Gausian"], ["did you mean Gaussian?"]),
    ],
)
def test_wrong_questions_are_answered_in_one_line(options, words, run, copyfold):
    copyfold("probe", run, *options).refused(2, *words)


def test_a_report_is_one_page_with_its_numbers(run, copyfold, tmp_path):
    said = copyfold("report", run, "--out", tmp_path / "page.html").done()
    found = json.loads((tmp_path / "page.json").read_text())
    assert said.out[:5] == list(found["sentences"].values())
    assert said.out[5:] == [str(tmp_path / "page.html"), str(tmp_path / "page.json")]
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert f"copyfold sample {run}" in page


def test_a_report_on_other_photos_reads_them_as_the_model_does(run, tmp_path, copyfold):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "grey.npy", rng.integers(0, 256, (100, 20, 20), dtype=np.uint8))
    said = copyfold("report", run, tmp_path / "grey.npy", "--out", tmp_path / "page.html").done()
    assert any("3 channels" in line for line in said.err)
    np.save(tmp_path / "few.npy", rng.integers(0, 256, (10, 16, 16), dtype=np.uint8))
    copyfold("report", run, tmp_path / "few.npy").refused(2, "at least 8", "give more images")
    copyfold("report", run, "--out", tmp_path / "page.pdf").refused(2, "suffix .html")
    copyfold("report", tmp_path / "nothing").refused(2, "nothing")
