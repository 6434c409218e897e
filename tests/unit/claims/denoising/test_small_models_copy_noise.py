"""T3 on a copy, and on a blur."""

import pytest
import torch

from copyfold.claims.denoising.small_models_copy_noise import SmallModelsCopyNoise, ladder
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from labs import BLUR, COPY, judged


def test_a_copy_passes_all_noise_and_a_blur_does_not(prepared):
    study = SmallModelsCopyNoise()
    verdict, numbers = judged(study, prepared(lambda model: COPY))
    assert verdict == Verdict.HOLDS
    assert numbers["passed"].value == pytest.approx(1)
    assert numbers["error over doing nothing"].value == pytest.approx(1)
    assert numbers["copying error over noise"].value == 0
    verdict, numbers = judged(study, prepared(lambda model: BLUR if model.depth == 1 else COPY))
    assert verdict != Verdict.HOLDS
    assert 0.1 < numbers["passed"].value < 0.4  # the middle of the window squared, and its neighbours' chance
    assert numbers["passed, width 4, depth 2"].value == pytest.approx(1)


def test_the_ladder_keeps_the_size_of_the_code():
    for name in ("tiny", "cpu", "gpu"):
        budget = BUDGETS[name]
        shape = (3, budget.side, budget.side)
        with torch.device("meta"):
            models = [make(shape) for make in ladder(Lab(budget)).values()]
        steps = [
            m for m in models if (m.width, m.depth) not in ((budget.width, 1), (models[0].width, budget.depth))
        ]
        assert steps[0].depth == 1
        assert (steps[-1].width, steps[-1].depth) == (budget.width, budget.depth)
        assert len({m.width * 2**m.depth // 4**m.depth for m in steps}) == 1
        sizes = [(m.width, m.depth) for m in models]
        assert len(set(sizes)) == len(sizes) == budget.depth + 2
