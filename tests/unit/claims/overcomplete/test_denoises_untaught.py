"""T2 on networks that are known to remove noise, or not."""

import pytest

from copyfold.claims.overcomplete.denoises_untaught import DenoisesUntaught
from copyfold.studies.toolkit.copiers import D2
from labs import COPY, GREY


@pytest.mark.parametrize(
    ("network", "verdict"),
    [
        ("knowing", "HOLDS"),
        ("projection", "UNDECIDED"),  # it is PCA of equal error itself
        ("dulled", "DOES NOT HOLD"),
        ("copy", "UNDECIDED"),  # neither better nor worse than doing nothing, nor than all components
        ("grey", "NOT IN REGIME"),
    ],
)
def test_denoising_is_told_from_an_imperfect_copy(along, network, verdict):
    kinds = {"copy": COPY, "grey": GREY, "knowing": along.knowing(along.projection(0.02))}
    kinds |= {"projection": along.projection(0.02), "dulled": along.dulled(0.13)}
    came, found = along.judged(DenoisesUntaught(), **{D2: [(0.02, kinds[network])]})
    assert came == verdict
    if network == "projection":
        assert found.numbers["error over PCA of equal error"].value == pytest.approx(1)
