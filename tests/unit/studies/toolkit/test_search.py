"""Images are taken evenly spaced, a search has its bounded length, and one that does not arrive has no answer."""

from dataclasses import replace

import pytest
import torch

from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.search import at_most, few_images, representation
from labs import SHAPE, blocks, fixed


@pytest.mark.parametrize(("budget", "count"), [("tiny", 4), ("cpu", 8), ("gpu", 32)])
def test_a_few_images_are_taken_evenly_spaced(budget, count):
    lab = Lab(BUDGETS[budget])
    x = torch.arange(lab.budget.measured)
    taken = few_images(lab, x)
    assert len(taken) == count
    assert len(taken.diff().unique()) == 1
    assert at_most(lab, 500) <= 500


def invert(lab, function, x, statistics="running"):
    return representation(lab, fixed(function), "", x, lab.rng(0, "noise"), statistics)


@pytest.fixture
def longer(tmp_path):
    return Lab(replace(BUDGETS["tiny"], steps=1000), cache=tmp_path)  # searches of 800 steps


def test_a_search_that_arrives_stops_and_has_an_answer(longer):
    x = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    found = invert(longer, lambda a: a, x)
    assert found.numbers["answer"].tolist() == [1] * 5
    assert (found.numbers["layer over reference"] < 0.1).all()
    assert found.numbers["steps"] < 800
    assert (found.numbers["error"] < 0.1 * 1.2 * found.numbers["reference"]).all()
    assert found.numbers["reference"].mean().item() == pytest.approx(1 / 18, rel=0.1)
    assert (found.numbers["psnr"] > 40).all()


def test_what_a_layer_does_not_see_is_an_error_and_no_lack_of_an_answer(longer):
    x = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    found = invert(longer, blocks, x)
    assert found.numbers["answer"].all()
    assert (found.numbers["error"] > 0.1).all()


def test_a_search_that_does_not_arrive_has_no_answer(longer):
    x = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    x[1] = 0.7  # where the search begins

    def near_grey(a):
        return a * ((a - 0.7).abs().amax((1, 2, 3), True) < 0.02)

    found = invert(longer, near_grey, x)
    assert found.numbers["answer"].tolist() == [0, 1, 0]
    for name in ("error", "psnr", "noise"):
        assert found.numbers[name].isnan().tolist() == [True, False, True]
    assert found.numbers["steps"] == 800
