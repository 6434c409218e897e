"""Sharp edges in the right and the wrong places."""

import pytest
import torch
from torch import nn

from copyfold.claims.overcomplete.large_need_not_blur import LargeNeedNotBlur
from copyfold.models.adoption import adopt
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab


class Negative(nn.Module):
    """As sharp as the image, and wrong at every edge."""

    def forward(self, x):
        return 1 - x


@pytest.mark.parametrize(("network", "error"), [(nn.Identity(), 0), (Negative(), 4)])
def test_sharp_but_wrong_edges_do_not_count(tmp_path, monkeypatch, network, error):
    lab = Lab(BUDGETS["tiny"], {}, tmp_path)
    same = adopt(network, (1, 16, 16), encode="forward", decode=torch.Tensor.clone)
    monkeypatch.setattr(lab, "trained", lambda make, photos, seed, **plan: same)
    study = LargeNeedNotBlur()
    numbers = study.measure(lab).numbers
    assert numbers["sharpness overcomplete"].value == pytest.approx(1)
    assert numbers["sharpness of the error, overcomplete"].value == pytest.approx(error, abs=1e-5)
    assert study.verdict(numbers) is Verdict.DOES_NOT_HOLD  # as a narrow code has to blur
