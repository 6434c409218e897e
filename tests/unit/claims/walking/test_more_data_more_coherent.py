"""T14 where more data helps, and where it does not."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from copyfold.claims.walking import more_data_more_coherent
from copyfold.claims.walking.more_data_more_coherent import MoreDataMoreCoherent, _known_to_both, _sets
from copyfold.errors import CopyfoldError
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
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

    def looks(lab, make, photos, seed, steps, **plan):
        return [Look(steps // 2, 0.01, Known(many if len(photos) > 32 else few))]

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


def test_walks_that_all_come_near_to_one_image_count_as_nothing(shelf, monkeypatch, maps):
    """Their correlations are those of the data, which they are drawn from."""
    bank = shelf.images(shelf.photos("landscapes"), "train", 64)
    near = lambda x: bank.mean(0) + 0.01 * (maps["images"](x) - bank.mean(0))  # noqa: E731
    found, held, numbers = measured(shelf, monkeypatch, maps["noise"], near)
    assert set(held.values()) == {True}
    assert found is Verdict.UNDECIDED
    assert numbers["variance of the ends over that at the start, landscapes, many"].value < 1e-3
    assert numbers["variance of the ends over that at the start, landscapes, 256"].value > 0.1


def test_the_page_says_which_networks_did_not_reach_what_they_were_asked_for(shelf, monkeypatch, maps):
    short = [Look(3, 0.05, Known(maps["images"]))]
    monkeypatch.setattr(more_data_more_coherent, "on_the_way", lambda *_, **__: short)
    notes = MoreDataMoreCoherent().measure(shelf).notes
    assert len(notes) == 4
    assert notes[0].startswith("2 of 2 networks of landscapes, 256, did not reach 2 %: ")


def test_walks_begin_at_images_that_both_networks_learned(tmp_path):
    lab = Lab(replace(BUDGETS["tiny"], measured=64), cache=tmp_path)
    sets = _sets(lab, "cifar10")
    x = _known_to_both(lab, sets)
    assert len(x) == 32 == len(sets["256"])
    for photos in sets.values():
        known = lab.images(photos, "train", len(photos)).flatten(1)
        assert not torch.cdist(x.flatten(1), known, compute_mode="donot_use_mm_for_euclid_dist").amin(1).any()
    held_out = lab.images(lab.photos("cifar10"), count=32)
    assert torch.cdist(held_out.flatten(1), known).amin(1).min() > 0.1
    with pytest.raises(CopyfoldError, match="not among the many"):
        _known_to_both(lab, sets | {"many": lab.photos("cifar10", limit=8)})


def test_the_page_says_how_late_each_network_was_taken(shelf, monkeypatch, maps):
    _, _, numbers = measured(shelf, monkeypatch, maps["images"], maps["images"])
    steps = [shelf.budget.scaled(count) for count in (500, 900)]
    found = [numbers[f"share of the training, landscapes, {size}"].value for size in ("256", "many")]
    assert found == pytest.approx([count // 2 / count for count in steps])
    assert numbers["coarse patch distance, cifar10, start"].value > 0
