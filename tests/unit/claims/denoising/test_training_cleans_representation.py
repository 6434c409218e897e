"""T6 on copies, and on random projections."""

import pytest
import torch

from copyfold.claims.denoising.training_cleans_representation import TrainingCleansRepresentation
from copyfold.studies.base import Verdict
from labs import Staged, random_part

SHARES = {"most": 0.0, "quarter": 0.75}  # of white noise that the maps below do not see


@pytest.mark.parametrize(
    ("trained", "untrained", "verdict"),
    [
        ("most", "quarter", Verdict.HOLDS),
        ("quarter", "most", Verdict.DOES_NOT_HOLD),
        ("quarter", "quarter", Verdict.UNDECIDED),
        ("grey", "quarter", Verdict.UNDECIDED),  # nothing is represented, and no search has an answer
    ],
)
def test_noise_that_training_removes_or_adds_decides(represented, trained, untrained, verdict):
    maps = {
        "most": Staged(lambda x: x + 0.5 * random_part()(x)),
        "quarter": Staged(random_part()),
        "grey": Staged(lambda x: torch.full_like(x, 0.5) + 0 * x),
    }
    came, found = represented(
        TrainingCleansRepresentation(), {"": maps[trained]}, maps[untrained], 9.0, tight=True
    )
    assert came == verdict
    assert found.captions.keys() == found.figures.keys()
    assert found.numbers["noise left, random quarter"].value == pytest.approx(0.75, abs=0.05)
    if trained != "grey":
        assert found.numbers["noise left, trained output"].value == pytest.approx(SHARES[trained], abs=0.1)


def test_a_network_that_does_not_copy_is_not_in_the_regime(represented):
    grey = Staged(lambda x: torch.full_like(x, 0.5) + 0 * x)
    assert represented(TrainingCleansRepresentation(), {"": grey}, grey)[0] == Verdict.NOT_IN_REGIME
