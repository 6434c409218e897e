"""The essay's second section: which networks take noise away though they were only taught to copy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from copyfold import pictures
from copyfold.corruptions import Corruption, Gaussian, Mix
from copyfold.data import Photos
from copyfold.models.adoption import adopt
from copyfold.models.base import Autoencoder
from copyfold.models.dense import MLP, VectorNorm
from copyfold.probes.base import Reading
from copyfold.probes.denoising import Denoising
from copyfold.probes.geometry import IdentityGap
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.networks import WIDE, overcomplete, unet
from copyfold.types import Images, Shape, Statistics

SECTION = 'essay, "Autoencoders are capable of denoising without being trained to do so"'
SHOWN = 8
FITTED = 512  # training images that filters are fitted on, and that the mean image is of
FULLY_CONNECTED = {"batch": 64, "lr": WIDE}  # as in the studies of the first section, which share the training


@dataclass(frozen=True)
class SmallModelsCopyNoise(Study):
    """A very small model learns to copy without learning to denoise.

    U-Nets without skips learn to copy photographs, from the smallest, of one halving, up to the usual one. Each
    step has a halving more and twice the width, so that all codes are as large. Held-out photographs get noise of
    std 0.1, as much as is in the essay's half and half mix. "Passed" is the share of the noise that comes out
    again; "error over doing nothing" the squared error of the output over that of the noisy image; "copying error
    over noise" the squared error of the copy of a clean image over the same. The last must be small for the first
    two to be about a network that copies. Those of the smallest decide. Batch norm uses its running statistics.

    Controls: the other networks, among them one of the usual width with one halving and one of the smallest width
    with all halvings, to tell width from depth. A true copy would have 1, 1 and 0.

    In the first figure the mark is a true copy and the small circles are the seeds. In the second, rows from the
    top: clean, noisy, and what the smallest network and the usual one give back.
    """

    claim: ClassVar[str] = "T3"
    place: ClassVar[str] = 'essay, "Conclusion": the last sentence'
    items: ClassVar[tuple[int, ...]] = (139,)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Denoising comes with the size of a network and not with its loss: a small one copies.",
        Verdict.MIXED: "The smallest network is no clean case: it copies badly, or takes some noise away.",
        Verdict.FAILS: "Even the smallest network takes noise away, and it does not copy well.",
    }

    passed: Above = Above(0.9)
    error_over_doing_nothing: Above = Above(0.9)
    copying_error_over_noise: Below = Below(0.1)

    def measure(self, lab: Lab) -> Finding:
        """Add noise, and see how much of it each network lets through."""
        photos = lab.photos("landscapes")
        x, makes = lab.images(photos), ladder(lab)

        def look(seed: int) -> dict[str, Reading]:
            models = {name: lab.trained(make, photos, seed) for name, make in makes.items()}
            return {name: passing(model, x, lab, seed) for name, model in models.items()}

        found = lab.each(look)
        numbers: dict[str, Estimate] = {}
        for name in makes:
            numbers |= {f"{what}, {name}": e for what, e in shares([f[name] for f in found]).items()}
        smallest, usual = next(iter(makes)), list(makes)[-1]
        numbers |= {what: numbers[f"{what}, {smallest}"] for what in self.thresholds()}
        drawn = [f"{what}, {name}" for what in ("passed", "error over doing nothing") for name in makes]
        figure = charts.intervals({name: numbers[name] for name in drawn}, "ratio", {"a true copy": 1.0})
        images = found[0][smallest].images
        rows = {"clean": x, "noisy": images["corrupted"], "smallest": images["restored"]}
        rows |= {"usual": found[0][usual].images["restored"]}
        sizes = "; ".join(f"{name}: {parameters(make, photos.shape):,} weights" for name, make in makes.items())
        return Finding(numbers, {"shares": figure, "images": first(rows)}, notes=(f"{sizes}",))


@dataclass(frozen=True)
class UNetOverFullyConnected(Study):
    """A U-Net denoises better than a fully connected network.

    The essay's U-Net without skips and its overcomplete fully connected network learn to copy the same
    photographs in as many steps (the latter with 64 images a step and not 16, which favours it). Held-out ones
    are mixed half and half with noise N(0.7, 0.2^2), where the U-Net uses the statistics of the batch, as in the
    essay; or they get noise of std 0.2, where it uses its running ones and no image helps another. The decisive
    numbers are squared errors of the U-Net over those of the other network, of the same noisy images.

    Controls: a fully connected network with as many weights as the U-Net (its layers are then narrower than the
    image, which itself takes noise away), and the same with batch norm, so that neither size nor norm is mistaken
    for convolution. All errors are also given over those of doing nothing; the copying of clean images beside.

    The figure has a line per network and noise: below 1 it is better than doing nothing; small circles are seeds.
    The rows of images are mixed with noise.
    """

    claim: ClassVar[str] = "T4"
    place: ClassVar[str] = 'essay, "The Role of Batch Normalization in Denoising": its first paragraph'
    items: ClassVar[tuple[int, ...]] = (105, 139)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Convolution and depth are what unasked denoising comes from, not the number of weights.",
        Verdict.MIXED: "It depends on the noise, or on width: a narrow fully connected network is a rival.",
        Verdict.FAILS: "A fully connected network of the same data and steps denoises as well or better.",
    }

    error_over_fully_connected_mix: Below = Below(1.0)
    error_over_fully_connected_gaussian: Below = Below(1.0)
    error_over_equal_parameters_gaussian: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Corrupt in two ways, and let each network restore."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        noises: dict[str, Corruption] = {"mix": Mix(0.5), "gaussian": Gaussian(0.2)}
        plain, normed = "fully connected, equal parameters", "fully connected, equal parameters, batch norm"
        narrow = {"batch": 64}
        both: tuple[Statistics, ...] = ("batch", "running")
        kinds: dict[str, tuple[Make, dict[str, Any], tuple[Statistics, ...]]] = {
            "U-Net": (unet(lab), {}, both),
            "fully connected": (overcomplete(lab), FULLY_CONNECTED, both[1:]),
            plain: (with_parameters_of(unet(lab)), narrow, both[1:]),
            normed: (with_parameters_of(unet(lab), "batch"), narrow, both),
        }

        def look(seed: int) -> dict[str, Reading]:
            readings: dict[str, Reading] = {}
            for kind, (make, plan, uses) in kinds.items():
                model = lab.trained(make, photos, seed, **plan)
                for use in uses:
                    for name, noise in noises.items():
                        reading = Denoising(noise, statistics=use)(model, x, lab.rng(seed, name))
                        readings[f"{kind}, {name}" + f", {use}" * (uses == both)] = shown(reading)
            return readings

        found = lab.each(look)
        errors = {name: [f[name].numbers for f in found] for name in found[0]}
        restored = {name: [n["restored"] for n in of_seeds] for name, of_seeds in errors.items()}
        over = {
            f"error over doing nothing, {name}": statistics.ratio(
                restored[name], [n["corrupted"] for n in of_seeds]
            )
            for name, of_seeds in errors.items()
        }
        mixed, added = restored["U-Net, mix, batch"], restored["U-Net, gaussian, running"]
        numbers = over | {
            "error over fully connected mix": statistics.ratio(mixed, restored["fully connected, mix"]),
            "error over fully connected gaussian": statistics.ratio(added, restored["fully connected, gaussian"]),
            "error over equal parameters gaussian": statistics.ratio(added, restored[f"{plain}, gaussian"]),
            "error over equal parameters mix": statistics.ratio(mixed, restored[f"{plain}, mix"]),
            "error over equal parameters with batch norm mix": statistics.ratio(
                mixed, restored[f"{normed}, mix, batch"]
            ),
        }
        for kind in kinds:
            name = next(n for n in errors if n.startswith(f"{kind}, gaussian"))
            numbers[f"copying error, {kind}"] = statistics.mean([n["reconstruction"] for n in errors[name]])
        names = {"U-Net": "U-Net, mix, batch", "fully connected": "fully connected, mix"}
        names |= {plain: f"{plain}, mix", normed: f"{normed}, mix, batch"}
        rows = {"clean": x, "mixed with noise": found[0]["fully connected, mix"].images["corrupted"]}
        rows |= {row: found[0][name].images["restored"] for row, name in names.items()}
        drawn = {name.removeprefix("error over doing nothing, "): e for name, e in over.items()}
        figure = charts.intervals(
            drawn, "squared error over that of doing nothing", {"doing nothing": 1.0}, logx=True
        )
        count = parameters(unet(lab), photos.shape)
        notes = (f"weights: U-Net {count:,}, overcomplete {parameters(overcomplete(lab), photos.shape):,}",)
        return Finding(numbers, {"ratios": figure, "images": first(rows)}, notes=notes)


@dataclass(frozen=True)
class SkipsTeachTheIdentity(Study):
    """With its skips a U-Net learns the identity function; without them it does not.

    A U-Net whose up stages see the maps of the way down, and the essay's, whose up stages see a copy of their own
    input instead, learn to copy photographs. The gap is ||O(x~) - x~|| / ||x - x~|| for held-out photographs mixed
    half and half with noise N(0.7, 0.2^2), and "passed" the share of noise of std 0.1 that comes out again: 0 and
    1 for the identity. The borders are those of the study of the overcomplete network, from either side. Decisive
    numbers use running statistics: those of a batch alone undo a shift of brightness, which no identity does.

    Controls: both networks before training; the exact identity, whose numbers are measured too; the statistics of
    the batch, with which the essay works; and, as a code that is shorter than the image would forbid a copy by
    that alone, the usual U-Net without skips on smaller images, whose code is longer. A note says how long each
    code is.

    In the figure, rows from the top: clean, mixed with noise, and what comes out with skips and without; "passed"
    is of the weak noise, which is not shown.
    """

    claim: ClassVar[str] = "T5"
    place: ClassVar[str] = f"{SECTION}: the paragraph on residual connections"
    items: ClassVar[tuple[int, ...]] = (139,)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Leave skips out where a network is to learn more than copying.",
        Verdict.MIXED: "Skips alone do not decide whether a U-Net copies.",
        Verdict.FAILS: "Skips do not make a copying machine, and their absence does not prevent one.",
    }

    gap_with_skips: Below = Below(0.3)
    passed_with_skips: Above = Above(0.9)
    passed_without_skips: Below = Below(0.8)

    def measure(self, lab: Lab) -> Finding:
        """Corrupt photographs, and compare what comes out with what went in."""
        photos = lab.photos("landscapes", lab.budget.large)
        small = lab.photos("landscapes")
        x, smaller = lab.images(photos), lab.images(small)
        makes = {"with skips": unet(lab, large=True, skips="concat"), "without skips": unet(lab, large=True)}
        usual = "without skips, smaller images"

        def look(seed: int) -> dict[str, Reading]:
            models = {name: lab.trained(make, photos, seed) for name, make in makes.items()}
            models |= {f"{k}, untrained": lab.untrained(make, photos, seed) for k, make in makes.items()}
            models |= {"exact identity": identity(photos)}
            readings = {name: copying(model, x, lab, seed) for name, model in models.items()}
            return readings | {usual: copying(lab.trained(unet(lab), small, seed), smaller, lab, seed)}

        found = lab.each(look)
        numbers: dict[str, Estimate] = {}
        for name in found[0]:
            of_seeds = [f[name].numbers for f in found]
            for what in ("gap", "passed", "gap, batch statistics"):
                numbers[f"{what} {name}"] = statistics.mean([n[what] for n in of_seeds])
            for noise in ("mix", "gaussian"):
                numbers[f"error over doing nothing {name}, {noise}"] = statistics.ratio(
                    [n[noise] for n in of_seeds], [n[f"{noise}, nothing"] for n in of_seeds]
                )
        rows = {"clean": x, "mixed with noise": found[0]["with skips"].images["corrupted"]}
        rows |= {name: found[0][name].images["restored"] for name in makes}
        captions = {
            n: f"passed {numbers[f'passed {n}'].value:.2f}, gap {numbers[f'gap {n}'].value:.2f}" for n in makes
        }
        plain = {"without skips": lab.untrained(makes["without skips"], photos, 0)}
        plain[usual] = lab.untrained(unet(lab), small, 0)
        notes = tuple(f"{name}: {model.summary()}" for name, model in plain.items())
        return Finding(numbers, {"copies": first(rows, captions)}, notes=notes)


def ladder(lab: Lab) -> dict[str, Make]:
    """U-Nets by name, the smallest first and the usual one last; before it those of its width or depth alone."""
    width, depth = lab.budget.width, lab.budget.depth
    narrow = width >> (depth - 1)
    sizes = [(width >> (depth - d), d) for d in range(1, depth)] + [(width, 1), (narrow, depth), (width, depth)]
    return {f"width {w}, depth {d}": unet(lab, width=w, depth=d) for w, d in sizes}


def with_parameters_of(other: Make, norm: VectorNorm = "none") -> Make:
    """A fully connected network of five equal hidden layers with about as many weights as another network."""

    def make(shape: Shape) -> MLP:
        ends, count = 2 * prod(shape), parameters(other, shape)
        units = max(1, round((math.sqrt(ends**2 + 16 * count) - ends) / 8))  # ends u + 4 u^2 = count
        return MLP(shape, [units, units], units, activation="gelu", code_activation="gelu", norm=norm)

    return make


def parameters(make: Make, shape: Shape) -> int:
    """The number of weights of a network, which is not made."""
    with torch.device("meta"):
        return sum(p.numel() for p in make(shape).parameters())


def passing(model: Autoencoder, x: Images, lab: Lab, seed: int) -> Reading:
    """What becomes of noise of std 0.1: squared errors, and the share of that very noise that comes out."""
    reading = Denoising(Gaussian(0.1))(model, x, lab.rng(seed, "noise"))
    passed = IdentityGap(Gaussian(0.1), draws=0)(model, x, lab.rng(seed, "noise")).numbers["passed"]
    return shown(Reading(reading.numbers | {"passed": passed}, reading.images))


def shares(readings: list[Reading]) -> dict[str, Estimate]:
    """What of the noise passes, and the errors over it, from what `passing` found for every seed."""
    numbers = [r.numbers for r in readings]
    noise = [n["corrupted"] for n in numbers]
    return {
        "passed": statistics.mean([n["passed"] for n in numbers]),
        "error over doing nothing": statistics.ratio([n["restored"] for n in numbers], noise),
        "copying error over noise": statistics.ratio([n["reconstruction"] for n in numbers], noise),
    }


def copying(model: Autoencoder, x: Images, lab: Lab, seed: int) -> Reading:
    """How near to the identity a network is, and its squared errors beside those of doing nothing."""
    mix, weak = Mix(0.5), Gaussian(0.1)
    gap = IdentityGap(mix, draws=0)(model, x, lab.rng(seed, "mix")).numbers["gap"]
    of_batch = IdentityGap(mix, draws=0, statistics="batch")(model, x, lab.rng(seed, "mix")).numbers["gap"]
    passed = IdentityGap(weak, draws=0)(model, x, lab.rng(seed, "weak")).numbers["passed"]
    numbers = {"gap": gap, "gap, batch statistics": of_batch, "passed": passed}
    mixed, noisy = Denoising(mix)(model, x, lab.rng(seed, "mix")), Denoising(weak)(model, x, lab.rng(seed, "weak"))
    for name, reading in {"mix": mixed, "gaussian": noisy}.items():
        numbers |= {name: reading.numbers["restored"], f"{name}, nothing": reading.numbers["corrupted"]}
    return shown(Reading(numbers, mixed.images))


def shown(reading: Reading) -> Reading:
    """A reading with no more images than are shown: those of every network and seed would fill the memory."""
    return Reading(reading.numbers, {name: images[:SHOWN].clone() for name, images in reading.images.items()})


def identity(photos: Photos) -> Autoencoder:
    """The exact copy of what it is given, as a network."""
    return adopt(nn.Identity(), photos.shape, encode="forward", decode="forward")


def mean_image(lab: Lab, photos: Photos) -> Tensor:
    """The mean of training images."""
    return lab.images(photos, "train", FITTED).mean(0)


def first(rows: Mapping[str, Images], captions: Mapping[str, str] | None = None) -> Any:
    """A figure of the first few images of every row."""
    return pictures.comparison({name: images[:SHOWN] for name, images in rows.items()}, captions)
