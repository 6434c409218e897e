"""The essay's section on batch normalisation: what does it do for noise that nobody taught a network to remove?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.representation.looks_gaussian import settled
from copyfold.corruptions import Blur, Corruption, Gaussian, Mix
from copyfold.data import Photos
from copyfold.measures import mse, noise_level
from copyfold.models.base import Autoencoder
from copyfold.probes.geometry import IdentityGap
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.networks import BATCH, probed, restored, unet
from copyfold.types import Images

SECTION = 'essay, "The Role of Batch Normalization in Denoising"'
SHOWN = 8
INVERTED = 24  # images whose representation is looked for
NORMS = ("batch", "none", "group")
WAYS = {  # to train and use: which network, and how many images at a time
    "batches of 16": ("sixteen", BATCH),
    "batches of 1": ("one", 1),
    "1, as few steps": ("few", 1),
    "16, used by 1": ("sixteen", 1),
}
NOTHING = {"doing nothing": 1.0}  # the mark of a figure
NOT_SHARPER = "Nothing is deblurred: what is compared is how well the networks copy."
SEARCHING = "The search has not ended, and its error may be its own and not the network's."
KEEP = 0.5  # of the image, in the essay's mix
NOISES: dict[str, Corruption] = {"mix": Mix(KEEP), "gaussian": Gaussian(0.1)}  # both with noise of std 0.1


def networks(lab: Lab, photos: Photos) -> list[tuple[int, dict[str, Autoencoder]]]:
    """Every seed with the plain U-Net, trained alike, for each of NORMS."""
    return lab.each(lambda seed: (seed, {kind: lab.trained(unet(lab, norm=kind), photos, seed) for kind in NORMS}))


def called(kind: str) -> str:
    """How a network with this norm is called in numbers and figures."""
    return {"none": "without norm", "untrained": "untrained"}.get(kind, f"{kind} norm")


def statistics_gap(y: Images, x: Images) -> Tensor:
    """How far means and standard deviations of the channels are from another image's: one number per pair.

    The root of the mean over channels of (mean y - mean x)^2 + (std y - std x)^2.
    """
    of_y, of_x = (torch.stack((a.mean((2, 3)), a.std((2, 3), correction=0))) for a in (y, x))
    return (of_y - of_x).square().sum(0).mean(1).sqrt()


def scaled_blur(side: int) -> Blur:
    """The essay's blur, 19 pixels wide with std 8 in an image of 256, in proportion to the side."""
    return Blur(max(3, 2 * round(9 * side / 256) + 1), 8 * side / 256)


def rho(restored: Sequence[Tensor], corrupted: Sequence[Tensor]) -> Estimate:
    """The ratio of distances to the clean images, of squared errors."""
    return statistics.estimate(lambda a, b: (a / b).sqrt(), restored, corrupted)


@dataclass(frozen=True)
class NoNormNoNoise(Study):
    """Without batch norm outputs lack noise, have wrong statistics, deblur no worse.

    The U-Net without skips learns to copy landscapes with batch norm and without any norm, all else equal.
    Held-out images are mixed half and half with noise N(0.7, 0.2^2), and restored with the statistics of batches
    of 16. The gap of an output is the distance of its channels' means and standard deviations from those of the
    clean image. Its noise is the blind estimate of the std of white noise in it, over that of the clean image,
    whose texture counts as noise too. The essay's blur (std 8 in 256 pixels) is scaled to the side; for it squared
    errors are compared.

    Controls: group norm, which is a norm without a batch; the noise and the gap of the mixed images themselves;
    the share of weak noise (std 0.1) that comes out again, as the mix halves texture too, so that an output which
    keeps some of the noise may measure no more than a clean image; and the error of a blurred image left alone and
    the ratio of the errors of copying, as two networks that do not deblur are compared as copiers.

    In the figures, rows from the top: clean, spoiled, and what the networks give back.
    """

    claim: ClassVar[str] = "T21"
    place: ClassVar[str] = f"{SECTION}: the paragraph on removing it from all convolutions, and the figure there"
    items: ClassVar[tuple[int, ...]] = (123, 151)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Batch norm sets brightness and contrast right and does nothing else here: where those of "
        "the input can be trusted, it is not needed.",
        Verdict.MIXED: "Batch norm does not only set brightness and contrast: see which of noise, statistics and "
        "blur it changes.",
        Verdict.FAILS: "Removing batch norm changes other things than the essay says.",
    }

    noise_without_norm_over_clean: Below = Below(1.1)
    gap_without_norm_over_batch_norm: Above = Above(2.0)
    deblurring_error_without_norm_over_batch_norm: Below = Below(1.1)

    controls: ClassVar[Mapping[str, Control]] = {
        "deblurring error over doing nothing batch norm": (Below(1.0), NOT_SHARPER),
        "deblurring error over doing nothing without norm": (Below(1.0), NOT_SHARPER),
    }

    def measure(self, lab: Lab) -> Finding:
        """Restore mixed and blurred images with each network."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        blurred = scaled_blur(photos.shape[2])(x)
        models = networks(lab, photos)
        mixed = [NOISES["mix"](x, lab.rng(seed, "mix")) for seed, _ in models]
        clean, count = noise_level(x), len(models)
        passed = IdentityGap(NOISES["gaussian"], draws=0, statistics="batch")
        numbers = {
            "noise mixed over clean": statistics.ratio([noise_level(m) for m in mixed], [clean] * count),
            "gap mixed": statistics.mean([statistics_gap(m, x) for m in mixed]),
        }
        gaps, deblurring, copying = {}, {}, {}
        looks = {"clean": x[:SHOWN], "mixed with noise": mixed[0][:SHOWN]}
        blurs = {"clean": x[:SHOWN], "blurred": blurred[:SHOWN]}
        for kind in NORMS:
            label = called(kind)
            outputs = [restored(m[kind], y) for (_, m), y in zip(models, mixed, strict=True)]
            sharp = [restored(m[kind], blurred) for _, m in models]
            gaps[kind] = [statistics_gap(y, x) for y in outputs]
            deblurring[kind] = [mse(y, x) for y in sharp]
            copying[kind] = [mse(restored(m[kind], x), x) for _, m in models]
            numbers |= {
                f"noise {label} over clean": statistics.ratio([noise_level(y) for y in outputs], [clean] * count),
                f"gap {label}": statistics.mean(gaps[kind]),
                f"error over doing nothing {label}": statistics.ratio(
                    [mse(y, x) for y in outputs], [mse(y, x) for y in mixed]
                ),
                f"deblurring error over doing nothing {label}": statistics.ratio(
                    deblurring[kind], [mse(blurred, x)] * count
                ),
                f"copying error {label}": statistics.mean(copying[kind]),
                f"noise passed {label}": statistics.mean(
                    [probed(passed, m[kind], x, lab.rng(seed, "gaussian")).numbers["passed"] for seed, m in models]
                ),
            }
            looks[f"output {label}"], blurs[f"output {label}"] = outputs[0][:SHOWN], sharp[0][:SHOWN]
        for kind, label in (("none", "without norm"), ("group", "group norm")):
            numbers |= {
                f"gap {label} over batch norm": statistics.ratio(gaps[kind], gaps["batch"]),
                f"deblurring error {label} over batch norm": statistics.ratio(
                    deblurring[kind], deblurring["batch"]
                ),
                f"copying error {label} over batch norm": statistics.ratio(copying[kind], copying["batch"]),
            }
        return Finding(numbers, {"noise": pictures.comparison(looks), "blur": pictures.comparison(blurs)})


@dataclass(frozen=True)
class BatchOfOne(Study):
    """With batches of 1, batch norm denoises as well as with batches of 16.

    The U-Net without skips learns to copy landscapes with batches of 16, and with batches of 1; each is then used
    with the batches it was trained with. rho is ||O(x~) - x|| / ||x~ - x|| over held-out images, of the essay's
    mix with noise N(0.7, 0.2^2) and of noise of std 0.1, which changes no brightness. Both have seen every image
    equally often, as someone has who sets the batch size and leaves the epochs: batches of 1 are 16 times as many
    steps at the same learning rate. "As well" is within a tenth, and better than doing nothing.

    Controls: the same training with batches of 1 after about as many steps as the other has (whole epochs), with
    a 16th of the images seen; the network of batches of 16 used one image at a time, which says what the company
    alone does; and the errors of copying clean images, on which a worse training would show.

    In the figure a line is a way to train and use it; the small circles are the seeds, and 1 is doing nothing.
    """

    claim: ClassVar[str] = "T22"
    place: ClassVar[str] = f"{SECTION}: the paragraph on batch sizes of 1, and the figure after it"
    items: ClassVar[tuple[int, ...]] = (124, 151)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "What batch norm does for denoising it does within an image: memory for a batch is not "
        "needed, and an image's result need not depend on others.",
        Verdict.MIXED: "Batches of 1 do as well for one kind of noise and not for the other: test on your own.",
        Verdict.FAILS: "The other images of a batch matter: batches of 1 cost quality.",
    }

    rho_one_over_sixteen_mix: Below = Below(1.1)
    rho_one_over_sixteen_gaussian: Below = Below(1.1)
    rho_mix_batches_of_1: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Train and use with both sizes."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        steps, make = lab.budget.steps, unet(lab)

        def train(seed: int) -> tuple[int, dict[str, Autoencoder]]:
            short, long = lab.course(make, photos, seed, (steps, BATCH * steps), batch=1)
            return seed, {"sixteen": lab.trained(make, photos, seed, batch=BATCH), "one": long, "few": short}

        models = lab.each(train)

        def used(way: str, images: list[Images]) -> list[Images]:
            network, batch = WAYS[way]
            return [restored(m[network], y, batch) for (_, m), y in zip(models, images, strict=True)]

        numbers, shown, looks = {}, {}, {"clean": x[:SHOWN]}
        for noise, corruption in NOISES.items():
            noisy = [corruption(x, lab.rng(seed, noise)) for seed, _ in models]
            outputs = {way: used(way, noisy) for way in WAYS}
            errors = {way: [mse(y, x) for y in images] for way, images in outputs.items()}
            nothing = [mse(y, x) for y in noisy]
            shown |= {f"{noise} {way}": rho(values, nothing) for way, values in errors.items()}
            one, sixteen = errors["batches of 1"], errors["batches of 16"]
            numbers |= {
                f"rho one over sixteen {noise}": rho(one, sixteen),
                f"rho difference {noise}": statistics.estimate(
                    lambda a, b, c: (a / c).sqrt() - (b / c).sqrt(), one, sixteen, nothing
                ),
                f"rho one over sixteen {noise}, equal steps": rho(errors["1, as few steps"], sixteen),
            }
            looks[f"{noise}: spoiled"] = noisy[0][:SHOWN]
            looks |= {f"{noise}: {way}": outputs[way][0][:SHOWN] for way in ("batches of 16", "batches of 1")}
        numbers |= {f"rho {name}": e for name, e in shown.items()}
        for way in WAYS:
            copies = used(way, [x] * len(models))
            numbers[f"copying error, {way}"] = statistics.mean([mse(y, x) for y in copies])
        figure = charts.intervals(shown, "rho, ratio of distances to the clean image", NOTHING, logx=True)
        return Finding(numbers, {"rho": figure, "images": pictures.comparison(looks)})


@dataclass(frozen=True)
class NormNotNeededToSee(Study):
    """Batch norm is not needed for an accurate representation in the output layer.

    The U-Net without skips learns to copy landscapes with batch norm and without, all else equal. Then an image
    is sought, from noise N(0.7, 0.05^2), whose output is that of a held-out image, by L-BFGS, 80 steps for all.
    Its error is its distance to the held-out image over the root of the number of values: accurate is below 0.1, a
    tenth of the range. Batch norm uses its running statistics here, so that no image's search depends on others.

    Controls: the untrained network with batch norm, which has the running statistics of training images; the start
    of the search; the image with noise of std 1/18, the essay's own measure of nearness; how far the output still
    is from the one that is sought, over that of this noisy image, as above 1 the search has not ended and its
    error is not the network's; the errors of copying, as a network that learned badly sees badly; and group norm.

    In the figure, rows from the top: the image, and what each network takes for it.
    """

    claim: ClassVar[str] = "T23"
    place: ClassVar[str] = f"{SECTION}: the last paragraph and the figure under it"
    items: ClassVar[tuple[int, ...]] = (125, 151)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Leave batch norm out without fear for what the network can see of its input.",
        Verdict.MIXED: "Without batch norm the representation is as good as with it and yet not accurate, or "
        "accurate and yet worse: see which.",
        Verdict.FAILS: "Without batch norm the network sees less of its input.",
    }

    representation_error_without_norm_over_batch_norm: Below = Below(1.1)
    representation_error_without_norm: Below = Below(0.1)

    controls: ClassVar[Mapping[str, Control]] = {
        f"output over reference noise {kind}": (Below(1.0), SEARCHING) for kind in ("batch norm", "without norm")
    }

    def measure(self, lab: Lab) -> Finding:
        """Invert the output of each network."""
        photos = lab.photos("landscapes")
        x = lab.images(photos, count=min(INVERTED, lab.budget.measured))
        invert, size = Inversion(steps=lab.budget.scaled(80)), x[0].numel() ** 0.5
        found: dict[str, list[Tensor]] = {}
        copying: dict[str, list[Tensor]] = {}
        left: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        looks, reference = {"image": x[:SHOWN]}, []
        seen = lab.images(photos, "train")
        for seed, models in networks(lab, photos):
            models = {"untrained": settled(lab.untrained(unet(lab), photos, seed), seen)} | models
            for kind, model in models.items():
                copying.setdefault(called(kind), []).append(mse(restored(model, x, statistics="running"), x))
                reading = invert(model, x, lab.rng(seed, "start"))
                found.setdefault(called(kind), []).append(reading.numbers["image"] / size)
                outputs = left.setdefault(called(kind), ([], []))
                outputs[0].append(reading.numbers["layer"])
                outputs[1].append(reading.numbers["layer, reference"])
                looks.setdefault(called(kind), reading.images["found"][:SHOWN])
                if kind == "batch":
                    reference.append(reading.numbers["image, reference"] / size)
        start = ((x - invert.mean).square() + invert.std**2).mean((1, 2, 3)).sqrt()
        numbers = {f"representation error {name}": statistics.mean(values) for name, values in found.items()}
        numbers |= {f"output over reference noise {name}": statistics.ratio(*of) for name, of in left.items()}
        numbers |= {f"copying error {name}": statistics.mean(values) for name, values in copying.items()}
        numbers |= {
            f"representation error {name} over batch norm": statistics.ratio(found[name], found["batch norm"])
            for name in ("without norm", "group norm")
        }
        numbers |= {
            "representation error, reference noise": statistics.mean(reference),
            "error of the start": statistics.mean([start] * len(reference)),
        }
        captions = {name: f"error {numbers[f'representation error {name}'].value:.3f}" for name in found}
        return Finding(numbers, {"representations": pictures.comparison(looks, captions)})
