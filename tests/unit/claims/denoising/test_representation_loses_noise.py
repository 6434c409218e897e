"""T7 on a copy, on projections, and its measure where the noise and the representation's own error are known."""

import pytest
import torch

from copyfold.claims.denoising.representation_loses_noise import NOISES, RepresentationLosesNoise, compared, share
from copyfold.probes.base import Reading
from copyfold.studies.base import Verdict
from labs import Staged, blocks, random_part


def test_the_representation_s_own_error_is_no_noise():
    """An error of ten times the noise, the same with it and without, changes nothing."""
    middle, noise, wrong = (torch.randn(4, 1, 8, 8) for _ in range(3))

    def found(y, answer=1.0):
        return Reading({"found": y, "answer": torch.tensor([answer, 1.0, 1.0, 1.0])})

    of = compared(
        found(middle + 10 * wrong + 0.3 * noise), found(middle + 10 * wrong, 0.0), middle + noise, middle
    )
    assert of["share"][1:].allclose(torch.tensor(0.3), atol=1e-4)
    assert (of["away"][1:] > 3).all()
    assert of["share"][0].isnan()  # one of its searches has no answer
    assert of["answer"].tolist() == [0, 1, 1, 1]
    assert share(noise, noise).allclose(torch.ones(4))


def test_a_copy_represents_all_the_noise(represented):
    came, found = represented(RepresentationLosesNoise(), {"": Staged()})
    assert came == Verdict.DOES_NOT_HOLD
    for noise in NOISES:
        assert found.numbers[f"share represented {noise}"].value == pytest.approx(1, abs=0.05)
        assert found.numbers[f"share represented, identity, {noise}"].low > 0.9
    assert found.numbers["share represented, passed to the output itself, gaussian"].value == pytest.approx(1)
    assert found.captions.keys() == found.figures.keys()


@pytest.mark.parametrize(("function", "kept"), [(blocks, 0.25), (random_part(), 0.25)], ids=["blocks", "random"])
def test_a_projection_represents_the_noise_that_it_keeps(represented, function, kept):
    """A quarter of the dimensions, whether they are those of photographs or not."""
    came, found = represented(RepresentationLosesNoise(), {"": Staged(function)}, left=9.0, tight=True)
    assert came == Verdict.HOLDS
    for noise in NOISES:
        assert found.numbers[f"share represented {noise}"].value == pytest.approx(kept, abs=0.06)
    assert found.numbers["share represented, code, gaussian"].value == pytest.approx(kept, abs=0.06)
    assert found.numbers["distance over noise, without noise, output, gaussian"].value > 0.1


def test_a_network_that_does_not_copy_is_not_in_the_regime(represented):
    assert represented(RepresentationLosesNoise(), {"": Staged(lambda x: 0 * x)})[0] == Verdict.NOT_IN_REGIME
