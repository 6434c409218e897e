"""The page of a diagnosis on a small model: whole, self-contained, and made of numbers that JSON can hold."""

import html
import json
import re

import numpy as np
import pytest
import torch

import copyfold as cf
from copyfold.cli import probe, sample
from copyfold.cli._parsing import parse
from copyfold.report.parts.commands import command
from copyfold.report.parts.sentences import SENTENCES
from copyfold.report.parts.subject import Subject


@pytest.fixture(scope="module")
def photos() -> cf.Photos:
    return cf.Photos(cf.scenes(80, 16, channels=1))


@pytest.fixture(scope="module")
def report(photos) -> cf.Report:
    torch.manual_seed(0)
    return cf.diagnose(cf.UNet(photos.shape, width=4, depth=2).eval(), photos)


def test_the_page_needs_no_other_file(report):
    assert not re.findall(r"(?:src|href)=[\"'](?!data:image/png;base64,|#)", report.html)
    assert "<script" not in report.html
    assert len(re.findall(r"<img ", report.html)) >= 7
    assert "viewport" in report.html
    assert "@media print" in report.html


def test_the_page_begins_with_the_sentences_and_quotes_their_thresholds(report):
    assert list(report.sentences) == list(SENTENCES)
    assert all(report.sentences.values())
    for scales in SENTENCES.values():
        for scale in scales:
            assert scale.number in report.numbers or scale.number == "used"  # of variational models
            assert scale.meaning in html.unescape(report.html)


def test_every_figure_says_how_to_read_it(report):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", report.html, re.DOTALL)
    assert len(captions) >= 7
    assert all(caption.startswith("How to read it") for caption in captions)


def test_it_is_saved_with_its_numbers(report, tmp_path):
    page, numbers = report.save(tmp_path / "a" / "page.html")
    found = json.loads(numbers.read_text())
    assert page.read_text() == report.html
    assert found["numbers"]["kept"] == report.numbers["kept"]
    assert found["sentences"] == dict(report.sentences)
    with pytest.raises(cf.UsageError, match=r"suffix \.html"):
        report.save(tmp_path / "page.pdf")


def test_a_diagnosis_changes_nothing_in_the_model_and_is_the_same_again(photos, report):
    torch.manual_seed(0)
    model = cf.UNet(photos.shape, width=4, depth=2).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    again = cf.diagnose(model, photos)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.statistics == "batch"
    assert again.numbers == report.numbers


def test_what_cannot_be_diagnosed_is_refused(photos):
    model = cf.Linear(photos.shape, latent_dim=3)
    with torch.no_grad():
        model.encoder[1].weight[0, 0] = torch.nan
    with pytest.raises(cf.UsageError, match=r"not numbers, the first in encoder"):
        cf.diagnose(model, photos)
    few = cf.Photos(np.zeros((9, 16, 16, 1), np.uint8) + np.arange(9, dtype=np.uint8)[:, None, None, None])
    with pytest.raises(cf.UsageError, match=r"at least 8 .* give more images"):
        cf.diagnose(cf.Linear(few.shape, latent_dim=3), few)
    with pytest.raises(cf.UsageError, match=r"size=8"):
        cf.diagnose(cf.Linear((photos.shape[0], 8, 8), latent_dim=3), photos)


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (
            cf.Denoising(cf.Gaussian(0.3)),
            "--probe Denoising --probe.corruption Gaussian --probe.corruption.std 0.3",
        ),
        (cf.Inversion(layer="encoder.0"), "--probe Inversion --probe.layer encoder.0"),
        (cf.Walk(steps=60, std=0.0), "--sampler Walk --sampler.steps 60 --sampler.std 0.0"),
        (cf.Renoising(), "--sampler Renoising"),
    ],
)
def test_commands_ask_the_same_again(asked, line, photos, tmp_path):
    subject = Subject(cf.Linear.tiny(), photos.sample(), photos.sample(), photos, cf.runs.Run(tmp_path))
    family = probe if isinstance(asked, cf.Probe) else sample
    given = command(subject, asked).split()
    assert " ".join(given[3:]) == line
    parsed = parse(family._parser(), given[2:])
    assert getattr(parsed, "probe" if family is probe else "sampler") == asked


def test_an_adopted_model_is_asked_in_python(photos):
    subject = Subject(cf.Linear.tiny(), photos.sample(), photos.sample(), photos)
    found = command(subject, cf.Denoising(cf.Gaussian(0.3)))
    assert found == "cf.Denoising(corruption=cf.Gaussian(std=0.3))(model, x, rng)"
    assert eval(found.removesuffix("(model, x, rng)")) == cf.Denoising(cf.Gaussian(0.3))
