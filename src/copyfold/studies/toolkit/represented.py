"""What layers of networks that have learned to copy represent of an image: measured once for all claims.

Of every network held-out images at four of its layers, in two ways. "Near" the image: the share of white noise
that a layer does not see (`search.near_image`), by a search from the image with noise, which arrives in untrained
networks too. "Found": images with the same output, searched from plain ones far from the image
(`search.representation`), which have an answer where searches from two starts arrive; what is concluded of them
has to be so from both (`representations.either`). In untrained U-Nets searches come to rest far from the target,
from every start and by every method that was tried, and are not asked for. Everything is with running statistics,
with which an image does not depend on others.

U-Nets are skips="none", whose stages cost two thirds of those of the essay's network, which receive their own
input twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
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
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.attention import MAPS, single_attention
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import copying, principal_part
from copyfold.studies.toolkit.denoising import share
from copyfold.studies.toolkit.networks import (
    DENSE,
    LARGE,
    WIDE,
    overcomplete,
    restored,
    unet,
    with_running_averages,
)
from copyfold.studies.toolkit.search import near_image, representation
from copyfold.studies.toolkit.training import copier
from copyfold.types import Images, Shape

Way: TypeAlias = Literal["found", "near"]
"""By a search from far away, or from the image with noise."""
WAYS: tuple[Way, ...] = ("found", "near")

COUNT, DEAR = 16, 8  # images whose representations are computed; where a step takes half a second
SIDE = 32  # pixels of images of U-Nets, where the budget has no fewer
SMALL = 16  # of those of perceptrons
QUARTER = 4  # of an image's numbers the known layers keep one in so many
HUNDRED, BEATEN = 100, 0.105  # numbers of the hidden module's code; what PCA of as many leaves of CIFAR-10
SEED = "seed"  # a number of every reading, by which those of several networks are paired
NOISE = Gaussian(0.2)  # that networks are asked to remove
IDENTITY, RANDOM, PCA, PCA_100 = "identity", "random quarter", "PCA, a quarter", "PCA of 100 components"
KNOWN = (IDENTITY, RANDOM, PCA)
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
    """A network, its images, its training until it leaves so little of others, and four of its layers.

    `near` are those at which the noise near an image is measured, before training too where `untrained` is set;
    `found` those from which images are found, by the state of the network.
    """

    make: Make
    layers: Sequence[str] = STAGES
    data: str = "landscapes"
    side: int = SIDE
    left: float = 0.02
    steps: int | None = None  # of the first training; the budget's
    most: int | None = None  # of the longest; four times the first
    plan: Mapping[str, Any] = field(default_factory=dict[str, Any])
    untrained: bool = False  # measured before training too
    near: Sequence[str] | None = None  # of the layers: all, unless given
    found: Mapping[str, Sequence[str]] = field(default_factory=lambda: {TRAINED: (OUTPUT,)})
    count: int = COUNT

    def photos(self, lab: Lab) -> Photos:
        """Its images."""
        return lab.photos(self.data, min(self.side, lab.budget.side))


def networks(lab: Lab) -> dict[str, Network]:
    """The networks by name.

    The halving perceptron and the overcomplete one, which has as many layers, learn CIFAR-10 at 16 pixels: a
    perceptron needs its 50,000 images to copy others than it was trained on. What decides of them is measured
    before training; they are trained for 10,000 steps, whatever they leave then (PCA of as many numbers as the
    halving one's code leaves less, which the page says), to be shown beside. The narrow U-Net's code has two
    thirds of the image's numbers, as its maps are of 8, 16 and 32 channels; those of the others are longer than
    the image. A step of training takes 55 ms of a U-Net of depth 2 (16 images), about 10 of a perceptron (64 of
    them), 350 with the dot product: of that one only the output is measured, and of both attentions 8 images.
    """
    plain, scaled = partial(unet, lab, depth=2, skips="none"), lab.budget.scaled
    maps = min(MAPS, 2 * lab.budget.width)
    one = partial(Network, layers=PARTS, steps=scaled(400), count=DEAR)
    colour = partial(Network, data="cifar10")
    perceptron = partial(
        Network, layers=LINES, data="cifar10", side=SMALL, steps=scaled(10_000), most=scaled(10_000),
        plan={"batch": 64, "lr": WIDE}, untrained=True, found={TRAINED: LINES, UNTRAINED: LINES},
    )  # fmt: skip
    return {
        U_NET: Network(plain(), untrained=True),
        NO_NORM: Network(plain(norm="none")),
        COLOUR: colour(plain(), untrained=True),
        HIDDEN: colour(
            plain(middle=Affine()),
            left=BEATEN,
            steps=scaled(1500),
            most=scaled(6000),
            plan={"batch": 64, "lr": DENSE},
        ),
        LINEAR: one(single_attention("softmax", maps)),
        DOT: one(single_attention("dot", maps), near=(OUTPUT,)),
        HALVING: perceptron(halving),
        OVERCOMPLETE: perceptron(overcomplete(lab)),
        NARROW: colour(plain(width=max(2, lab.budget.width // 4)), left=0.05, untrained=True),
    }


def halving(shape: Shape) -> MLP:
    """A perceptron whose layers halve on the way to the code."""
    n = prod(shape)
    return MLP(shape, [n // 2, n // 4], n // 8, activation="gelu", code_activation="gelu")


def network(lab: Lab, name: str, seed: int) -> Autoencoder:
    """The trained network: the same for every claim."""
    of = networks(lab)[name]
    plan: dict[str, Any] = dict(of.plan)
    if "batch" in plan:
        plan["batch"] = min(plan["batch"], len(of.photos(lab)))
    return copier(lab, of.make, of.photos(lab), seed, of.left, of.steps, of.most, **plan)


def few(lab: Lab, photos: Photos, count: int = COUNT) -> Images:
    """The images that are represented: 16 unless given, or fewer where the budget has fewer."""
    return lab.images(photos, count=min(count, lab.budget.measured))


def measured(lab: Lab, name: str, seed: int) -> Reading:
    """All that is measured of one network and seed: from the cache, where it has been measured before.

    Numbers per image are called "WAY WHAT; STATE; LAYER": WAY is "found" or "near"; WHAT as
    `search.representation` and `search.near_image` have it, NaN without an answer; STATE "trained" or "untrained";
    LAYER a name of `Network.layers`. "WAY WHAT; KNOWN" are of maps whose representation is known: the identity, a
    random layer that keeps a quarter of the numbers, PCA with as many, and with 100. "error; WHO", "nothing; WHO"
    and "passed; WHO" are squared errors of images with noise of std 0.2, with and without the map, and the share
    of the noise that passes: of the trained network, the identity and PCA. Also how the network copies, and its
    "seed". Images "photographs", and "WAY; STATE; LAYER".
    """
    of, folder = networks(lab)[name], f"represented-by-{dashed(name)}"
    photos = of.photos(lab)

    def look(seed: int) -> Reading:
        model, x = network(lab, name, seed), few(lab, photos, of.count)
        states: dict[str, Autoencoder] = {TRAINED: model}
        if of.untrained:
            blank, seen = lab.untrained(of.make, photos, seed), lab.images(photos, "train", 2 * LARGE)
            states[UNTRAINED] = with_running_averages(blank, seen)
        numbers, images = copying(lab, name, model, photos), {"photographs": x[:SHOWN]}
        numbers[SEED] = torch.tensor(float(seed))
        hundred = principal_part(lab, photos, HUNDRED)
        known = known_layers(lab, photos, seed) | {PCA_100: hundred}
        for who, one in {TRAINED: model, IDENTITY: same(photos.shape), PCA_100: hundred}.items():
            numbers |= {f"{what}; {who}": value for what, value in denoised(lab, one, photos, seed).items()}
        for who, layer in known.items():
            for way in WAYS:
                part = represented(lab, way, layer, OUTPUT, x, seed).numbers
                numbers |= {f"{what}; {who}": value for what, value in part.items()}
        for way, state, layer in asked(of):

            def search(seed: int, way: Way = way, one: Autoencoder = states[state], at: str = layer) -> Reading:
                return represented(lab, way, one, at, x, seed)

            part = lab.shared(f"{folder}-{way}-{state}-{layer or 'output'}", seed, (photos,), search)
            numbers |= {f"{what}; {state}; {layer}": value for what, value in part.numbers.items()}
            images |= {f"{of_way}; {state}; {layer}": shown for of_way, shown in part.images.items()}
        return Reading(numbers, images)

    return lab.shared(folder, seed, (photos,), look)


def asked(of: Network) -> list[tuple[Way, str, str]]:
    """What is measured of a network: the ways, states and layers."""
    states = (TRAINED, UNTRAINED) if of.untrained else (TRAINED,)
    layers: dict[Way, Callable[[str], Sequence[str]]] = {
        "near": lambda _: of.layers if of.near is None else of.near,
        "found": lambda state: of.found.get(state, ()),
    }
    return [(way, state, layer) for way in WAYS for state in states for layer in layers[way](state)]


def represented(lab: Lab, way: Way, model: nn.Module, layer: str, x: Images, seed: int) -> Reading:
    """What a layer represents of each image in one way: numbers "WAY WHAT" and the first images, "WAY".

    With the same noise for every layer and network of a seed. It may take minutes: let the lab keep it.
    """
    rng = lab.rng(seed, "representation")
    found = near_image(model, layer, x, rng) if way == "near" else representation(lab, model, layer, x, rng)
    numbers = {f"{way} {what}": value for what, value in found.numbers.items()}
    return Reading(numbers, {way: found.images["found"][:SHOWN].clone()})


def both_ways(lab: Lab, model: nn.Module, layer: str, photos: Photos, seed: int) -> Reading:
    """What a layer represents of each image, found by the search and near the image: with one reference."""
    ways = [represented(lab, way, model, layer, few(lab, photos), seed) for way in WAYS]
    numbers = {what: value for r in ways for what, value in r.numbers.items()}
    return Reading(numbers, {way: shown for r in ways for way, shown in r.images.items()})


@torch.no_grad()
def denoised(lab: Lab, model: Autoencoder, photos: Photos, seed: int) -> dict[str, Tensor]:
    """Squared errors of images with noise, as they are and restored, and the share of the noise that passes."""
    x = lab.images(photos)
    noisy = NOISE(x, lab.rng(seed, "noise"))
    output, quiet = (restored(model, y, LARGE, "running") for y in (noisy, x))
    return {"error": mse(output, x), "nothing": mse(noisy, x), "passed": share(output - quiet, noisy - x)}


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


def dashed(name: str) -> str:
    """The name of a network as part of a file's."""
    return name.lower().replace(" ", "-")
