"""Labels of every kind become class numbers, or are left out with a reason; images are never refused for them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from copyfold.data import Photos
from copyfold.data.reading.labels import class_numbers

TWO = np.arange(12) % 2
NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "numbers", "classes"),
    [
        (TWO, TWO.tolist(), None),
        (TWO.astype(np.uint8), TWO.tolist(), None),
        (TWO[:, None], TWO.tolist(), None),
        (TWO.astype(np.float32), TWO.tolist(), None),
        (TWO > 0, TWO.tolist(), ["false", "true"]),
        (np.eye(2)[TWO], TWO.tolist(), None),
        (np.array(["dog", "cat"])[TWO], (1 - TWO).tolist(), ["cat", "dog"]),
        (["cat", "dog"] * 6, TWO.tolist(), ["cat", "dog"]),
        (["cat", None] * 6, [0, -1] * 6, ["cat"]),
        ([True, False] * 6, [1, 0] * 6, ["false", "true"]),
        ([3, None] * 6, [3, -1] * 6, None),
        ([2.0, NAN] * 6, [2, -1] * 6, None),
        ([[0, 1], [1, 0]] * 6, [1, 0] * 6, None),
        ([b"cat", b"dog"] * 6, TWO.tolist(), ["cat", "dog"]),
        ([10**9, 7] * 6, [1, 0] * 6, ["7", "1000000000"]),
        ([-2, 5] * 6, [0, 1] * 6, ["-2", "5"]),
        ([2**80, 1] * 6, [1, 0] * 6, ["1", str(2**80)]),
    ],
)
def test_labels_that_are_classes(values: Any, numbers: list[int], classes: list[str] | None) -> None:
    found = class_numbers(values, 12, "x")
    assert (found.numbers, found.classes, found.note) == (numbers, classes, "")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.arange(3), "they are 3, for 12 images"),
        (np.linspace(0, 1, 12), "numbers with fractions"),
        (np.full(12, np.inf), "numbers with fractions"),
        (np.ones((12, 4)), "12x4, and not one for each image"),
        (np.zeros(12, complex), "complex128"),
        ([f"a caption of image {k}, and of no other" for k in range(30)], "texts, and nearly all different"),
        ([{"a": 1}] * 12, "dict"),
        ([[1, 2], [3]] * 6, "list"),
        ([None] * 12, "all missing"),
    ],
)
def test_labels_that_are_left_out_with_a_reason(values: Any, why: str) -> None:
    found = class_numbers(values, len(values) if len(values) > 3 else 12, "the file x")
    assert found.numbers is None
    assert found.note.startswith("the labels in the file x are left out: ")
    assert why in found.note


def test_no_labels_keep_the_images_of_an_npz_from_being_read(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16), dtype=np.uint8)
    for labels in (TWO[:, None], np.arange(3), np.linspace(0, 1, 12), np.array([{}] * 12), TWO > 0):
        np.savez(tmp_path / "a.npz", images=images, labels=labels)
        assert len(Photos(tmp_path / "a.npz", 16)) == 11
    assert Photos(tmp_path / "a.npz", 16).classes == ("false", "true")
