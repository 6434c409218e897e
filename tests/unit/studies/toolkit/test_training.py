"""Networks trained until they copy, and looked at on the way: cached, and resumed where they stopped."""

import time
from dataclasses import replace
from functools import partial

import pytest
import torch

from copyfold.models.dense import Linear
from copyfold.models.unet import UNet
from copyfold.studies import lab as laboratory
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab, Paused
from copyfold.studies.toolkit import training
from copyfold.studies.toolkit.training import copier, on_the_way

SMALL = partial(UNet, width=4, depth=2)


@pytest.fixture
def lab(tmp_path):
    return Lab(BUDGETS["tiny"], cache=tmp_path / "models")


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.state_dict().values()])


def test_a_training_is_looked_at_on_its_way(lab):
    photos = lab.photos("landscapes")
    looks = on_the_way(lab, SMALL, photos, 0, 120, at=(1, 40), lefts=(0.9, 0.5, 1e-9))
    assert looks[0].step == 1
    assert looks[-1].step == 120
    assert {40} < {look.step for look in looks}
    reached = {bound: next(look for look in looks if look.left <= bound).step for bound in (0.9, 0.5)}
    assert 1 < reached[0.9] <= reached[0.5] <= 120
    assert len(looks) == 5  # no look at what is not reached
    assert looks[0].left > looks[-1].left
    assert [lab.trainings[look.model].steps for look in looks] == [look.step for look in looks]
    assert lab.trainings[looks[-1].model].epochs == 120 * 16 / len(photos)


def test_looks_are_kept_and_training_goes_on_where_it_was_paused(lab, monkeypatch):
    photos = lab.photos("landscapes")
    whole = on_the_way(lab, SMALL, photos, 0, 60, (10, 50), (0.5,))
    monkeypatch.setattr(training, "left", lambda *_: pytest.fail("looked again"))
    again = on_the_way(lab, SMALL, photos, 0, 60, (10, 50), (0.5,))
    assert [(look.step, look.left) for look in again] == [(look.step, look.left) for look in whole]
    monkeypatch.undo()
    paused = Lab(lab.budget, cache=lab.cache.parent / "other", minutes=1)
    ends = iter([False] * 30)
    monkeypatch.setattr(Lab, "over", property(lambda lab: next(ends, True)))
    with pytest.raises(Paused):
        on_the_way(paused, SMALL, photos, 0, 60, (10, 50), (0.5,))
    monkeypatch.undo()
    resumed = on_the_way(Lab(lab.budget, cache=paused.cache), SMALL, photos, 0, 60, (10, 50), (0.5,))
    assert [look.step for look in resumed] == [look.step for look in whole]
    assert all(weights(a.model).equal(weights(b.model)) for a, b in zip(whole, resumed, strict=True))


def test_a_paused_training_of_the_lab_goes_on(lab, monkeypatch):
    photos = lab.photos("landscapes")
    whole = lab.trained(Linear, photos, 0, steps=40)
    other = Lab(lab.budget, cache=lab.cache.parent / "other", minutes=1e-9)
    with pytest.raises(Paused):
        other.trained(Linear, photos, 0, steps=40)
    assert not list(other.cache.glob("*/*/*/made.json"))
    resumed = Lab(lab.budget, cache=other.cache).trained(Linear, photos, 0, steps=40)
    assert weights(whole).equal(weights(resumed))


@pytest.fixture
def trainings(monkeypatch):
    """The steps of every training, in a lab whose networks leave 0.9, 0.5 and 0.1 after 8, 16 and 32 steps."""
    steps = []
    real = laboratory.fit

    def fit(model, *given, **plan):
        steps.append(plan["epochs"] * 4)  # 64 images in batches of 16
        return real(model, *given, **plan)

    monkeypatch.setattr(laboratory, "fit", fit)
    monkeypatch.setattr(training, "left", lambda *_: {8: 0.9, 16: 0.5, 32: 0.1}[steps[-1]])
    return steps


def test_a_copier_is_trained_until_it_copies(tmp_path, trainings):
    lab = Lab(replace(BUDGETS["tiny"], seeds=2), cache=tmp_path)
    photos = lab.photos("landscapes")
    model = copier(lab, SMALL, photos, 0, left_at_most=0.1)
    assert trainings == [8, 16, 32]
    assert lab.trainings[model].steps == 32
    assert weights(lab.trained(SMALL, photos, 0, steps=32, **laboratory.QUALITY)).equal(weights(model))
    assert trainings == [8, 16, 32]  # shared, and not trained again


def test_a_copier_is_trained_for_so_many_steps_at_most(tmp_path, trainings):
    lab = Lab(replace(BUDGETS["tiny"], seeds=2), cache=tmp_path)
    photos = lab.photos("landscapes")
    copier(lab, SMALL, photos, 0, left_at_most=0.1, most=31)
    assert trainings == [8, 16]
    copier(lab, SMALL, photos, 0, left_at_most=0.05)  # four times the first: the two are shared
    assert trainings == [8, 16, 32]
    copier(Lab(BUDGETS["tiny"], cache=tmp_path / "b"), SMALL, photos, 0, left_at_most=0.1)
    assert trainings == [8, 16, 32, 8]  # a budget that decides nothing needs no quality


def test_a_copier_that_got_worse_is_not_taken(tmp_path, trainings, monkeypatch):
    lab = Lab(replace(BUDGETS["tiny"], seeds=2), cache=tmp_path)
    monkeypatch.setattr(training, "left", lambda *_: {8: 0.5, 16: 0.3, 32: 0.4}[trainings[-1]])
    model = copier(lab, SMALL, lab.photos("landscapes"), 0, left_at_most=0.1)
    assert trainings == [8, 16, 32]
    assert lab.trainings[model].steps == 16


def test_quality_is_trained_for_by_the_defaults(lab):
    photos = lab.photos("landscapes")
    start = time.monotonic()
    model = copier(lab, SMALL, photos, 0)
    made = next(lab.cache.glob("*/*/*/made.json")).read_text()
    assert '"schedule": "cosine"' in made
    assert '"lr": null' in made
    assert lab.trainings[model].seconds <= time.monotonic() - start + 0.1


def test_qualities_may_be_those_on_training_images(lab, monkeypatch):
    photos, seen = lab.photos("landscapes"), []
    real = training.left
    monkeypatch.setattr(training, "left", lambda model, x, mean: seen.append(x) or real(model, x, mean))
    looks = on_the_way(lab, SMALL, photos, 0, 60, lefts=(0.9,), on="train")
    assert all(x.equal(lab.images(photos, "train", training.LOOKED)) for x in seen)
    held_out = on_the_way(lab, SMALL, photos, 0, 60, lefts=(0.9,))
    assert weights(looks[-1].model).equal(weights(held_out[-1].model))  # one recipe, looked at in two ways
    assert looks[-1].left != held_out[-1].left
