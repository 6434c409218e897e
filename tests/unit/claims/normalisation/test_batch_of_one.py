"""T22 on networks that depend on a batch in known ways; and instance norm as batch norm in batches of 1."""

from functools import partial

import pytest
import torch

from copyfold.claims.normalisation.batch_of_one import BatchOfOne, alike
from copyfold.models.unet import UNet
from copyfold.probes.base import still
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.networks import restored
from labs import Known


def test_instance_norm_is_batch_norm_in_batches_of_one():
    rng = torch.Generator().manual_seed(0)
    make = partial(UNet, (1, 16, 16), width=4, depth=2)
    model, x = make(norm="batch"), torch.rand(3, 1, 16, 16, generator=rng)
    for weight in model.parameters():
        weight.data += 0.1 * torch.rand(weight.shape, generator=rng)
    other = alike(model, make(norm="instance"))
    with torch.no_grad(), still(other):
        together = other(x)
    assert together.allclose(restored(model, x, 1), atol=1e-5)
    assert not together.allclose(restored(model, x, 3), atol=1e-3)


def denoiser(lab):
    """Nine tenths of the image that correlates best with the input, whatever its brightness, and one of it."""
    x = torch.cat([lab.images(lab.photos("landscapes"), which) for which in ("held_out", "train")])

    def unit(y):
        rows = y.flatten(1) - y.flatten(1).mean(1, keepdim=True)
        return rows / rows.norm(dim=1, keepdim=True)

    return Known(lambda z: 0.9 * x[(unit(z) @ unit(x).T).argmax(1)] + 0.1 * z)


def copy(lab):
    return Known(lambda z: z)


def dim(lab):
    return Known(lambda z: 0.5 * z)


@pytest.mark.parametrize(
    ("sixteen", "one", "verdict"),
    [
        (denoiser, denoiser, Verdict.HOLDS),
        (denoiser, copy, Verdict.DOES_NOT_HOLD),
        (copy, denoiser, Verdict.UNDECIDED),  # batches of 16 remove nothing that it could be as good as
        (denoiser, dim, Verdict.NOT_IN_REGIME),
        (dim, denoiser, Verdict.NOT_IN_REGIME),
    ],
)
def test_the_statistics_of_one_image_are_compared_with_those_of_many(shelf, monkeypatch, sixteen, one, verdict):
    kinds = {"batch": sixteen(shelf), "instance": one(shelf)}
    monkeypatch.setattr(shelf, "pick", lambda make, photos: kinds[make.keywords.get("norm", "batch")])
    found = BatchOfOne().measure(shelf)
    assert BatchOfOne().verdict(found.numbers, copying=found.copying) is verdict
    passed = found.numbers["noise in the output, gaussian, batches of 1"].value
    assert passed == pytest.approx({denoiser: 0.01, copy: 1, dim: 0.25}[one], abs=1e-3)
    assert found.captions.keys() == found.figures.keys()


def test_other_images_of_a_batch_change_a_network_with_batch_norm_alone(lab):
    """Trained for a few steps."""
    numbers = BatchOfOne().measure(lab).numbers
    assert numbers["copying error, 16, used by 1"].value != numbers["copying error, batches of 16"].value
    assert numbers["copying error, trained in batches of 1"].value > 0
