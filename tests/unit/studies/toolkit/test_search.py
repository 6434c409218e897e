"""A search has its length and one that does not arrive no answer; near an image there always is one."""

from dataclasses import replace
from math import prod

import pytest
import torch
from torch import nn

from copyfold.measures import distance
from copyfold.probes.base import tap
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import search
from copyfold.studies.toolkit.random_layers import represented
from copyfold.studies.toolkit.search import START, at_most, near_image, representation
from labs import SHAPE, blocks, fixed


def images(count=3):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_search_has_its_length(budget):
    assert at_most(Lab(BUDGETS[budget]), 500) <= 500


def invert(lab, function, x, statistics="running"):
    return representation(lab, fixed(function), "", x, lab.rng(0, "noise"), statistics)


@pytest.fixture
def longer(tmp_path):
    return Lab(replace(BUDGETS["tiny"], steps=1000), cache=tmp_path)  # searches of 800 steps


def test_a_search_that_arrives_stops_and_has_an_answer(longer):
    found = invert(longer, lambda a: a, images(5))
    assert found.numbers["answer"].tolist() == [1] * 5
    assert (found.numbers["layer over reference"] < 0.1).all()
    assert found.numbers["steps"] < 800
    assert (found.numbers["error"] < 0.1 * 1.2 * found.numbers["reference"]).all()
    assert found.numbers["reference"].mean().item() == pytest.approx(1 / 18, rel=0.1)
    assert (found.numbers["psnr"] > 40).all()


def test_what_a_layer_does_not_see_is_an_error_and_no_lack_of_an_answer(longer):
    found = invert(longer, blocks, images())
    assert found.numbers["answer"].all()
    assert (found.numbers["error"] > 0.1).all()


def near_grey(a):
    return a * ((a - START).abs().amax((1, 2, 3), True) < 0.02)


def test_a_search_that_does_not_arrive_has_no_answer(longer):
    x = images()
    x[1] = START  # where the search begins
    found = invert(longer, near_grey, x)
    assert found.numbers["answer"].tolist() == [0, 1, 0]
    for name in ("error", "psnr", "noise"):
        assert found.numbers[name].isnan().tolist() == [True, False, True]


def test_a_search_at_rest_ends_and_begins_once_more_elsewhere(longer, monkeypatch):
    starts = []
    kept = search.Inversion

    def seen(*given, **named):
        starts.append(named["mean"])
        return kept(*given, **named)

    monkeypatch.setattr(search, "Inversion", seen)
    stuck = invert(longer, lambda a: a.round() + 0 * a, images())  # no slope leads to the target
    assert starts == list(search.STARTS)
    assert stuck.numbers["steps"] == 2 * 2 * search.REST  # of the 1,600 that it could have taken
    assert not stuck.numbers["answer"].any()
    starts.clear()
    dark = images() * 0.2
    only_dark = invert(
        longer, lambda a: a * (a.amax((1, 2, 3), True) < 0.5), dark
    )  # blind to grey, where it begins
    assert only_dark.numbers["answer"].all()
    assert starts == list(search.STARTS)


def test_near_an_image_a_linear_layer_represents_what_descent_finds():
    torch.manual_seed(0)
    layer, x = nn.Sequential(nn.Flatten(), nn.Linear(prod(SHAPE), prod(SHAPE) // 4)), images()
    found = near_image(layer, "", x, torch.Generator().manual_seed(0))
    exact = represented(layer[1].weight, x, torch.full_like(x, START))
    assert found.numbers["answer"].all()
    assert (distance(found.images["found"], exact) < 0.05 * distance(exact, x)).all()
    assert (found.numbers["noise"] > 0.05).all()


def test_near_an_image_all_is_found_where_all_is_seen_and_half_where_half_is():
    x, rng = images(), torch.Generator().manual_seed(0)
    same, half = near_image(fixed(lambda a: a), "", x, rng), near_image(fixed(blocks), "", x, rng)
    assert same.numbers["steps"] == 1
    assert (same.numbers["noise"] < 1e-6).all()
    rest = START - x - blocks(START - x)  # what the projection does not see stays as in grey
    torch.testing.assert_close(
        half.numbers["error"], distance(rest, 0 * x) / prod(SHAPE) ** 0.5, rtol=0.05, atol=0
    )


def test_near_an_image_a_kink_that_stops_the_search_does_not_matter():
    """Of a network with kinks only the slope at the image counts; one that sees nothing has no answer."""
    x = images()
    kinked = near_image(fixed(near_grey), "", x, torch.Generator().manual_seed(0))
    assert not kinked.numbers["answer"].any()  # its slope at x is 0
    bent = near_image(
        fixed(lambda a: (a - 0.5).relu() - (0.5 - a).relu()), "", x, torch.Generator().manual_seed(0)
    )
    assert bent.numbers["answer"].all()
    assert (bent.numbers["error"] < 1e-5).all()


def test_the_criterion_is_the_searchs(longer):
    """As near at the layer as a search has to come: an image stops there, the others go on."""
    torch.manual_seed(0)
    layer, x = nn.Sequential(nn.Flatten(), nn.Linear(prod(SHAPE), prod(SHAPE) // 2)), images()
    found = near_image(layer, "", x, torch.Generator().manual_seed(0))
    left = distance(tap(layer, "", found.images["found"]), tap(layer, "", x))
    assert (left > 0).all()
    assert (found.numbers["layer over reference"] < search.ENOUGH).all()
    assert (found.numbers["layer over reference"] > 0.01).all()
