"""The essay's first section: does a network that could copy its input learn to copy it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.corruptions import Gaussian, Mix
from copyfold.measures import mse, sharpness
from copyfold.models.base import Autoencoder
from copyfold.models.dense import MLP
from copyfold.probes.base import Reading, still
from copyfold.probes.denoising import Denoising, best_baseline
from copyfold.probes.geometry import IdentityGap
from copyfold.probes.nearest import neighbours
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.networks import WIDE, overcomplete, unet
from copyfold.types import Images

SECTION = 'essay, "Overcomplete autoencoders do not learn the identity function"'
SHOWN = 8
FITTED = 512  # training images that baselines are fitted on
KEEPS = (0.9, 0.7, 0.5, 0.3, 0.1)  # of the image, in the essay's mix with noise


@dataclass(frozen=True)
class NotTheIdentity(Study):
    """An overcomplete network does not learn the identity function.

    The essay's network, five hidden layers of 1.3 times as many units as the image has numbers, learns to copy
    photographs by its squared error. Held-out images are then mixed half and half with noise N(0.7, 0.2^2), as in
    the essay, or get noise of std 0.1. The gap is the distance from the output to the corrupted input over that
    from the clean image to it: 0 for a copy. "Passed" is the share of the added noise that comes out again, 1 for
    a copy and free of the network's own error. The Jacobian's distance from the identity, ||J - I|| / sqrt(D), is
    of clean images.

    Controls: the same network before training, which is no copy either, so that the gap alone says nothing good;
    training images, on which a network that only remembers would differ; and a fifth and four times of the
    training, with the error on clean images over that of the mean training image, since a network that has not
    learned to copy passes no noise either.

    In the first figure, rows from the top: clean, the network's copy, mixed with noise, and what it makes of that.
    The second shows both shares against training: were the line of the noise to rise while that of the error
    falls, the network would be on its way to the identity.
    """

    claim: ClassVar[str] = "T1"
    place: ClassVar[str] = f"{SECTION}: the text under the figure of the overcomplete autoencoder"
    items: ClassVar[tuple[int, ...]] = (12, 103, 138)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Width alone makes no copying machine: gradient descent stops well before the identity.",
        Verdict.MIXED: "By one measure it copies and by another it does not: look at all three.",
        Verdict.FAILS: "A wide network copies whatever it is given: its output on noise tells nothing.",
    }

    gap: Above = Above(0.3)
    passed: Below = Below(0.8)
    jacobian: Above = Above(0.3)

    def measure(self, lab: Lab) -> Finding:
        """Corrupt images, and see what comes out."""
        photos = lab.photos("landscapes")
        x, seen = lab.images(photos), lab.images(photos, "train")
        make = overcomplete(lab)
        mix, weak = IdentityGap(Mix(), draws=0), IdentityGap(Gaussian(0.1))

        def look(model: Autoencoder, images: Images, seed: int) -> dict[str, Tensor]:
            rng = lab.rng(seed, "noise")
            return weak(model, images, rng).numbers | {"gap": mix(model, images, rng).numbers["gap"]}

        steps = [lab.whole(photos, lab.budget.scaled(n), 64) for n in (500, 2500, 10_000)]
        found = lab.each(lambda seed: (seed, lab.course(make, photos, seed, steps, batch=64, lr=WIDE)))
        models = {seed: course[1] for seed, course in found}
        trained = [look(model, x, seed) for seed, model in models.items()]
        first = [look(lab.untrained(make, photos, seed), x, seed) for seed in models]
        memory = [look(model, seen, seed) for seed, model in models.items()]
        numbers = {name: statistics.mean([f[name] for f in trained]) for name in ("gap", "passed", "jacobian")}
        numbers |= {f"{name}, untrained": statistics.mean([f[name] for f in first]) for name in ("gap", "passed")}
        numbers["passed, training images"] = statistics.mean([f["passed"] for f in memory])
        mean = [mse(lab.images(photos, "train", FITTED).mean(0).expand_as(x), x)] * len(found)
        lines: dict[str, list[Estimate]] = {"noise passed": [], "error over mean image": []}
        for i, count in enumerate(steps):
            passed = statistics.mean([look(course[i], x, seed)["passed"] for seed, course in found])
            error = statistics.ratio([_error(course[i], x) for _, course in found], mean)
            for name, number in zip(lines, (passed, error), strict=True):
                numbers[f"{name}, {count} steps"] = number
                lines[name].append(number)
        along = {name: (steps, line) for name, line in lines.items()}
        course = charts.curves(along, "steps of training", "share", logx=True)
        noisy, model = Mix()(x[:SHOWN], lab.rng(0, "figure")), found[0][1][1]
        with still(model), torch.no_grad():
            rows = {
                "clean": x[:SHOWN],
                "copy": model(x[:SHOWN]),
                "mixed with noise": noisy,
                "output": model(noisy),
            }
        return Finding(numbers, {"copies": pictures.comparison(rows), "training": course})


@dataclass(frozen=True)
class DenoisesUntaught(Study):
    """An autoencoder that was only taught to copy removes noise.

    The essay's fully connected network, on images of half the side for its cost, and its U-Net without skips learn
    to copy photographs. Held-out ones are mixed with noise N(0.7, 0.2^2), keeping 0.9 to 0.1 of the image. The
    decisive numbers are of half and half: the squared error of the output over that of doing nothing, and over
    that of the best baseline which needs no network, for the better of the two networks, each as the essay uses it
    (the U-Net with the statistics of the batch, here of all images measured). A note says how long their codes
    are: one that is shorter than the image would take noise away by that alone.

    Controls: the mean training image; least-squares linear filters of 7x7 and 11x11 and by frequency, fitted on
    the same training images with the same noise; the Wiener filter of patches, non-local means and wavelets, told
    the noise. All know that brightness was shifted, as the filters have a constant and the others undo it.

    The first figure shows the root of both ratios against how much of the image is kept: below 1 is better than
    doing nothing, or than the best baseline. The second shows images of the better network.
    """

    claim: ClassVar[str] = "T2"
    place: ClassVar[str] = f"{SECTION}: ||O(a~) - a|| < ||a~ - a||"
    items: ClassVar[tuple[int, ...]] = (105, 138)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Copying alone teaches more about images than any filter fitted in a second knows.",
        Verdict.MIXED: "It removes noise, but less than a linear filter fitted in a second: noise of another "
        "brightness is far from all images, and coming back towards them is easy.",
        Verdict.FAILS: "What looks like denoising is not even better than leaving the noise in.",
    }

    error_over_doing_nothing: Below = Below(1.0)
    error_over_best_baseline: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Mix with more and more noise, restore, compare."""
        kinds: dict[str, tuple[Make, int, dict[str, Any]]] = {
            "fully connected": (overcomplete(lab), lab.budget.side, {"batch": 64, "lr": WIDE}),
            "U-Net": (unet(lab, large=True), lab.budget.large, {}),
        }
        found: dict[str, dict[float, list[Reading]]] = {}
        sizes: list[str] = []
        for name, (make, side, plan) in kinds.items():
            photos = lab.photos("landscapes", side)
            x, reference = lab.images(photos), lab.images(photos, "train", FITTED)
            models = lab.each(lambda seed, p=photos, m=make, plan=plan: lab.trained(m, p, seed, **plan))
            sizes.append(f"{name}: {models[0].summary()}")
            found[name] = {keep: self._readings(lab, models, keep, x, reference) for keep in KEEPS}
        numbers = {}
        for name, readings in found.items():
            for keep, of_seeds in readings.items():
                numbers |= {f"{what}, {name}, keep {keep}": e for what, e in self._ratios(of_seeds).items()}
        best = min(found, key=lambda name: numbers[f"error over doing nothing, {name}, keep 0.5"].value)
        numbers |= {what: numbers[f"{what}, {best}, keep 0.5"] for what in self.thresholds()}
        series, bands = {}, {}
        for name in found:
            for what in self.thresholds():
                line = f"{name}: {what}"
                each = [numbers[f"{what}, {name}, keep {keep}"] for keep in KEEPS]
                series[line] = (KEEPS, [e.value**0.5 for e in each])
                bands[line] = ([max(e.low, 0) ** 0.5 for e in each], [e.high**0.5 for e in each])
        figure = pictures.curves(
            series, "share of the image that is kept", "distance to the clean image, ratio", logy=True, bands=bands
        )
        images = {k: v[:SHOWN] for k, v in found[best][0.5][0].images.items()}
        baseline = best_baseline(found[best][0.5][0])[0]
        rows = {k: images[k] for k in ("clean", "corrupted", "restored", baseline)}
        looks = pictures.comparison(rows, title=f"{best}, half of the image kept")
        return Finding(numbers, {"ratios": figure, "images": looks}, notes=(f"the better network: {best}", *sizes))

    def _readings(
        self, lab: Lab, models: list[Autoencoder], keep: float, x: Images, reference: Images
    ) -> list[Reading]:
        """Of every seed's model; the baselines are fitted once, as they and the noise are the same for all."""
        whole = Denoising(Mix(keep), reference, "batch")(models[0], x, lab.rng(0, f"mix {keep}"))
        alone = Denoising(Mix(keep), None, "batch")
        own = [alone(model, x, lab.rng(0, f"mix {keep}")) for model in models]
        return [Reading(whole.numbers | {"restored": r.numbers["restored"]}, whole.images) for r in own]

    def _ratios(self, readings: list[Reading]) -> dict[str, Estimate]:
        restored = [r.numbers["restored"] for r in readings]
        others = {
            "error over doing nothing": [r.numbers["corrupted"] for r in readings],
            "error over best baseline": [best_baseline(r)[1] for r in readings],
        }
        return {what: statistics.ratio(restored, errors) for what, errors in others.items()}


@dataclass(frozen=True)
class GeneralisesUnderDescent(Study):
    """An overcomplete autoencoder trained by gradient descent generalises.

    The essay's overcomplete network and its U-Net without skips learn to copy photographs that they see dozens of
    times. The number for each is the squared error on held-out photographs over that on training photographs. The
    U-Net uses its running statistics.

    Control: a network that remembered would give back the training photograph nearest to what it sees. The error
    of that photograph, found by its distance, is what a pure memory would score on held-out images.

    In the first figure a line is a ratio of one network, of its errors on new and seen images (1 is no gap) or of
    its error and a memory's (1 is no better than memory); the small circles are the seeds. The second shows
    photographs, those nearest to them, and the copies.
    """

    claim: ClassVar[str] = "generalisation"
    place: ClassVar[str] = 'essay, "Image Generation with an Autoencoder Manifold Walk", the first two paragraphs'
    items: ClassVar[tuple[int, ...]] = (149,)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "No regulariser is needed here: what is learned is a map for images and not a memory.",
        Verdict.MIXED: "New images are copied far better than memory could, and yet less well than those "
        "seen: hold images out, and look at both numbers.",
        Verdict.FAILS: "A network with this much room remembers: its training error says nothing of new images.",
    }

    held_out_over_training_error_fully_connected: Below = Below(1.5)
    held_out_over_training_error_unet: Below = Below(1.5)
    error_over_memory_fully_connected: Below = Below(0.5)
    error_over_memory_unet: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Compare errors on new images with those on seen ones and those of a memory."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        seen = lab.images(photos, "train", len(x))
        everything = lab.images(photos, "train", len(photos))
        remembered = everything[neighbours(x, everything)[1][:, 0]]
        kinds: dict[str, Make] = {
            "fully connected": overcomplete(lab),
            "unet": unet(lab),
        }
        numbers, rows = {}, {"clean": x[:SHOWN], "nearest training image": remembered[:SHOWN]}
        for name, make in kinds.items():
            plan = {"batch": 64, "lr": WIDE} if name != "unet" else {}
            models = lab.each(lambda seed, make=make, plan=plan: lab.trained(make, photos, seed, **plan))
            new, old = ([_error(model, images) for model in models] for images in (x, seen))
            numbers |= {
                f"held out over training error {name}": statistics.ratio(new, old),
                f"error over memory {name}": statistics.ratio(new, [mse(remembered, x)] * len(new)),
                f"held-out error, {name}": statistics.mean(new),
            }
            with still(models[0]), torch.no_grad():
                rows[f"output, {name}"] = models[0](x[:SHOWN])
        shown = {name: e for name, e in numbers.items() if not name.startswith("held-out error")}
        marks = {"as good as memory, or no gap": 1.0}
        figure = charts.intervals(shown, "ratio of squared errors", marks, logx=True)
        return Finding(numbers, {"ratios": figure, "images": pictures.comparison(rows)})


@dataclass(frozen=True)
class LargeNeedNotBlur(Study):
    """The squared error need not blur where the network is large.

    Perceptrons copy photographs: one with a code of 32 numbers, one with as wide layers but the same code, and the
    essay's overcomplete network. The number is the sharpness (energy of the Laplacian) of the held-out
    reconstruction over that of the photograph, the mean over the images of each.

    Controls: the sharpness of the error over that of the photograph, since noise is sharp too: where it is not far
    below that of the reconstruction, the edges are not the photograph's; and the wide network with the narrow
    code. The optimum of the squared error is the mean of all images that a code stands for, so that a narrow code
    must blur however large the network around it is; were it sharp, size would be what matters, and not what the
    code keeps.

    In the figure, rows from the top: photographs, and what each network gives back.
    """

    claim: ClassVar[str] = "blur"
    place: ClassVar[str] = f"{SECTION}: the paragraphs around g(a; w, mu, sigma)"
    items: ClassVar[tuple[int, ...]] = (150,)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Blur is lost information and not the squared error's fault: widen the code, not layers.",
        Verdict.MIXED: "Neither size nor code alone decides about blur here: look at the three numbers.",
        Verdict.FAILS: "Networks of this kind blur by the squared error, however large.",
    }

    sharpness_overcomplete: Above = Above(0.8)
    sharpness_narrow_code: Below = Below(0.5)
    sharpness_wide_layers_narrow_code: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Copy with each, and look at the edges."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        units = round(lab.budget.hidden * prod(photos.shape))
        kinds: dict[str, Make] = {
            "narrow code": partial(MLP, hidden=[128], latent_dim=32),
            "wide layers narrow code": partial(MLP, hidden=[units, units], latent_dim=32),
            "overcomplete": overcomplete(lab),
        }
        numbers, rows = {}, {"clean": x[:SHOWN]}
        edges = sharpness(x)
        for name, make in kinds.items():
            models = lab.each(lambda seed, make=make: lab.trained(make, photos, seed, batch=64, lr=WIDE))
            with torch.no_grad():
                outputs = [model(x) for model in models]
            sharp = [sharpness(y) for y in outputs]
            numbers |= {
                f"sharpness {name}": statistics.ratio(sharp, [edges] * len(sharp)),
                f"sharpness of the error, {name}": statistics.ratio(
                    [sharpness(y - x) for y in outputs], [edges] * len(outputs)
                ),
                f"error, {name}": statistics.mean([mse(y, x) for y in outputs]),
            }
            rows[name] = outputs[0][:SHOWN]
        captions = {name: f"sharpness {numbers[f'sharpness {name}'].value:.2f}" for name in kinds}
        return Finding(numbers, {"images": pictures.comparison(rows, captions)})


@torch.no_grad()
def _error(model: Autoencoder, x: Images) -> Tensor:
    """The squared error of copying, per image."""
    with still(model):
        return mse(model(x), x)
