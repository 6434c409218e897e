"""T5 where it is known which network copies."""

import pytest

from copyfold.claims.denoising.skips_teach_the_identity import SkipsTeachTheIdentity
from labs import COPY, GREY, judged


@pytest.mark.parametrize(
    ("with_skips", "without", "verdict"),
    [
        (COPY, GREY, "HOLDS"),
        (COPY, COPY, "DOES NOT HOLD"),
        (GREY, GREY, "DOES NOT HOLD"),
        (GREY, COPY, "DOES NOT HOLD"),
    ],
)
def test_a_copying_network_is_distinguished_from_one_that_does_not_copy(prepared, with_skips, without, verdict):
    def given(model):
        return with_skips if model.skips == "concat" else without

    found, numbers = judged(SkipsTeachTheIdentity(), prepared(given))
    assert found == verdict
    exact = {name: numbers[f"{name} exact identity"].value for name in ("gap", "passed")}
    assert exact == pytest.approx({"gap": 0, "passed": 1})
    smaller = numbers["passed without skips, smaller images"].value
    assert smaller == pytest.approx(float(without is COPY), abs=1e-6)
