"""Thresholds: their rate over many samples, and its interval against the distribution that it has."""

import numpy as np
import pytest
from scipy import stats

import copyfold as cf
from copyfold.detection.thresholds import needed, p_values, threshold


def test_three_hundred_normal_images_are_needed_for_one_per_cent():
    assert needed(0.01) == 300
    with pytest.raises(cf.UsageError, match=r"^too few normal images for a rate of 1 %: 300 are needed, and 299 "):
        threshold(np.arange(299.0), 0.01)
    assert threshold(np.arange(300.0), 0.01).value == 297


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_rates_that_are_none_are_refused(rate):
    with pytest.raises(cf.UsageError, match="expected a share of normal images"):
        threshold(np.arange(1000.0), rate)


def test_the_message_says_the_rate_that_is_possible():
    with pytest.raises(cf.UsageError, match=r"150 are needed, and 60 are held out: give rate=0\.05, or give more"):
        threshold(np.arange(60.0), 0.02)
    threshold(np.arange(60.0), 0.05)


@pytest.mark.parametrize(("count", "rate"), [(60, 0.05), (300, 0.01), (147, 0.05)])
def test_the_rate_over_many_samples_is_at_most_the_rate_asked_for(count, rate):
    """Of scores with any distribution: here the normal one, in which the share above a value is known."""
    rng = np.random.default_rng(0)
    found = [threshold(rng.standard_normal(count), rate) for _ in range(2000)]
    shares = stats.norm.sf([one.value for one in found])
    error = shares.std() / len(shares) ** 0.5
    assert shares.mean() <= rate + 4 * error
    assert shares.mean() >= int(rate * (count + 1)) / (count + 1) - 4 * error
    inside = np.mean([one.low <= share <= one.high for one, share in zip(found, shares, strict=True)])
    assert inside == pytest.approx(0.95, abs=0.02)


def test_the_interval_is_that_of_a_beta_distribution():
    found = threshold(np.arange(300.0), 0.01)
    expected = stats.beta(3, 298).interval(0.95)
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-6)
    assert str(found) == (
        "297, above which 0.01 of normal images are (95 % interval 0.00207 to 0.0239, from 300 held-out normal "
        "images)"
    )


def test_a_p_value_counts_the_normal_images_that_score_as_high():
    normal = np.array([1.0, 2.0, 3.0, 3.0])
    np.testing.assert_allclose(p_values(np.array([0.0, 3.0, 3.5]), normal), [1.0, 3 / 5, 1 / 5])
