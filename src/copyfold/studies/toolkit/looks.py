"""One look at a network of the curve: the noises, and what is measured of copies and of noisy images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from copyfold.corruptions import Clean, Corruption, Gaussian, Mix
from copyfold.data import Photos
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.probes.denoising import noise_of
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.denoising import share
from copyfold.studies.toolkit.networks import WAYS, restored
from copyfold.types import Images

LEFTS = (0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003)
"""The qualities at which a training is looked at: shares of the variance that a copy leaves."""
RUNNING, BY_64, BY_16 = WAYS

NOISES: dict[str, Corruption] = {
    "gaussian 0.1": Gaussian(0.1),
    "gaussian 0.2": Gaussian(0.2),
    "mix": Mix(),
    "mix 0.3": Mix(0.3),
    "mix 0.1": Mix(0.1),
}
"""Gaussian noise by its std; the essay's mix, half and half or with a smaller share of the photograph."""
SEEN = ("gaussian 0.2", "mix 0.3")  # whose first outputs are kept as images
HEAVY = ("mix 0.3", "mix 0.1")  # measured as the essay does alone, with the statistics of batches


def noisy_images(lab: Lab, photos: Photos, seed: int) -> dict[str, tuple[Images, Images]]:
    """For every noise: E[x~ | x], and x~. The same for every network of a seed."""
    x, found = lab.images(photos), dict[str, tuple[Images, Images]]()
    for name, noise in NOISES.items():
        quiet = replace(noise, std=0.0) if isinstance(noise, Mix) else Clean()
        found[name] = quiet(x, lab.rng(seed)), noise(x, lab.rng(seed, f"curve, {name}"))
    return found


def measured(
    model: Autoencoder, x: Images, noisy: Mapping[str, tuple[Images, Images]], ways: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Images]]:
    r"""Numbers of a network used in these ways, per image; its copies, and a few outputs for noisy images.

    For every noise N of `NOISES` and way W, of the heaviest mixes only the error in batches of 64 or the only way:

        "copy, W"         mse(O(x), x)
        "error, N, W"     mse(O(x~), x)
        "passed, N, W"    <O(x~) - O(m), x~ - m> / ||x~ - m||^2        m = E[x~ | x]

    "passed" is the share of the noise that passes, 1 for the identity; m is x for Gaussian noise, and for a mix
    the image with the mix's shift of brightness, so that only the random part counts.
    """
    numbers: dict[str, Tensor] = {}
    images: dict[str, Images] = {}
    for way in ways:
        kind, batch = WAYS[way]
        copy = restored(model, x, batch, kind)
        numbers[f"copy, {way}"] = mse(copy, x)
        for name, (centre, corrupted) in noisy.items():
            if name in HEAVY and way != (BY_64 if BY_64 in ways else RUNNING):
                continue
            output = restored(model, corrupted, batch, kind)
            numbers[f"error, {name}, {way}"] = mse(output, x)
            if name not in HEAVY:
                quiet = copy if name.startswith("gaussian") else restored(model, centre, batch, kind)
                numbers[f"passed, {name}, {way}"] = share(output - quiet, corrupted - centre)
            if name in SEEN and (name in HEAVY or way == RUNNING):
                images[name] = output[:SHOWN]
        if way == RUNNING:
            images["copy"] = copy
    return numbers, images


def undone(noise: Corruption, y: Images) -> tuple[Images, float]:
    """x + s xi, the brightness of a mix undone, and s."""
    level = noise_of(noise)
    assert level is not None  # all of NOISES are white
    keep, shift, std = level
    return (y - (1 - keep) * shift) / keep, std
