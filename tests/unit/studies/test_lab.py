"""Images and models for studies: cached, resumable, reproducible."""

import csv
import json
import logging
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from copyfold.corruptions import Gaussian
from copyfold.data import Photos
from copyfold.errors import DataError, Diverged, UsageError
from copyfold.models.dense import Linear
from copyfold.objectives.base import Classical
from copyfold.probes.base import Reading
from copyfold.runs import Run
from copyfold.studies import lab as laboratory
from copyfold.studies.budget import BUDGETS
from copyfold.studies.datasets import sources
from copyfold.studies.lab import Busy, Lab, Paused
from copyfold.studies.toolkit.training import on_the_way


@pytest.fixture
def lab(tmp_path):
    return Lab(BUDGETS["tiny"], cache=tmp_path / "models")


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_model_is_trained_once(lab, monkeypatch):
    photos = lab.photos("landscapes")
    first = lab.trained(Linear, photos, 0)
    calls = []
    monkeypatch.setattr(laboratory, "fit", lambda *a, **k: calls.append(a))
    again = Lab(lab.budget, cache=lab.cache).trained(Linear, photos, 0)
    assert not calls
    assert weights(first).equal(weights(again))
    assert not weights(first).equal(weights(lab.untrained(Linear, photos, 0)))


@pytest.mark.parametrize("change", [{"seed": 1}, {"lr": 1e-4}, {"batch": 8}, {"clip": 1.0}])
def test_another_recipe_trains_another_model(lab, change):
    photos = lab.photos("landscapes")
    plan = {"seed": 0, "steps": 8} | change
    first, other = lab.trained(Linear, photos, 0, steps=8), lab.trained(Linear, photos, **plan)
    assert not weights(first).equal(weights(other))
    assert len(list(lab.cache.glob("*/*/*/made.json"))) == 2


def test_another_objective_trains_another_model(lab):
    """A denoiser is not served as a copier."""
    photos = lab.photos("landscapes")
    copier, denoiser = (lab.trained(Linear, photos, 0, objective=o) for o in (None, Classical(Gaussian(0.3))))
    assert not weights(copier).equal(weights(denoiser))
    assert weights(copier).equal(weights(lab.trained(Linear, photos, 0, objective=Classical())))


def test_another_size_trains_another_model(lab):
    photos = lab.photos("landscapes")
    narrow, wide = (lab.trained(partial(Linear, latent_dim=n), photos, 0) for n in (2, 4))
    assert len(weights(narrow)) < len(weights(wide))


@pytest.mark.parametrize("change", [{"seed": 1}, {"flip": True}])
def test_other_images_train_another_model(lab, change):
    first, other = (lab.trained(Linear, Photos(None, 16, limit=64, **each), 0) for each in ({}, change))
    assert not weights(first).equal(weights(other))


def test_another_precision_trains_another_model(lab, monkeypatch):
    """And it is what "auto" means on a machine that counts, and not the word."""
    photos = lab.photos("landscapes")
    models = {precision: lab.trained(Linear, photos, 0, precision=precision) for precision in ("32", "bf16")}
    assert not weights(models["32"]).equal(weights(models["bf16"]))
    for best, model in models.items():
        monkeypatch.setattr(laboratory, "resolve", lambda asked, best=best: best if asked == "auto" else asked)
        assert weights(lab.trained(Linear, photos, 0)).equal(weights(model))
    assert lab.precisions == {"32", "bf16"}


def test_models_of_changed_code_are_trained_again(lab, monkeypatch):
    photos = lab.photos("landscapes")
    lab.trained(Linear, photos, 0)
    monkeypatch.setattr(laboratory, "code_digest", lambda model, objective: "0123456789abcdef")
    lab.trained(Linear, photos, 0)
    made = [json.loads(path.read_text()) for path in lab.cache.glob("*/*/*/made.json")]
    assert len({each["code"] for each in made}) == len(made) == 2


def test_a_course_has_the_checkpoints_of_one_training(lab):
    photos = lab.photos("landscapes")
    early, late = lab.course(Linear, photos, 0, (4, 12))
    assert weights(early).equal(weights(lab.trained(Linear, photos, 0, steps=4)))
    assert weights(late).equal(weights(lab.trained(Linear, photos, 0, steps=12)))


def test_an_interrupted_course_continues(lab, monkeypatch):
    photos, real = lab.photos("landscapes"), laboratory.fit
    whole = lab.course(Linear, photos, 0, (4, 12))

    def stops(*given, **plan):
        if plan["epochs"] > 1:
            raise KeyboardInterrupt
        return real(*given, **plan)

    monkeypatch.setattr(laboratory, "fit", stops)
    other = Lab(lab.budget, cache=lab.cache.parent / "other")
    with pytest.raises(KeyboardInterrupt):
        other.course(Linear, photos, 0, (4, 12))
    monkeypatch.setattr(laboratory, "fit", real)
    resumed = other.course(Linear, photos, 0, (4, 12))
    assert all(weights(a).equal(weights(b)) for a, b in zip(whole, resumed, strict=True))


def test_a_course_that_was_killed_while_its_checkpoints_were_deleted_continues(lab, monkeypatch):
    def killed(folder):
        (folder / "last.ckpt").unlink()
        raise KeyboardInterrupt

    photos = lab.photos("landscapes")
    with monkeypatch.context() as patch:
        patch.setattr(laboratory.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            lab.trained(Linear, photos, 0)
    (left,) = lab.cache.glob("*/*/training-*/recipe.yaml")
    lab.trained(Linear, photos, 0)
    assert not left.parent.exists()
    assert list(lab.cache.glob("*/*/training-*.csv"))


def test_a_course_shares_cached_models(lab, monkeypatch):
    photos = lab.photos("landscapes")
    late = lab.trained(Linear, photos, 0, steps=12)
    both = lab.course(Linear, photos, 0, (4, 12))
    assert weights(both[1]).equal(weights(late))
    monkeypatch.setattr(laboratory, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert weights(lab.trained(Linear, photos, 0, steps=4)).equal(weights(both[0]))


def test_the_cache_keeps_the_models_and_the_log(lab):
    lab.trained(Linear, lab.photos("landscapes"), 0)
    (folder,) = lab.cache.glob("*/*")
    kept = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    model = ["after-2/config.json", "after-2/made.json", "after-2/model.safetensors"]
    assert kept == [".lock", *model, "training-2.csv"]
    made = json.loads((folder / "after-2/made.json").read_text())
    assert made["model"] == "Linear"
    rows = list(csv.DictReader((folder / "training-2.csv").read_text().splitlines()))
    assert made["seconds"] == pytest.approx(float(rows[-1]["seconds"]), abs=0.06)
    assert made["plan"]["precision"] in ("bf16", "32")


def test_models_of_another_version_are_reported_and_not_used(tmp_path, caplog):
    (tmp_path / "copyfold-0.0.1-torch-1.0").mkdir()
    with caplog.at_level(logging.WARNING, logger="copyfold"):
        Lab(BUDGETS["tiny"], cache=tmp_path)
    assert "the models of copyfold-0.0.1-torch-1.0 are not used" in caplog.text


def test_digits_replace_missing_data_and_the_finding_says_so(lab):
    lab.photos("landscapes")
    lab.photos("landscapes")
    assert lab.notes == ["landscapes was not given: scikit-learn's digits stand in for it"]
    with pytest.raises(UsageError, match="did you mean cifar10"):
        lab.photos("cifar")


def test_sampled_images_are_spread_over_the_dataset_and_reproducible(lab):
    photos = lab.photos("landscapes")
    x = lab.images(photos)
    assert x.shape == (16, 1, 16, 16)
    assert x.equal(lab.images(photos))
    everything = lab.images(photos, "train", 10_000)
    assert len(everything) == len(photos)
    everyone = photos.images("held_out")
    assert len(everyone) > 16
    assert x[0].equal(everyone[0])
    assert x[-1].equal(everyone[-1])
    assert 0 <= x.min() < x.max() <= 1


def test_labels_are_available_on_request(tmp_path, lab):
    assert lab.labelled("landscapes").labels is not None  # the digits' own
    rng = np.random.default_rng(0)
    for n in range(20):
        Image.fromarray(rng.integers(0, 255, (20, 20), dtype=np.uint8)).save(tmp_path / f"{n}.png")
    with pytest.raises(DataError, match="has no labels, and this study needs them"):
        Lab(lab.budget, {"landscapes": str(tmp_path)}, lab.cache).labelled("landscapes")


def test_a_diverged_seed_does_not_lose_the_others(tmp_path):
    lab = Lab(BUDGETS["cpu"], cache=tmp_path)

    def measure(seed: int) -> int:
        if seed == 1:
            raise Diverged("the loss became nan")
        return seed

    assert lab.each(measure) == [0, 2]
    assert lab.notes == ["seed 1 is left out: the loss became nan"]

    def never(seed: int) -> int:
        raise Diverged("the loss became nan")

    with pytest.raises(Diverged, match="no seed"):
        lab.each(never)


def test_generators_depend_on_seed_and_purpose(lab):
    a, b, c, d = (torch.rand(4, generator=lab.rng(*x)) for x in ((0, "a"), (0, "a"), (0, "b"), (1, "a")))
    assert a.equal(b)
    assert not a.equal(c)
    assert not a.equal(d)


def test_sources_are_folders_or_names_or_the_hub(tmp_path):
    for name in ("landscapes", "cifar10"):
        (tmp_path / name).mkdir()
    root = str(tmp_path)
    assert sources([root]) == {"landscapes": f"{root}/landscapes", "cifar10": f"{root}/cifar10"}
    assert sources([root, "landscapes=x"])["landscapes"] == "x"
    assert sources(["hub"])["churches"].startswith("hf://")
    assert sources([]) == {}
    with pytest.raises(UsageError, match="neither a folder nor NAME=SOURCE"):
        sources(["nowhere"])
    with pytest.raises(DataError, match="holds none of landscapes"):
        sources([f"{root}/landscapes"])


def test_steps_are_whole_epochs(lab):
    photos = lab.photos("landscapes")  # 64 images: 4 batches of 16
    assert [lab.whole(photos, n) for n in (1, 5, 6, 7, 40)] == [4, 4, 8, 8, 40]
    lab.course(Linear, photos, 0, (5, 7))
    assert sorted(path.name for path in lab.cache.glob("*/*/after-*")) == ["after-1", "after-2"]


def test_what_several_studies_measure_is_measured_once(lab, monkeypatch):
    """It counts its cost for each of them, and is made again for other images, seeds and code."""
    photos, calls = lab.photos("landscapes"), []

    def measure(seed):
        calls.append(seed)
        lab.trained(Linear, photos, seed)
        return Reading({"drawn": torch.rand(3, generator=lab.rng(seed))}, {"shown": torch.rand(1, 1, 2, 2)})

    first = lab.shared("many", 0, (photos,), measure)
    spent = lab.spent
    again = Lab(lab.budget, cache=lab.cache)
    found = again.shared("many", 0, (photos,), measure)
    assert calls == [0]
    assert found.numbers["drawn"].equal(first.numbers["drawn"])
    assert found.images["shown"].equal(first.images["shown"])
    assert again.spent == spent
    assert again.waited < 0  # what it took to measure, which is not waited for now
    assert not lab.shared("many", 1, (photos,), measure).images  # which findings show of their first seed only
    lab.shared("many", 0, (lab.photos("landscapes", limit=16),), measure)
    monkeypatch.setattr(laboratory, "module_digest", lambda name: "changed")
    lab.shared("many", 0, (photos,), measure)
    assert calls == [0, 1, 0, 0]


def test_what_several_studies_share_outlives_the_cache(lab, tmp_path):
    """For who has that folder and not the trained models; with images of the first seed that was not left out."""
    photos, readings = lab.photos("landscapes"), tmp_path / "shared"

    def measure(seed):
        return Reading({"one": torch.full((2,), float(seed))}, {"shown": torch.zeros(1, 1, 2, 2)})

    here = Lab(lab.budget, cache=lab.cache, readings=readings)
    here.begin(range(2, 5))
    here.left_out.add(2)
    assert [bool(here.shared("many", seed, (photos,), measure).images) for seed in (3, 4)] == [True, False]
    assert sorted(path.name for path in readings.iterdir()) == ["many-3.safetensors", "many-4.safetensors"]
    there = Lab(lab.budget, cache=tmp_path / "other", readings=readings)
    assert there.shared("many", 4, (photos,), lambda _: pytest.fail("measured again")).numbers["one"].tolist() == [
        4,
        4,
    ]


def test_waiting_for_another_process_ends_with_the_own_minutes(lab, monkeypatch):
    """Of a measurement that is shared, of a training, and of one that is looked at on its way."""
    photos, where = lab.photos("landscapes"), []
    ways = {
        "shared": lambda of: of.shared("many", 0, (photos,), lambda seed: Reading({"one": torch.ones(2)})),
        "trained": lambda of: of.trained(Linear, photos, 0, steps=4),
        "on the way": lambda of: on_the_way(of, Linear, photos, 0, 4),
    }
    alone = Lab.alone
    with monkeypatch.context() as patch:
        patch.setattr(Lab, "alone", lambda of, folder: where.append(folder) or alone(of, folder))
        for way in ways.values():
            way(lab)
    for folder, way in zip(where, ways.values(), strict=True):
        with Run(folder).locked(), pytest.raises(Paused):
            way(Lab(lab.budget, cache=lab.cache, minutes=1e-9))
        with Run(folder).locked(), pytest.raises(Busy, match="is in use by process"):
            way(Lab(lab.budget, cache=lab.cache, minutes=10, patient=False))
        way(Lab(lab.budget, cache=lab.cache, minutes=1e-9))  # it is there, and the lock is free
