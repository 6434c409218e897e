"""Known maps as layers that narrow, or do not."""

import pytest
from torch import nn

from copyfold.claims.representation.narrowing_injects import NarrowingInjects
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit import search
from copyfold.studies.toolkit.represented import halving
from labs import Staged, random_part


@pytest.fixture(autouse=True)
def nothing_from_afar(monkeypatch):
    """What decides is measured near the image; images found from afar are only shown."""
    monkeypatch.setattr(search, "MOST", 2)


def test_the_halving_mlp_halves_its_width():
    widths = [m.out_features for m in halving((1, 8, 8)).modules() if isinstance(m, nn.Linear)]
    assert widths == [32, 16, 8, 16, 32, 64]


WHOLE, QUARTER, HALF = Staged(), Staged(after=random_part()), Staged(after=random_part(2))


def test_networks_that_keep_everything_add_and_remove_nothing(represented):
    came, found = represented(NarrowingInjects(), {"": WHOLE}, WHOLE)
    for name in ("added mlp", "added unet", "left unet"):
        assert found.numbers[name].value == pytest.approx(1)
    assert came == Verdict.DOES_NOT_HOLD
    assert found.captions.keys() == found.figures.keys()


def test_noise_of_a_narrow_layer_that_training_removes_is_seen(represented):
    came, found = represented(NarrowingInjects(), {"": WHOLE}, {4: WHOLE, None: QUARTER}, tight=True)
    assert found.numbers["added unet"].low > 1  # the wide one keeps all
    assert found.numbers["left unet"].high < 0.7
    assert found.numbers["left mlp"].high < 0.7
    assert came == Verdict.UNDECIDED  # both perceptrons add as much, being one


def test_a_narrow_code_that_training_does_not_widen_keeps_its_noise(represented):
    found = represented(NarrowingInjects(), {"": HALF}, QUARTER, left=9.0)[1]
    assert found.numbers["left unet"].value == pytest.approx(2 / 3, abs=0.05)
    assert found.numbers["noise left, narrow U-Net, trained second layer"].value == pytest.approx(0.5, abs=0.06)


def test_what_a_wide_network_leaves_as_well_is_not_of_narrow_layers(represented):
    """Its code is as blind untrained, though its first map, which comes before, is not."""
    came, found = represented(NarrowingInjects(), {"": WHOLE}, QUARTER)
    assert found.numbers["added unet"].value == pytest.approx(1)
    assert came != Verdict.HOLDS


def test_what_training_removes_elsewhere_too_is_not_of_narrow_layers(represented):
    """Trained it keeps everything; untrained the map that does not narrow is as blind as the code."""
    found = represented(NarrowingInjects(), {"": WHOLE}, Staged(random_part()))[1]
    name = "left unet, code over first halving"
    assert found.numbers[name].value == pytest.approx(1)
    assert NarrowingInjects.controls[name][0].holds(found.numbers[name]) is not True
