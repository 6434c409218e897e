"""Strong noise, and a network that returns the mean image."""

import pytest

from copyfold.claims.denoising.more_training_more_noise import MoreTrainingMoreNoise
from copyfold.measures import mse
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.denoising import mean_image
from labs import COPY, fixed, judged


def test_returning_the_mean_image_is_not_counted_as_denoising(prepared, monkeypatch):
    it = prepared(lambda model: COPY)
    photos = it.photos("landscapes")
    mean, x = mean_image(it, photos), it.images(photos)
    blank = fixed(lambda x: mean.expand_as(x))
    monkeypatch.setattr(it, "course", lambda make, photos, seed, steps: [COPY, COPY, COPY, blank])
    verdict, numbers = judged(MoreTrainingMoreNoise(), it)
    assert verdict == Verdict.UNDECIDED  # exactly as good as the mean image
    assert numbers["error over mean image"].value == pytest.approx(1)
    nothing = 0.49 * ((x - 0.7).square().mean() + 0.04)
    expected = mse(mean.expand_as(x), x).mean() / nothing
    assert numbers["error late over early"].value == pytest.approx(expected.item(), rel=0.05)
