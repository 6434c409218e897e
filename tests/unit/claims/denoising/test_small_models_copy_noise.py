"""T3 on a copy, and on a projection that copies as well."""

import pytest

from copyfold.claims.denoising.small_models_copy_noise import SmallModelsCopyNoise
from copyfold.studies.toolkit import copiers
from copyfold.studies.toolkit.copiers import D1, D2
from copyfold.studies.toolkit.networks import parameters
from labs import COPY, GREY


@pytest.mark.parametrize(
    ("smallest", "larger", "verdict"),
    [
        ("copy", "projection", "HOLDS"),
        ("copy", "copy", "UNDECIDED"),  # it is not the size
        ("projection", "copy", "DOES NOT HOLD"),
        ("grey", "projection", "NOT IN REGIME"),
    ],
)
def test_a_copy_passes_noise_and_a_projection_does_not(along, smallest, larger, verdict):
    kinds = {"copy": [(0.001, COPY)], "projection": [(0.01, along.projection(0.01))], "grey": [(1.0, GREY)]}
    came, found = along.judged(SmallModelsCopyNoise(), **{D1: kinds[smallest], D2: kinds[larger]})
    assert came == verdict
    if smallest == "copy":
        assert found.numbers["noise passed"].value == pytest.approx(1)
        assert found.numbers["error over doing nothing"].value == pytest.approx(1)


def test_the_smallest_network_is(lab):
    counts = {name: parameters(of.make, (3, 32, 32)) for name, of in copiers.configurations(lab).items()}
    assert min(counts, key=lambda name: counts[name]) == D1
