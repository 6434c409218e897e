"""T7 on a copy, and on projections."""

import pytest
import torch

from copyfold.claims.denoising.representation_loses_noise import RepresentationLosesNoise
from copyfold.measures import distance
from copyfold.studies.base import Verdict
from labs import Staged, blocks, random_part


def test_a_copy_represents_all_the_noise(represented):
    came, found = represented(RepresentationLosesNoise(), {"": Staged()})
    assert came in (Verdict.DOES_NOT_HOLD, Verdict.UNDECIDED)  # it is 1, up to a tenth of the reference
    for name in ("gaussian", "mix"):
        assert found.numbers[f"distance over corruption {name}"].value == pytest.approx(1, abs=0.05)
    assert found.numbers["distance over corruption, output itself, gaussian"].value == 1
    assert found.captions.keys() == found.figures.keys()


def test_a_projection_represents_the_noise_that_it_keeps(represented):
    found = represented(RepresentationLosesNoise(), {"": Staged(blocks)}, left=9.0)[1]
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 1, 16, 16, generator=rng)
    kept = (distance(blocks(noise), 0 * noise) / distance(noise, 0 * noise)).mean().item()
    lost = found.numbers["distance over corruption gaussian"].value
    # the projection keeps half of the noise; the digits' own detail that it does not see is lost too
    assert kept == pytest.approx(0.5, abs=0.01)
    assert kept < lost < 1
    assert found.numbers["distance over corruption, identity, gaussian"].value > 0.9


def test_what_is_not_seen_counts_as_lost_and_not_as_noise(represented):
    came, found = represented(RepresentationLosesNoise(), {"": Staged(random_part())}, left=9.0)
    assert found.numbers["distance over corruption gaussian"].value > 1
    assert came == Verdict.DOES_NOT_HOLD
