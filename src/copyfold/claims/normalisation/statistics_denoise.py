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
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import copying, qualities
from copyfold.studies.toolkit.networks import WAYS, restored, unet
from copyfold.studies.toolkit.training import copier
from copyfold.types import Images

FITTED = 512  # training images whose brightness and contrast are taken
RUNNING, BATCH, _ = WAYS  # running statistics, those of batches of 64, of 16
EXACT = "exact correction and running"


@dataclass(frozen=True)
class StatisticsDenoise(Study):
    """Much of the denoising is batch norm enforcing the statistics it has learned.

    Held-out landscapes mixed half and half with noise N(0.7, 0.2^2) are restored by a U-Net of depth 2 without
    skips that was trained only to copy, until 2 % of held-out ones is left. Where batch norm takes the statistics
    of the batch (64 images), every layer's outputs get the mean and the variance that it has learned, whatever the
    brightness and contrast of the images; with running averages they do not. Two numbers decide:

    - "share by statistics": the squared error that the batch's statistics remove beyond the running averages, over
      all that the network removes with them. "Much" is taken as more than half, as in the old study.
    - "exact correction and running over batch": if they only set brightness and contrast, undoing the mix's own
      shift and scale, (x~ - 0.35) / 0.5, and then using running averages leaves at most a tenth more error. The
      threshold is the old one. The correction is exact in brightness and doubles the noise, as the batch does.

    Controls: the exact correction without a network must leave more than 1.1 times the error, or no network is
    needed; and of noise of std 0.1, which changes no brightness, the share by statistics must be below half, or
    they do something else than correct brightness. Shown: batches of 16; a correction that is not told of the mix,
    by the mean and std that channels of training images have on average, alone and before the network with running
    averages.

    What changed: the old study decided by that average correction, which cannot know an image's brightness, with
    batches of 16, whose noise is an error of its own, and networks that left 8 % and more. Its verdict was FAILS,
    while its own numbers had the exact correction (.205) equal to the batch (.199).

    In the first figure 1 is doing nothing. In the second, rows from the top: clean, mixed, the ways to restore.
    """

    claim: ClassVar[str] = "statistics"
    place: ClassVar[str] = f"{SECTION}: the paragraph on enforcing the learned statistics on generated images"
    items: ClassVar[tuple[int, ...]] = (151,)
    asked: ClassVar[str] = (
        "Does a network that was trained to copy restore a faded, noisy image mostly because batch norm corrects "
        "its brightness and contrast?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Correct brightness and contrast before a network with running averages: that is most of "
        "the denoising that batch statistics show, and one image's result does not depend on others.",
        PARTLY: "Correct brightness and contrast first, and measure: statistics are either less than half of the "
        "denoising, or more than a correction of brightness and contrast.",
        Verdict.DOES_NOT_HOLD: "Do not expect a correction of brightness to replace the statistics of a batch: "
        "they do more, or hardly anything.",
        Verdict.UNDECIDED: "Compare both ways on your images before relying on the statistics of a batch.",
        Verdict.NOT_IN_REGIME: "Train longer before asking: an error of copying hides what the statistics do.",
    }
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {"U-Net": Regime(0.03)}
    controls: ClassVar[Mapping[str, Control]] = {
        "exact correction alone over batch": (Above(1.1), "The correction restores as well without any network."),
        "share by statistics, gaussian": (
            Below(0.5),
            "Statistics do as much where the noise changes no brightness.",
        ),
    }

    share_by_statistics: Above = Above(0.5)
    exact_correction_and_running_over_batch: Below = Below(1.1)

    def measure(self, lab: Lab) -> Finding:
        """Correct, restore, and do both."""
        photos = lab.photos("landscapes")
        x, reference = lab.images(photos), lab.images(photos, "train", FITTED)

        def look(seed: int) -> Reading:
            model = copier(lab, unet(lab, depth=2), photos, seed)
            numbers, images = copying(lab, "U-Net", model, photos), {}
            for noise, corruption in NOISES.items():
                noisy = corruption(x, lab.rng(seed, noise))
                ways = corrections(model, noisy, reference, exact=noise == "mix")
                numbers |= {f"{noise}: {way}": mse(y, x) for way, y in ways.items()}
                if noise == "mix":
                    images = {way: y[:SHOWN] for way, y in ways.items()}
            return Reading(numbers, images)

        found, numbers, shown = lab.by_seed(look), {}, {}
        for noise in NOISES:
            errors = {
                name.removeprefix(f"{noise}: "): [r.numbers[name] for r in found]
                for name in found[0].numbers
                if name.startswith(f"{noise}: ")
            }
            nothing, batch = errors.pop("doing nothing"), errors[BATCH]
            end = "" if noise == "mix" else f", {noise}"
            ratios = {way: statistics.ratio(e, nothing) for way, e in errors.items()}
            shown |= {f"{noise}: {way}": e for way, e in ratios.items()}
            numbers |= {f"error over doing nothing, {way}{end}": e for way, e in ratios.items()}
            numbers[f"share by statistics{end}"] = statistics.estimate(
                by_statistics, nothing, errors[RUNNING], batch
            )
            numbers[f"average correction and running over batch{end}"] = statistics.ratio(
                errors["average correction and running"], batch
            )
            if noise == "mix":
                numbers["exact correction and running over batch"] = statistics.ratio(errors[EXACT], batch)
                numbers["exact correction alone over batch"] = statistics.ratio(errors["exact correction"], batch)
        figure = charts.intervals(shown, "squared error, ratio to doing nothing", NOTHING, logx=True)
        return Finding(
            numbers,
            {"errors": figure, "images": pictures.comparison({"clean": x[:SHOWN]} | found[0].images)},
            copying=qualities(found),
            came_out=f"The statistics of the batch are {numbers['share by statistics'].value:.0%} of what is "
            "removed of the mix; the exact correction of brightness and contrast with running averages leaves "
            f"{numbers['exact correction and running over batch'].value:.3g} times the batch's error.",
            captions={
                "errors": "What each way to restore leaves of the error, of the essay's mix and of noise that "
                "changes no brightness; 1 is doing nothing",
                "images": "Photographs, the same mixed with noise, and what each way restores",
            },
        )


def corrections(model: Autoencoder, noisy: Images, reference: Images, exact: bool) -> dict[str, Images]:
    """Ways to restore: with and without the network, batch statistics, and a correction beforehand.

    With `exact`, the mix is also inverted by its own formula.
    """
    average = brightened(noisy, reference)
    ways = {"doing nothing": noisy}
    ways |= {name: restored(model, noisy, size, kind) for name, (kind, size) in WAYS.items()}
    kind, size = WAYS[RUNNING]
    ways |= {
        "average correction": average,
        "average correction and running": restored(model, average, size, kind),
    }
    if exact:
        undone = (noisy - (1 - KEEP) * Mix().mean) / KEEP
        ways |= {"exact correction": undone, EXACT: restored(model, undone, size, kind)}
    return ways


def brightened(x: Images, reference: Images) -> Images:
    """Each channel of each image with the mean and the std that channels of `reference` have on average."""
    mean, std = (a.mean(0, keepdim=True) for a in _moments(reference))
    own_mean, own_std = _moments(x)
    return (x - own_mean) / own_std.clamp(min=1e-6) * std + mean


def by_statistics(nothing: Tensor, running: Tensor, batch: Tensor) -> Tensor:
    """The error that the batch's statistics remove beyond running ones, over all removed; 0 where none is."""
    removed = nothing - batch
    return torch.where(removed > 0, (running - batch) / removed, torch.zeros_like(nothing))


def _moments(x: Images) -> tuple[Tensor, Tensor]:
    """Mean and std of every channel of every image: b c 1 1."""
    return x.mean((2, 3), keepdim=True), x.std((2, 3), correction=0, keepdim=True)
