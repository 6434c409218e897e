"""Batches: a pure function of the seed and their number."""

import numpy as np
import pytest
import torch

from copyfold.data import Batches
from copyfold.errors import UsageError


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (23, 4, 6, 3), dtype=np.uint8)


def take(batches: Batches, count: int) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    while len(found) < count:
        found += list(batches)
    return found[:count]


def rows(batch: torch.Tensor, pixels: np.ndarray) -> list[int]:
    """Which images a batch holds."""
    numbers = {image.tobytes(): k for k, image in enumerate(pixels)}
    return [numbers[image.permute(1, 2, 0).contiguous().numpy().tobytes()] for image in batch]


def test_an_epoch_holds_every_image_at_most_once_and_drops_the_rest(pixels: np.ndarray) -> None:
    batches = Batches(pixels, 5)
    epoch = list(batches)
    assert len(batches) == len(epoch) == 4
    assert all(x.shape == (5, 3, 4, 6) and x.dtype == torch.uint8 for x in epoch)
    seen = [k for x in epoch for k in rows(x, pixels)]
    assert len(set(seen)) == 20
    assert seen != sorted(seen)


def test_the_layout_is_channels_last_without_a_copy(pixels: np.ndarray) -> None:
    x = next(iter(Batches(pixels, 5)))
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_epochs_differ_and_seeds_differ(pixels: np.ndarray) -> None:
    batches = Batches(pixels, 23)
    first, second = rows(next(iter(batches)), pixels), rows(next(iter(batches)), pixels)
    other = rows(next(iter(Batches(pixels, 23, seed=1))), pixels)
    assert sorted(first) == sorted(second) == sorted(other) == list(range(23))
    assert first != second
    assert first != other
    assert second != other  # nor is one seed's order another's an epoch later


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("start", [0, 1, 3, 4, 5, 11])
def test_a_resume_at_any_batch_continues_exactly(pixels: np.ndarray, start: int, flip: bool) -> None:
    whole = take(Batches(pixels, 5, seed=7, flip=flip), 12)
    resumed = Batches(pixels, 5, seed=7, flip=flip)
    resumed.n = start
    for expected, found in zip(whole[start:], take(resumed, 12 - start), strict=True):
        assert torch.equal(expected, found)


def test_n_counts_the_batches_handed_out(pixels: np.ndarray) -> None:
    batches = Batches(pixels, 5)
    for position, _ in enumerate(batches):
        assert batches.n == position + 1
        if position == 1:
            break
    assert batches.n == 2
    assert len(list(batches)) == 2  # what remains of the epoch
    assert batches.n == 4


def test_the_global_generator_is_left_alone(pixels: np.ndarray) -> None:
    before = torch.get_rng_state()
    list(Batches(pixels, 5, flip=True))
    assert torch.equal(before, torch.get_rng_state())


def test_flips_mirror_about_half_of_the_images_and_others_each_epoch() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (1000, 2, 5, 1), dtype=np.uint8)
    plain, flipped = Batches(pixels, 100, seed=3), Batches(pixels, 100, seed=3, flip=True)
    epochs = []
    for _ in range(2):
        mirrored = []
        for x, y in zip(plain, flipped, strict=True):
            for a, b in zip(x, y, strict=True):
                mirrored.append(not torch.equal(a, b))
                assert torch.equal(b, a.flip(2) if mirrored[-1] else a)
        epochs.append(mirrored)
    assert all(420 < sum(mirrored) < 580 for mirrored in epochs)  # 5 standard deviations
    assert epochs[0] != epochs[1]


def test_flipping_leaves_the_images_themselves_alone(pixels: np.ndarray) -> None:
    before = pixels.copy()
    list(Batches(pixels, 5, flip=True))
    np.testing.assert_array_equal(pixels, before)


def test_fewer_images_than_a_batch_make_one_batch(pixels: np.ndarray) -> None:
    batches = Batches(pixels[:3], 16)
    assert len(batches) == 1
    assert sorted(rows(next(iter(batches)), pixels)) == [0, 1, 2]


def test_a_read_only_array_makes_no_warning(pixels: np.ndarray) -> None:
    pixels.flags.writeable = False
    assert len(list(Batches(pixels, 5))) == 4


def test_invalid_batch_settings_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        Batches(pixels, 0)
    with pytest.raises(UsageError, match="0 images are invalid"):
        Batches(pixels[:0], 4)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("world", [2, 3, 6])
def test_the_parts_of_all_processes_form_the_batch_of_one_process(
    pixels: np.ndarray, world: int, flip: bool
) -> None:
    """One after the other, in the order of their ranks; from any batch on."""
    whole = Batches(pixels, 6, seed=2, flip=flip)
    parts = [Batches(pixels, 6, seed=2, flip=flip, rank=rank, world=world) for rank in range(world)]
    for part in parts:
        part.n = whole.n = 2
    assert {len(part) for part in parts} == {len(whole)}
    for expected, *found in zip(take(whole, 7), *(take(part, 7) for part in parts), strict=True):
        assert all(len(part) == 6 // world for part in found)
        assert torch.equal(expected, torch.cat(found))
    assert {part.n for part in parts} == {whole.n}


def test_a_process_reads_only_its_own_part() -> None:
    class Watched(np.ndarray):
        """An array that notes how many images are taken out of it."""

        def __getitem__(self, key):
            read.append(len(key))
            return np.asarray(self)[key]

    read: list[int] = []
    batches = Batches(np.zeros((32, 2, 2, 1), np.uint8), 8, rank=1, world=4)
    batches._pixels = batches._pixels.view(Watched)
    list(batches)
    assert read == [2, 2, 2, 2]


@pytest.mark.parametrize("world", [2, 4])
def test_sorted_classes_are_spread_over_the_processes(world: int) -> None:
    """Ten classes one after the other: each process sees of each about its share in every epoch."""
    count, classes = 4000, 10
    pixels = np.repeat(np.arange(classes, dtype=np.uint8), count // classes).reshape(count, 1, 1, 1)
    for epoch in range(3):
        for rank in range(world):
            batches = Batches(pixels, 40, rank=rank, world=world)
            batches.n = epoch * len(batches)
            seen = torch.bincount(torch.cat(list(batches)).flatten().int(), minlength=classes)
            share = count / classes / world
            # a hypergeometric number: its deviation is under that of share images drawn at random
            assert seen.sum() == count / world
            assert all(abs(int(number) - share) < 5 * share**0.5 for number in seen)


def test_a_batch_that_does_not_divide_among_the_processes_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="batch of 5 images cannot be shared by 2 processes"):
        Batches(pixels, 5, world=2)
    with pytest.raises(UsageError, match=r"batch of 23 images .* the 23 images there are"):
        Batches(pixels, 24, world=2)
