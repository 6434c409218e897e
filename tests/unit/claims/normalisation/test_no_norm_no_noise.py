"""T21 on a copy, and on networks that differ in what they do to brightness; and its measures."""

import pytest
import torch
from torch.nn import functional as F

from copyfold.claims.normalisation.no_norm_no_noise import NoNormNoNoise, scaled_blur, statistics_gap
from copyfold.corruptions import Blur
from copyfold.studies.base import Verdict
from labs import Known


def test_the_gap_depends_on_mean_and_std_alone():
    x = torch.rand(4, 3, 8, 8)
    assert statistics_gap(x, x.flip(2)).allclose(torch.zeros(4), atol=1e-6)
    assert statistics_gap(x + 0.1, x).allclose(torch.full((4,), 0.1), atol=1e-6)
    centred = x - x.mean((2, 3), keepdim=True)
    spread = centred.square().mean((1, 2, 3)).sqrt()
    assert statistics_gap(3 * centred, centred).allclose(2 * spread, atol=1e-6)


def test_the_blur_is_that_of_the_essay_at_its_size():
    assert scaled_blur(256) == Blur(19, 8.0)
    assert scaled_blur(32) == Blur(3, 1.0)
    assert scaled_blur(8).kernel == 3


def test_a_copy_leaves_noise_and_blur_in(shelf):
    shelf.models = (Known(),)
    study, found = NoNormNoNoise(), NoNormNoNoise().measure(shelf)
    numbers = found.numbers
    assert numbers["noise without norm over clean"].value == numbers["noise mixed over clean"].value
    assert numbers["gap without norm"].value == pytest.approx(numbers["gap mixed"].value)
    assert numbers["noise passed without norm"].value == pytest.approx(1, abs=1e-4)
    assert numbers["deblurring error over doing nothing without norm"].value == 1
    assert numbers["blur undone, without norm"].value == pytest.approx(0, abs=1e-6)
    assert numbers["blur undone, linear filter"].low > 0.1
    noise = numbers["noise without norm over its own copy"]
    assert noise.value == pytest.approx(numbers["noise mixed over clean"].value)
    assert study.noise_without_norm_over_its_own_copy.holds(noise) is False
    assert study.verdict(numbers, copying=found.copying) is Verdict.DOES_NOT_HOLD


def restorer(lab, brightness):
    """It returns the held-out image that correlates best with its input, at the input's brightness or its own."""
    x = lab.images(lab.photos("landscapes", lab.budget.large))

    def function(z):
        a, b = (F.normalize(y.flatten(1) - y.flatten(1).mean(1, keepdim=True)) for y in (z, x))
        found = x[(a @ b.T).argmax(1)]
        shift = (z - found).mean((1, 2, 3), keepdim=True)
        shift = torch.where(shift.abs() > 0.05, shift, 0)  # blur changes it by a little
        return found + (shift if brightness else 0.05 * shift) + 1e-3 * (z - found)

    return Known(function)


@pytest.mark.parametrize(("correcting", "verdict"), [(True, "HOLDS"), (False, "DOES NOT HOLD")])
def test_networks_that_differ_in_brightness_alone_are_as_claimed(shelf, monkeypatch, correcting, verdict):
    """With a norm brightness is corrected; both restore all else, of noise and of blur."""
    kinds = {"batch": restorer(shelf, not correcting), "none": restorer(shelf, True)}
    monkeypatch.setattr(shelf, "pick", lambda make, photos: kinds[make.keywords.get("norm", "batch")])
    found = NoNormNoNoise().measure(shelf)
    assert NoNormNoNoise().verdict(found.numbers, copying=found.copying) == verdict


def test_a_norm_that_deblurs_is_missed_without_it(shelf, monkeypatch):
    """With it the clean image comes out; without, the input. The part of the claim on blur is refuted, alone."""
    kinds = {"batch": restorer(shelf, True), "none": Known(lambda z: z + 0 * z)}
    monkeypatch.setattr(shelf, "pick", lambda make, photos: kinds[make.keywords.get("norm", "batch")])
    numbers, study = NoNormNoNoise().measure(shelf).numbers, NoNormNoNoise()
    assert numbers["blur undone, batch norm"].value == pytest.approx(1, abs=0.05)
    missed = numbers["blur undone without norm minus batch norm"]
    assert study.blur_undone_without_norm_minus_batch_norm.holds(missed) is False
    same = numbers["blur undone, without norm"]  # a hundredth of the blur, of two that return it
    assert study.blur_undone_without_norm_minus_batch_norm.holds(same) is True


def test_blur_is_not_taken_for_noise_that_is_removed(shelf, monkeypatch):
    """Without a norm a copy is blurred, and keeps half of the noise: less noise than the image has texture."""
    kinds = {"batch": restorer(shelf, False), "none": Known(lambda z: Blur(3, 0.7)(z))}
    monkeypatch.setattr(shelf, "pick", lambda make, photos: kinds[make.keywords.get("norm", "batch")])
    numbers, study = NoNormNoNoise().measure(shelf).numbers, NoNormNoNoise()
    noise = numbers["noise without norm over its own copy"]
    assert noise.value > 1.5 * numbers["noise without norm over clean"].value
    assert study.noise_without_norm_over_its_own_copy.holds(noise) is False


def test_networks_that_neither_deblur_say_nothing_of_the_ability(shelf):
    shelf.models = (restorer(shelf, True),)
    reading = NoNormNoNoise().measure(shelf)
    control = "blur undone, batch norm"
    assert NoNormNoNoise.controls[control][0].holds(reading.numbers[control]) is True
    shelf.models = (Known(),)
    assert NoNormNoNoise.controls[control][0].holds(NoNormNoNoise().measure(shelf).numbers[control]) is False


def test_networks_that_do_not_copy_are_not_in_the_regime(shelf):
    shelf.models = (Known(lambda z: 0 * z),)
    found = NoNormNoNoise().measure(shelf)
    assert NoNormNoNoise().verdict(found.numbers, copying=found.copying) is Verdict.NOT_IN_REGIME
