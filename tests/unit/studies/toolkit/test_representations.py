"""What is measured of a network's layers has known values for known networks, and is measured once."""

from dataclasses import replace

import pytest
import torch

from copyfold.probes.base import Reading
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import representations as reps
from copyfold.studies.toolkit.representations import (
    IDENTITY,
    PCA,
    PCA_100,
    RANDOM,
    STAGES,
    TRAINED,
    U_NET,
    UNTRAINED,
)
from labs import Staged, random_part


@pytest.fixture
def lab(tmp_path):
    return Lab(replace(BUDGETS["tiny"], steps=100, measured=4), cache=tmp_path)


def test_every_network_has_its_layers(lab):
    for of in reps.networks(lab).values():
        photos = of.photos(lab)
        names = {name for name, _ in of.make(photos.shape).named_modules()}
        assert len(of.layers) == 4
        assert {*of.layers} <= names


def test_a_network_is_measured_once_and_known_maps_beside_it(lab, monkeypatch):
    made = []

    def network(lab, name, seed):
        made.append(name)
        return Staged()

    monkeypatch.setattr(reps, "network", network)
    monkeypatch.setattr(lab, "untrained", known_before(lab.untrained, Staged(after=random_part())))
    found = reps.measured(lab, U_NET, 0)
    again = reps.measured(lab, U_NET, 0)
    assert made == [U_NET]
    assert found.numbers.keys() == again.numbers.keys()
    number = {name: value.double().nanmedian().item() for name, value in found.numbers.items()}
    assert number[f"near noise; {TRAINED}; "] == pytest.approx(0, abs=1e-6) == number[f"near noise; {IDENTITY}"]
    assert number[f"found error; {TRAINED}; "] < 0.01
    assert number[f"near noise; {UNTRAINED}; encoder.down1"] == pytest.approx(0, abs=1e-6)
    assert number[f"near noise; {UNTRAINED}; encoder.down2"] > 0.05 < number[f"near noise; {RANDOM}"]
    assert number[f"near error; {PCA}"] < number[f"near error; {RANDOM}"]
    assert number[f"passed; {TRAINED}"] == pytest.approx(1, abs=1e-5)
    assert number[f"error; {PCA_100}"] < number[f"error; {IDENTITY}"]
    kept = reps.picked(found, STAGES[-1:], others=False)
    assert {name.rpartition("; ")[2] for name in kept.numbers if name.count("; ") == 2} == {""}
    assert f"near noise; {RANDOM}" not in kept.numbers
    assert f"found; {TRAINED}; " in kept.images


def known_before(made, network):
    return lambda make, photos, seed: made(make, photos, seed) if "latent_dim" in make.keywords else network


def test_what_8_bits_round_off_is_not_told_apart():
    readings = [Reading({"a": torch.full((9,), 1e-9), "b": torch.full((9,), 1e-5), "c": torch.full((9,), 0.5)})]
    assert reps.ratio(readings, "a", "b").value == 1
    assert reps.ratio(readings, "c", "a").value == pytest.approx(0.5 * 255 * 12**0.5)


def test_a_number_without_answers_is_said_and_drawn_as_none():
    readings = [Reading({"a": torch.full((4,), torch.nan), "b": torch.ones(4)})]
    none, one = (reps.median(readings, name) for name in "ab")
    assert reps.said(none) == "(too few answers for a number)"
    assert not reps.known(none)
    assert reps.known(one)
    reps.along({"a": [none, none], "b": [none, one]}, ["first", "second"], "number")
    reps.along({"a": [none, none]}, ["first", "second"], "number")
