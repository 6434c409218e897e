"""The page of a diagnosis on a small model: whole, self-contained, and made of numbers that JSON can hold."""

import html
import json
import re

import numpy as np
import pytest
import torch

import copyfold as cf
from copyfold import runs
from copyfold.cli import probe, sample
from copyfold.cli._parsing import parse
from copyfold.report import illustration
from copyfold.report.parts import sections
from copyfold.report.parts.commands import command
from copyfold.report.parts.sentences import SENTENCES, sentences
from copyfold.report.parts.subject import Subject
from copyfold.training import Plan
from copyfold.training.loss import Loss
from copyfold.training.metrics_log import MetricsLog
from copyfold.training.state import TrainState
from copyfold.training.stopping import Clock


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


def test_commands_about_other_photos_name_them(tmp_path):
    np.save(tmp_path / "other.npy", cf.scenes(20, 16, channels=1))
    whole = cf.Photos(tmp_path / "other.npy", whole=True)
    subject = Subject.of(cf.Linear(whole.shape, 2), whole, cf.runs.Run(tmp_path), 0)
    line = f"copyfold probe {tmp_path} {tmp_path}/other.npy --probe Denoising"
    assert command(subject, cf.Denoising()) == line
    assert command(subject, cf.Walk()) == f"copyfold sample {tmp_path} --start {tmp_path}/other.npy --sampler Walk"
    assert command(subject, cf.Renoising()) == f"copyfold sample {tmp_path} --sampler Renoising"


def test_an_adopted_model_is_asked_in_python(photos):
    subject = Subject(cf.Linear.tiny(), photos.sample(), photos.sample(), photos)
    found = command(subject, cf.Denoising(cf.Gaussian(0.3)))
    assert found == "cf.Denoising(corruption=cf.Gaussian(std=0.3))(model, x, rng)"
    assert eval(found.removesuffix("(model, x, rng)")) == cf.Denoising(cf.Gaussian(0.3))


# ---------------------------------------------------------------- which images are looked at


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> cf.Photos:
    """1,600 images of eight classes, one after the other, each of its own brightness."""
    file = tmp_path_factory.mktemp("classes") / "sorted.npz"
    noise = np.random.default_rng(0).integers(0, 20, (1600, 8, 8), dtype=np.uint8)
    labels = np.arange(1600) // 200
    np.savez(file, images=noise + (25 * labels[:, None, None]).astype(np.uint8), labels=labels)
    return cf.Photos(file, 8)


def test_a_report_on_sorted_classes_sees_all_of_them(classes):
    subject = Subject.of(cf.Linear(classes.shape, latent_dim=8), classes, None, 0)
    for drawn, count in ((subject.known, 1024), (subject.known.some(500), 500), (subject.measured, 128)):
        shares = torch.bincount(drawn.labels, minlength=8) / count
        assert len(drawn) == count
        # held-out images come in an order drawn at random, of which any part is a fair one
        assert (shares - 1 / 8).abs().max() < (0.06 if drawn is subject.measured else 2 / count + 0.01)
        brightness = (255 * drawn.images.mean((1, 2, 3)) / 25).floor().clamp(0, 7).long()
        assert torch.equal(brightness, drawn.labels)
    numbers = sections.codes(subject).numbers
    assert numbers["purity by chance"] == pytest.approx(1 / 8, abs=0.005)
    assert numbers["purity"] > 0.9
    assert subject.x.data_ptr() == subject.measured.images.data_ptr()
    assert not torch.equal(Subject.of(subject.model, classes, None, 1).known.rows, subject.known.rows)


def test_the_pictures_of_a_run_see_all_classes(classes, tmp_path, monkeypatch):
    seen = []

    class Watching(cf.Denoising):
        def __call__(self, model, x, rng):
            seen.append((self.reference, x))
            return super().__call__(model, x, rng)

    monkeypatch.setattr(illustration, "Denoising", Watching)
    run = cf.fit(cf.Linear(classes.shape, latent_dim=8), photos=classes, run=tmp_path / "run", epochs=1)
    illustration.illustrate(run, classes)
    for images, count in zip(seen[0], (256, 128), strict=True):
        of = (255 * images.mean((1, 2, 3)) / 25).floor().clamp(0, 7).long()
        assert len(of) == count
        assert (torch.bincount(of, minlength=8) / count - 1 / 8).abs().max() < 0.06


def test_the_log_of_a_training_sees_all_of_the_held_out_images(tmp_path):
    """Also where whoever hands them over has sorted them."""
    held_out = np.repeat(np.arange(8, dtype=np.uint8), 100)[:, None, None, None]
    model = cf.Linear((1, 1, 1), 1)
    state = TrainState(model, torch.optim.Adam(model.parameters()), Clock(None))
    loss = Loss(model, cf.Classical(), torch.contiguous_format)
    found = MetricsLog(runs.Run(tmp_path), state, loss, held_out, Plan(), None, 1).held_out
    assert len(found) == 512
    assert (np.bincount(found.flatten()) - 64).max() < 2


def test_the_images_that_are_measured_are_none_of_those_beside_them(classes):
    photos = cf.Photos(np.asarray(classes.train), whole=True)
    subject = Subject.of(cf.Linear(photos.shape, latent_dim=8), photos, None, 0)
    assert not set(subject.measured.rows.tolist()) & set(subject.known.rows.tolist())
    assert (len(subject.measured), len(subject.known)) == (128, 1024)
    small = cf.Photos(photos.train[::100], whole=True)
    subject = Subject.of(subject.model, small, None, 0)
    assert (len(subject.measured), len(subject.known)) == (4, 11)


def test_what_is_made_is_not_remembered_from_photos_that_nothing_trained_on(report):
    whole = cf.Photos(cf.scenes(40, 16, channels=1), whole=True)
    subject = Subject.of(cf.Linear(whole.shape, latent_dim=8), whole, None, 0)
    section = sections.making(subject)
    assert "novelty" not in section.numbers
    assert "the reference image nearest to it" in section.plates[0].caption
    assert not re.findall(r"held[- ]out|training|remembered", section.text + section.plates[0].caption)
    said = sentences(section.numbers)["What it makes"]
    assert re.search(r"photos( from afar| at every scale)?\.$", said), said
    assert "training image nearest to it" in html.unescape(" ".join(report.html.split()))


def test_a_report_says_where_all_that_is_made_is_the_same(photos, report):
    assert report.numbers["variety"] > 0
    subject = Subject.of(cf.Linear(photos.shape, latent_dim=8), photos, None, 0)
    with torch.no_grad():
        subject.model.decoder[0].weight.zero_()
    section = sections.making(subject)
    assert section.numbers["variety"] == pytest.approx(0, abs=1e-6)
    assert "all but the same: they differ from each other by 0.00 of what photos do" in section.text
    with torch.no_grad():
        subject.model.decoder[0].weight.normal_(0, 5)
    assert "all but the same" not in sections.making(subject).text
