"""T14 where more data helps, and where it does not."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from copyfold.claims.walking.more_data_more_coherent import MoreDataMoreCoherent
from copyfold.studies.base import Verdict
from labs import Known, outcome


@pytest.mark.parametrize(("many", "verdict"), [(True, Verdict.HOLDS), (False, Verdict.DOES_NOT_HOLD)])
def test_coherence_that_grows_with_data_decides_the_verdict(shelf, monkeypatch, many, verdict):
    shelf.budget = replace(shelf.budget, measured=128)
    noise = torch.rand(16, 1, 16, 16, generator=Generator().manual_seed(0))
    poor, copy = Known(lambda x: noise[torch.randperm(16)][: len(x)]), Known()
    monkeypatch.setattr(shelf, "pick", lambda make, photos: copy if (len(photos) > 32) == many else poor)
    found, _, numbers = outcome(MoreDataMoreCoherent(), shelf)
    assert found is verdict
    assert numbers["coarse patch distance, landscapes, real"].value < 0.5
    assert numbers[f"displacement, landscapes, {'all' if many else 256}"].value == pytest.approx(0.2, rel=0.05)
