"""The essay's section on attention: what does it copy, what does it denoise, and what does it cost?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from copyfold import pictures
from copyfold.claims.normalisation.no_norm_no_noise import SEARCHING
from copyfold.claims.representation.looks_gaussian import settled
from copyfold.corruptions import Gaussian, Mix
from copyfold.measures import mse
from copyfold.models.attention import Attention, AttentionUNet, SingleAttention
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.geometry import IdentityGap
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.networks import WIDE, probed, restored, unet
from copyfold.types import Images

SECTION = 'essay, "Representations in Unet generative models with Attention"'
SHOWN = 8
STEPS = 800  # batches of 16 that a single attention learns from
INVERTED = 16  # images whose representation is looked for
MAPS = 64
LEFT = "output over reference noise"


def single(kind: Attention, channels: int | None = MAPS) -> Make:
    """One attention between convolutions of 64 maps, or alone."""
    return partial(SingleAttention, kind=kind, channels=channels)


def look(lab: Lab, model: Autoencoder, x: Images, seed: int) -> Reading:
    """How a model copies, denoises with the statistics of the batch, and represents.

    Numbers per image: "copying", "error" and "nothing", squared errors of a clean image, of one mixed with noise
    and of the mix itself; "passed", the share of noise of std 0.1 that comes out again. For a few of the images,
    those of `images`: "representation" and "reference", the distances per value of the image that is found for the
    same output (60 steps of L-BFGS, running statistics), and of one with noise of std 1/18; "left" and "beside",
    how far the outputs of both are from the one that is sought.
    """
    noisy = Mix()(x, lab.rng(seed, "mix"))
    output = restored(model, noisy)
    few = slice(0, None, max(1, len(x) // INVERTED))
    inverted = Inversion(steps=lab.budget.scaled(60))(model, x[few], lab.rng(seed, "start"))
    gap = probed(IdentityGap(Gaussian(0.1), draws=0, statistics="batch"), model, x, lab.rng(seed, "gaussian"))
    size = math.sqrt(x[0].numel())
    numbers = {
        "copying": mse(restored(model, x), x),
        "error": mse(output, x),
        "nothing": mse(noisy, x),
        "passed": gap.numbers["passed"],
        "representation": inverted.numbers["image"] / size,
        "reference": inverted.numbers["image, reference"] / size,
        "left": inverted.numbers["layer"],
        "beside": inverted.numbers["layer, reference"],
    }
    images = {"clean": x, "mixed": noisy, "output": output}
    shown = {name: y[few][:SHOWN] for name, y in images.items()} | {"found": inverted.images["found"][:SHOWN]}
    return Reading(numbers, shown)


def summary(found: Mapping[str, list[Reading]]) -> dict[str, Estimate]:
    """What `look` says of every network over all seeds.

    Where the output over reference noise is above 1, the search has not ended, and the error of the representation
    may be the search's own; where it is far below and that error is large, the network has lost the image.
    """
    numbers: dict[str, Estimate] = {}
    for name, readings in found.items():
        of = {number: [r.numbers[number] for r in readings] for number in readings[0].numbers}
        numbers |= {
            f"error over doing nothing {name}": statistics.ratio(of["error"], of["nothing"]),
            f"noise passed {name}": statistics.mean(of["passed"]),
            f"copying error {name}": statistics.mean(of["copying"]),
            f"representation error {name}": statistics.mean(of["representation"]),
            f"representation over reference noise {name}": statistics.ratio(of["representation"], of["reference"]),
            f"{LEFT} {name}": statistics.ratio(of["left"], of["beside"]),
        }
    return numbers


def searched(*names: str) -> dict[str, Control]:
    """That the searches for the representations of these networks have ended."""
    return {f"{LEFT} {name}": (Below(1.0), SEARCHING) for name in names}


def rows(found: Mapping[str, list[Reading]]) -> dict[str, Images]:
    """The first seed's images: clean, mixed, then each network's output and what it takes for the clean image."""
    first = {name: readings[0].images for name, readings in found.items()}
    shared = next(iter(first.values()))
    each = {f"{name}: {what}": images[what] for name, images in first.items() for what in ("output", "found")}
    return {"clean": shared["clean"], "mixed with noise": shared["mixed"]} | each


def gather(lab: Lab, kinds: Mapping[str, tuple[Make, int, float]], untrained: str) -> dict[str, list[Reading]]:
    """Networks trained on landscapes, each for its steps at its rate, looked at; one of them untrained as well."""
    photos = lab.photos("landscapes")
    x, seen = lab.images(photos), lab.images(photos, "train")

    def measure(seed: int) -> dict[str, Reading]:
        models = {
            name: lab.trained(make, photos, seed, steps=steps, lr=lr) for name, (make, steps, lr) in kinds.items()
        }
        models["untrained"] = settled(lab.untrained(kinds[untrained][0], photos, seed), seen)
        return {name: look(lab, model, x, seed) for name, model in models.items()}

    found = lab.each(measure)
    return {name: [readings[name] for readings in found] for name in found[0]}


@dataclass(frozen=True)
class LinearAttentionCopies(Study):
    """One linear attention between convolutions learns to copy: it denoises poorly.

    With 64 maps, such networks learn to copy landscapes in 800 batches of 16; the attention is the script's.
    Its representation is the image, sought from noise, whose output is that of a held-out image. "Near-perfect" is
    nearer to it than the same image with noise of std 1/18, the essay's own measure. "Denoises poorly" is that of
    the squared error of an image mixed half and half with noise N(0.7, 0.2^2) more than half stays, and that more
    than half of weak noise (std 0.1) comes out again. Batch norm uses the statistics of the batch, as in the
    essay, and running ones for the representation.

    Controls: the U-Net without skips, which is said to do the opposite; the untrained network; and linear
    attention with the kernel elu + 1 of the paper that the essay cites.

    In the figure, rows from the top: clean, mixed, and of each network its output and its representation.
    """

    claim: ClassVar[str] = "T25"
    place: ClassVar[str] = f"{SECTION}: the paragraph on just one linear attention, and the figure after it"
    items: ClassVar[tuple[int, ...]] = (127, 152)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Linear attention is a way around the bottleneck: where it bridges a U-Net, what is copied "
        "there is not learned below.",
        Verdict.MIXED: "Seeing everything and passing noise on are two things here: look at which one holds.",
        Verdict.FAILS: "A linear attention does not copy: it may bridge a network that is meant to denoise.",
    }

    representation_over_reference_noise_linear_attention: Below = Below(1.0)
    error_over_doing_nothing_linear_attention: Above = Above(0.5)
    noise_passed_linear_attention: Above = Above(0.5)

    controls: ClassVar[Mapping[str, Control]] = searched("linear attention", "U-Net")

    def measure(self, lab: Lab) -> Finding:
        """Look at both kinds and at the U-Net."""
        steps = lab.budget.scaled(STEPS)
        kinds = {
            "linear attention": (single("softmax"), steps, 1e-3),
            "elu attention": (single("elu"), steps, 1e-3),
            "U-Net": (unet(lab), lab.budget.steps, 1e-3),
        }
        found = gather(lab, kinds, "linear attention")
        numbers = summary(found)
        return Finding(numbers, {"images": pictures.comparison(rows({name: found[name] for name in kinds}))})


@dataclass(frozen=True)
class DotProductLessAccurate(Study):
    """Dot-product attention represents its input less accurately than the linear one.

    One attention between convolutions of 64 maps learns to copy landscapes, in 800 batches of 16 for each kind.
    The number is the distance from held-out images to what the networks take for them (60 steps of L-BFGS from
    noise, running statistics), that of the dot product over that of the linear one.

    Controls: a second learning rate, 3e-4 beside 1e-3, both fixed beforehand, as an order that turns with the rate
    says nothing of attention; the linear attention with elu + 1, which has no norm after it, as the dot product
    has none; the untrained dot product; and the errors of copying.

    In the figure, rows from the top: clean, mixed, and of each network its output and its representation.
    """

    claim: ClassVar[str] = "T26"
    place: ClassVar[str] = f"{SECTION}: the sentence on limiting the input resolution to 32^2, and its figure"
    items: ClassVar[tuple[int, ...]] = (128, 152)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Where detail must get through an attention, take the linear one: it sees more for less.",
        Verdict.MIXED: "Which attention sees more is a matter of the learning rate, and not of its kind.",
        Verdict.FAILS: "Linear attention buys speed here, and no accuracy.",
    }

    representation_error_dot_over_linear: Above = Above(1.0)
    representation_error_dot_over_linear_lower_rate: Above = Above(1.0)

    controls: ClassVar[Mapping[str, Control]] = searched(
        *(f"{kind}{end}" for end in ("", " lower rate") for kind in ("linear attention", "dot product"))
    )

    def measure(self, lab: Lab) -> Finding:
        """Look at every kind, at both rates."""
        steps = lab.budget.scaled(STEPS)
        kinds = {
            "linear attention": (single("softmax"), steps, 1e-3),
            "dot product": (single("dot"), steps, 1e-3),
            "elu attention": (single("elu"), steps, 1e-3),
            "linear attention lower rate": (single("softmax"), steps, WIDE),
            "dot product lower rate": (single("dot"), steps, WIDE),
        }
        found = gather(lab, kinds, "dot product")
        numbers = summary(found)
        for end in ("", " lower rate"):
            for what, number in (("representation error", "representation"), ("copying error", "copying")):
                dot, linear = (
                    [r.numbers[number] for r in found[f"{kind}{end}"]]
                    for kind in ("dot product", "linear attention")
                )
                numbers[f"{what} dot over linear{end}"] = statistics.ratio(dot, linear)
        dot, elu = ([r.numbers["representation"] for r in found[k]] for k in ("dot product", "elu attention"))
        numbers["representation error dot over elu"] = statistics.ratio(dot, elu)
        shown = {name: found[name] for name in ("linear attention", "dot product", "elu attention")}
        return Finding(numbers, {"images": pictures.comparison(rows(shown))})


@dataclass(frozen=True)
class AttentionInSkipsDenoisesPoorly(Study):
    """A U-Net with linear attention in its skips is not very effective at denoising.

    It learns to copy landscapes, with as many channels, halvings and steps as the U-Net without skips. Held-out
    images are mixed half and half with noise N(0.7, 0.2^2) and restored with the statistics of batches of 16. "Not
    very effective" is that more than half of the squared error stays, and that it errs more than the U-Net
    without skips.

    Controls: a U-Net with plain skips, as it may be the skips and not the attention in them that let noise
    through; the untrained network; and the share of weak noise that comes out again, which knows no brightness.

    In the figure, rows from the top: clean, mixed, and of each network its output and its representation.
    """

    claim: ClassVar[str] = "attention-unet"
    place: ClassVar[str] = f"{SECTION}: the sentence and the figure under the diagram of the attention U-Net"
    items: ClassVar[tuple[int, ...]] = (126, 152)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Attention in the skips undoes what leaving skips out did: copying is all that is learned.",
        Verdict.MIXED: "It denoises less than the U-Net without skips, or little, but not both: see the numbers.",
        Verdict.FAILS: "Skips through attention do not cost the denoising that copying brings.",
    }

    error_over_doing_nothing_attention_unet: Above = Above(0.5)
    error_attention_unet_over_unet: Above = Above(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Look at U-Nets with each kind of skips."""
        sizes = {"width": lab.budget.width, "depth": lab.budget.depth}
        kinds = {
            "attention unet": (partial(AttentionUNet, **sizes), lab.budget.steps, 1e-3),
            "unet without skips": (unet(lab), lab.budget.steps, 1e-3),
            "unet with skips": (unet(lab, skips="concat"), lab.budget.steps, 1e-3),
        }
        found = gather(lab, kinds, "attention unet")
        numbers = summary(found)
        errors = {name: [r.numbers["error"] for r in readings] for name, readings in found.items()}
        with_attention = errors["attention unet"]
        numbers |= {
            "error attention unet over unet": statistics.ratio(with_attention, errors["unet without skips"]),
            "error attention unet over unet with skips": statistics.ratio(
                with_attention, errors["unet with skips"]
            ),
        }
        return Finding(numbers, {"images": pictures.comparison(rows({name: found[name] for name in kinds}))})
