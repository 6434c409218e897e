"""The essay's second section: what an output still tells of the input, found by descending on an image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from copyfold.claims.denoising.skips_teach_the_identity import SECTION, first, mean_image, shown
from copyfold.corruptions import Corruption, Gaussian, Mix
from copyfold.measures import distance, mse, noise_level
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.denoising import Denoising
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.networks import hidden, unet
from copyfold.types import Images

START = 0.7  # of every pixel, in the essay's scripts


@dataclass(frozen=True)
class TrainingCleansRepresentation(Study):
    """Training a U-Net to copy takes noise out of its output's representation.

    The representation of a photograph x is an image a whose output is the same: found by descending on
    ||O(a) - O(x)|| from a grey image: by plain descent on the sum of absolute differences, as in the essay's
    script, by L-BFGS on squares, and by Adam, which gets farther than L-BFGS where weights are new. Each takes as
    many steps before training as after. "Noise" is the std of what is white in a - x, in which fine texture of x
    that a does not have counts too. Networks use the statistics of the batch, as the essay's text has it.

    Controls: the grey image itself, which is no representation, and whose "noise" is all texture of x. Beside it
    the others are to be read, and the noise in a itself; and the distance to x decides too, by the method that is
    kindest to the untrained; a start from noise N(0.7, 0.05^2), as in the script, which puts in noise of its own;
    and running statistics, as in the script, with which an untrained U-Net answers the same whatever it sees. "Way
    gone" is how far a is from grey, over how far x is; "output distance over reference" how far the output of a is
    from that of x, over the change of output by noise of std 1/18.

    In the figure, rows from the top: photographs, and what was found after and before training, with each method.
    """

    claim: ClassVar[str] = "T6"
    place: ClassVar[str] = f"{SECTION}: the figure of the landscape representations"
    items: ClassVar[tuple[int, ...]] = (104, 140)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "What reaches the output is more of the image after training, and less is left open.",
        Verdict.MIXED: "It depends on how one looks for the image, or less noise does not mean more of the image.",
        Verdict.FAILS: "Before training the output tells as much of the image, and as cleanly.",
    }

    noise_over_untrained_descent: Below = Below(1.0)
    noise_over_untrained_lbfgs: Below = Below(1.0)
    image_distance_over_untrained_adam: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Look for the images with each method, before and after training."""
        photos = lab.photos("landscapes")
        x, make = few(lab, lab.images(photos)), unet(lab)
        adam = replace(curved(lab), optimizer="adam", rate=(0.03, 0.003), steps=at_most(lab, 100))
        methods = {"descent": descent(lab), "lbfgs": curved(lab), "adam": adam}
        methods |= {
            "lbfgs from noise": replace(curved(lab), start="noise"),
            "lbfgs, running statistics": replace(curved(lab), statistics="running"),
        }

        def look(seed: int) -> dict[str, Reading]:
            models = {"trained": lab.trained(make, photos, seed), "untrained": lab.untrained(make, photos, seed)}
            return {
                f"{state}, {name}": method(model, x, lab.rng(seed, name))
                for state, model in models.items()
                for name, method in methods.items()
            }

        found = lab.each(look)
        start = torch.full_like(x, START)
        numbers = {
            "image distance, grey image": statistics.mean([distance(start, x)]),
            "noise, grey image": statistics.mean([noise_level(start - x)]),
        }
        for name in methods:
            before, after = ([f[f"{state}, {name}"] for f in found] for state in ("untrained", "trained"))
            for what, key in {"noise": "noise", "image distance": "image"}.items():
                numbers[f"{what} over untrained {name}"] = statistics.ratio(
                    [r.numbers[key] for r in after], [r.numbers[key] for r in before]
                )
            for state, readings in {"trained": after, "untrained": before}.items():
                numbers |= {f"{what}, {state}, {name}": e for what, e in seen(readings).items()}
        rows = {"photographs": x}
        for name in ("lbfgs", "descent", "adam"):
            rows |= {f"{state}, {name}": found[0][f"{state}, {name}"].images["found"] for state in STATES}
        captions = {row: f"PSNR {numbers[f'psnr, {row}'].value:.1f} dB" for row in rows if row != "photographs"}
        return Finding(numbers, {"representations": first(rows, captions)})


@dataclass(frozen=True)
class RepresentationLosesNoise(Study):
    """The representation of a noised photograph has less noise than was put in.

    A U-Net without skips is shown a photograph x that was corrupted to x~, and an image a is looked for whose
    output is that of x~, by L-BFGS from a grey image. The number is ||a - x|| / ||x~ - x||: below 1, some of the
    noise is lost on the way to the output and back. Corruptions are Gaussian noise of std 0.2 and the essay's half
    and half mix with N(0.7, 0.2^2); networks use the statistics of the batch, as in the essay.

    Controls: the identity, for which the number is 1; the output O(x~) itself, over the same; the network before
    training, which also loses noise if it loses everything; and the essay's own descent from noise. x~ is itself
    an image with that output, so that this is of what descent finds; how nearly a has the output of x~ is given
    over the change of output by noise of std 1/18.

    In the figures, one for each corruption, rows from the top: clean, noisy, output, and what was found after and
    before training.
    """

    claim: ClassVar[str] = "T7"
    place: ClassVar[str] = f"{SECTION}: the figure of representations of noised inputs"
    items: ClassVar[tuple[int, ...]] = (109, 140)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "The noise is lost on the way to the output: the network does not even see it.",
        Verdict.MIXED: "One kind of noise is lost on the way and the other comes through to the output.",
        Verdict.FAILS: "The output still tells the noise: denoising is not a matter of what is represented.",
    }

    distance_over_corruption_gaussian: Below = Below(1.0)
    distance_over_corruption_mix: Below = Below(1.0)

    controls: ClassVar[Mapping[str, Control]] = {
        f"output distance over reference, trained, {noise}": (
            Below(1.0),
            "The search has not ended: what it found does not have the output, and says little of what has.",
        )
        for noise in ("gaussian", "mix")
    }

    def measure(self, lab: Lab) -> Finding:
        """Corrupt, look for an image with the same output, compare it with the clean one."""
        photos = lab.photos("landscapes")
        x, make = few(lab, lab.images(photos)), unet(lab)
        corruptions: dict[str, Corruption] = {"gaussian": Gaussian(0.2), "mix": Mix(0.5)}
        methods = {name: replace(curved(lab), corruption=noise) for name, noise in corruptions.items()}
        script = replace(Inversion.unet_variations(), steps=at_most(lab, 1000))

        def look(seed: int) -> dict[str, Reading]:
            trained = lab.trained(make, photos, seed)
            models = {
                "trained": trained,
                "untrained": lab.untrained(make, photos, seed),
                "identity": nn.Identity(),
            }
            readings = {
                f"{kind}, {name}": method(model, x, lab.rng(seed, name))
                for kind, model in models.items()
                for name, method in methods.items()
            }
            readings["script, mix"] = script(trained, x, lab.rng(seed, "mix"))
            for name in methods:
                readings[f"output, {name}"] = answered(trained, readings[f"trained, {name}"])
            return readings

        found = lab.each(look)
        numbers: dict[str, Estimate] = {}
        for kind in found[0]:
            of_seeds = [f[kind].numbers for f in found]
            numbers[f"distance over corruption, {kind}"] = statistics.ratio(
                [n["image"] for n in of_seeds], [n["corruption"] for n in of_seeds]
            )
            if "layer" in of_seeds[0]:
                numbers |= {f"{what}, {kind}": e for what, e in seen([f[kind] for f in found]).items()}
        numbers |= {
            what: numbers[f"distance over corruption, trained, {what.split()[-1]}"] for what in self.thresholds()
        }
        figures = {}
        for name in methods:
            images = found[0][f"trained, {name}"].images
            rows = {
                "clean": x,
                "noisy": images["corrupted"],
                "output": found[0][f"output, {name}"].images["found"],
            }
            rows |= {f"{state}": found[0][f"{state}, {name}"].images["found"] for state in STATES}
            figures[name] = first(rows)
        return Finding(numbers, figures)


@dataclass(frozen=True)
class HiddenModuleHidesInput(Study):
    """A U-Net can copy and denoise well, and yet represent its input poorly.

    The essay's U-Net with a module of 500, 100 and 500 units at its waist, and the one without it, learn to copy
    photographs. Held-out ones are copied, the error over that of the mean training image; restored from the half
    and half mix with noise N(0.7, 0.2^2), the error over that of doing nothing; and looked for from their output,
    by L-BFGS from a grey image: the distance of what is found over the same for the plain network. All with the
    statistics of the batch, as in the essay.

    Controls: the plain network, in all three; the grey image, whose distance a poor representation does not beat;
    plain descent in place of L-BFGS; and how nearly what was found has the output that it should, over the change
    of output by noise of std 1/18: where it is not near, the search has failed, and not the representation.

    In the figures the rows from the top are: clean, mixed with noise, and what each network makes of both; and
    photographs, and what was found from the output of each.
    """

    claim: ClassVar[str] = "T8"
    place: ClassVar[str] = f"{SECTION}: the last paragraph and its figure"
    items: ClassVar[tuple[int, ...]] = (110, 119, 141)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "How well a network copies does not say how much of the image comes through its waist.",
        Verdict.MIXED: "The hidden module costs copying or denoising too, or not so much of the representation.",
        Verdict.FAILS: "A narrow waist copies badly, and what comes through is represented as well.",
    }

    copying_error_over_mean_image: Below = Below(0.1)
    error_over_doing_nothing: Below = Below(0.5)
    image_distance_over_plain: Above = Above(2.0)

    def measure(self, lab: Lab) -> Finding:
        """Copy, restore, and look for the image from the output, with the module and without."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        some = few(lab, x)
        makes = {"hidden": hidden(lab), "plain": unet(lab)}
        methods = {"lbfgs": curved(lab), "descent": descent(lab)}

        def look(seed: int) -> dict[str, Reading]:
            readings: dict[str, Reading] = {}
            for kind, make in makes.items():
                model = lab.trained(make, photos, seed)
                readings[kind] = shown(Denoising(Mix(0.5), statistics="batch")(model, x, lab.rng(seed, "mix")))
                for name, method in methods.items():
                    readings[f"{kind}, {name}"] = method(model, some, lab.rng(seed, name))
            return readings

        found = lab.each(look)
        mean = [mse(mean_image(lab, photos).expand_as(x), x)] * len(found)
        numbers = {"image distance, grey image": statistics.mean([distance(torch.full_like(some, START), some)])}
        for kind in makes:
            errors = [f[kind].numbers for f in found]
            numbers |= {
                f"copying error over mean image, {kind}": statistics.ratio(
                    [e["reconstruction"] for e in errors], mean
                ),
                f"error over doing nothing, {kind}": statistics.ratio(
                    [e["restored"] for e in errors], [e["corrupted"] for e in errors]
                ),
            }
            for name in methods:
                of_kind = seen([f[f"{kind}, {name}"] for f in found])
                numbers |= {f"{what}, {kind}, {name}": e for what, e in of_kind.items()}
        for name in methods:
            theirs, plain = ([f[f"{kind}, {name}"].numbers["image"] for f in found] for kind in makes)
            numbers[f"image distance over plain, {name}"] = statistics.ratio(theirs, plain)
        numbers |= {what: numbers[f"{what}, hidden"] for what in list(self.thresholds())[:2]}
        numbers["image distance over plain"] = numbers["image distance over plain, lbfgs"]
        rows = {"clean": x, "mixed with noise": found[0]["plain"].images["corrupted"]}
        for kind in makes:
            rows[f"{kind}: copy"] = found[0][kind].images["reconstruction"]
            rows[f"{kind}: restored"] = found[0][kind].images["restored"]
        inverted = {"photographs": some}
        inverted |= {
            f"{kind}, {name}": found[0][f"{kind}, {name}"].images["found"] for name in methods for kind in makes
        }
        return Finding(numbers, {"copies": first(rows), "representations": first(inverted)})


STATES = ("trained", "untrained")


def few(lab: Lab, x: Images) -> Images:
    """As many images as can be looked for in minutes, evenly taken: 8 at the cpu budget."""
    return x[:: max(1, len(x) // max(4, lab.budget.measured // 16))]


def at_most(lab: Lab, steps: int) -> int:
    """So many steps, and fewer where the budget is smaller than cpu."""
    return min(steps, lab.budget.scaled(steps))


def descent(lab: Lab) -> Inversion:
    """The plain descent of the essay's script, from a grey image and with the statistics that the text has."""
    script = Inversion.unet_representations()
    return replace(script, steps=at_most(lab, script.steps), start="constant", mean=START, statistics="batch")


def curved(lab: Lab) -> Inversion:
    """L-BFGS from a grey image, with the statistics of the batch."""
    return Inversion(steps=at_most(lab, 60), start="constant", mean=START, statistics="batch")


def seen(readings: list[Reading]) -> dict[str, Estimate]:
    """What was found from an output, seed by seed, in numbers."""
    numbers = [r.numbers for r in readings]
    grey = [torch.full_like(r.images["target"], START) for r in readings]
    gone = [distance(r.images["found"], g) for r, g in zip(readings, grey, strict=True)]
    whole = [distance(r.images["target"], g) for r, g in zip(readings, grey, strict=True)]
    return {
        "noise": statistics.mean([n["noise"] for n in numbers]),
        "noise in the image itself": statistics.mean([noise_level(r.images["found"]) for r in readings]),
        "image distance": statistics.mean([n["image"] for n in numbers]),
        "psnr": statistics.mean([n["psnr"] for n in numbers]),
        "way gone": statistics.ratio(gone, whole),
        "output distance over reference": statistics.ratio(
            [n["layer"] for n in numbers], [n["layer, reference"] for n in numbers]
        ),
    }


@torch.no_grad()
def answered(model: Autoencoder, reading: Reading) -> Reading:
    """The output itself in place of the image that was looked for."""
    target, noisy = reading.images["target"], reading.images["corrupted"]
    with model.using("batch"):
        output = model(noisy)
    errors: dict[str, Tensor] = {"image": distance(output, target), "corruption": distance(noisy, target)}
    return Reading(errors, {"found": output})
