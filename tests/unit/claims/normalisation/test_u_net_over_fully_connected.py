"""T4 where it is known which network denoises better."""

import pytest

from copyfold.claims.normalisation.u_net_over_fully_connected import UNetOverFullyConnected, with_parameters_of
from copyfold.models.unet import UNet
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.networks import parameters, unet
from labs import COPY, DIMMED, judged


@pytest.mark.parametrize(
    ("network", "rest", "verdict"), [(DIMMED, COPY, "HOLDS"), (COPY, DIMMED, "DOES NOT HOLD")]
)
def test_the_better_denoiser_wins_whichever_network_it_is(prepared, network, rest, verdict):
    found, _ = judged(UNetOverFullyConnected(), prepared(lambda m: network if isinstance(m, UNet) else rest))
    assert found == verdict


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("budget", ["cpu", "gpu"])
def test_equal_parameters_are_equal(budget, norm):
    lab = Lab(BUDGETS[budget])
    shape = (3, lab.budget.side, lab.budget.side)
    wanted = parameters(unet(lab), shape)
    assert parameters(with_parameters_of(unet(lab), norm), shape) == pytest.approx(wanted, rel=0.01)
    assert parameters(unet(lab), shape) == sum(p.numel() for p in unet(lab)(shape).parameters())
