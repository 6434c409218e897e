"""T12: is there less noise in deep layers of trained networks, and does the first block stay noisy?"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias

import torch
from torch import nn

from copyfold import pictures
from copyfold.claims.representation import SECTION
from copyfold.data import Photos
from copyfold.measures import noise_level, normality
from copyfold.models.base import Autoencoder
from copyfold.models.classifiers import CNN, ViT
from copyfold.probes.base import Reading, tap
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.layers import (
    NAMES,
    by_block,
    inversions,
    noise_levels,
    reordered,
    untrained_and_trained,
)
from copyfold.studies.toolkit.networks import unet, with_running_averages
from copyfold.studies.toolkit.search import unsettled
from copyfold.training.classifying import fit_classifier
from copyfold.types import Images

BATCH = 32  # of the classifiers
States: TypeAlias = Sequence[Mapping[str, nn.Module]]
"""For every seed: one network by its state, "untrained", "trained" and so on."""


@dataclass(frozen=True)
class NoiseByDepth(Study):
    r"""Deep layers of trained networks show less noise; the first block stays noisy.

    A small CNN and a small vision transformer learn to classify fashion_mnist; the plain U-Net learns to copy
    photographs. After each block the representation a_g of a held-out image a is found: 50 steps of L-BFGS at the
    cpu budget, from a constant, so that no noise comes from the start; and L-BFGS, unlike Adam, adds none of its
    own. Noise is the std of the white component of a_g - a, in which fine texture that a_g lacks counts too. At
    the first block the number is the noise of the trained network: "noisy" is more than 0.01, two and a half grey
    levels of 256. At the deepest block (in the U-Net, its output) it is trained over untrained: at most a half is
    left. The U-Net uses running statistics; untrained, those of training photographs.

    Controls: "reordered" is the trained network whose layers read their input channels in a permuted order. This
    changes no layer's weights but destroys the dependence between layers: if its deep noise were as low,
    dependence between layers would not be the reason. "Unsettled" is the distance of descent from the block's
    target output, over that output's change by noise of std 1/18: where it is not small, the noise may come from a
    search that has not converged. "Partly" is after a tenth of the training. "Noise, start" is that of the
    constant start, which is all texture. A note gives the number of values of each first block for one value of
    the image: the essay's reason for its noise requires fewer than one.

    The first figure shows the noise block by block. The others show, from the top: images, and their
    representations by the first and the last block, untrained and trained.
    """

    claim: ClassVar[str] = "T12"
    place: ClassVar[str] = f"{SECTION}: the last paragraph, on block 1 and the deep layers of vision transformers"
    items: ClassVar[tuple[int, ...]] = (51, 82, 83, 143)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist", "landscapes")
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Training removes noise from the representations of deep layers, whatever the task, but "
        "not from that of the first block.",
        PARTLY: "It depends on the network, or on the block: noise by depth is not a reliable sign of training.",
        Verdict.DOES_NOT_HOLD: "Noise by depth says nothing about training.",
    }

    first_block_cnn: Above = Above(0.01)
    first_block_vit: Above = Above(0.01)
    first_block_unet: Above = Above(0.01)
    deepest_block_cnn: Below = Below(0.5)
    deepest_block_vit: Below = Below(0.5)
    deepest_block_unet: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Invert every block of every network in every state."""
        numbers: dict[str, Estimate] = {}
        lines: dict[str, list[Estimate]] = {}
        looks: dict[str, Any] = {}
        notes: list[str] = []
        for name, (images, states, layers) in networks(lab).items():
            x = lab.images(images, count=max(SHOWN, lab.budget.measured // 8))
            seen = {
                state: [inversions(lab, [s[state] for s in states], layer, x) for layer in layers]
                for state in ("untrained", "trained")
            }
            for state, readings in seen.items():
                line = [statistics.mean(noise_levels(of_seeds)) for of_seeds in readings]
                lines[f"{NAMES[name]}, {state}"] = line
            controls = {
                state: inversions(lab, [s[state] for s in states], layers[-1], x)
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
            if name != "unet":
                right = [accuracy(lab, s["trained"], images) for s in states]
                numbers[f"held-out images told apart, {name}"] = statistics.over_seeds(right)
        return Finding(numbers, {"noise": by_block(lines), **looks}, notes=tuple(notes))


def networks(lab: Lab) -> dict[str, tuple[Photos, States, list[str]]]:
    """For every network, by name: its images, the network in every state, and its blocks."""
    clothes, photos = lab.labelled("fashion_mnist"), lab.photos("landscapes")
    width, dim = max(2, lab.budget.width // 2), 2 * lab.budget.width
    classes = int(clothes.labels.max()) + 1 if clothes.labels is not None else 0
    cnn = partial(CNN, classes=classes, widths=(width, 2 * width, 4 * width, 4 * width))
    vit = partial(ViT, classes=classes, dim=dim, mlp=2 * dim)
    down, up = ([f"{way}{k}" for k in range(1, lab.budget.depth + 1)] for way in ("encoder.down", "decoder.up"))
    return {
        "cnn": (clothes, classifiers(lab, cnn, clothes), [f"blocks.{i}" for i in range(4)]),
        "vit": (clothes, classifiers(lab, vit, clothes), [f"blocks.{i}" for i in range(6)]),
        "unet": (photos, unets(lab, photos), ["encoder.stem", *down, *up, ""]),
    }


def classifiers(lab: Lab, make: Any, photos: Photos) -> States:
    """A classifier for every seed: untrained, trained, and reordered."""
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
    """The share of held-out images that a classifier labels correctly."""
    x = lab.images(photos, count=len(photos.held_out))
    given = torch.cat([model(part).argmax(1).cpu() for part in x.split(256)])
    return (given == torch.as_tensor(photos.held_out_labels)).double().mean().item()


def unets(lab: Lab, photos: Photos) -> States:
    """The plain U-Net for every seed: untrained, trained, after a tenth of the training, and reordered."""
    seen = lab.images(photos, "train")

    def states(seed: int) -> dict[str, Autoencoder]:
        two = untrained_and_trained(lab, unet(lab), photos, seed)
        other = with_running_averages(reordered(two["trained"], lab.rng(seed, "reordered")), seen)
        partly = lab.trained(unet(lab), photos, seed, steps=lab.budget.scaled(250))
        return two | {"partly": partly, "reordered": other}

    return lab.each(states)


def _compared(name: str, readings: Mapping[str, list[Reading]]) -> dict[str, Estimate]:
    """A block's numbers in every state, and its noise over that of the untrained network."""
    numbers: dict[str, Estimate] = {}
    for state, of_seeds in readings.items():
        rest = [r.images["found"] - r.images["target"] for r in of_seeds]
        numbers |= {
            f"noise, {name}, {state}": statistics.mean(noise_levels(of_seeds)),
            f"normality, {name}, {state}": statistics.mean([normality(r) for r in rest]),
            f"unsettled, {name}, {state}": unsettled(of_seeds),
        }
        if state != "untrained":
            ratio = statistics.ratio(noise_levels(of_seeds), noise_levels(readings["untrained"]))
            numbers[f"over untrained, {name}, {state}"] = ratio
    return numbers


def _looks(x: Images, seen: Mapping[str, list[list[Reading]]]) -> Any:
    """Images, and their representations by the first and the last block."""
    rows = {"images": x[:SHOWN]}
    for where, i in (("first", 0), ("last", -1)):
        rows |= {f"{where} block, {state}": of[i][0].images["found"][:SHOWN] for state, of in seen.items()}
    return pictures.comparison(rows)
