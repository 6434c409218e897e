"""Detail filled in by a copy and by an oracle."""

import pytest
import torch

from copyfold.claims.notes import fills_in_detail
from copyfold.claims.notes.fills_in_detail import FillsInDetail, recalled, within
from copyfold.corruptions import Masking
from copyfold.studies.base import Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.notes import fashion
from labs import Copy

SHAPE = (1, 4, 4)


def test_detail_is_measured_only_inside_the_mask() -> None:
    values, where = torch.rand(3, *SHAPE), torch.zeros(3, *SHAPE)
    where[0], where[1, 0, 0, 0] = 1, 1
    found = within(values, where)
    torch.testing.assert_close(found, torch.stack((values[0].mean(), values[1, 0, 0, 0], torch.tensor(0.0))))


def test_the_nearest_stored_image_is_recalled_from_visible_pixels() -> None:
    everything = torch.rand(50, *SHAPE) + 0.1
    x = everything[7:9]
    visible = (Masking(0.5)(torch.ones_like(x), torch.Generator().manual_seed(0)) > 0).float()
    torch.testing.assert_close(recalled(x * visible, visible, everything), x)
    # where nothing can be seen, any image will do; where all of it can, the nearest
    assert recalled(x + 0.001, torch.ones_like(x), everything).equal(x)


def test_detail_added_by_a_copy_is_wrong(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fills_in_detail, "learned", lambda *args, **kwargs: Copy())
    found = FillsInDetail().measure(lab).numbers
    assert found["true share masking"].high < 0.5
    assert FillsInDetail().verdict(found) is Verdict.DOES_NOT_HOLD
    assert found["error over best filter, noise"].low > 1


def test_detail_added_by_an_oracle_is_right(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    x = lab.images(fashion(lab))
    monkeypatch.setattr(fills_in_detail, "learned", lambda *args, **kwargs: Copy())
    monkeypatch.setattr(fills_in_detail, "output", lambda model, noisy: x)
    found = FillsInDetail().measure(lab).numbers
    assert found["true share noise"].value == pytest.approx(1)
    assert found["added over lacking, masking"].value == pytest.approx(1)
    assert FillsInDetail().verdict(found) is Verdict.HOLDS
