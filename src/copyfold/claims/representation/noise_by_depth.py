"""What the essay says of depth: training makes layers depend on each other, and takes the noise out of them."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar, TypeAlias, TypeVar

import torch
from torch import Generator, Tensor, nn

from copyfold import pictures
from copyfold.claims.representation.looks_gaussian import SECTION, settled, unsettled
from copyfold.data import Photos
from copyfold.measures import noise_level, normality
from copyfold.models.base import Autoencoder
from copyfold.models.classifiers import CNN, ViT
from copyfold.models.dense import MLP
from copyfold.probes.base import Reading, tap
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.networks import WIDE, overcomplete, unet
from copyfold.training.classifying import fit_classifier
from copyfold.types import Images, Shape

SHOWN = 8
BATCH = 32  # of the classifiers
NAMES = {"cnn": "CNN", "vit": "ViT", "unet": "U-Net", "mlp": "halving", "overcomplete": "overcomplete"}

States: TypeAlias = Sequence[Mapping[str, nn.Module]]
"""For every seed: one network by its state, "untrained", "trained" and so on."""
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class NoiseByDepth(Study):
    r"""Deep layers of trained networks show less noise; the first block stays noisy.

    A small CNN and a small vision transformer learn to tell clothes apart (fashion_mnist); the plain U-Net
    learns to copy photographs. After each block the image is sought that it takes for a held-out one: 50 steps
    of L-BFGS at the cpu budget, from a constant, so that no noise comes from the start; and L-BFGS, unlike
    Adam, puts in none of its own. Noise is the std of what is white in a_g - a, in which fine texture that a_g
    has not counts too. At the first block it is that of the trained network: "noisy" is more than 0.01, two and a
    half grey levels. At the deepest block (of the U-Net, its output) it is trained over untrained: at most a half
    is left. The U-Net has running statistics; untrained, those of training photographs.

    Controls: "reordered" is the trained network whose layers hear the channels before them in another order.
    That changes no layer and breaks what ties them together: were its deep noise as low, dependence between
    layers would not be the reason. "Unsettled" is how far descent still is from the block's answer, over that
    answer's change by noise of std 1/18: where it is not small, noise may be what was not finished. "Partly" is
    a tenth of the training. "Noise, start" is of the constant that descent begins with, and so all texture. A note
    says how many numbers each first block has for one of the image: the essay's reason for its noise needs fewer
    than one.

    The first figure shows the noise block by block. The others show, from the top: images, and what the first and
    the last block take for them, untrained and trained.
    """

    claim: ClassVar[str] = "T12"
    place: ClassVar[str] = f"{SECTION}: the last paragraph, on block 1 and the deep layers of vision transformers"
    items: ClassVar[tuple[int, ...]] = (51, 82, 83, 143)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist", "landscapes")
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Training cleans what deep layers pass on, whatever the task, and leaves the first block.",
        Verdict.MIXED: "It depends on the network, or on the block: noise by depth is no sure sign of training.",
        Verdict.FAILS: "Noise by depth says nothing of training.",
    }

    first_block_cnn: Above = Above(0.01)
    first_block_vit: Above = Above(0.01)
    first_block_unet: Above = Above(0.01)
    deepest_block_cnn: Below = Below(0.5)
    deepest_block_vit: Below = Below(0.5)
    deepest_block_unet: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Invert every block of every network in every state."""
        clothes, photos = lab.labelled("fashion_mnist"), lab.photos("landscapes")
        width, dim = max(2, lab.budget.width // 2), 2 * lab.budget.width
        classes = int(clothes.labels.max()) + 1 if clothes.labels is not None else 0
        cnn = partial(CNN, classes=classes, widths=(width, 2 * width, 4 * width, 4 * width))
        vit = partial(ViT, classes=classes, dim=dim, mlp=2 * dim)
        down, up = (
            [f"{way}{k}" for k in range(1, lab.budget.depth + 1)] for way in ("encoder.down", "decoder.up")
        )
        networks: dict[str, tuple[Photos, States, list[str]]] = {
            "cnn": (clothes, classifiers(lab, cnn, clothes), [f"blocks.{i}" for i in range(4)]),
            "vit": (clothes, classifiers(lab, vit, clothes), [f"blocks.{i}" for i in range(6)]),
            "unet": (photos, unets(lab, photos), ["encoder.stem", *down, *up, ""]),
        }
        numbers: dict[str, Estimate] = {}
        lines: dict[str, list[Estimate]] = {}
        looks: dict[str, Any] = {}
        notes: list[str] = []
        for name, (images, states, layers) in networks.items():
            x = lab.images(images, count=max(SHOWN, lab.budget.measured // 8))
            seen = {
                state: [found(lab, [s[state] for s in states], layer, x) for layer in layers]
                for state in ("untrained", "trained")
            }
            for state, readings in seen.items():
                lines[f"{NAMES[name]}, {state}"] = [statistics.mean(noise(of_seeds)) for of_seeds in readings]
            controls = {
                state: found(lab, [s[state] for s in states], layers[-1], x)
                for state in states[0]
                if state not in seen
            }
            numbers |= _compared(f"first block {name}", {state: of[0] for state, of in seen.items()})
            numbers |= _compared(f"deepest block {name}", {state: of[-1] for state, of in seen.items()} | controls)
            numbers[f"noise, start, {name}"] = statistics.mean([noise_level(x)])  # a constant has none
            with torch.no_grad():
                size = tap(states[0]["trained"], layers[0], x[:1]).numel() / x[0].numel()
            notes.append(f"{NAMES[name]}: the first block has {size:.3g} numbers for each of the image")
            numbers[f"first block {name}"] = numbers[f"noise, first block {name}, trained"]
            numbers[f"deepest block {name}"] = numbers[f"over untrained, deepest block {name}, trained"]
            if name != "cnn":
                looks[name] = _looks(x, seen)
            if images is clothes:
                right = [accuracy(lab, s["trained"], clothes) for s in states]
                numbers[f"held-out images told apart, {name}"] = statistics.over_seeds(right)
        return Finding(numbers, {"noise": _by_block(lines), **looks}, notes=tuple(notes))


@dataclass(frozen=True)
class NarrowingInjects(Study):
    """Undercomplete layers put noise into the representation; training removes it.

    Two networks learn to copy photographs: a perceptron whose layers halve, n -> n/2 -> n/4 -> n/8 and back,
    and the plain U-Net, in which each pool leaves a quarter of the numbers. Before and after each narrowing
    layer the image is sought that the layer takes for a held-out one, by L-BFGS from a constant. Noise is the
    std of what is white in its error. "Added" is the noise of the untrained network at the code over that where
    nothing narrows: of the U-Net's stem; and, as there is nothing before the perceptron's first layer, of the
    code of the essay's overcomplete network, which is as deep. "Left" is the noise at the code, trained over
    untrained: at most a half.

    Controls: the overcomplete network, trained too, whose noise has no narrow layer to come from; "unsettled",
    how far descent still is from the code, over that code's change by noise of std 1/18; and "noise, start", of
    the constant that descent begins with, which is all fine texture of the photograph.

    The first figure shows the noise layer by layer; the second photographs, and what the codes take for them.
    """

    claim: ClassVar[str] = "injected"
    place: ClassVar[str] = 'essay, "Conclusion": what it means to train explicitly for a task'
    items: ClassVar[tuple[int, ...]] = (82, 83, 144)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "A new narrow network blurs its input with noise, and copying teaches it to take that out.",
        Verdict.MIXED: "Narrow layers and noise do not go together in every network, before training or after it: "
        "the conclusion's reason for denoising is at best a part of it.",
        Verdict.FAILS: "Narrow layers put no noise in, or training leaves it: denoising has another reason.",
    }

    added_mlp: Above = Above(1.0)
    added_unet: Above = Above(1.0)
    left_mlp: Below = Below(0.5)
    left_unet: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Invert before and after every narrowing layer."""
        photos = lab.photos("landscapes")
        x = lab.images(photos, count=max(SHOWN, lab.budget.measured // 8))
        dense = ["encoder.3", "encoder.6", "encoder.8"]  # the activations after each layer
        pools = [[f"encoder.down{k}.pool", f"encoder.down{k}"] for k in range(1, lab.budget.depth + 1)]
        layers = {
            "mlp": dense,
            "overcomplete": dense,
            "unet": ["encoder.stem", *(layer for pair in pools for layer in pair)],
        }

        def networks(seed: int) -> dict[str, dict[str, Autoencoder]]:
            return {
                "mlp": copiers(lab, halving, photos, seed, batch=64, lr=WIDE),
                "overcomplete": copiers(lab, overcomplete(lab), photos, seed, batch=64, lr=WIDE),
                "unet": copiers(lab, unet(lab), photos, seed),
            }

        models = lab.each(networks)
        numbers: dict[str, Estimate] = {}
        lines: dict[str, list[Estimate]] = {}
        at: dict[str, list[list[Reading]]] = {}
        for name in layers:
            for state in ("untrained", "trained"):
                case = f"{name}, {state}"
                at[case] = [found(lab, [m[name][state] for m in models], layer, x) for layer in layers[name]]
                line = [statistics.mean(noise(readings)) for readings in at[case]]
                lines[f"{NAMES[name]}, {state}"] = line
                blocks = [f"block {i} ({b.removeprefix('encoder.')})" for i, b in enumerate(layers[name], 1)]
                numbers |= {f"noise, {case}, {b}": e for b, e in zip(blocks, line, strict=True)}
                numbers[f"unsettled, {case}"] = unsettled(at[case][-1])
            left = [noise(at[f"{name}, {state}"][-1]) for state in ("trained", "untrained")]
            numbers[f"left {name}"] = statistics.ratio(*left)
        code = {name: noise(each[-1]) for name, each in at.items()}
        numbers["noise, start"] = statistics.mean([noise_level(x)])  # a constant has none
        numbers["added mlp"] = statistics.ratio(code["mlp, untrained"], code["overcomplete, untrained"])
        numbers["added unet"] = statistics.ratio(code["unet, untrained"], noise(at["unet, untrained"][0]))
        rows = {"photographs": x[:SHOWN]}
        for case, each in zip(lines, at.values(), strict=True):
            rows[f"code: {case}"] = each[-1][0].images["found"][:SHOWN]
        return Finding(numbers, {"noise": _by_block(lines), "images": pictures.comparison(rows)})


def found(lab: Lab, models: Sequence[nn.Module], layer: str, x: Images) -> list[Reading]:
    """What a layer takes for each image, for the network of every seed."""
    descend = Inversion(layer, lab.budget.scaled(50), start="constant")
    return [descend(model, x, lab.rng(0, "inversion")) for model in models]


def noise(readings: Sequence[Reading]) -> list[Tensor]:
    """The noise of each image's representation, for every seed."""
    return [r.numbers["noise"] for r in readings]


def classifiers(lab: Lab, make: Any, photos: Photos) -> States:
    """A classifier for every seed: as it begins, trained, and reordered."""
    x, y = lab.images(photos, "train", len(photos)), photos.labels
    batch = min(BATCH, len(x))
    epochs = max(1, round(lab.budget.steps * batch / len(x)))

    def states(seed: int) -> dict[str, nn.Module]:
        first = lab.untrained(make, photos, seed)
        trained = copy.deepcopy(first)
        if y is not None:
            fit_classifier(trained, x, y, epochs=epochs, batch=batch, seed=seed)
        return {
            "untrained": first,
            "trained": trained,
            "reordered": reordered(trained, lab.rng(seed, "reordered")),
        }

    return lab.each(states)


@torch.no_grad()
def accuracy(lab: Lab, model: nn.Module, photos: Photos) -> float:
    """The share of held-out images that a classifier gets right."""
    x = lab.images(photos, count=len(photos.held_out))
    given = torch.cat([model(part).argmax(1).cpu() for part in x.split(256)])
    return (given == torch.as_tensor(photos.held_out_labels)).double().mean().item()


@torch.no_grad()
def reordered(model: M, rng: Generator) -> M:
    """A copy of a network whose layers, but for the first, hear the channels before them in another order."""
    other = copy.deepcopy(model)
    heard: list[tuple[Tensor, int]] = []
    for module in other.modules():
        match module:
            case nn.ConvTranspose2d():
                heard.append((module.weight, 0))
            case nn.Conv2d() | nn.Linear():
                heard.append((module.weight, 1))
            case nn.MultiheadAttention():
                heard.append((module.in_proj_weight, 1))
            case _:
                pass
    for weight, axis in heard[1:]:
        order = torch.randperm(weight.shape[axis], generator=rng).to(weight.device)
        weight.copy_(weight.index_select(axis, order))
    return other


def copiers(lab: Lab, make: Make, photos: Photos, seed: int, **plan: Any) -> dict[str, Autoencoder]:
    """A network that learns to copy, as it begins, with the running averages of photographs, and trained."""
    trained = lab.trained(make, photos, seed, **plan)
    return {
        "untrained": settled(lab.untrained(make, photos, seed), lab.images(photos, "train")),
        "trained": trained,
    }


def unets(lab: Lab, photos: Photos) -> States:
    """The plain U-Net for every seed: as it begins, trained, after a tenth of the training, and reordered."""
    seen = lab.images(photos, "train")

    def states(seed: int) -> dict[str, Autoencoder]:
        two = copiers(lab, unet(lab), photos, seed)
        other = settled(reordered(two["trained"], lab.rng(seed, "reordered")), seen)
        partly = lab.trained(unet(lab), photos, seed, steps=lab.budget.scaled(250))
        return two | {"partly": partly, "reordered": other}

    return lab.each(states)


def halving(shape: Shape) -> MLP:
    """A perceptron whose layers halve on the way to the code."""
    n = prod(shape)
    return MLP(shape, [n // 2, n // 4], n // 8, activation="gelu", code_activation="gelu")


def _compared(name: str, readings: Mapping[str, list[Reading]]) -> dict[str, Estimate]:
    """A block's numbers in every state, and its noise over that of the untrained network."""
    numbers: dict[str, Estimate] = {}
    for state, of_seeds in readings.items():
        rest = [r.images["found"] - r.images["target"] for r in of_seeds]
        numbers |= {
            f"noise, {name}, {state}": statistics.mean(noise(of_seeds)),
            f"normality, {name}, {state}": statistics.mean([normality(r) for r in rest]),
            f"unsettled, {name}, {state}": unsettled(of_seeds),
        }
        if state != "untrained":
            ratio = statistics.ratio(noise(of_seeds), noise(readings["untrained"]))
            numbers[f"over untrained, {name}, {state}"] = ratio
    return numbers


def _looks(x: Images, seen: Mapping[str, list[list[Reading]]]) -> Any:
    """Images, and what the first and the last block take for them."""
    rows = {"images": x[:SHOWN]}
    for where, i in (("first", 0), ("last", -1)):
        rows |= {f"{where} block, {state}": of[i][0].images["found"][:SHOWN] for state, of in seen.items()}
    return pictures.comparison(rows)


def _by_block(lines: Mapping[str, Sequence[Estimate]]) -> Any:
    """A figure of noise against depth."""
    along = {name: (range(1, len(line) + 1), line) for name, line in lines.items()}
    return charts.curves(along, "block, from the input", "noise, std in units of the range")
