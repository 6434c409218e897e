"""How much of emergent denoising is a correction of brightness and contrast?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.normalisation import KEEP, NOISES, NOTHING, SECTION
from copyfold.corruptions import Mix
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import restored, unet
from copyfold.types import Images

FITTED = 512  # training images whose brightness and contrast are taken


@dataclass(frozen=True)
class StatisticsDenoise(Study):
    """Much of the denoising is batch norm enforcing the statistics it has learned.

    Held-out landscapes mixed half and half with noise N(0.7, 0.2^2) are restored by the U-Net without skips that
    was trained to copy, with the statistics of batches of 16. How much of that comes from statistics? Each channel
    of each corrupted image gets the mean and the std that channels of training images have on average, and nothing
    else is done. The share is the squared error that this removes, over what the network removes; "much" is more
    than half. Then the network with its running averages restores the corrected image: if the batch contributes
    only statistics, its error is at most a tenth above that of the network with batch statistics.

    Controls: noise of std 0.1, which changes no brightness; the network with running averages and no correction;
    and the mix inverted by its own formula, (x~ - 0.35) / 0.5, which restores the brightness exactly and doubles
    the noise, alone and before the network with running averages.

    In the first figure 1 is doing nothing. In the second, rows from the top: clean, mixed, the ways to restore.
    """

    claim: ClassVar[str] = "statistics"
    place: ClassVar[str] = f"{SECTION}: the paragraph on enforcing the learned statistics on generated images"
    items: ClassVar[tuple[int, ...]] = (151,)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "The denoising shown in the essay is mostly a correction of brightness and contrast, which "
        "takes two numbers per channel and no network.",
        PARTLY: "Brightness and contrast are a part of it: either the larger part, or one that can be "
        "corrected before a network with running averages, but not both.",
        Verdict.DOES_NOT_HOLD: "The statistics of a batch do more than set brightness and contrast.",
    }

    share_by_correction_alone: Above = Above(0.5)
    correction_and_running_over_batch: Below = Below(1.1)

    def measure(self, lab: Lab) -> Finding:
        """Correct, restore, and do both."""
        photos = lab.photos("landscapes")
        x, reference = lab.images(photos), lab.images(photos, "train", FITTED)
        models = lab.each(lambda seed: (seed, lab.trained(unet(lab), photos, seed)))
        numbers, shown, looks = {}, {}, {}
        for noise, corruption in NOISES.items():
            outputs: dict[str, list[Images]] = {}
            for seed, model in models:
                noisy = corruption(x, lab.rng(seed, noise))
                ways = corrections(model, noisy, reference, exact=noise == "mix")
                for way, y in ways.items():
                    outputs.setdefault(way, []).append(y)
            errors = {way: [mse(y, x) for y in images] for way, images in outputs.items()}
            nothing, batch = errors["doing nothing"], errors["statistics of the batch"]
            ratios = {way: statistics.ratio(e, nothing) for way, e in errors.items() if way != "doing nothing"}
            shown |= {f"{noise}: {way}": e for way, e in ratios.items()}
            end = "" if noise == "mix" else f", {noise}"
            numbers |= {f"error over doing nothing {way}{end}": e for way, e in ratios.items()}
            numbers |= {
                f"share by correction alone{end}": statistics.estimate(
                    taken, nothing, errors["correction alone"], batch
                ),
                f"correction and running over batch{end}": statistics.ratio(
                    errors["correction and running"], batch
                ),
            }
            if noise == "mix":
                looks = {way: images[0][:SHOWN] for way, images in outputs.items() if "exact" not in way}
        figure = charts.intervals(shown, "squared error, ratio to doing nothing", NOTHING, logx=True)
        images = pictures.comparison({"clean": x[:SHOWN]} | looks)
        return Finding(numbers, {"errors": figure, "images": images})


def corrections(model: Autoencoder, noisy: Images, reference: Images, exact: bool) -> dict[str, Images]:
    """Ways to restore: with and without the network, batch statistics, and a correction beforehand.

    With `exact`, the mix is also inverted by its own formula.
    """
    corrected = brightened(noisy, reference)
    ways = {
        "doing nothing": noisy,
        "correction alone": corrected,
        "statistics of the batch": restored(model, noisy),
        "running averages": restored(model, noisy, statistics="running"),
        "correction and running": restored(model, corrected, statistics="running"),
    }
    if exact:
        undone = (noisy - (1 - KEEP) * Mix().mean) / KEEP
        ways |= {"exact correction": undone, "exact and running": restored(model, undone, statistics="running")}
    return ways


def brightened(x: Images, reference: Images) -> Images:
    """Each channel of each image with the mean and the std that channels of `reference` have on average."""
    mean, std = (a.mean(0, keepdim=True) for a in _moments(reference))
    own_mean, own_std = _moments(x)
    return (x - own_mean) / own_std.clamp(min=1e-6) * std + mean


def taken(nothing: Tensor, other: Tensor, network: Tensor) -> Tensor:
    """The error that another way removes, over what the network removes; 0 where it removes none."""
    return torch.where(nothing > network, (nothing - other) / (nothing - network), torch.zeros_like(nothing))


def _moments(x: Images) -> tuple[Tensor, Tensor]:
    """Mean and std of every channel of every image: b c 1 1."""
    return x.mean((2, 3), keepdim=True), x.std((2, 3), correction=0, keepdim=True)
