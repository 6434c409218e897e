"""Known maps as layers that narrow, or do not."""

import pytest
from torch import nn

from copyfold.claims.representation.narrowing_injects import NarrowingInjects
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.representations import halving
from labs import Staged, random_part


def test_the_halving_mlp_halves_its_width():
    widths = [m.out_features for m in halving((1, 8, 8)).modules() if isinstance(m, nn.Linear)]
    assert widths == [32, 16, 8, 16, 32, 64]


def test_networks_that_keep_everything_add_and_remove_nothing(represented):
    whole = Staged(lambda x: x + 0.5 * random_part()(x))
    came, found = represented(NarrowingInjects(), {"": whole}, whole, left=9.0)
    for name in ("added mlp", "added unet", "left mlp", "left unet"):
        assert found.numbers[name].value == pytest.approx(1)
    assert came == Verdict.DOES_NOT_HOLD
    assert found.captions.keys() == found.figures.keys()


def test_noise_of_a_narrow_layer_that_training_removes_is_seen(represented):
    whole, narrow = Staged(lambda x: x + 0.5 * random_part()(x)), Staged(after=random_part())
    found = represented(NarrowingInjects(), {"": whole}, narrow, left=9.0)[1]
    assert found.numbers["added unet"].low > 1  # after the first stage, which keeps all
    assert found.numbers["left unet"].high < 0.5
    assert found.numbers["left mlp"].high < 0.5
    assert NarrowingInjects.controls["left overcomplete"][0].holds(found.numbers["left overcomplete"]) is False
