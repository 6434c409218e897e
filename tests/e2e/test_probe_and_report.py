"""`copyfold probe` and `copyfold report` on a trained model."""

import html
import json
import os
import re
import shlex
import time

import numpy as np
import pytest
import torch

import copyfold as cf
from copyfold import catalogue
from copyfold.cli import _photos
from copyfold.probes.base import Probe

QUICK = {"Evidence": None, "Inversion": ["--probe.steps=5"], "Stability": ["--probe.steps=5"]}


@pytest.mark.parametrize("name", sorted(catalogue.classes(Probe)))
def test_every_probe_runs_on_the_command_line(name, run, tmp_path, copyfold):
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


def test_pairs_of_an_inversion_are_written_for_every_image(run, tmp_path, copyfold):
    line = ("probe", run, "--probe=Inversion", "--probe.steps=3", "--count=70", "--out", tmp_path)
    said = copyfold(*line, "--pairs", tmp_path / "pairs.npz").done()
    assert str(tmp_path / "pairs.npz") in said.out
    numbers = json.loads((tmp_path / "inversion.json").read_text())
    with np.load(tmp_path / "pairs.npz") as file:
        distances = np.linalg.norm((file["found"] - file["target"]).reshape(len(file["found"]), -1), axis=1)
    np.testing.assert_allclose(distances, numbers["image"], rtol=1e-4)


def test_the_printed_numbers_are_those_of_the_probe(run, tmp_path, copyfold):
    copyfold("probe", run, "--probe", "Denoising", "--count=8", "--out", tmp_path).done()
    found = json.loads((tmp_path / "denoising.json").read_text())
    model, recipe = cf.load(run), cf.runs.open(run).recipe
    x = cf.Photos(recipe["data"], model.shape[1], channels=model.shape[0]).images("held_out", 8)
    with model.using("running"):
        ours = cf.measures.mse(model(x), x)
    np.testing.assert_allclose(found["reconstruction"], ours.detach().numpy(), rtol=1e-4)
    assert "wavelet" in found
    assert (tmp_path / "denoising.png").stat().st_size > 1000


def test_row_numbers_are_shown_as_names_and_not_averaged(run, photos, tmp_path, copyfold):
    """Which image is the nearest is said of each, by its name; a mean of rows would mean nothing."""
    copyfold(
        "probe", run, photos, "--probe=Nearest", "--probe.count=2", "--count=2", "--out", tmp_path / "two"
    ).done()
    said = copyfold("probe", run, photos, "--probe=Nearest", "--count=40", "--out", tmp_path).done()
    found = json.loads((tmp_path / "nearest.json").read_text())
    (line,) = [line for line in said.out if line.startswith("index")]
    names = cf.Photos(photos, 16).names
    assert found["index, by name"] == [names[row] for row in found["index"]]
    assert line.split("  ")[-1] == ", ".join([*found["index, by name"][:5], "..."])
    assert found["distance"].count(0) == 36  # the images that it was trained on are among them
    assert [name for name, d in zip(found["index, by name"], found["distance"], strict=True) if not d] == [
        name for name in cf.Photos(photos, 16, whole=True).names if name in names
    ]
    two = json.loads((tmp_path / "two" / "nearest.json").read_text())
    assert np.shape(two["index, by name"]) == (2, 2)


@pytest.fixture
def classes(tmp_path):
    """Forty images of four brightnesses each, sorted, with labels."""
    labels = np.arange(160) // 40
    noise = np.random.default_rng(0).integers(0, 20, (160, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "sorted.npz", images=noise + (60 * labels[:, None, None]).astype(np.uint8), labels=labels)
    return tmp_path / "sorted.npz"


def test_other_photos_are_sampled_evenly_from_all_of_them(run, classes, tmp_path, copyfold):
    line = ("probe", run, classes, "--probe=Latent", "--probe.nearest=5", "--out", tmp_path)
    said = copyfold(*line, "--count=1000").done()
    assert "over 160 images" in said.out  # and not a tenth fewer
    assert not any("held out" in words or "train" in words for words in said.err), said.err
    found = []
    for seed in (0, 0, 1):
        copyfold(*line, "--count=40", f"--seed={seed}").done()
        found.append(json.loads((tmp_path / "latent.json").read_text()))
    assert found[0]["purity by chance"] == pytest.approx(1 / 4, abs=0.03)  # all classes, as often as they are
    assert found[0]["purity"] > 0.9  # labels are those of their images
    assert found[0] == found[1]
    assert found[0]["mean"] != found[2]["mean"]


def test_reference_images_have_all_classes(classes):
    x = _photos.reference(cf.Photos(classes, 16)).images
    assert len(x) == 144
    many = cf.Photos(np.repeat(np.arange(4, dtype=np.uint8) * 60, 500)[:, None, None] + np.zeros((8, 8), np.uint8))
    x = _photos.reference(many).images
    assert len(x) == 1024
    assert (torch.bincount((x.mean((1, 2, 3)) * 255 / 60).round().long()) - 256).abs().max() < 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--probe", "Inversio"], ["--probe Inversio is not known", "did you mean Inversion?"]),
        (["--probe", "Inversion", "--probe.layer", "encoder.don1"], ["did you mean encoder.down1?"]),
        (["--count=0"], ["--count 0", "at least 1"]),
        (["--probe=Nearest", "--pairs=pairs.npz"], ["--pairs", "expected --probe Inversion"]),
        (["--probe=Inversion", "--pairs=pairs.npy"], ["pairs.npy", "expected an .npz file"]),
        (["--probe.corruption", "Gausian"], ["did you mean Gaussian?"]),
    ],
)
def test_usage_errors_of_probe_are_one_line(options, words, run, copyfold):
    copyfold("probe", run, *options).refused(2, *words)


def test_a_report_is_one_page_with_its_numbers(run, copyfold, tmp_path):
    said = copyfold("report", run, "--out", tmp_path / "page.html").done()
    found = json.loads((tmp_path / "page.json").read_text())
    assert said.out[:-2] == list(found["sentences"].values())
    assert said.out[-2:] == [str(tmp_path / "page.html"), str(tmp_path / "page.json")]
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert f"copyfold sample {run}" in page


def test_a_report_says_what_it_shows_and_a_resumed_training_that_it_is_of_an_earlier_step(copyfold, tmp_path):
    run, words = tmp_path / "r", ("--size=8", "--limit=40", "--model=Linear", "--batch=8", "--no-pictures")
    copyfold("train", *words, "--steps=10", "--run", run).done()
    os.utime(run / "model" / "model.safetensors", (0, time.mktime((2026, 3, 4, 5, 6, 0, 0, 0, -1))))
    copyfold("report", run).done()
    shown = "Trained 2 epochs, 10 steps. Its weights are of 2026-03-04, 05:06."
    assert shown in html.unescape((run / "report.html").read_text())
    assert json.loads((run / "report.json").read_text())["facts"]["step"] == 10
    resume = ("train", "--run", run, "--resume", "--no-pictures")
    assert "report.html" not in " ".join(copyfold(*resume).done().err)  # it was finished
    said = copyfold(*resume, "--steps=15").done().err
    expected = f"{run}/report.html is of step 10, and the run is at step 15: copyfold report {run} writes it again"
    assert said.count(expected) == 1
    said = copyfold("push", run, "a/b", "--out", tmp_path / "old").done().err
    assert any("report.json is of step 10, and the model of step 15" in line for line in said)
    copyfold("report", run).done()
    assert "report.json" not in " ".join(copyfold("push", run, "a/b", "--out", tmp_path / "new").done().err)
    heading = "## What it learned"
    assert [heading in (tmp_path / name / "README.md").read_text() for name in ("old", "new")] == [False, True]


def test_the_commands_of_a_report_give_its_numbers(copyfold, tmp_path):
    """Of more held-out images than a report measures, and by another seed."""
    run = tmp_path / "a run"
    line = (
        "train",
        "--size=8",
        "--limit=200",
        "--model=MLP",
        "--model.hidden=[16]",
        "--epochs=1",
        "--precision=32",
        "--no-pictures",
    )
    copyfold(*line, "--run", run).done()
    copyfold("report", run, "--seed=3").done()
    numbers = json.loads((run / "report.json").read_text())["numbers"]
    page = html.unescape((run / "report.html").read_text())
    asked = [shlex.split(command) for command in dict.fromkeys(re.findall("<code>(copyfold .*?)</code>", page))]
    found = {}
    for _, name, given, *options in asked:
        assert given in (str(run), "--config")
        if name == "probe" and "Latent" not in options:
            said = copyfold(name, given, *options, "--out", tmp_path).done().out
            kind, count = (options[options.index(flag) + 1] for flag in ("--probe", "--count"))
            assert f"over {count} images" in said
            read = json.loads((tmp_path / f"{kind.lower()}.json").read_text())
            found[kind] = int(count), {key: torch.tensor(value) for key, value in read.items()}
        elif "--sampler" in options:
            found[options[options.index("--sampler") + 1]] = int(options[options.index("--count") + 1]), {}
    expected = {"Denoising": 32, "IdentityGap": 32, "Inversion": 4, "Renoising": 64, "Walk": 8}
    assert {kind: count for kind, (count, _) in found.items()} == expected
    noise, gap = found["Denoising"][1], found["IdentityGap"][1]
    for name in ("restored", "corrupted", "7x7 filter", "PCA-Wiener"):
        assert noise[name].mean().item() == pytest.approx(numbers[f"Gaussian(std=0.2): {name}"], rel=1e-4), name
    assert gap["passed"].median().item() == pytest.approx(numbers["passed"], rel=1e-4)
    layer = next(name for name in reversed(numbers) if name.endswith(": layer"))
    assert found["Inversion"][1]["layer"].median().item() == pytest.approx(numbers[layer], rel=1e-3)


def test_a_report_on_other_photos_reads_them_as_the_model_does(run, tmp_path, monkeypatch, copyfold):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "grey.npy", rng.integers(0, 256, (40, 20, 20), dtype=np.uint8))
    said = copyfold("report", run, tmp_path / "grey.npy", "--out", tmp_path / "page.html").done()
    assert any("3 channels" in line for line in said.err)
    assert any("grey.npy, 40 images: 10 are measured and 30 others are the reference" in line for line in said.err)
    page = (tmp_path / "page.html").read_text()
    for word in ("held-out image", "held out:", "training image", "memorised"):
        assert word not in page.split("Where the sentences come from")[0], word  # a table of all there are
    assert "nearest reference image" in page
    assert "novelty" not in json.loads((tmp_path / "page.json").read_text())["numbers"]
    assert not any("held out" in line for line in said.err)
    np.save(tmp_path / "few.npy", rng.integers(0, 256, (10, 16, 16), dtype=np.uint8))
    copyfold("report", run, tmp_path / "few.npy").refused(2, "at least 4", "and 8", "give more images")
    with monkeypatch.context() as patch:  # before any work is done
        patch.setattr("copyfold.report.diagnosis.diagnose", lambda *_: pytest.fail("measured"))
        copyfold("report", run, "--out", tmp_path / "page.pdf").refused(2, "suffix .html")
        (tmp_path / "folder.html").mkdir()
        copyfold("report", run, "--out", tmp_path / "folder.html").refused(2, "is a folder", "name of a file")
    copyfold("report", tmp_path / "nothing").refused(2, "nothing")
