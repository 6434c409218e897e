"""T14 where more data helps, and where it does not."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from copyfold.claims.walking import more_data_more_coherent
from copyfold.claims.walking.more_data_more_coherent import MoreDataMoreCoherent
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.training import Look
from labs import Known, outcome


def drawn(bank):
    """A map to other images of a bank in every step."""
    rng = Generator().manual_seed(0)
    return lambda x: bank[torch.randperm(len(bank), generator=rng)[: len(x)]]


@pytest.fixture
def maps(shelf):
    """One to images, and one to noise."""
    noise = torch.rand(64, 1, 16, 16, generator=Generator().manual_seed(0))
    return {"images": drawn(shelf.images(shelf.photos("landscapes"), "train", 64)), "noise": drawn(noise)}


def measured(shelf, monkeypatch, few, many):
    """With these maps after learning from few and from many images."""
    shelf.budget = replace(shelf.budget, measured=64)

    def looks(lab, make, photos, *given, **plan):
        return [Look(8, 0.01, Known(many if len(photos) > 32 else few))]

    monkeypatch.setattr(more_data_more_coherent, "on_the_way", looks)
    return outcome(MoreDataMoreCoherent(), shelf)


@pytest.mark.parametrize(
    ("few", "many", "verdict"), [("noise", "images", Verdict.HOLDS), ("images", "noise", Verdict.DOES_NOT_HOLD)]
)
def test_coherence_that_grows_with_data_decides_the_verdict(shelf, monkeypatch, maps, few, many, verdict):
    found, _, numbers = measured(shelf, monkeypatch, maps[few], maps[many])
    assert found is verdict
    size = "many" if many == "images" else "256"
    assert numbers[f"walking, cifar10, {size}"].value > 0.9
    assert numbers[f"far correlation error, landscapes, {size}, end"].value < (
        2 * numbers["far correlation error, landscapes, real"].value
    )


def test_walks_that_do_not_move_keep_their_order_and_count_as_nothing(shelf, monkeypatch, maps):
    bank = shelf.images(shelf.photos("landscapes"), "train", 64)
    nearest = lambda x: bank[torch.cdist(x.flatten(1), bank.flatten(1)).argmin(1)]  # noqa: E731
    found, held, numbers = measured(shelf, monkeypatch, maps["noise"], nearest)
    assert set(held.values()) == {True}
    assert found is Verdict.UNDECIDED
    assert numbers["walking, landscapes, many"].value < 0.1
