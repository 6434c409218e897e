"""What layers of networks that have learned to copy represent of an image: measured once for all claims.

Of every network 16 held-out images at four of its layers, in two ways: "found" by the search of all claims
(`search.representation`), which has no answer where it does not reach its target; and "near" the image, of the
layer's linearisation (`search.near_image`), which always has one. The second exists because the first does not in
untrained networks: their searches come to rest far from the target, from every start and by every method that was
tried, so that what was found there said nothing of the layer. Everything is with running statistics, with which an
image does not depend on others.

U-Nets are skips="none": the functions are those of the essay's network, whose stages receive their own input
twice, at two thirds of the cost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite, prod
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from copyfold.corruptions import Gaussian
from copyfold.data import Photos
from copyfold.measures import mse
from copyfold.models.adoption import adopt
from copyfold.models.base import Autoencoder
from copyfold.models.dense import MLP, Linear
from copyfold.models.unet import Affine
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Control, Estimate
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.attention import MAPS, single_attention
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import MARK, copying, principal
from copyfold.studies.toolkit.networks import LARGE, WIDE, projection, restored, unet, with_running_averages
from copyfold.studies.toolkit.search import near_image, representation
from copyfold.studies.toolkit.training import copier
from copyfold.types import Images, Shape

Way: TypeAlias = Literal["found", "near"]
"""By a search, or of the layer's linearisation near the image."""

COUNT = 16  # images whose representations are computed
SIDE = 32  # pixels of images of U-Nets, where the budget has no fewer
SMALL = 16  # of those of perceptrons
QUARTER = 4  # of an image's numbers the known layers keep one in so many
HUNDRED, BEATEN = 100, 0.105  # numbers of the hidden module's code; what PCA of as many leaves of CIFAR-10
ROUNDING = 255**-1 * 12**-0.5  # std of what 8 bits round off, in units of the range
NOISE = Gaussian(0.2)  # that networks are asked to remove
IDENTITY, RANDOM, PCA, PCA_100 = "identity", "random quarter", "PCA, a quarter", "PCA of 100 components"
TRAINED, UNTRAINED = "trained", "untrained"

U_NET, NO_NORM = "U-Net", "U-Net without norm"
COLOUR, HIDDEN = "U-Net in colour", "hidden module"
LINEAR, DOT = "linear attention", "dot product"
HALVING, OVERCOMPLETE, NARROW = "halving perceptron", "overcomplete perceptron", "narrow U-Net"
STAGES = ("encoder.down1", "encoder.down2", "decoder.up1", "")  # of a U-Net of depth 2; the last is its output
PARTS = ("encoder.conv", "encoder.attention", "decoder.conv", "")  # of one attention between convolutions
LINES = ("encoder.3", "encoder.6", "encoder.8", "")  # of a perceptron: after each layer's activation, and output
OUTPUT = ""


@dataclass(frozen=True)
class Network:
    """A network, its images, its training until it leaves so little of others, and four of its layers."""

    make: Make
    layers: Sequence[str] = STAGES
    data: str = "landscapes"
    side: int = SIDE
    left: float = 0.02
    steps: int | None = None  # of the first training; the budget's
    most: int | None = None  # of the longest; four times the first
    plan: Mapping[str, Any] = field(default_factory=dict[str, Any])
    untrained: bool = False  # measured before training too

    def photos(self, lab: Lab) -> Photos:
        """Its images."""
        return lab.photos(self.data, min(self.side, lab.budget.side))


def networks(lab: Lab) -> dict[str, Network]:
    """The networks by name.

    The halving perceptron and the overcomplete one, which has as many layers, learn CIFAR-10 at 16 pixels: a
    perceptron needs its 50,000 images to copy others than it was trained on. The narrow U-Net's code has two
    thirds of the image's numbers, as its maps are of 8, 16 and 32 channels; those of the others are longer than
    the image. A step takes 55 ms of a U-Net of depth 2 (16 images), and about 10 of a perceptron (64 of them).
    """
    plain, scaled = partial(unet, lab, depth=2, skips="none"), lab.budget.scaled
    maps = min(MAPS, 2 * lab.budget.width)
    one = partial(Network, layers=PARTS, steps=scaled(400))
    colour = partial(Network, data="cifar10")
    perceptron = partial(
        Network, layers=LINES, data="cifar10", side=SMALL, left=0.08, steps=scaled(10_000),
        plan={"batch": 64, "lr": WIDE}, untrained=True,
    )  # fmt: skip
    return {
        U_NET: Network(plain(), untrained=True),
        NO_NORM: Network(plain(norm="none")),
        COLOUR: colour(plain()),
        HIDDEN: colour(plain(middle=Affine()), left=BEATEN, steps=scaled(9000), most=scaled(18_000)),
        LINEAR: one(single_attention("softmax", maps)),
        DOT: one(single_attention("dot", maps)),
        HALVING: perceptron(halving),
        OVERCOMPLETE: perceptron(as_deep(lab)),
        NARROW: colour(plain(width=max(2, lab.budget.width // 4)), left=0.03, untrained=True),
    }


def halving(shape: Shape) -> MLP:
    """A perceptron whose layers halve on the way to the code."""
    n = prod(shape)
    return MLP(shape, [n // 2, n // 4], n // 8, activation="gelu", code_activation="gelu")


def as_deep(lab: Lab) -> Make:
    """A perceptron of as many layers, each wider than the image."""

    def make(shape: Shape) -> MLP:
        units = round(lab.budget.hidden * prod(shape))
        return MLP(shape, [units, units], units, activation="gelu", code_activation="gelu")

    return make


def network(lab: Lab, name: str, seed: int) -> Autoencoder:
    """The trained network: the same for every claim."""
    of = networks(lab)[name]
    plan: dict[str, Any] = dict(of.plan)
    if "batch" in plan:
        plan["batch"] = min(plan["batch"], len(of.photos(lab)))
    return copier(lab, of.make, of.photos(lab), seed, of.left, of.steps, of.most, **plan)


def few(lab: Lab, photos: Photos) -> Images:
    """The images that are represented: 16, or fewer where the budget has fewer."""
    return lab.images(photos, count=min(COUNT, lab.budget.measured))


def measured(lab: Lab, name: str, seed: int) -> Reading:
    """All that is measured of one network and seed: from the cache, where it has been measured before.

    Numbers per image are called "WAY WHAT; STATE; LAYER": WAY is "found" or "near"; WHAT as
    `search.representation` has it, NaN without an answer; STATE "trained" or "untrained"; LAYER a name of
    `Network.layers`. "near WHAT; KNOWN" are of maps whose representation is known: the identity, a random layer
    that keeps a quarter of the numbers, and PCA with as many, or with 100. "error; WHO", "nothing; WHO" and
    "passed; WHO" are squared errors of images with noise of std 0.2, with and without the map, and the share of
    the noise that passes: of the trained network, the identity and PCA. Also how the network copies. Images
    "photographs", and "WAY; STATE; LAYER".
    """
    of, folder = networks(lab)[name], f"represented-by-{dashed(name)}"
    photos = of.photos(lab)

    def look(seed: int) -> Reading:
        model, x = network(lab, name, seed), few(lab, photos)
        states: dict[str, Autoencoder] = {TRAINED: model}
        if of.untrained:
            blank, seen = lab.untrained(of.make, photos, seed), lab.images(photos, "train", 2 * LARGE)
            states[UNTRAINED] = with_running_averages(blank, seen)
        numbers, images = copying(lab, name, model, photos), {"photographs": x[:SHOWN]}
        restorers = {TRAINED: model, IDENTITY: same(photos.shape), PCA_100: principal_part(lab, photos, HUNDRED)}
        for who, one in restorers.items():
            numbers |= {f"{what}; {who}": value for what, value in denoised(lab, one, photos, seed).items()}
        numbers |= {
            f"near {what}; {PCA_100}": value
            for what, value in numbers_of(restorers[PCA_100], x, lab, seed).items()
        }
        for state, one in states.items():
            for layer in of.layers:

                def search(seed: int, one: Autoencoder = one, layer: str = layer) -> Reading:
                    return both_ways(lab, one, layer, photos, seed)

                part = lab.shared(f"{folder}-{state}-{layer or 'output'}", seed, (photos,), search)
                numbers |= {f"{what}; {state}; {layer}": value for what, value in part.numbers.items()}
                images |= {f"{way}; {state}; {layer}": shown for way, shown in part.images.items()}
        for known, layer in known_layers(lab, photos, seed).items():
            numbers |= {f"near {what}; {known}": value for what, value in numbers_of(layer, x, lab, seed).items()}
        return Reading(numbers, images)

    return lab.shared(folder, seed, (photos,), look)


def both_ways(lab: Lab, model: nn.Module, layer: str, photos: Photos, seed: int) -> Reading:
    """What a layer represents of each image, found by the search and near the image: with one reference.

    Numbers "WAY WHAT" and the first images, "WAY". It takes minutes: let the lab keep it.
    """
    x = few(lab, photos)
    ways: dict[Way, Reading] = {
        "found": representation(lab, model, layer, x, lab.rng(seed, "representation")),
        "near": near_image(model, layer, x, lab.rng(seed, "representation")),
    }
    numbers = {f"{way} {what}": value for way, r in ways.items() for what, value in r.numbers.items()}
    return Reading(numbers, {way: r.images["found"][:SHOWN].clone() for way, r in ways.items()})


@torch.no_grad()
def denoised(lab: Lab, model: Autoencoder, photos: Photos, seed: int) -> dict[str, Tensor]:
    """Squared errors of images with noise, as they are and restored, and the share of the noise that passes."""
    x = lab.images(photos)
    noisy = NOISE(x, lab.rng(seed, "noise"))
    output, quiet = (restored(model, y, LARGE, "running") for y in (noisy, x))
    noise = noisy - x
    passed = ((output - quiet) * noise).flatten(1).sum(1) / noise.square().flatten(1).sum(1)
    return {"error": mse(output, x), "nothing": mse(noisy, x), "passed": passed}


def known_layers(lab: Lab, photos: Photos, seed: int) -> dict[str, nn.Module]:
    """Maps whose representation is known: all of the image, nothing, a random quarter, and the best quarter."""
    size = prod(photos.shape)
    random = lab.untrained(partial(Linear, latent_dim=max(1, size // QUARTER)), photos, seed)
    return {
        IDENTITY: same(photos.shape).to(lab.device),
        RANDOM: random.encoder,
        PCA: principal_part(lab, photos, size // QUARTER).encoder,
    }


def same(shape: Shape) -> Autoencoder:
    """The identity."""
    return adopt(nn.Identity(), shape, encode="forward", decode=torch.Tensor.clone)


def fixed(function: Callable[[Images], Images], shape: Shape) -> Autoencoder:
    """A known function of images as an autoencoder, without parameters."""

    class Known(nn.Module):
        def forward(self, x: Images) -> Images:
            return function(x)

    return adopt(Known(), shape, encode="forward", decode=torch.Tensor.clone)


def principal_part(lab: Lab, photos: Photos, count: int) -> Linear:
    """PCA of the training images with this many components, or as many as these have."""
    mean, directions = principal(lab, photos)
    count = max(1, min(count, len(directions)))
    return projection(photos.shape, directions[:count], mean).to(lab.device)


def numbers_of(layer: nn.Module, x: Images, lab: Lab, seed: int) -> dict[str, Tensor]:
    """The numbers near each image of a whole map."""
    return near_image(layer, "", x, lab.rng(seed, "representation")).numbers


def picked(reading: Reading, layers: Sequence[str], others: bool = True) -> Reading:
    """What a claim on these layers keeps: numbers and images of them, of known maps, and the copying."""

    def kept(name: str) -> bool:
        parts = name.split("; ")
        return name.startswith(MARK) or (parts[-1] in layers if len(parts) == 3 else others or len(parts) == 1)

    return Reading(
        *({name: v for name, v in of.items() if kept(name)} for of in (reading.numbers, reading.images))
    )


def by_seed(lab: Lab, name: str, layers: Sequence[str], part: str = "") -> list[Reading]:
    """What a claim on these layers keeps of a network, of every seed; `part` as of `Lab.by_seed`."""
    return lab.by_seed(lambda seed: picked(measured(lab, name, seed), layers), part)


def dashed(name: str) -> str:
    """The name of a network as part of a file's."""
    return name.lower().replace(" ", "-")


def together(found: Mapping[str, Sequence[Reading]]) -> list[Reading]:
    """The numbers of several networks, seed by seed, called "NAME: WHAT"."""
    return [
        Reading({f"{name}: {k}": v for name, r in zip(found, each, strict=True) for k, v in r.numbers.items()})
        for each in zip(*found.values(), strict=True)
    ]


def of(found: Sequence[Reading], what: str) -> list[Tensor]:
    """One number of every seed's reading."""
    return [r.numbers[what] for r in found]


def median(found: Sequence[Reading], what: str) -> Estimate:
    """Its median over images."""
    return statistics.median(of(found, what))


def ratio(found: Sequence[Reading], a: str, b: str) -> Estimate:
    """The median over images of one number over that of another; below the rounding of 8 bits none is told "
    "apart."""
    return statistics.ratio_of_medians(*([x.clamp(min=ROUNDING) for x in of(found, what)] for what in (a, b)))


def answers(found: Sequence[Reading], what: str) -> Estimate:
    """The share of images that have one."""
    return statistics.fraction(of(found, what))


def summary(found: Sequence[Reading], where: Mapping[str, str]) -> dict[str, Estimate]:
    """For every place, called as the page has it: what is found and near, and the answers."""
    numbers: dict[str, Estimate] = {}
    for called, at in where.items():
        for way, words in (("near", "near the image"), ("found", "found")):
            numbers |= {
                f"{what} {words}, {called}": median(found, f"{way} {what}; {at}") for what in ("error", "noise")
            }
            numbers[f"answers {words}, {called}"] = answers(found, f"{way} answer; {at}")
        numbers[f"layer over reference, found, {called}"] = median(found, f"found layer over reference; {at}")
    return numbers


def known_numbers(found: Sequence[Reading]) -> dict[str, Estimate]:
    """Noise and error near the image of the maps that are known."""
    return {
        f"{what} near the image, {known}": median(found, f"near {what}; {known}")
        for what in ("noise", "error")
        for known in (IDENTITY, RANDOM, PCA)
    }


def sees() -> dict[str, Control]:
    """Controls: noise that must be there is seen, and none where none can be.

    A random layer that keeps a quarter of the numbers leaves noise of sqrt(1/4 3/4) of the distance from grey, a
    tenth of the range or more; 0.01, two and a half grey levels of 256, is what an eye can see.
    """
    return {
        f"noise near the image, {IDENTITY}": (Below(0.001), "The measure sees noise where all is represented."),
        f"noise near the image, {RANDOM}": (Above(0.01), "The measure does not see noise that must be there."),
    }


def answered(called: str, why: str = "") -> dict[str, Control]:
    """A control: more than half of the searches at this place have an answer."""
    said = why or "Half of the searches or more end elsewhere: what they found says little of the layer."
    return {f"answers found, {called}": (Above(0.5), said)}


def along(lines: Mapping[str, Sequence[Estimate]], names: Sequence[str], ylabel: str) -> Any:
    """A figure of a number along four layers; a point that has no answer is left out."""
    drawn = {
        name: ([i for i, e in enumerate(line, 1) if known(e)], [e for e in line if known(e)])
        for name, line in lines.items()
    }
    none = {"no answer": ([1], [Estimate(0.0, 0.0, 0.0, 0)])}
    return charts.curves(
        {name: of for name, of in drawn.items() if of[0]} or none, f"layer: {', '.join(names)}", ylabel
    )


def beside(images: Images, seen: Mapping[str, Mapping[str, Images]], at: str) -> Any:
    """The images, and what each network represents of them: found by the search, and near them."""
    ways = {"found": "found", "near": "near the image"}
    return charts.first_images(
        {"images": images}
        | {f"{kind}, {words}": of[f"{way}; {at}"] for way, words in ways.items() for kind, of in seen.items()}
    )


def known(found: Estimate) -> bool:
    """Whether a number has a value and an interval."""
    return all(isfinite(x) for x in (found.value, found.low, found.high))


def said(found: Estimate, digits: int = 3) -> str:
    """A number for a sentence; too few answers where it has no value."""
    return f"{found.value:.{digits}g}" if isfinite(found.value) else "(too few answers for a number)"
