"""What became of images under maps whose iterates are known."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Generator

from copyfold.probes.base import Reading
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab, Paused
from copyfold.studies.toolkit import walks
from copyfold.studies.toolkit.training import Look
from copyfold.studies.toolkit.walks import FATES, fates, walked
from labs import Known

KNOWN = torch.rand(32, 1, 16, 16, generator=Generator().manual_seed(0))
STEPS = 300  # of which 299 follow the first frame


def fate(function, x=KNOWN, tmp_path=None):
    """The one fate of all images under a map applied 300 times, and whether they stopped."""
    lab = Lab(replace(BUDGETS["tiny"], steps=2500), cache=tmp_path)
    found = walks.repeated(lab, Known(function), x, KNOWN, 0)
    became = fates(found["first"], found["last"], found["period"], KNOWN)
    torch.testing.assert_close(sum(became[name] for name in FATES), torch.ones(len(x)))
    of = [name for name in FATES if became[name].all()]
    assert len(of) == 1
    return of[0], bool(became["stopped"].all())


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x, ("resting", False)),
        (lambda x: torch.full_like(x, 0.5), ("resting", False)),  # the first step decides, and it stays there
        (lambda x: 0.5 + 0.9 * (x - 0.5), ("walking", True)),  # to one grey, where it stops
        (lambda x: x.roll(4, 3), ("cycling", False)),  # back after four
        (lambda x: x.rot90(1, (2, 3)), ("cycling", False)),
        (lambda x: x.roll(1, 3), ("walking", False)),  # after sixteen, which is too long to be called a cycle
        (lambda x: 0.5 + 1.02 * (x - 0.5), ("escaping", False)),
        (lambda x: x * math.nan, ("escaping", False)),
    ],
)
def test_the_fate_of_images_under_known_maps(function, expected, tmp_path):
    assert fate(function, tmp_path=tmp_path) == expected


def test_small_movements_are_rest_and_large_ones_are_not(tmp_path):
    tau = walks.spacing(KNOWN).item() / 2
    for share, expected in ((0.9, "resting"), (1.1, "walking")):
        drift = share * tau / (STEPS - 1)
        assert fate(lambda x, d=drift: x + d, KNOWN[:4], tmp_path)[0] == expected


def test_an_image_that_becomes_another_training_image_walked():
    data = torch.stack([torch.full((1, 4, 4), v) for v in (0.0, 0.1, 0.8)])
    near = torch.full((1, 1, 4, 4), 0.06)
    assert not walked(data[:1], data[:1] + 0.01, data)
    assert walked(data[:1], near, data)  # nearer than tau, but to the second


def test_images_that_escaped_have_no_distance_and_count_in_no_mean():
    first, last = KNOWN.clone(), KNOWN.clone()
    last[0] = 1e6
    found = walks.became(first, last, torch.zeros(32), KNOWN)
    assert found["near"].isnan().tolist() == [True] + [False] * 31
    assert not found["near"][1:].any()
    apart = (KNOWN[1:] - KNOWN[1:].mean(0)).square().mean((1, 2, 3))
    torch.testing.assert_close(found["apart"][1:], apart)
    assert found["moved"].isfinite().all()


def test_the_linear_maps_are_a_copy_and_a_projection(tmp_path):
    lab = Lab(BUDGETS["tiny"], cache=tmp_path)
    photos = walks.sizes(lab)[32]
    x, projected = lab.images(photos, "train", 32), walks.pca(lab, photos)
    torch.testing.assert_close(walks.identity(lab, photos)(x), x)
    copy = projected(x)
    torch.testing.assert_close(projected(copy), copy, atol=1e-5, rtol=0)
    assert 0.005 < ((copy - x).square().mean() / (x - x.mean(0)).square().mean()).item() <= 0.01


def test_a_quality_that_is_not_reached_has_the_network_at_the_end(tmp_path):
    lab = Lab(BUDGETS["tiny"], cache=tmp_path)
    photos = walks.sizes(lab)[32]
    looks = walks.networks(lab, photos, 0)
    assert list(looks) == ["10 % left", "3 % left", "1 % left", "0.3 % left", "0.1 % left"]
    assert {look.step for look in looks.values()} == {lab.budget.scaled(walks.BATCHES)}
    readings = [Reading({f"left; {name}": torch.tensor(look.left) for name, look in looks.items()})]
    assert len(list(walks.unreached({32: readings}))) == 5
    perfect = [Reading({name: torch.tensor(0.0) for name in readings[0].numbers})]
    assert not list(walks.unreached({32: perfect}))


def test_all_is_measured_once_for_every_claim(tmp_path, monkeypatch):
    lab = Lab(BUDGETS["tiny"], cache=tmp_path)
    first = walks.walks(lab, 32, 0)
    for name in ("10 % left", walks.UNTRAINED, walks.PCA):
        sums = sum(first.numbers[f"{fate}; {name}; training; running statistics"] for fate in FATES)
        torch.testing.assert_close(sums, torch.ones(16))
    assert first.numbers["resting; identity; held out; running statistics"].all()
    monkeypatch.setattr(walks, "on_the_way", lambda *_, **__: pytest.fail("trained again"))
    again = walks.walks(Lab(lab.budget, cache=tmp_path), 32, 0)
    assert again.numbers.keys() == first.numbers.keys()
    assert all(value.equal(first.numbers[name]) or value.isnan().any() for name, value in again.numbers.items())


def test_a_measurement_that_is_stopped_goes_on_after_its_last_part(tmp_path, monkeypatch):
    """Three networks stand for five qualities, and each is walked with once, however often it is paused."""
    budget = replace(BUDGETS["tiny"], steps=150)
    steps = [Known(lambda x: x), Known(lambda x: 0.5 * x), Known(lambda x: x.roll(3, 3))]
    looks = [Look(n, left, net) for n, (left, net) in enumerate(zip((0.09, 0.009, 0.002), steps, strict=True))]
    trainings, walked, repeated = [], [], walks.repeated
    monkeypatch.setattr(walks, "on_the_way", lambda *_, **__: (trainings.append(1), looks)[1])
    monkeypatch.setattr(
        walks, "repeated", lambda lab, model, *given: (walked.append(model), repeated(lab, model, *given))[1]
    )
    monkeypatch.setattr(Lab, "over", property(lambda lab: len(set(walked)) >= lab.most))
    monkeypatch.setattr(walks, "untrained", lambda *_: Known(lambda x: -x))
    for most in (1, 2, 3):
        lab = Lab(budget, cache=tmp_path)
        lab.most = most
        with pytest.raises(Paused):
            walks.walks(lab, 32, 0)
        assert walked == [net for net in steps[:most] for _ in range(6)]  # two starts in three ways
    lab.most = 99
    found = walks.walks(lab, 32, 0).numbers
    assert len(walked) == 18 + 6 + 2 * 2  # and the untrained network, the identity and PCA
    assert len(trainings) == 4  # loaded once in every piece
    assert [found[f"step; {name}"].item() for name in walks.NAMES.values()] == [0, 1, 1, 2, 2]
    where = "training; batches of 64"
    for name, same in (("3 % left", "1 % left"), ("0.3 % left", "0.1 % left")):
        for what in ("moved", "moved with noise", "walking", "near with noise"):
            torch.testing.assert_close(
                found[f"{what}; {name}; {where}"], found[f"{what}; {same}; {where}"], equal_nan=True
            )
    assert not found[f"moved; 10 % left; {where}"].any()
    assert found[f"moved; 1 % left; {where}"].min() > 0.01
