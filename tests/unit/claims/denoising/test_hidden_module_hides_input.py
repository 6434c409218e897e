"""T8 on networks whose bottleneck is known."""

import pytest

from copyfold.claims.denoising.hidden_module_hides_input import HiddenModuleHidesInput
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.copying import principal_part
from copyfold.studies.toolkit.represented import COLOUR, HIDDEN
from labs import Staged, random_part


@pytest.fixture
def networks(lab):
    part = principal_part(lab, lab.photos("cifar10"), 40)  # of 256: it copies digits, and removes most noise
    return {
        "narrow": Staged(part),
        "whole": Staged(lambda x: x + 0.5 * random_part()(x)),
        "random": Staged(random_part()),
    }


@pytest.mark.parametrize(
    ("module", "plain", "verdict"),
    [
        ("narrow", "whole", Verdict.HOLDS),
        ("whole", "whole", Verdict.DOES_NOT_HOLD),
        ("narrow", "narrow", Verdict.UNDECIDED),  # the plain one loses as much: it hides what the module does
    ],
)
def test_a_module_that_hides_the_input_is_told_from_one_that_does_not(
    represented, networks, module, plain, verdict
):
    came, found = represented(
        HiddenModuleHidesInput(), {HIDDEN: networks[module], COLOUR: networks[plain]}, left=9.0
    )
    assert came == verdict
    assert found.captions.keys() == found.figures.keys()
    assert found.numbers["error over doing nothing, identity"].value == pytest.approx(1)


def test_a_module_that_pca_beats_is_not_in_the_regime(represented, networks):
    known = {HIDDEN: networks["random"], COLOUR: Staged()}
    assert represented(HiddenModuleHidesInput(), known)[0] == Verdict.NOT_IN_REGIME
