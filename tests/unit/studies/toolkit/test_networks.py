"""The networks that several claims compare, and how they are used."""

import torch
from torch import Generator

import copyfold as cf
from copyfold.corruptions import Gaussian
from copyfold.models.blocks import BatchNorm
from copyfold.models.dense import MLP
from copyfold.probes.geometry import IdentityGap
from copyfold.studies.toolkit.networks import probed, restored, with_running_averages
from labs import Centred


def test_a_probe_that_uses_the_batch_sees_batches_as_in_training():
    x = torch.randn(20, 1, 8, 8, generator=Generator().manual_seed(0))
    found = probed(IdentityGap(Gaussian(0.1), draws=0, statistics="batch"), Centred((1, 8, 8)), x, Generator())
    torch.testing.assert_close(
        found.numbers["passed"].mean(), torch.tensor(0.9), atol=0.05, rtol=0
    )  # of 10, 9 / 10
    assert found.numbers["passed"].shape == (20,)


def test_images_share_statistics_with_their_batch_only():
    x = torch.rand(6, 1, 8, 8)
    assert restored(Centred((1, 8, 8)), x, batch=1).allclose(torch.zeros_like(x))
    pairs = restored(Centred((1, 8, 8)), x, batch=2)
    assert pairs[:2].allclose(x[:2] - x[:2].mean(0))


def test_images_are_restored_with_the_statistics_of_their_batch():
    model, x = MLP((1, 8, 8), hidden=(6,), latent_dim=3, norm="batch").eval(), torch.rand(8, 1, 8, 8)
    with model.using("batch"):
        expected = model(x)
    assert restored(model, x).equal(expected)
    assert not restored(model, x, statistics="running").allclose(expected)


def test_a_model_has_the_averages_of_the_images():
    model, x = cf.UNet((1, 16, 16), width=4, depth=2), torch.rand(16, 1, 16, 16)
    with torch.no_grad():
        by_batch = model.eval()(x)
        with with_running_averages(model, x).using("running"):
            assert not model.training
            torch.testing.assert_close(model(x), by_batch, rtol=0.05, atol=0.02)
    assert {m.momentum for m in model.modules() if isinstance(m, BatchNorm)} == {0.1}
