"""The essay's reason why training removes noise: do layers become dependent on each other?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from copyfold import pictures
from copyfold.claims.representation import SECTION
from copyfold.data import Photos
from copyfold.models.base import Autoencoder
from copyfold.models.dense import MLP
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.layers import reordered, untrained_and_trained
from copyfold.studies.toolkit.networks import WIDE, overcomplete
from copyfold.types import Shape

ANGLES = 40  # that are drawn


@dataclass(frozen=True)
class LayersBecomeDependent(Study):
    r"""After training, successive layers are no longer independent.

    Two fully connected networks learn to copy photographs. In the narrow one, n -> w -> 4w -> w -> 4w -> w -> n,
    two hidden layers are wider than both neighbours: the outputs that layer l can give there (the column space of
    W_l) and the inputs that layer l + 1 responds to (the row space of W_(l+1)) have w of 4w dimensions each. Their
    overlap is the mean squared cosine of their principal angles, 1/4 for independent spaces. In the essay's
    overcomplete network both spaces are nearly the whole space, so that the singular values must count too, over
    all its pairs of layers:

        alignment = n_l ||W_(l+1) W_l||^2 / (||W_(l+1)||^2 ||W_l||^2)        1 for independent layers

    The numbers are trained over untrained; within a tenth of 1 counts as no dependence.

    Controls: random spaces of the same size; and "reordered", the trained layers with the inputs of each permuted,
    which changes no layer's weights but destroys the dependence between them.

    The first figure shows the principal angles of the narrow network (first seed), the smallest first; the
    second the alignment of each pair of layers, the mean of all seeds.
    """

    claim: ClassVar[str] = "T12-angles"
    place: ClassVar[str] = f"{SECTION}: the paragraph on why trained models do not have representations like noise"
    items: ClassVar[tuple[int, ...]] = (143,)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Layers become adapted to those before them: results on random layers no longer apply.",
        PARTLY: "Layers become dependent on each other in one network and not in the other.",
        Verdict.DOES_NOT_HOLD: "Trained layers are as independent as untrained ones: noise disappears for "
        "another reason.",
    }

    overlap_over_untrained: Above = Above(1.1)
    alignment_over_untrained: Above = Above(1.1)

    def measure(self, lab: Lab) -> Finding:
        """Compare the spaces of neighbouring layers."""
        photos = lab.photos("landscapes")

        def narrow(seed: int) -> tuple[dict[str, Tensor], dict[str, list[float]]]:
            layers = {state: weights(m) for state, m in self._states(lab, photos, waves, 64, seed).items()}
            aligned = {state: [alignment(*pair) for pair in pairwise(of)] for state, of in layers.items()}
            rng = lab.rng(seed, "random")
            layers["random"] = [torch.randn(w.shape, generator=rng) for w in layers["trained"]]
            return {state: _cosines(of) for state, of in layers.items()}, aligned

        def wide(seed: int) -> dict[str, list[float]]:
            states = self._states(lab, photos, overcomplete(lab), 64, seed)
            return {state: [alignment(*pair) for pair in pairwise(weights(m))] for state, m in states.items()}

        spaces = lab.each(narrow)
        pairs = {"narrow": [aligned for _, aligned in spaces], "overcomplete": lab.each(wide)}
        cosines = {state: [c[state] for c, _ in spaces] for state in spaces[0][0]}
        overlaps = {state: [c.square().mean().item() for c in of] for state, of in cosines.items()}
        aligned = {f"{name}, {state}": [s[state] for s in of] for name, of in pairs.items() for state in of[0]}
        means = {name: [sum(pairs) / len(pairs) for pairs in of] for name, of in aligned.items()}
        numbers = {f"overlap, {state}": statistics.over_seeds(of) for state, of in overlaps.items()}
        numbers |= {f"alignment, {name}": statistics.over_seeds(of) for name, of in means.items()}
        numbers["overlap over untrained"] = statistics.ratio_over_seeds(overlaps["trained"], overlaps["untrained"])
        numbers["alignment over untrained"] = statistics.ratio_over_seeds(
            means["overcomplete, trained"], means["overcomplete, untrained"]
        )
        numbers["alignment over untrained, narrow"] = statistics.ratio_over_seeds(
            means["narrow, trained"], means["narrow, untrained"]
        )
        angles = pictures.curves(
            {state: _angles(of[0]) for state, of in cosines.items()},
            "principal angle, share of all from the smallest", "angle, degrees",
        )  # fmt: skip
        by_pair = {name: torch.tensor(of).mean(0) for name, of in aligned.items()}
        alignments = pictures.curves(
            {name: (range(1, len(of) + 1), of) for name, of in by_pair.items()},
            "pair of layers", "alignment, 1 for independent layers",
        )  # fmt: skip
        return Finding(numbers, {"angles": angles, "alignment": alignments})

    def _states(self, lab: Lab, photos: Photos, make: Make, batch: int, seed: int) -> dict[str, Autoencoder]:
        """A network untrained, trained, and trained with its layers' inputs permuted."""
        states = untrained_and_trained(lab, make, photos, seed, batch=batch, lr=WIDE)
        return states | {"reordered": reordered(states["trained"], lab.rng(seed, "reordered"))}


def waves(shape: Shape) -> MLP:
    """A perceptron with two hidden layers of four times their neighbours' width."""
    narrow = max(8, prod(shape) // 48)
    return MLP(shape, [narrow, 4 * narrow], narrow, activation="gelu", code_activation="gelu")


def weights(model: nn.Module) -> list[Tensor]:
    """The matrices of a perceptron's layers, in order."""
    return [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear)]


def cosines(before: Tensor, after: Tensor) -> Tensor:
    """The cosines of the principal angles of before's column space and after's row space, the largest first."""
    columns, rows = (torch.linalg.qr(w.double()).Q for w in (before, after.T))
    return torch.linalg.svdvals(columns.T @ rows).clamp(max=1)


def alignment(before: Tensor, after: Tensor) -> float:
    """n ||after before||^2 / (||after||^2 ||before||^2), n the units between them."""
    sizes = before.square().sum() * after.square().sum()
    return (len(before) * (after @ before).square().sum() / sizes).item()


def _cosines(layers: Sequence[Tensor]) -> Tensor:
    """The cosines at the hidden layers that are wider than both neighbours, one row for each."""
    wider = [(a, b) for a, b in pairwise(layers) if len(a) > a.shape[1] and len(a) > len(b)]
    return torch.stack([cosines(a, b) for a, b in wider]).cpu()


def _angles(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Some principal angles in degrees against their rank, the mean over layers."""
    degrees = rows.mean(0).acos() * 180 / math.pi
    chosen = torch.linspace(0, len(degrees) - 1, min(ANGLES, len(degrees))).long()
    return (chosen + 1) / len(degrees), degrees[chosen]
