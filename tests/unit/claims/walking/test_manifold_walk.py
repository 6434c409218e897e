"""T13 on networks with known walks."""

import pytest
import torch
from torch import Generator

from copyfold.claims.walking.manifold_walk import ManifoldWalk, random_codes
from copyfold.studies.base import Verdict
from labs import Known, outcome


def test_random_codes_have_the_spread_of_codes_and_no_order():
    rng = Generator().manual_seed(0)
    x = 0.5 + torch.rand(64, 1, 1, 1, generator=rng) * torch.linspace(0, 1, 256).view(1, 1, 16, 16)
    drawn = random_codes(Known(), x, 4000, rng).flatten(1)
    torch.testing.assert_close(drawn.mean(0), x.flatten(1).mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.std(0), x.flatten(1).std(0), atol=0.02, rtol=0)
    assert torch.corrcoef(drawn[:, -2:].T)[0, 1].abs() < 0.1
    assert torch.corrcoef(x.flatten(1)[:, -2:].T)[0, 1] > 0.99


def test_a_copy_does_not_stay_near_the_data(shelf):
    """Its walk is noise added to noise, as far from photographs as random codes are."""
    shelf.models = (Known(),)
    verdict, holds, numbers = outcome(ManifoldWalk(), shelf)
    assert verdict is not Verdict.HOLDS
    assert holds["nearest distance over held out"] is False
    assert holds["walked"] is True
    assert numbers["displacement at the end"].value == pytest.approx(0.2, rel=0.05)  # one step from the first
    assert numbers["nearest distance, mean photograph"].value < numbers["nearest distance, walk"].value
    ends = [
        numbers[f"nearest distance, {name}"].value for name in ("directed walk, halfway", "held-out photographs")
    ]
    assert ends[0] != pytest.approx(ends[1], rel=0.01)  # halfway is not yet the other photograph
    assert numbers["variance of the ends over that of photographs"].value > 1


def test_walks_that_all_decay_to_one_image_explore_nothing(shelf):
    shelf.models = (Known(lambda z: torch.full_like(z, 0.5)),)
    numbers = outcome(ManifoldWalk(), shelf)[2]
    assert numbers["variance of the ends over that of photographs"].value == 0


def test_a_memorising_model_stays_near_and_is_no_better_than_random_codes(shelf):
    known = shelf.images(shelf.photos("landscapes"), "train")
    shelf.models = (Known(lambda z: known[torch.cdist(z.flatten(1), known.flatten(1)).argmin(1)]),)
    _, holds, numbers = outcome(ManifoldWalk(), shelf)
    assert numbers["nearest distance over held out"].value == 0
    assert holds["patch distance over random codes"] is False
