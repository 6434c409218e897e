"""T6 on a copy, and on a random layer."""

import pytest
import torch

from copyfold.claims.denoising.training_cleans_representation import TrainingCleansRepresentation
from copyfold.models.dense import Linear
from copyfold.studies.base import Verdict
from labs import COPY, SHAPE, judged


def random_layer():
    """One linear layer of new weights, to a sixteenth of the numbers."""
    torch.manual_seed(0)
    return Linear(SHAPE, 16).eval()


def test_a_representation_by_random_weights_is_noisier_than_by_a_copy(prepared):
    study = TrainingCleansRepresentation()
    verdict, numbers = judged(study, prepared(lambda model: COPY, untrained=random_layer()))
    assert verdict == Verdict.HOLDS
    assert numbers["image distance, trained, lbfgs"].value == pytest.approx(0, abs=1e-3)
    assert numbers["way gone, trained, lbfgs"].value == pytest.approx(1, abs=1e-3)
    assert numbers["noise in the image itself, trained, lbfgs"].value == pytest.approx(
        numbers["noise, grey image"].value, abs=1e-3
    )  # grey has no texture, and the photograph has its own
    verdict, numbers = judged(study, prepared(lambda model: random_layer(), untrained=COPY))
    assert verdict == Verdict.DOES_NOT_HOLD
    assert numbers["image distance, untrained, lbfgs"].value == pytest.approx(0, abs=1e-3)
