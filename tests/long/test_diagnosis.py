"""Four models that a diagnosis must distinguish, with seeds that were not used to choose its thresholds."""

import pytest
import torch

import copyfold as cf

SEED = 11


@pytest.fixture(scope="module")
def photos() -> cf.Photos:
    return cf.Photos(size=32)


def trained(model: cf.Autoencoder, objective: cf.Objective, photos: cf.Photos, folder, **options) -> cf.Report:
    run = cf.fit(model, objective, photos, folder, seed=SEED, **{"epochs": 8, "batch": 16} | options)
    return cf.diagnose(run.model, photos, run)


@pytest.fixture(scope="module")
def reports(photos, tmp_path_factory) -> dict[str, cf.Report]:
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(SEED)
    good, skips = (cf.UNet(photos.shape, width=16, depth=3, skips=skips) for skips in ("none", "concat"))
    vae = cf.Variational(cf.MLP(photos.shape, hidden=(64,), latent_dim=16), latent_dim=8)
    untrained = cf.UNet(photos.shape, width=16, depth=3).eval()
    too_strict = cf.Classical(penalties=(cf.Divergence(beta=1000.0),))
    return {
        "good": trained(good, cf.Classical(), photos, folder / "good"),
        "skips": trained(skips, cf.Classical(), photos, folder / "skips"),
        "collapsed": trained(vae, too_strict, photos, folder / "collapsed", epochs=20),
        "untrained": cf.diagnose(untrained, photos),
    }


def test_a_good_model_reconstructs_and_does_not_simply_copy(reports):
    said = reports["good"].sentences
    assert "keeps most" in said["What it keeps"] or "nearly everything" in said["What it keeps"]
    assert "not simply copy" in said["Does it copy?"]
    assert "It removes" in said["What noise it removes"]
    assert "It removes no noise" not in said["What noise it removes"]


def test_a_model_with_skips_passes_added_noise_on(reports):
    said = reports["skips"].sentences
    assert "keeps most" in said["What it keeps"] or "nearly everything" in said["What it keeps"]
    assert "copies in part" in said["Does it copy?"] or "identity" in said["Does it copy?"]


def test_a_collapsed_code_is_reported(reports):
    said = reports["collapsed"].sentences
    assert "posterior has collapsed" in said["What it keeps"]
    assert "no noise" in said["What noise it removes"] or "hardly" in said["What noise it removes"]


def test_an_untrained_model_does_not_reconstruct(reports):
    said = reports["untrained"].sentences
    assert "does not reconstruct images" in said["What it keeps"]
    assert "collapsed" not in said["What it keeps"]


def test_the_descriptions_of_all_models_differ(reports):
    heads = [tuple(s[:40] for s in report.sentences.values()) for report in reports.values()]
    assert len({head[0] for head in heads}) >= 3
    assert len(set(heads)) == 4
