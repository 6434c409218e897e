"""The report of a small model: complete, self-contained, with numbers that JSON can hold."""

import html
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import copyfold as cf
from copyfold import catalogue, runs
from copyfold.cli import probe, sample
from copyfold.cli._parsing import parse
from copyfold.report import illustration, sections
from copyfold.report.base import BELOW, Content, Figure, Scale, Section
from copyfold.report.commands import command
from copyfold.report.context import Context
from copyfold.report.sections import samples
from copyfold.report.sections.codes import Codes
from copyfold.report.sections.samples import Samples
from copyfold.training import Plan
from copyfold.training.loss import Loss
from copyfold.training.metrics_log import MetricsLog
from copyfold.training.state import TrainState
from copyfold.training.stopping import Clock

SECTIONS = sorted(catalogue.classes(Section).values(), key=lambda section: section.order)


@pytest.fixture(scope="module")
def photos() -> cf.Photos:
    return cf.Photos(cf.scenes(80, 16, channels=1))


@pytest.fixture(scope="module")
def model(photos) -> cf.UNet:
    torch.manual_seed(0)
    return cf.UNet(photos.shape, width=4, depth=2).eval()


@pytest.fixture(scope="module")
def report(model, photos) -> cf.Report:
    return cf.diagnose(model, photos)


@pytest.fixture(scope="module")
def found(model, photos) -> dict[str, Content]:
    """What each section finds when it is asked alone, the last one first."""
    context = Context.of(model, photos, None, 0)
    return {section.title: section()(context) for section in reversed(SECTIONS)}


@pytest.fixture
def remembered(found, monkeypatch) -> None:
    """Every section of copyfold's own says at once what it found before, with pictures of a pixel."""
    for section in SECTIONS:
        content = found[section.title]
        small = tuple(replace(figure, picture=np.zeros((1, 1, 3), np.uint8)) for figure in content.figures)
        content = replace(content, figures=small)
        monkeypatch.setattr(section, "__call__", lambda self, context, content=content: content)


def test_the_page_is_self_contained(report, found):
    assert not re.findall(r"(?:src|href)=[\"'](?!data:image/png;base64,|#)", report.html)
    assert "<script" not in report.html
    assert len(re.findall(r"<img ", report.html)) == sum(len(content.figures) for content in found.values())
    assert "viewport" in report.html
    assert "@media print" in report.html


def test_the_page_begins_with_the_sentences_and_quotes_their_thresholds(report):
    text = html.unescape(report.html)
    places = [text.index(f"<strong>{title}</strong> {sentence}") for title, sentence in report.sentences.items()]
    assert places == sorted(places)
    assert list(report.sentences) == [section.title for section in SECTIONS if section.scales]
    assert all(report.sentences.values())
    assert list(report.thresholds) == list(report.sentences)
    for scales in report.thresholds.values():
        for scale in scales:
            assert scale.number in report.numbers or scale.number == "active units"  # of variational models
            assert f"<td>{scale.number}</td><td>{scale.meaning}</td>" in text


def test_every_figure_says_how_to_read_it(report):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", report.html, re.DOTALL)
    assert len(captions) == len(re.findall(r"<img ", report.html))
    assert all(caption.startswith("How to read it") for caption in captions)


def test_the_report_is_saved_with_its_numbers(report, tmp_path):
    page, numbers = report.save(tmp_path / "a" / "page.html")
    found = json.loads(numbers.read_text())
    assert page.read_text() == report.html
    assert found["numbers"]["kept"] == report.numbers["kept"]
    assert found["sentences"] == dict(report.sentences)
    assert found["thresholds"].keys() == found["sentences"].keys()
    assert found["thresholds"]["What it keeps"][0]["number"] == "kept"
    with pytest.raises(cf.UsageError, match=r"suffix \.html"):
        report.save(tmp_path / "page.pdf")


def test_a_diagnosis_is_deterministic_and_does_not_change_the_model(model, photos, report):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    again = cf.diagnose(model, photos)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.statistics == "batch"
    assert again.numbers == report.numbers


def test_models_that_cannot_be_diagnosed_are_refused(photos):
    model = cf.Linear(photos.shape, latent_dim=3)
    with torch.no_grad():
        model.encoder[1].weight[0, 0] = torch.nan
    with pytest.raises(cf.UsageError, match=r"NaN or infinite, the first in encoder"):
        cf.diagnose(model, photos)
    few = cf.Photos(np.zeros((8, 16, 16, 1), np.uint8) + np.arange(8, dtype=np.uint8)[:, None, None, None])
    with pytest.raises(cf.UsageError, match=r"at least 8 .*, and there are 7: train on more images"):
        cf.diagnose(cf.Linear(few.shape, latent_dim=3), few)
    with pytest.raises(cf.UsageError, match=r"size=8"):
        cf.diagnose(cf.Linear((photos.shape[0], 8, 8), latent_dim=3), photos)


@pytest.mark.parametrize("count", [9, 30])
def test_few_photos_are_reported_with_what_there_is(count, tmp_path):
    """Of 9 photos 1 is held out, of 30 3: what takes more is left out, and said."""
    photos = cf.Photos(cf.scenes(count, 16, channels=1), progress=False)
    held = len(photos.held_out)
    assert held == count // 9
    torch.manual_seed(0)
    found = cf.diagnose(cf.UNet(photos.shape, width=4, depth=2).eval(), photos, progress=False)
    assert found.sentences["What it makes"] == ""
    assert all(said for title, said in found.sentences.items() if title != "What it makes")
    assert not re.search(r"\b(nan|inf)\b", " ".join(found.sentences.values()))
    text = " ".join(html.unescape(found.html).split())
    assert f"that takes 4 held-out images or more, and there {'is' if held == 1 else 'are'} {held}." in text
    assert "so few say little of other images" in found.facts["photos"]
    found.save(tmp_path / "page.html")


# ---------------------------------------------------------------- sections come and go


BRIGHTNESS = """
from copyfold.report.base import BELOW, Content, Scale, Section

class Brightness(Section):
    "How bright the images are."

    title = "How bright is it?"
    order = 15
    scales = (Scale("grey level", "mean of the images", ((BELOW, "It is dark ({grey_level:.1f})"), (2.0, "!"))),)

    def __call__(self, context):
        return Content("Images.", (), {"grey level": context.x.mean()})
"""


class Loudness(Section):
    """A user's section, with a picture."""

    title = "How loud is it?"
    order = 999
    scales = (Scale("decibels", "of a whisper", ((BELOW, "It is quiet: {decibels:.0f} dB."), (60.0, "Loud."))),)

    def __init__(self, decibels=30):
        self.decibels = decibels

    def __call__(self, context):
        return Content(
            "Silence.", (Figure(np.zeros((2, 2, 3), np.uint8), "Nothing."),), {"decibels": self.decibels}
        )


def test_a_section_does_not_depend_on_another(report, found):
    together = {name: value for section in SECTIONS for name, value in found[section.title].numbers.items()}
    assert together == report.numbers


@pytest.mark.parametrize("gone", SECTIONS, ids=lambda section: section.__name__)
def test_a_deleted_section_is_gone_with_its_sentence(gone, model, photos, report, remembered, monkeypatch):
    left = {section.__name__: section for section in SECTIONS if section is not gone}
    monkeypatch.setattr(catalogue, "classes", lambda base: left)
    without = cf.diagnose(model, photos)
    assert dict(without.sentences) == {t: said for t, said in report.sentences.items() if t != gone.title}
    assert without.thresholds.keys() == without.sentences.keys()
    headings = re.findall(r'<h2 id="part\d+">(.*?)</h2>', without.html)
    assert headings == [section.title for section in SECTIONS if section is not gone]
    assert gone.title not in without.html
    assert not any(scale.meaning in html.unescape(without.html) for scale in gone.scales)


def test_a_section_is_one_new_file(model, photos, report, remembered, monkeypatch, tmp_path):
    name = f"{sections.__name__}.brightness"
    (tmp_path / "brightness.py").write_text(BRIGHTNESS)
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "_recorded", dict(catalogue._recorded))
        patch.setattr(sections, "__path__", [*sections.__path__, str(tmp_path)])
        patch.setitem(sys.modules, name, None)  # so that it is taken out again
        del sys.modules[name]
        more = cf.diagnose(model, photos)
        vars(sections).pop("brightness")
    assert list(more.sentences)[:2] == ["What it keeps", "How bright is it?"]
    assert more.sentences["How bright is it?"] == f"It is dark ({more.numbers['grey level']:.1f})."
    assert "<td>grey level</td><td>mean of the images</td>" in more.html
    assert ">How bright is it?</h2>" in more.html
    assert isinstance(more.numbers["grey level"], float)
    assert {k: v for k, v in more.numbers.items() if k != "grey level"} == report.numbers
    assert list(cf.diagnose(model, photos).sentences) == list(report.sentences)


def test_a_user_section_is_on_the_page(model, photos, report, remembered, tmp_path):
    more = cf.diagnose(model, photos, sections=[Loudness(70)])
    assert dict(more.sentences) == dict(report.sentences) | {"How loud is it?": "Loud."}
    assert list(more.sentences)[-1] == "How loud is it?"
    text = html.unescape(more.html)
    assert "<p><strong>How loud is it?</strong> Loud.</p>" in text
    assert '<td>decibels</td><td>of a whisper</td><td class="number">70</td>' in text
    assert "<figcaption>Nothing.</figcaption>" in text
    saved = json.loads(more.save(tmp_path / "page.html")[1].read_text())
    assert saved["numbers"]["decibels"] == 70
    assert saved["thresholds"]["How loud is it?"][0]["levels"] == [
        [None, "It is quiet: {decibels:.0f} dB."],
        [60, "Loud."],
    ]
    assert "How loud is it?" not in cf.diagnose(model, photos).html  # it is known, but not asked for


class Untitled(Loudness):
    """Without a title."""

    title = ""


class Twin(Loudness):
    """With the title of another section."""

    title = "What it keeps"


class Alike(Loudness):
    """With a number of another section."""

    def __call__(self, context):
        return Content(numbers={"kept": 1.0})


class Wordless(Loudness):
    """What it returns is not a Content."""

    def __call__(self, context):
        return {"decibels": 1.0}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (Loudness, "is no section: give an instance"),
        (Untitled(), "the section Untitled has no title: give it"),
        (Twin(), "the section Twin has the title 'What it keeps' of another one"),
        (Alike(), "the section 'How loud is it?' has the number 'kept', and so has another one"),
        (Wordless(), "the section 'How loud is it?' returned a dict: expected a Content"),
    ],
)
def test_invalid_sections_are_refused(section, words, model, photos, remembered):
    with pytest.raises(cf.UsageError, match=re.escape(words)):
        cf.diagnose(model, photos, sections=[section])


# ---------------------------------------------------------------- the commands of figures


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
def test_the_page_has_commands_that_repeat_its_measurements(asked, line, photos, tmp_path):
    context = Context(cf.Linear.tiny(), photos.sample(), photos.sample(), photos, cf.runs.Run(tmp_path))
    family = probe if isinstance(asked, cf.Probe) else sample
    for seed, more in ((0, ""), (3, " --seed 3")):
        given = command(replace(context, seed=seed), asked, 32).split()
        assert " ".join(given[3:]) == f"{line} --count 32{more}"
        parsed = parse(family._parser(), given[2:])
        assert getattr(parsed, "probe" if family is probe else "sampler") == asked
        assert (parsed.count, parsed.seed) == (32, seed)


def test_commands_about_other_photos_name_them(tmp_path):
    np.save(tmp_path / "other.npy", cf.scenes(20, 16, channels=1))
    whole = cf.Photos(tmp_path / "other.npy", whole=True)
    context = Context.of(cf.Linear(whole.shape, 2), whole, cf.runs.Run(tmp_path), 0)
    line = f"copyfold probe {tmp_path} {tmp_path}/other.npy --probe Denoising --count 5"
    assert command(context, cf.Denoising(), 5) == line
    walk = f"copyfold sample {tmp_path} --start {tmp_path}/other.npy --sampler Walk --count 5"
    assert command(context, cf.Walk(), 5) == walk
    assert command(context, cf.Renoising(), 5) == f"copyfold sample {tmp_path} --sampler Renoising --count 5"


def test_a_network_that_is_no_autoencoder_is_refused_with_advice(photos):
    with pytest.raises(
        cf.UsageError, match=r"a Identity is no Autoencoder: give .* or cf.adopt\(network, shape\)"
    ):
        cf.diagnose(torch.nn.Identity(), photos)


def test_the_report_of_an_adopted_model_gives_python_code(photos):
    context = Context(cf.Linear.tiny(), photos.sample(), photos.sample(), photos)
    found = command(context, cf.Denoising(cf.Gaussian(0.3)), 5)
    assert found == "cf.Denoising(corruption=cf.Gaussian(std=0.3))(model, x, rng)"
    assert eval(found.removesuffix("(model, x, rng)")) == cf.Denoising(cf.Gaussian(0.3))


def test_samples_are_made_as_the_command_makes_them(model, photos):
    """One generator gives the noise of the start and then that of the film; by the seed, as many as there are."""
    made = samples._made(Context.of(model, photos, None, 3), cf.Renoising(steps=3))
    rng = torch.Generator().manual_seed(3)
    start = cf.Renoising().noise(len(made), model.shape, rng)
    *_, again = cf.Renoising(steps=3)(model, start, rng)
    assert torch.equal(made, again.clamp(0, 1))


# ---------------------------------------------------------------- which images are measured


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> cf.Photos:
    """1,600 images of eight classes, one after the other, each of its own brightness."""
    file = tmp_path_factory.mktemp("classes") / "sorted.npz"
    noise = np.random.default_rng(0).integers(0, 20, (1600, 8, 8), dtype=np.uint8)
    labels = np.arange(1600) // 200
    np.savez(file, images=noise + (25 * labels[:, None, None]).astype(np.uint8), labels=labels)
    return cf.Photos(file, 8)


def test_a_report_on_sorted_classes_sees_all_of_them(classes):
    context = Context.of(cf.Linear(classes.shape, latent_dim=8), classes, None, 0)
    for drawn, count in ((context.reference, 1024), (context.reference.some(500), 500), (context.measured, 128)):
        shares = torch.bincount(drawn.labels, minlength=8) / count
        assert len(drawn) == count
        # held-out images come in an order drawn at random, of which any part is a fair one
        assert (shares - 1 / 8).abs().max() < (0.06 if drawn is context.measured else 2 / count + 0.01)
        brightness = (255 * drawn.images.mean((1, 2, 3)) / 25).floor().clamp(0, 7).long()
        assert torch.equal(brightness, drawn.labels)
    numbers = Codes()(context).numbers
    assert numbers["purity by chance"] == pytest.approx(1 / 8, abs=0.005)
    assert numbers["purity"] > 0.9
    assert context.x.data_ptr() == context.measured.images.data_ptr()
    assert not torch.equal(Context.of(context.model, classes, None, 1).reference.rows, context.reference.rows)


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
    found = MetricsLog(runs.Run(tmp_path), state, loss, None, held_out, Plan(), None, 1, None).held_out
    assert len(found) == 512
    assert (np.bincount(found.flatten()) - 64).max() < 2


def test_measured_and_reference_images_are_disjoint(classes):
    photos = cf.Photos(np.asarray(classes.train), whole=True)
    context = Context.of(cf.Linear(photos.shape, latent_dim=8), photos, None, 0)
    assert not set(context.measured.rows.tolist()) & set(context.reference.rows.tolist())
    assert (len(context.measured), len(context.reference)) == (128, 1024)
    small = cf.Photos(photos.train[::100], whole=True)
    context = Context.of(context.model, small, None, 0)
    assert (len(context.measured), len(context.reference)) == (4, 11)


def test_memorisation_is_not_reported_for_photos_not_trained_on(report):
    whole = cf.Photos(cf.scenes(40, 16, channels=1), whole=True)
    context = Context.of(cf.Linear(whole.shape, latent_dim=8), whole, None, 0)
    found = Samples()(context)
    assert "novelty" not in found.numbers
    assert "the reference image nearest to each" in found.figures[0].caption
    assert not re.findall(r"held[- ]out|training|memorised", found.text + found.figures[0].caption)
    said = Samples().sentence(found.numbers)
    assert re.search(r"as other photos are\)(, and is nearly the same every time)?\.$", said), said
    assert "training image nearest to each" in html.unescape(" ".join(report.html.split()))


class Makes(cf.Autoencoder):
    """Whatever it sees, it makes one of these images, which the numbers of its input choose."""

    def __init__(self, shape, images):
        super().__init__(shape)
        self.images = images

    def encode(self, x):
        return x.flatten(1).sum(1, keepdim=True)

    def decode(self, z):
        return self.images[(1000 * z[:, 0]).long() % len(self.images)]


def test_training_images_that_come_back_are_called_memorised(photos):
    train = photos.images("train", 72)
    found = Samples()(Context.of(Makes(photos.shape, train), photos, None, 0)).numbers
    assert found["novelty"] == pytest.approx(0, abs=1e-6)
    assert ", and is memorised: training images come back." in Samples().sentence(found)


@pytest.mark.parametrize(
    ("contrast", "differing", "said"),
    [(0.0, 0.0, True), (0.0, 0.2, False), (0.05, 0.0, True)],
)
def test_what_does_not_look_like_the_photos_is_not_called_memorised(contrast, differing, said):
    """Grey squares, equal or not, are nearer to the flattest of the photos than these are to each other."""
    rng = np.random.default_rng(0)
    noise = 128 + rng.uniform(-100, 100, (80, 16, 16, 1)) * rng.uniform(0.02, 1, (80, 1, 1, 1))
    photos = cf.Photos(noise.astype(np.uint8), progress=False)
    rng = torch.Generator().manual_seed(0)
    grey = 0.5 + differing * (torch.rand(50, 1, 1, 1, generator=rng) - 0.5)
    made = grey + contrast * (torch.rand(1, 1, 16, 16, generator=rng) - 0.5)
    section, context = Samples(), Context.of(Makes(photos.shape, made), photos, None, 0)
    numbers = section(context).numbers
    near, real = (numbers[f"distance to the nearest training image{held}"] for held in ("", ", held out"))
    assert near < 0.5 * real  # which alone would be called memorised
    assert np.isnan(numbers["novelty"])
    sentence = section.sentence(numbers)
    assert "memorised" not in sentence
    assert ("nearly the same" in sentence) == said


def test_a_report_says_if_all_generated_images_are_the_same(photos, report):
    assert report.numbers["variety"] > 0
    context = Context.of(cf.Linear(photos.shape, latent_dim=8), photos, None, 0)
    with torch.no_grad():
        context.model.decoder[0].weight.zero_()
    found = Samples()(context)
    assert found.numbers["variety"] == pytest.approx(0, abs=1e-6)
    assert "nearly the same: they differ from each other by 0.00 of what photos do" in found.text
    with torch.no_grad():
        context.model.decoder[0].weight.normal_(0, 5)
    assert "nearly the same" not in Samples()(context).text
