"""T24 on a network that is constant in eval mode."""

import torch

from copyfold.claims.normalisation.eval_mode_breaks import EvalModeBreaks
from copyfold.studies.base import Verdict
from known import Identity


class ByStatistics(Identity):
    """With the statistics of the batch it copies, with running ones it is blind."""

    def encode(self, x):
        return x if self.statistics == "batch" else torch.full_like(x, 9.0)


def test_eval_mode_breaks_only_what_it_changes(always):
    assert EvalModeBreaks().verdict(EvalModeBreaks().measure(always(Identity)).numbers) == Verdict.DOES_NOT_HOLD
    assert EvalModeBreaks().verdict(EvalModeBreaks().measure(always(ByStatistics)).numbers) == Verdict.HOLDS
