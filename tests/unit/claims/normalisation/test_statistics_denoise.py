"""Corrections of brightness and contrast with known effects; networks in which batch norm does a known part."""

import pytest
import torch
from torch.nn import functional as F

from copyfold.claims.normalisation.statistics_denoise import StatisticsDenoise, brightened, by_statistics
from copyfold.corruptions import Mix
from copyfold.models.blocks import BatchNorm
from labs import Known


def test_a_correction_gives_every_channel_the_moments_of_others():
    x, reference = torch.rand(4, 3, 8, 8), 0.2 * torch.rand(9, 3, 8, 8) + 0.5
    y = brightened(x, reference)
    assert y.mean((2, 3)).allclose(reference.mean((0, 2, 3)).expand(4, 3), atol=1e-5)
    assert y.std((2, 3), correction=0).allclose(
        reference.std((2, 3), correction=0).mean(0).expand(4, 3), atol=1e-5
    )
    assert brightened(0.5 * x + 0.35, reference).allclose(y, atol=1e-4)
    assert brightened(torch.ones(1, 3, 8, 8), reference).isfinite().all()


def test_the_share_is_zero_where_nothing_was_removed():
    nothing, running, batch = (torch.tensor(v) for v in (1.0, 0.8, 0.2))
    assert by_statistics(nothing, running, batch).item() == pytest.approx(0.75)
    assert by_statistics(nothing, running, nothing).item() == 0


def normalised(lab, function):
    """Batch norm with the statistics of photographs, then a function: with running averages the function alone."""
    photos = lab.photos("landscapes")
    x, model = lab.images(photos, "train"), Known(function)
    model.encoder, model.statistics = BatchNorm(1), "batch"
    with torch.no_grad():
        model.encoder.weight[:], model.encoder.bias[:] = x.std(correction=0), x.mean()
        model.encoder.running_mean[:], model.encoder.running_var[:] = x.mean(), x.var(correction=0)
    return model


def known(lab, how):
    """A tenth of the mean, and nine of the held-out image that is near enough, or has the largest correlation."""
    x = lab.images(lab.photos("landscapes"))

    def function(z):
        if how == "copy":
            return z
        if how == "correlation":
            a, b = (F.normalize(y.flatten(1) - y.flatten(1).mean(1, keepdim=True)) for y in (z, x))
            found = x[(a @ b.T).argmax(1)]
        else:
            distances = torch.cdist(z.flatten(1), x.flatten(1)) / z[0].numel() ** 0.5
            found = torch.where((distances.amin(1) < 0.23).view(-1, 1, 1, 1), x[distances.argmin(1)], z)
        return 0.9 * found + 0.1 * x.mean(0)

    return function


@pytest.mark.parametrize(
    ("how", "verdict"), [("distance", "HOLDS"), ("correlation", "DOES NOT HOLD"), ("copy", "UNDECIDED")]
)
def test_whether_statistics_are_what_denoises(shelf, how, verdict):
    """To find by distance takes the right brightness, by correlation none; a copy only has the brightness."""
    shelf.models = (normalised(shelf, known(shelf, how)),)
    found = StatisticsDenoise().measure(shelf)
    assert StatisticsDenoise().verdict(found.numbers, copying=found.copying) == verdict
    share = found.numbers["share by statistics"].value
    assert share < 0.1 if how == "correlation" else share > 0.8
    if how == "copy":  # nothing but the correction restores
        assert found.numbers["exact correction alone over batch"].low < 1.1


def test_a_network_that_does_not_copy_is_not_in_the_regime(shelf):
    shelf.models = (normalised(shelf, lambda z: 0 * z),)
    found = StatisticsDenoise().measure(shelf)
    assert StatisticsDenoise().verdict(found.numbers, copying=found.copying) == "NOT IN REGIME"


def test_the_mix_is_inverted_with_its_own_parameters():
    x, still_air = torch.rand(2, 1, 8, 8), Mix(0.5, 0.7, 0.0)
    assert ((still_air(x) - 0.35) / 0.5).allclose(x, atol=1e-6)
