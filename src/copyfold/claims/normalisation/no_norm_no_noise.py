"""T21: what changes without batch norm: noise, statistics, blur?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold.claims.normalisation import NOISES, SECTION
from copyfold.corruptions import Blur
from copyfold.data import Photos
from copyfold.measures import mse, noise_level
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.baselines import linear_filter
from copyfold.probes.geometry import IdentityGap
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import samples
from copyfold.studies.toolkit.charts import SHOWN, first_images
from copyfold.studies.toolkit.copying import copying, qualities
from copyfold.studies.toolkit.denoising import FITTED
from copyfold.studies.toolkit.networks import LARGE, probed, restored, unet
from copyfold.studies.toolkit.training import copier
from copyfold.types import Images

FILTER = "linear filter"
WITH, WITHOUT = "batch norm", "without norm"
KINDS = (WITH, WITHOUT)


@dataclass(frozen=True)
class NoNormNoNoise(Study):
    """Without batch norm outputs lack noise, have wrong statistics, deblur as well.

    U-Nets of depth 2 without skips learn to copy landscapes of 64 pixels: with batch norm until 2 % of held-out
    ones is left, and without any norm until 3 % is, or for 3,000 batches. Held-out images are mixed half and half
    with noise N(0.7, 0.2^2), and restored with the statistics of batches of 64. Three numbers decide, as before.
    The gap of an output is the distance of its channels' means and standard deviations from those of the clean
    image; without a norm it is claimed to be at least twice that with one. Its noise is a blind estimate of the
    std of white noise in it, over that of the same network's copy of the clean image, as texture counts as noise
    too, and a copy that is blurred has less of it than the image: at most a tenth more. The essay's blur (std 8 in
    256 pixels) is scaled to the side, a std of 2 pixels, and x becomes b; of it is undone

        sum <O(b) - b, x - b> / sum ||x - b||^2        0 where the blurred image is returned, 1 where x is

    "Does not affect the ability to deblur": without a norm at most a tenth of the blur less is undone than with
    one. That says of both whether they deblur at all, which the essay takes for granted, and the page says it
    first; what a removal does to an ability can be asked of a small one too.

    The claim presupposes that the network with batch norm leaves at most 3 %, and the other 5 %, as a norm is what
    makes the training fast. Controls: a linear filter of 7x7, fitted on blurred training images, must undo a tenth
    of the blur, or there is nothing that could be undone; and so must the network with batch norm, or neither has
    an ability that leaving out the norm could affect. Shown: the errors of blurred images; the noise and the gap
    of the mixed images themselves; the share of weak noise (std 0.1) that passes to the output, since the mix
    halves texture too, so that an output which keeps some of the noise may measure no more than a clean image; and
    the ratio of the copying errors.

    What changed: at 32 pixels the blur was of one pixel, which nobody sees, the networks left 8 % and more, which
    hid it, and batches of 16 added an error of their own. The ratio of the errors of blurred images decided, at
    most 1.1, which is one of copying errors, and the controls asked both to be below that of the blur: a network
    that copies well returns the blurred image, and has a ratio of 1. UNDECIDED, with both controls missed. The
    other two thresholds are the old ones; a tenth is that of the third. Noise was over that of the clean image,
    which any blur meets.

    In the figures, rows from the top: clean, corrupted, and the outputs of the networks.
    """

    claim: ClassVar[str] = "T21"
    place: ClassVar[str] = f"{SECTION}: the paragraph on removing it from all convolutions, and the figure there"
    items: ClassVar[tuple[int, ...]] = (123, 151)
    asked: ClassVar[str] = (
        "What of denoising and deblurring by a network that learned to copy is due to batch norm: does it only "
        "correct brightness and contrast?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Leave batch norm out where brightness and contrast of the input are right: it corrects "
        "these and does nothing else here; whether the networks deblur at all is above.",
        PARTLY: "Look at which of noise, statistics and blur a norm changes: it does not only correct brightness "
        "and contrast, or does less.",
        Verdict.DOES_NOT_HOLD: "Do not expect of a network without batch norm what the essay says: other things "
        "change.",
        Verdict.UNDECIDED: "Do not choose a norm for deblurring: seeds differ as much.",
        Verdict.NOT_IN_REGIME: "Train longer before asking: an error of copying hides what the norm does.",
    }
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {WITH: Regime(0.03), WITHOUT: Regime(0.05)}
    controls: ClassVar[Mapping[str, Control]] = {
        f"blur undone, {FILTER}": (Above(0.1), "Nothing of this blur can be undone, so that nobody could deblur."),
        f"blur undone, {WITH}": (Above(0.1), "The network with batch norm does not deblur either."),
    }

    noise_without_norm_over_its_own_copy: Below = Below(1.1)
    gap_without_norm_over_batch_norm: Above = Above(2.0)
    blur_undone_without_norm_minus_batch_norm: Above = Above(-0.1)

    def measure(self, lab: Lab) -> Finding:
        """Restore mixed and blurred images with each network."""
        photos = lab.photos("landscapes", lab.budget.large)
        x = lab.images(photos)
        blurred = scaled_blur(photos.shape[2])(x)

        found = lab.by_seed(lambda seed: _look(lab, photos, x, blurred, seed))

        def of(what: str) -> list[Tensor]:
            return [r.numbers[what] for r in found]

        clean, soft = [noise_level(x)] * len(found), [mse(blurred, x)] * len(found)
        numbers = {
            "noise mixed over clean": statistics.ratio(of("noise mixed"), clean),
            "gap mixed": statistics.mean(of("gap mixed")),
        }
        for label in KINDS:
            numbers |= {
                f"noise {label} over its own copy": statistics.ratio(
                    of(f"noise {label}"), of(f"noise of the copy {label}")
                ),
                f"noise {label} over clean": statistics.ratio(of(f"noise {label}"), clean),
                f"gap {label}": statistics.mean(of(f"gap {label}")),
                f"error over doing nothing {label}": statistics.ratio(of(f"error {label}"), of("error mixed")),
                f"deblurring error over doing nothing {label}": statistics.ratio(
                    of(f"deblurring error {label}"), soft
                ),
                f"noise passed {label}": statistics.mean(of(f"noise passed {label}")),
            }
        blur = [(x - blurred).square().flatten(1).sum(1)] * len(found)
        for label in (*KINDS, FILTER):
            numbers[f"blur undone, {label}"] = statistics.estimate(lambda a, b: a / b, of(f"undone {label}"), blur)
        numbers[f"blur undone {WITHOUT} minus {WITH}"] = statistics.estimate(
            lambda a, b, c: (a - b) / c, of(f"undone {WITHOUT}"), of(f"undone {WITH}"), blur
        )
        for what in ("gap", "deblurring error", "copying error"):
            numbers[f"{what} {WITHOUT} over {WITH}"] = statistics.ratio(
                of(f"{what} {WITHOUT}"), of(f"{what} {WITH}")
            )
        first = found[0].images
        looks = {"clean": x[:SHOWN], "mixed with noise": first["mixed with noise"]}
        blurs = {"clean": x[:SHOWN], "blurred": blurred[:SHOWN]}
        for label in KINDS:
            looks[f"output {label}"] = first[f"output {label}"]
            blurs[f"output {label}"] = first[f"deblurred {label}"]
        return Finding(
            numbers,
            {"noise": first_images(looks), "blur": first_images(blurs)},
            copying=qualities(found),
            came_out="Without a norm an output has "
            f"{numbers['noise without norm over its own copy'].value:.2g} times the noise of a copy of the clean "
            f"image and {numbers['gap without norm over batch norm'].value:.2g} times the gap "
            "in brightness and contrast that it has with batch norm; of a blur "
            f"{numbers[f'blur undone, {WITHOUT}'].value:.1%} is undone without it, and "
            f"{numbers[f'blur undone, {WITH}'].value:.1%} with it.",
            captions={
                "noise": "Photographs, the same mixed half and half with bright noise, and what each network "
                "makes of these",
                "blur": "Photographs, the same blurred, and what each network makes of these",
            },
        )


def _look(lab: Lab, photos: Photos, x: Images, blurred: Images, seed: int) -> Reading:
    """One seed: what every network makes of mixed and of blurred images."""
    mixed = NOISES["mix"](x, lab.rng(seed, "mix"))
    numbers = {"noise mixed": noise_level(mixed), "gap mixed": statistics_gap(mixed, x)}
    numbers["error mixed"] = mse(mixed, x)
    images = {"mixed with noise": mixed}
    reference = lab.images(photos, "train", FITTED)
    filtered = linear_filter(scaled_blur(photos.shape[2])(reference), reference, blurred, 7)
    numbers[f"undone {FILTER}"] = undone(filtered, blurred, x)
    for label in KINDS:
        model = samples.large_copier(lab, seed) if label == WITH else _without_norm(lab, photos, seed)
        of, outputs = _restored(lab, model, x, mixed, blurred, seed)
        numbers |= {f"{what} {label}": value for what, value in of.items()}
        images |= {f"{what} {label}": y for what, y in outputs.items()}
        numbers |= copying(lab, label, model, photos)
    return Reading(numbers, {name: y[:SHOWN] for name, y in images.items()})


def _without_norm(lab: Lab, photos: Photos, seed: int) -> Autoencoder:
    """The network that has no norm, trained until 3 % is left, or for twice as many batches at most."""
    steps = lab.budget.scaled(samples.LARGER)
    return copier(lab, unet(lab, depth=2, norm="none"), photos, seed, 0.03, steps, 2 * steps)


def _restored(
    lab: Lab, model: Autoencoder, x: Images, mixed: Images, blurred: Images, seed: int
) -> tuple[dict[str, Tensor], dict[str, Images]]:
    """Of one network: what it leaves of noise, brightness and blur, per image; and its outputs."""
    output, sharp, copy = (restored(model, y, LARGE) for y in (mixed, blurred, x))
    passed = IdentityGap(NOISES["gaussian"], draws=0, statistics="batch")
    numbers = {
        "noise": noise_level(output),
        "noise of the copy": noise_level(copy),
        "gap": statistics_gap(output, x),
        "error": mse(output, x),
        "deblurring error": mse(sharp, x),
        "undone": undone(sharp, blurred, x),
        "copying error": mse(copy, x),
        "noise passed": probed(passed, model, x, lab.rng(seed, "gaussian"), LARGE).numbers["passed"],
    }
    return numbers, {"output": output, "deblurred": sharp}


def undone(y: Images, blurred: Images, x: Images) -> Tensor:
    """<y - b, x - b> of every image: what y is nearer to the clean image than the blurred one, along the blur."""
    return ((y - blurred) * (x - blurred)).flatten(1).sum(1)


def statistics_gap(y: Images, x: Images) -> Tensor:
    """How far means and standard deviations of the channels are from another image's: one number per pair.

    The root of the mean over channels of (mean y - mean x)^2 + (std y - std x)^2.
    """
    of_y, of_x = (torch.stack((a.mean((2, 3)), a.std((2, 3), correction=0))) for a in (y, x))
    return (of_y - of_x).square().sum(0).mean(1).sqrt()


def scaled_blur(side: int) -> Blur:
    """The essay's blur, 19 pixels wide with std 8 in an image of 256, in proportion to the side."""
    return Blur(max(3, 2 * round(9 * side / 256) + 1), 8 * side / 256)
