"""Statistics of the batch or running averages: how much of the denoising that nobody taught is in them?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.normalisation.no_norm_no_noise import KEEP, NOISES, NOTHING, SECTION, SHOWN
from copyfold.corruptions import Mix
from copyfold.measures import mse
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.networks import restored, unet
from copyfold.types import Images, Statistics

FITTED = 512  # training images whose brightness and contrast are taken


def brightened(x: Images, reference: Images) -> Images:
    """Each channel of each image with the mean and the std that channels of `reference` have on average."""
    mean, std = (a.mean(0, keepdim=True) for a in _moments(reference))
    own_mean, own_std = _moments(x)
    return (x - own_mean) / own_std.clamp(min=1e-6) * std + mean


def taken(nothing: Tensor, other: Tensor, network: Tensor) -> Tensor:
    """The share of the error that another way takes away, of what the network does; 0 where that is none."""
    return torch.where(nothing > network, (nothing - other) / (nothing - network), torch.zeros_like(nothing))


def _moments(x: Images) -> tuple[Tensor, Tensor]:
    """Mean and std of every channel of every image: b c 1 1."""
    return x.mean((2, 3), keepdim=True), x.std((2, 3), correction=0, keepdim=True)


@dataclass(frozen=True)
class EvalModeBreaks(Study):
    """A network trained with statistics of the batch does not denoise in eval mode.

    The U-Net without skips, trained to copy landscapes, restores held-out images twice: with the statistics of
    batches of 16, as the essay uses it, and with the running averages of training, as eval mode would. The number
    is the squared error with running averages over that with those of the batch: "breaks" is at least twice. The
    essay's mix with N(0.7, 0.2^2) makes images brighter and flatter; noise of std 0.1 leaves brightness alone.

    Controls: copying clean images, which eval mode should not harm; and the error of doing nothing, beside which
    both must be seen.

    In the first figure 1 is doing nothing; in the second, rows from the top: clean, then for each kind of noise
    spoiled, with statistics of the batch, with running averages.
    """

    claim: ClassVar[str] = "T24"
    place: ClassVar[str] = f"{SECTION}: the note that batch norm is not switched to evaluation mode"
    items: ClassVar[tuple[int, ...]] = (151,)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Denoising that nobody taught lives in the statistics of the batch: eval mode loses it.",
        Verdict.MIXED: "Eval mode loses the undoing of a shift in brightness, not the removal of noise: for noise "
        "alone use the running averages, and no image's result depends on others.",
        Verdict.FAILS: "Eval mode is safe: the running averages denoise as the batch does.",
    }

    running_over_batch_mix: Above = Above(2.0)
    running_over_batch_gaussian: Above = Above(2.0)

    def measure(self, lab: Lab) -> Finding:
        """Restore with both statistics."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        models = lab.each(lambda seed: (seed, lab.trained(unet(lab), photos, seed)))
        kinds: tuple[Statistics, ...] = ("batch", "running")
        numbers, shown, looks = {}, {}, {"clean": x[:SHOWN]}
        for noise, corruption in NOISES.items():
            noisy = [corruption(x, lab.rng(seed, noise)) for seed, _ in models]
            looks[f"{noise}: spoiled"] = noisy[0][:SHOWN]
            errors: dict[str, list[Tensor]] = {}
            for kind in kinds:
                outputs = [restored(m, y, statistics=kind) for (_, m), y in zip(models, noisy, strict=True)]
                errors[kind] = [mse(y, x) for y in outputs]
                looks[f"{noise}: {kind}"] = outputs[0][:SHOWN]
                shown[f"{noise}: {kind}"] = statistics.ratio(errors[kind], [mse(y, x) for y in noisy])
                numbers[f"error over doing nothing {noise}, {kind}"] = shown[f"{noise}: {kind}"]
            numbers[f"running over batch {noise}"] = statistics.ratio(errors["running"], errors["batch"])
        clean = {kind: [mse(restored(m, x, statistics=kind), x) for _, m in models] for kind in kinds}
        numbers |= {f"copying error, {kind}": statistics.mean(errors) for kind, errors in clean.items()}
        numbers["running over batch, clean images"] = statistics.ratio(clean["running"], clean["batch"])
        figure = charts.intervals(shown, "squared error, ratio to doing nothing", NOTHING, logx=True)
        return Finding(numbers, {"errors": figure, "images": pictures.comparison(looks)})


@dataclass(frozen=True)
class StatisticsDenoise(Study):
    """Much of the denoising is batch norm enforcing the statistics it has learned.

    Held-out landscapes mixed half and half with noise N(0.7, 0.2^2) are restored by the U-Net without skips that
    was trained to copy, with the statistics of batches of 16. How much of that is statistics? Each channel of each
    spoiled image gets the mean and the std that channels of training images have on average, and nothing else is
    done. The share is what this takes away of the squared error, over what the network takes away; "much" is more
    than half. Then the network with its running averages restores the corrected image: where statistics are what
    the batch contributes, it errs no more than a tenth above the network with those of the batch.

    Controls: noise of std 0.1, which changes no brightness; the network with running averages and no correction;
    and the mix undone by its own formula, (x~ - 0.35) / 0.5, which knows the brightness exactly and doubles the
    noise, alone and before running averages.

    In the first figure 1 is doing nothing. In the second, rows from the top: clean, mixed, the ways to restore.
    """

    claim: ClassVar[str] = "statistics"
    place: ClassVar[str] = f"{SECTION}: the paragraph on enforcing the learned statistics on generated images"
    items: ClassVar[tuple[int, ...]] = (151,)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "The denoising shown in the essay is mostly a correction of brightness and contrast, which "
        "takes two numbers per channel and no network.",
        Verdict.MIXED: "Brightness and contrast are a part of it: either the larger one, or one that the network "
        "with running averages can be given beforehand, but not both.",
        Verdict.FAILS: "The statistics of a batch do more than set brightness and contrast.",
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
                corrected = brightened(noisy, reference)
                ways = {
                    "doing nothing": noisy,
                    "correction alone": corrected,
                    "statistics of the batch": restored(model, noisy),
                    "running averages": restored(model, noisy, statistics="running"),
                    "correction and running": restored(model, corrected, statistics="running"),
                }
                if noise == "mix":
                    exact = (noisy - (1 - KEEP) * Mix().mean) / KEEP
                    ways |= {
                        "exact correction": exact,
                        "exact and running": restored(model, exact, statistics="running"),
                    }
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
