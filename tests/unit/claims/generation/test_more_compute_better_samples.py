"""T18 where compute pays, and where it does not."""

import pytest

import copyfold as cf
from copyfold.claims.generation.more_compute_better_samples import MoreComputeBetterSamples, petaflops
from copyfold.studies.base import Verdict
from labs import outcome


@pytest.mark.parametrize(("better", "verdict"), [(True, Verdict.HOLDS), (False, Verdict.DOES_NOT_HOLD)])
def test_useful_and_useless_compute_decide_the_verdict(shelf, monkeypatch, better, verdict):
    levels = [0.6, 0.3, 0.0] if better else [0.0, 0.3, 0.6]
    shelf.models = tuple(map(shelf.painter, levels))
    slim, usual = shelf.budget.slim, shelf.budget.depth + 1

    def pick(make, photos):
        size = make.keywords["width"] / slim * 2 ** (make.keywords["depth"] - usual)
        return shelf.models[{0.5: 0, 1: 1, 2: 2}[size]]

    monkeypatch.setattr(shelf, "pick", pick)
    found, _, numbers = outcome(MoreComputeBetterSamples(), shelf)
    assert found is verdict
    assert numbers["patch distance, plain"].seeds[0] == numbers["patch distance, 8 batches"].seeds[0]


def test_petaflops_of_a_linear_network():
    """Forward 2 x 64 x 4 each way, three times that a step, 16 images, 1,000 steps."""
    model = cf.Linear((1, 8, 8), latent_dim=4)
    assert petaflops(model, 1000) == pytest.approx(3 * 2 * 2 * 64 * 4 * 16 * 1000 / 1e15)
