"""T24 on networks that do different things with running averages."""

import pytest
import torch

from copyfold.claims.normalisation.eval_mode_breaks import EvalModeBreaks
from copyfold.studies.base import Verdict
from labs import Known


class Switched(Known):
    """A function with the statistics of the batch, another with running ones."""

    def __init__(self, batch, running):
        super().__init__()
        self.kinds = {"batch": batch, "running": running}

    def logits(self, z):
        return self.kinds[self.statistics](z)


def denoiser(lab):
    """The held-out image that correlates best with the input, and a tenth of its difference from it; darker."""
    x = lab.images(lab.photos("landscapes"))

    def unit(y):
        rows = y.flatten(1) - y.flatten(1).mean(1, keepdim=True)
        return rows / rows.norm(dim=1, keepdim=True)

    def function(z):
        clean = x[(unit(z) @ unit(x).T).argmax(1)]
        return 0.99 * (clean + 0.1 * (z - clean))

    return function


def copy(lab):
    return lambda z: 0.99 * z  # so that clean images have an error, as those of every network


def dim(lab):
    return lambda z: 0.9 * z


def blind(lab):
    return lambda z: torch.full_like(z, 9.0)


@pytest.mark.parametrize(
    ("batch", "running", "verdict"),
    [
        (denoiser, copy, Verdict.HOLDS),
        (denoiser, denoiser, Verdict.DOES_NOT_HOLD),
        (copy, copy, Verdict.DOES_NOT_HOLD),
        (copy, denoiser, Verdict.DOES_NOT_HOLD),
        (denoiser, blind, Verdict.NOT_IN_REGIME),  # eval mode does not copy: nothing is said of denoising
    ],
)
def test_whether_eval_mode_loses_denoising(shelf, batch, running, verdict):
    shelf.models = (Switched(batch(shelf), running(shelf)),)
    found = EvalModeBreaks().measure(shelf)
    assert EvalModeBreaks().verdict(found.numbers, copying=found.copying) is verdict
    assert found.captions.keys() == found.figures.keys()


def test_averages_that_break_copying_are_not_taken_for_a_loss_of_denoising(shelf):
    """They leave little, and yet more than the batch does, of clean images too."""
    shelf.models = (Switched(denoiser(shelf), dim(shelf)),)
    found = EvalModeBreaks().measure(shelf)
    assert found.numbers["running over batch mix"].low > 2
    assert found.numbers["running over batch, clean images"].low > 1.1
    assert EvalModeBreaks().verdict(found.numbers, copying=found.copying) is not Verdict.HOLDS
