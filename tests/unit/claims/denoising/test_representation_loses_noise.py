"""T7 on a copy, and on a projection."""

import pytest

from copyfold.claims.denoising.representation_loses_noise import RepresentationLosesNoise
from copyfold.corruptions import Mix
from copyfold.measures import distance
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.search import few_images
from labs import BLOCKS, COPY, blocks, judged


def test_a_copy_represents_all_the_noise(prepared):
    study = RepresentationLosesNoise()
    verdict, numbers = judged(study, prepared(lambda model: COPY))
    assert verdict != Verdict.HOLDS
    for name in ("distance over corruption mix", "distance over corruption, identity, gaussian"):
        assert numbers[name].value == pytest.approx(1, abs=1e-3)
    assert numbers["distance over corruption, output, mix"].value == pytest.approx(1)


def test_a_projection_represents_the_noise_that_it_keeps(prepared):
    it = prepared(lambda model: BLOCKS)
    _, numbers = judged(RepresentationLosesNoise(), it)
    x = few_images(it, it.images(it.photos("landscapes")))
    noisy = Mix(0.5)(x, it.rng(0, "mix"))
    # what the projection does not see stays as it was at the start, which is grey: 0
    expected = distance(0.7 + blocks(noisy - 0.7), x).mean() / distance(noisy, x).mean()
    assert numbers["distance over corruption mix"].value == pytest.approx(expected.item(), abs=1e-3)
    output = distance(blocks(noisy), x).mean() / distance(noisy, x).mean()
    assert numbers["distance over corruption, output, mix"].value == pytest.approx(output.item(), abs=1e-3)
