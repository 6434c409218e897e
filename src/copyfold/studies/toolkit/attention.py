"""Networks of one attention that several claims train."""

from functools import partial

from copyfold.models.attention import Attention, SingleAttention
from copyfold.models.base import Autoencoder
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.networks import LARGE
from copyfold.studies.toolkit.spectra import SIDE
from copyfold.studies.toolkit.training import copier

MAPS = 64
ALONE = "dot product alone"
SHORT_OF, SWITCHED_OFF = 0.1, 0.01  # what an attention alone is trained to leave; and one with a residual
LENGTH = 1500  # batches of 64 of the first training


def single_attention(kind: Attention, channels: int | None = MAPS) -> Make:
    """One attention between convolutions of 64 maps, or alone."""
    return partial(SingleAttention, kind=kind, channels=channels)


def alone(lab: Lab, seed: int, kind: Attention, residual: bool = False) -> Autoencoder:
    """One attention and nothing else, trained to copy CIFAR-10 at 8 pixels.

    Until it leaves a tenth, and with a residual, which only has to switch the attention off, a hundredth; where
    1,500 batches of 64 are not enough, for twice as many, and no longer: without a residual the dot product was at
    .38 to .46 after trials of 800 to 10,000 steps, and came no further.
    """
    photos = lab.photos("cifar10", SIDE)
    make = partial(SingleAttention, kind=kind, channels=None, residual=residual)
    steps, batch = lab.budget.scaled(LENGTH), min(LARGE, len(photos))
    left = SWITCHED_OFF if residual else SHORT_OF
    return copier(lab, make, photos, seed, left, steps, 2 * steps, batch=batch)
