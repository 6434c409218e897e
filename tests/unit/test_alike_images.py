"""Images that are all black, white or the same, and one or two of them: finite numbers and sentences."""

import json
import math
import re
import warnings

import numpy as np
import pytest
import torch

import copyfold as cf
from copyfold import catalogue
from copyfold.errors import UsageError
from copyfold.probes.base import Probe
from copyfold.probes.latent import Latent, principal
from copyfold.report.context import Context
from copyfold.report.illustration import illustrate
from copyfold.report.sections.reconstruction import Reconstruction
from copyfold.report.sections.stability import ManifoldStability

RAMP = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (16, 1))
SETS = {
    "black": np.zeros((40, 16, 16), np.uint8),
    "white": np.full((40, 16, 16), 255, np.uint8),
    "equal": np.broadcast_to(np.stack([RAMP, RAMP.T, 255 - RAMP], -1), (40, 16, 16, 3)),
}
MODELS = {
    "UNet": lambda shape: cf.UNet(shape, width=4, depth=2),
    "Linear": lambda shape: cf.Linear(shape, 4),
    "Variational": lambda shape: cf.Variational(cf.MLP(shape, (8,), 4), 3),
}


def fit(folder, kind, name, **options):
    photos = cf.Photos(SETS[kind], 16)
    torch.manual_seed(0)
    model = MODELS[name](photos.shape)
    penalties = (cf.Divergence(),) if model.stochastic else ()
    objective = cf.Classical(penalties=penalties)
    given = {"epochs": 2, "batch": 8, "precision": "32", "progress": False} | options
    return cf.fit(model, objective, photos, folder, **given), photos


@pytest.mark.parametrize(("kind", "name"), [("equal", "UNet"), ("black", "Linear"), ("white", "Variational")])
def test_images_that_are_all_the_same_are_trained_on_and_reported(kind, name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a division by 0 is one
        warnings.simplefilter("ignore", ResourceWarning)  # of what another test left open
        run, photos = fit(tmp_path / "run", kind, name)
        report = cf.diagnose(run.model, photos, run, progress=False)
        assert len(illustrate(run, photos)) == 3
    json.loads(report.save(tmp_path / "report.html")[1].read_text())
    for sentence in report.sentences.values():
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert not re.search(r"\b(nan|inf)\b", sentence), sentence
    kept, stays = report.sentences["What it keeps"], report.sentences["Is its manifold stable?"]
    assert kept.startswith("The images are all the same, so there is no variance between them to keep.")
    assert stays.startswith("The photos are the same, so that none can drift to another one")
    made = report.sentences["What it makes"]
    assert made == "The photos are all the same: there is no variety that samples could have."
    assert report.numbers["effective dimension"] == 0


def test_photos_that_are_there_twice_have_no_distance_and_yet_a_variance(tmp_path):
    photos = cf.Photos(np.repeat(cf.data.scenes(20, size=16, channels=1, seed=1), 2, 0), 16)
    torch.manual_seed(0)
    context = Context.of(MODELS["Linear"](photos.shape), photos, None, 0)
    keeps, stays = Reconstruction(), ManifoldStability()
    assert keeps.sentence(keeps(context).numbers).startswith("It does not reconstruct images")
    assert stays.sentence(stays(context).numbers).startswith("The photos are the same, so that none can drift")


@pytest.mark.parametrize("kind", ["black", "white", "equal"])
def test_pca_of_images_that_are_all_the_same(kind, tmp_path, caplog):
    photos = cf.Photos(SETS[kind], 16)
    for bias in (True, False):
        model = cf.Linear(photos.shape, 4, bias)
        with warnings.catch_warnings(), caplog.at_level("INFO"):
            warnings.simplefilter("error")
            cf.fit(model, photos=photos, run=tmp_path / f"{bias}", solve=True, progress=False)
        shares = json.loads((tmp_path / f"{bias}" / "findings" / "pca.json").read_text())
        assert all(math.isfinite(share) for share in shares["explained_variance_ratio"])
        x = photos.images("held_out")
        torch.testing.assert_close(model(x), x, atol=1e-4, rtol=0)


def reference(probe, x):
    """The probe, with these as its reference images where it takes some."""
    names = [p.name for p in catalogue.parameters(type(probe))]
    found = {"reference": x, "labels": torch.zeros(len(x), dtype=torch.long)}
    found |= {"steps": 5} if type(probe).__name__ in ("Inversion", "Stability", "Evidence") else {}
    found |= {"std": 0.1} if type(probe).__name__ == "Evidence" else {}
    return catalogue.changed(probe, **{name: value for name, value in found.items() if name in names})


@pytest.mark.parametrize("kind", ["black", "white", "equal"])
@pytest.mark.parametrize("name", sorted(catalogue.classes(Probe)))
def test_every_probe_reads_finite_numbers_of_them(kind, name):
    torch.manual_seed(0)
    photos = cf.Photos(SETS[kind], 16)
    x = photos.images(count=12)
    model = MODELS["Variational" if name == "Evidence" else "UNet"](photos.shape).eval()
    probe = reference(catalogue.classes(Probe)[name](), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading = probe(model, x, torch.Generator().manual_seed(0))
    for number, value in reading.numbers.items():
        if "psnr" not in number:  # infinite of what is found exactly
            assert value.isfinite().all(), number


@pytest.mark.parametrize(("n", "d"), [(4, 3), (20, 256), (60, 32)])
@pytest.mark.parametrize("noise", [0, 1e-9, 1e-7, 1e-4])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_codes_that_are_alike_have_a_finite_map(n, d, noise, scale):
    g = torch.Generator().manual_seed(0)
    codes = scale * (torch.randn(1, d, generator=g) + noise * torch.randn(n, d, generator=g))
    variances, scores = principal(codes)
    found = Latent()._map(codes, scores[:, :2], g)
    assert found.shape == (n, 2)
    assert found.isfinite().all()
    if noise <= 1e-7:
        assert not found.any()
    if noise == 0:
        assert not variances.any()
        assert not scores.any()


def test_the_codes_of_equal_images_are_one_point_of_the_map():
    """Batches of other sizes round otherwise: codes of equal images may differ in the last digits."""
    model, x = MODELS["UNet"]((3, 16, 16)).eval(), cf.Photos(SETS["equal"], 16).images()
    reading = Latent(labels=torch.arange(len(x)) % 2, batch=7)(model, x, torch.Generator().manual_seed(0))
    assert reading.numbers["effective dimension"] == 0
    assert reading.numbers["components"] == 0
    assert not reading.numbers["map"].any()
    assert not reading.numbers["std"].any()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_one_or_two_images_are_trained_on_and_what_needs_more_says_so(count, name, tmp_path, caplog):
    photos = cf.Photos(cf.data.scenes(count, size=16, channels=1, seed=1), 16)
    torch.manual_seed(0)
    model = MODELS[name](photos.shape)
    objective = cf.Classical(penalties=(cf.Divergence(),) if model.stochastic else ())
    run = cf.fit(model, objective, photos, tmp_path / "run", epochs=2, precision="32", progress=False)
    assert illustrate(run, photos)
    with pytest.raises(UsageError, match="a diagnosis needs at least"):
        cf.diagnose(run.model, photos, run, progress=False)
    x = photos.images("held_out")
    for probe in catalogue.classes(Probe).values():
        made = reference(probe(), photos.images())
        try:
            reading = made(run.model, x, torch.Generator().manual_seed(0))
        except UsageError:
            continue
        assert all(value.isfinite().all() or "psnr" in number for number, value in reading.numbers.items())


@pytest.mark.parametrize("name", ["Linear", "Variational"])
def test_images_of_one_pixel(name, tmp_path):
    photos = cf.Photos(np.arange(40, dtype=np.uint8).reshape(40, 1, 1), 1, layout="NHW")
    torch.manual_seed(0)
    model = MODELS[name](photos.shape) if name != "Linear" else cf.Linear(photos.shape, 1)
    run = cf.fit(model, None, photos, tmp_path / "run", epochs=1, batch=8, precision="32", progress=False)
    assert illustrate(run, photos)
    with pytest.raises(UsageError, match=r"expected|larger|at least"):
        cf.diagnose(run.model, photos, run, progress=False)
