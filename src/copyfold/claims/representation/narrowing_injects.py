"""Do narrow layers add noise, and does training remove it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from copyfold import pictures
from copyfold.measures import noise_level
from copyfold.models.base import Autoencoder
from copyfold.models.dense import MLP
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.layers import NAMES, by_block, inversions, noise_levels, untrained_and_trained
from copyfold.studies.toolkit.networks import WIDE, overcomplete, unet
from copyfold.studies.toolkit.search import unsettled
from copyfold.types import Shape


@dataclass(frozen=True)
class NarrowingInjects(Study):
    """Undercomplete layers put noise into the representation; training removes it.

    Two networks learn to copy photographs: a perceptron whose layers halve, n -> n/2 -> n/4 -> n/8 and back, and
    the plain U-Net, in which each pool leaves a quarter of the numbers. Before and after each narrowing layer the
    representation of a held-out image is found by L-BFGS from a constant. Noise is the std of the white component
    of its error. "Added" is the noise of the untrained network at the code over that where nothing narrows: in the
    U-Net, at its stem; and, as there is nothing before the perceptron's first layer, at the code of the essay's
    overcomplete network, which is as deep. "Left" is the noise at the code, trained over untrained: at most a
    half.

    Controls: the overcomplete network, trained too, whose noise cannot come from a narrow layer; "unsettled", the
    distance of descent from the target code, over that code's change by noise of std 1/18; and "noise, start",
    that of the constant start, which is all fine texture of the photograph.

    The first figure shows the noise layer by layer; the second photographs, and their representations by the
    codes.
    """

    claim: ClassVar[str] = "injected"
    place: ClassVar[str] = 'essay, "Conclusion": what it means to train explicitly for a task'
    items: ClassVar[tuple[int, ...]] = (82, 83, 144)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "An untrained narrow network adds noise to its input, and training to copy removes it.",
        PARTLY: "Narrow layers and noise do not go together in every network, before training or after "
        "it: the conclusion's reason for denoising is at best a part of it.",
        Verdict.DOES_NOT_HOLD: "Narrow layers add no noise, or training leaves it: denoising has another reason.",
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
                "mlp": untrained_and_trained(lab, halving, photos, seed, batch=64, lr=WIDE),
                "overcomplete": untrained_and_trained(lab, overcomplete(lab), photos, seed, batch=64, lr=WIDE),
                "unet": untrained_and_trained(lab, unet(lab), photos, seed),
            }

        models = lab.each(networks)
        numbers: dict[str, Estimate] = {}
        lines: dict[str, list[Estimate]] = {}
        at: dict[str, list[list[Reading]]] = {}
        for name in layers:
            for state in ("untrained", "trained"):
                case = f"{name}, {state}"
                at[case] = [inversions(lab, [m[name][state] for m in models], layer, x) for layer in layers[name]]
                line = [statistics.mean(noise_levels(readings)) for readings in at[case]]
                lines[f"{NAMES[name]}, {state}"] = line
                blocks = [f"block {i} ({b.removeprefix('encoder.')})" for i, b in enumerate(layers[name], 1)]
                numbers |= {f"noise, {case}, {b}": e for b, e in zip(blocks, line, strict=True)}
                numbers[f"unsettled, {case}"] = unsettled(at[case][-1])
            left = [noise_levels(at[f"{name}, {state}"][-1]) for state in ("trained", "untrained")]
            numbers[f"left {name}"] = statistics.ratio(*left)
        code = {name: noise_levels(each[-1]) for name, each in at.items()}
        numbers["noise, start"] = statistics.mean([noise_level(x)])  # a constant has none
        numbers["added mlp"] = statistics.ratio(code["mlp, untrained"], code["overcomplete, untrained"])
        numbers["added unet"] = statistics.ratio(code["unet, untrained"], noise_levels(at["unet, untrained"][0]))
        rows = {"photographs": x[:SHOWN]}
        for case, each in zip(lines, at.values(), strict=True):
            rows[f"code: {case}"] = each[-1][0].images["found"][:SHOWN]
        return Finding(numbers, {"noise": by_block(lines), "images": pictures.comparison(rows)})


def halving(shape: Shape) -> MLP:
    """A perceptron whose layers halve on the way to the code."""
    n = prod(shape)
    return MLP(shape, [n // 2, n // 4], n // 8, activation="gelu", code_activation="gelu")
