"""What is measured of a network's layers has known values for known networks, and is measured once."""

from dataclasses import replace

import pytest
import torch

from copyfold.errors import Diverged
from copyfold.probes.base import Reading
from copyfold.studies.base import Below
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import representations as reps
from copyfold.studies.toolkit import represented
from copyfold.studies.toolkit.represented import (
    IDENTITY,
    PCA_100,
    RANDOM,
    STAGES,
    TRAINED,
    U_NET,
    UNTRAINED,
)
from copyfold.studies.toolkit.search import UNSEEN
from labs import Staged, random_part


@pytest.fixture
def lab(tmp_path):
    return Lab(replace(BUDGETS["tiny"], steps=100, measured=4), cache=tmp_path)


def test_every_network_has_its_layers(lab):
    for of in represented.networks(lab).values():
        photos = of.photos(lab)
        names = {name for name, _ in of.make(photos.shape).named_modules()}
        assert len(of.layers) == 4
        assert {*of.layers} <= names
        assert {layer for _, _, layer in represented.asked(of)} <= {*of.layers}


def test_of_untrained_u_nets_no_image_is_searched_from_afar_and_of_the_dot_product_only_the_output(lab):
    asked = {name: represented.asked(of) for name, of in represented.networks(lab).items()}
    assert [layer for way, state, layer in asked[U_NET] if (way, state) == ("near", UNTRAINED)] == [*STAGES]
    assert [(state, layer) for way, state, layer in asked[U_NET] if way == "found"] == [(TRAINED, "")]
    assert asked[represented.DOT] == [("found", TRAINED, ""), ("near", TRAINED, "")]


def test_a_network_is_measured_once_and_known_maps_beside_it(lab, monkeypatch):
    made = []

    def network(lab, name, seed):
        made.append(name)
        return Staged()

    monkeypatch.setattr(represented, "network", network)
    monkeypatch.setattr(lab, "untrained", known_before(lab.untrained, Staged(after=random_part())))
    found = represented.measured(lab, U_NET, 0)
    again = represented.measured(lab, U_NET, 0)
    assert made == [U_NET]
    assert found.numbers.keys() == again.numbers.keys()
    number = {name: value.double().nanmedian().item() for name, value in found.numbers.items()}
    assert number[f"near noise left; {TRAINED}; "] < UNSEEN > number[f"near noise left; {IDENTITY}"]
    assert number[f"found error; {TRAINED}; "] < 0.01
    assert number[f"near noise left; {UNTRAINED}; encoder.down1"] < UNSEEN
    assert number[f"near noise left; {UNTRAINED}; encoder.down2"] == pytest.approx(0.75, abs=0.06)
    assert number[f"near noise left; {RANDOM}"] == pytest.approx(0.75, abs=0.06)
    assert number[f"found error; {RANDOM}"] > 0.1 > number[f"found error; {IDENTITY}"]
    assert number[represented.SEED] == 0
    assert number[f"passed; {TRAINED}"] == pytest.approx(1, abs=1e-5)
    assert number[f"error; {PCA_100}"] < number[f"error; {IDENTITY}"]
    kept = reps.picked(found, STAGES[-1:], others=False)
    assert {name.rpartition("; ")[2] for name in kept.numbers if name.count("; ") == 2} == {""}
    assert f"near noise left; {RANDOM}" not in kept.numbers
    assert kept.numbers[represented.SEED] == 0
    assert f"found; {TRAINED}; " in kept.images


def known_before(made, network):
    return lambda make, photos, seed: made(make, photos, seed) if "latent_dim" in make.keywords else network


def test_what_8_bits_round_off_is_not_told_apart():
    readings = [Reading({"a": torch.full((9,), 1e-9), "b": torch.full((9,), 1e-5), "c": torch.full((9,), 0.5)})]
    assert reps.ratio(readings, "a", "b").value == 1
    assert reps.ratio(readings, "c", "a").value == pytest.approx(0.5 * 255 * 12**0.5)


def test_what_the_identity_may_leave_is_not_told_apart():
    readings = [Reading({"a": torch.full((9,), UNSEEN / 9), "b": torch.full((9,), UNSEEN), "c": torch.ones(9)})]
    assert reps.noise_ratio(readings, "a", "b").value == 1
    assert reps.noise_ratio(readings, "c", "a").value == pytest.approx(1 / UNSEEN)


def test_what_is_concluded_has_to_be_so_from_both_starts():
    def judged(light, dark):
        errors = {"error": (light + dark) / 2, "error from light": light, "error from dark": dark}
        found = [Reading({f"found {what}; ": torch.full((9,), value) for what, value in errors.items()})]
        return reps.either(lambda what: reps.median(found, f"found {what}; "))

    assert [Below(0.1).holds(judged(*both)) for both in ((0.05, 0.09), (0.05, 0.12), (0.12, 0.2))] == [
        True, None, False,
    ]  # fmt: skip


def reading(seed, value=0.0):
    return Reading({represented.SEED: torch.tensor(float(seed)), "a": torch.full((3,), value)})


def test_networks_are_compared_on_the_seeds_that_both_have(lab):
    found = {"one": [reading(0, 1.0), reading(2, 3.0)], "other": [reading(1), reading(2, 6.0)]}
    pairs = reps.paired(lab, found)
    (both,) = reps.together(pairs)
    assert (both.numbers["one: a"] == 3).all()
    assert (both.numbers["other: a"] == 6).all()
    assert lab.notes == ["networks are compared on the seeds that all of them have: one lacks 1; other lacks 0"]
    with pytest.raises(Diverged, match="all networks"):
        reps.paired(lab, {"one": [reading(0)], "other": [reading(1)]})


def test_a_seed_that_one_network_lacks_takes_no_pictures_away(lab):
    """Images are kept of the first seed of each."""
    shown = Reading(reading(0).numbers, {"photographs": torch.zeros(1, 1, 4, 4)})
    pairs = reps.paired(lab, {"one": [reading(1)], "other": [shown, reading(1)]})
    assert int(pairs["other"][0].numbers[represented.SEED]) == 1
    assert pairs["other"][0].images.keys() == {"photographs"}


def test_networks_are_compared_on_images_that_have_an_answer_in_both():
    """One has none where it is hardest; on all of its own it would be taken for the better."""
    nan, easy, hard = torch.nan, 0.1, 0.4
    found = [
        Reading(
            {"a": torch.tensor([easy, easy, easy, nan, nan]), "b": torch.tensor([easy, easy, hard, hard, hard])}
        )
    ]
    assert reps.ratio(found, "a", "b").value == pytest.approx(1)
    assert reps.ratio(found, "b", "a").value == pytest.approx(1)


def test_the_control_sees_that_a_random_layer_leaves_too_little_or_too_much():
    def judged(share):
        known = {f"near noise left; {name}": torch.full((9,), share) for name in represented.KNOWN}
        errors = ("error", "error from light", "error from dark")
        known |= {f"found {what}; {name}": torch.ones(9) for what in errors for name in represented.KNOWN}
        estimate = reps.known_numbers([Reading(known)])[reps.OFF]
        return reps.sees()[reps.OFF][0].holds(estimate)

    assert [judged(share) for share in (0.6, 0.74, 0.76, 0.9)] == [False, True, True, False]


def test_a_number_without_answers_is_said_and_drawn_as_none():
    readings = [Reading({"a": torch.full((4,), torch.nan), "b": torch.ones(4)})]
    none, one = (reps.median(readings, name) for name in "ab")
    assert reps.said(none) == "(too few answers for a number)"
    assert not reps.known(none)
    assert reps.known(one)
    reps.along({"a": [none, none], "b": [none, one]}, ["first", "second"], "number")
    reps.along({"a": [none, none]}, ["first", "second"], "number")
