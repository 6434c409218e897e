"""Strong noise, and what a network gives for it early and late."""

import pytest

from copyfold.claims.denoising.more_training_more_noise import MoreTrainingMoreNoise
from copyfold.studies.toolkit.copiers import D2
from copyfold.studies.toolkit.denoising import mean_image
from labs import COPY, fixed


@pytest.mark.parametrize(
    ("late", "verdict"), [("knowing", "HOLDS"), ("copy", "DOES NOT HOLD"), ("blank", "NOT IN REGIME")]
)
def test_what_is_recovered_late_is_compared_with_early_and_the_mean(along, late, verdict):
    mean = mean_image(along.lab, along.photos)
    kinds = {"copy": COPY, "knowing": along.knowing(), "blank": fixed(lambda y: mean + 0 * y)}
    looks = [(0.1, along.projection(0.1)), (0.001, kinds[late])]
    study = MoreTrainingMoreNoise()
    came, found = along.judged(study, **{D2: looks})
    assert came == verdict
    if late == "blank":  # returning the mean image is no denoising
        assert found.numbers["error over mean image"].value == pytest.approx(1)
        assert study.verdict(found.numbers) == "UNDECIDED"
