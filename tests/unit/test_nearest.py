"""Nearest neighbours against scikit-learn's, with ties, copies and channels."""

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Generator

import copyfold as cf
from copyfold.probes import nearest
from copyfold.probes.nearest import neighbours


def images(count: int, seed: int = 0, shape=(3, 6, 5)) -> torch.Tensor:
    return torch.rand(count, *shape, generator=Generator().manual_seed(seed))


def read(x: torch.Tensor, reference: torch.Tensor | None = None, **fields) -> dict[str, torch.Tensor]:
    return cf.Nearest(reference, **fields)(cf.Linear((3, 6, 5), 2), x, Generator()).numbers


@pytest.mark.parametrize("count", [1, 2, 7])
def test_nearest_neighbours_equal_scikit_learn_s(count, monkeypatch):
    monkeypatch.setattr(nearest, "QUERIES", 7)  # more than one chunk of either
    monkeypatch.setattr(nearest, "PART", 11)
    x, reference = images(20), 0.5 + images(50, 1)
    found = read(x, reference, count=count)
    rows, others = x.flatten(1).double().numpy(), reference.flatten(1).double().numpy()
    theirs, index = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(others).kneighbors(rows)
    shape = (20,) if count == 1 else (20, count)
    assert torch.equal(found["index"], torch.from_numpy(index).reshape(shape))
    expected = torch.from_numpy(theirs).float().reshape(shape) / 90**0.5
    torch.testing.assert_close(found["distance"], expected, rtol=1e-5, atol=0)


def test_row_numbers_are_no_quantities_and_counts_are():
    x = images(6)
    reading = cf.Nearest()(cf.Linear((3, 6, 5), 2), x, Generator())
    assert list(reading.numbers) == ["distance", "index", "ratio"]
    assert list(reading.quantities) == ["distance", "ratio"]
    counts = cf.CodeStatistics()(cf.Linear((3, 6, 5), 2), x, Generator())
    assert {"units", "dead_units"} < set(counts.quantities)
    assert set(counts.quantities) == set(counts.numbers)


def test_the_nearest_image_is_shown_and_the_ratio_is_of_the_first_two():
    x, reference = images(4), images(30, 1)
    reading = cf.Nearest(reference)(cf.Linear((3, 6, 5), 2), x, Generator())
    assert torch.equal(reading.images["x"], x)
    assert torch.equal(reading.images["nearest"], reference[reading.numbers["index"]])
    two = read(x, reference, count=2)
    torch.testing.assert_close(reading.numbers["ratio"], two["distance"][:, 0] / two["distance"][:, 1])
    assert torch.equal(reading.numbers["ratio"], two["ratio"])


def test_the_nearest_image_of_a_reference_image_is_itself():
    reference = 1000 + images(40)  # where ||a||^2 - 2 a b + ||b||^2 has hardly a digit left
    found = read(reference[5:15].clone(), reference)
    assert torch.equal(found["index"], torch.arange(5, 15))
    assert not found["distance"].any()
    assert not found["ratio"].any()


def test_ties_take_the_first_image():
    reference = images(5).repeat(3, 1, 1, 1)
    found = read(reference[:5].clone(), reference, count=3)
    assert torch.equal(found["index"], torch.arange(5)[:, None] + torch.tensor([0, 5, 10]))
    assert not found["distance"].any()
    assert (found["ratio"] == 1).all()


def test_without_a_reference_the_other_images_are_searched(monkeypatch):
    monkeypatch.setattr(nearest, "QUERIES", 3)
    x = images(8)
    found = read(x)
    apart = torch.cdist(x.flatten(1), x.flatten(1)).fill_diagonal_(torch.inf)
    assert torch.equal(found["index"], apart.argmin(1))
    twins = read(torch.cat((x, x)))
    assert torch.equal(twins["index"], torch.arange(16).roll(8))
    assert not twins["distance"].any()


def test_distances_use_every_channel():
    x = images(1)
    reference = torch.cat((x, x))
    reference[0, 2] += 0.3
    reference[1, 0] += 0.2
    found = read(x, reference)
    assert found["index"] == 1
    torch.testing.assert_close(found["distance"], torch.tensor([0.2 / 3**0.5]))


def test_one_reference_image_gives_no_ratio():
    found = read(images(3), images(1, 1))
    assert list(found) == ["distance", "index"]
    assert not found["index"].any()


def test_a_reference_larger_than_a_chunk_is_searched():
    """A copy of each of the first and the last of 9000, disturbed a little."""
    among = torch.rand(9000, 10, generator=Generator().manual_seed(0))
    wanted = torch.tensor([0, 4095, 4096, 8999]).repeat(100)
    assert torch.equal(neighbours(among[wanted] + 1e-3, among)[1][:, 0], wanted)


@pytest.mark.parametrize(
    ("x", "reference", "count", "words"),
    [
        (images(1), None, 1, "among 0 others"),
        (images(2), images(3), 4, "the 4 nearest"),
        (
            images(2),
            images(3, shape=(3, 5, 6)),
            1,
            r"\(3, 6, 5\) cannot be found among 3 others of size \(3, 5, 6\)",
        ),
    ],
)
def test_invalid_references_and_counts_are_refused(x, reference, count, words):
    with pytest.raises(cf.UsageError, match=words):
        read(x, reference, count=count)


def test_a_count_of_zero_is_refused():
    with pytest.raises(cf.UsageError, match="count=0"):
        cf.Nearest(count=0)
