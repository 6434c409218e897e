"""T20 on networks whose order is known."""

import pytest
import torch
from torch import Generator

import copyfold as cf
from copyfold.claims.generation import global_order
from copyfold.claims.generation.global_order import PLAIN, PLAINS, GlobalOrder, as_good_as, corner_dependence
from copyfold.studies.base import Verdict
from labs import Known, outcome


def test_the_dependence_of_far_corners_is_known():
    x, rng = torch.rand(4, 1, 16, 16, generator=Generator().manual_seed(0)), Generator().manual_seed(0)
    assert not corner_dependence(Known(), x, rng).any()
    mirror = Known(lambda x: x + 0.5 * x.flip(2, 3))
    torch.testing.assert_close(corner_dependence(mirror, x, rng), torch.full((4,), 0.5))
    average = Known(lambda x: x.mean((2, 3), keepdim=True).expand_as(x))
    torch.testing.assert_close(corner_dependence(average, x, rng), torch.ones(4))
    assert not corner_dependence(cf.Conv((1, 16, 16), [4]), x, rng).any()
    assert corner_dependence(cf.Conv((1, 16, 16), [4] * 4), x, rng).all()


def test_a_network_is_compared_with_the_plain_one_that_copies_as_well():
    leave = {PLAIN: 0.02, PLAINS[246]: 0.05, PLAINS[164]: 0.1, "deeper": 0.06}
    wanted = {
        0.001: PLAIN,
        0.03: PLAIN,
        0.035: PLAINS[246],
        0.06: PLAINS[246],
        0.08: PLAINS[164],
        0.9: PLAINS[164],
    }
    assert {left: as_good_as(left, leave) for left in wanted} == wanted


@pytest.mark.parametrize(
    ("plain", "others", "as_well", "verdict"),
    [
        (9.0, 0.0, True, Verdict.HOLDS),
        (9.0, 0.0, False, Verdict.UNDECIDED),
        (0.0, 9.0, True, Verdict.DOES_NOT_HOLD),
    ],
)
def test_gained_and_lost_order_decide_the_verdict(shelf, monkeypatch, plain, others, as_well, verdict):
    models = {"plain": shelf.painter(plain), "other": shelf.painter(others)}

    def pick(make, photos):
        usual = make.func is cf.UNet and make.keywords["depth"] == 2
        return models["plain" if usual and "middle" not in make.keywords else "other"]

    def leaves(model, *_):
        return 0.02 if as_well or model is models["plain"] else 0.05

    monkeypatch.setattr(shelf, "pick", pick)
    monkeypatch.setattr(global_order, "left", leaves)
    found, _, numbers = outcome(GlobalOrder(), shelf)
    assert found is verdict
    assert (
        numbers["order error, real"].value
        < numbers["order error, plain" if plain else "order error, deeper"].value
    )
