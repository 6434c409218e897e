"""T28: is the conditioning of attention the reason why it is hard to invert?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.attention import SECTION
from copyfold.data import Photos
from copyfold.models.attention import SingleAttention
from copyfold.models.base import Autoencoder
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.attention import single_attention
from copyfold.studies.toolkit.spectra import SIDE, full_rank, log_condition, spectrum
from copyfold.types import Images

KINDS: dict[str, Make] = {
    "dot product": single_attention("dot", None),
    "dot product, residual": partial(SingleAttention, kind="dot", channels=None, residual=True),
    "linear": single_attention("softmax", None),
    "linear, residual": partial(SingleAttention, kind="softmax", channels=None, residual=True),
    "elu": single_attention("elu", None),
    "elu, residual": partial(SingleAttention, kind="elu", channels=None, residual=True),
}
PAIR = ("dot product", "dot product, residual")
SPECTRA = ("", ", untrained")

ByKind: TypeAlias = dict[str, Tensor]
"""One tensor for every kind of network: singular values, or errors of the images."""


@dataclass(frozen=True)
class ConditioningDecides(Study):
    """Attention without a residual is hard to invert because it is ill-conditioned.

    Dot-product and linear attention alone, with and without a residual around them, learn to copy CIFAR-10 at 8x8.
    For each held-out image the Jacobian's condition number, largest over smallest singular value in float64, is
    compared with the error of its representation (distance per value, 200 steps of L-BFGS from noise). "Hard"
    means that the error of the dot product without the residual is at least twice that with it; "because" means
    that its condition number is at least ten times larger without it, and that over images and networks the
    logarithms correlate so strongly that one explains half of the variance of the other.

    Controls: the correlation within the dot product without residual, since networks that differ in several ways
    can correlate for any reason; the kernel elu + 1, since the linear attention of the script ends with a norm
    over the image that removes mean and scale, and so never has full rank; the correlation without that attention,
    whose condition number is infinite and cut off at 10^15.7, since such a cluster of outliers alone gives a
    correlation; untrained networks; and 300 steps of the essay's plain descent, which suffers more from bad
    conditioning.

    The figure has a point for each image and seed of the trained networks.
    """

    claim: ClassVar[str] = "T28"
    place: ClassVar[str] = f"{SECTION}: the last paragraph"
    items: ClassVar[tuple[int, ...]] = (38, 152)
    data: ClassVar[tuple[str, ...]] = ("cifar10",)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Put a residual around attention where its input must be recovered, and look at "
        "singular values before anything else.",
        PARTLY: "The residual helps, or conditioning predicts what is hard to recover, but these "
        "numbers do not show that one is the reason for the other.",
        Verdict.DOES_NOT_HOLD: "Attention without a residual is not hard to invert, or conditioning is not the "
        "reason.",
    }

    error_without_over_with_residual: Above = Above(2.0)
    log10_condition_without_minus_with_residual: Above = Above(1.0)
    correlation: Above = Above(0.7)

    controls: ClassVar[Mapping[str, Control]] = {
        "correlation within the dot product": (
            Above(0.0),
            "Within one network conditioning does not predict which image is hard to invert: the correlation "
            "comes from whether there is a residual.",
        )
    }

    def measure(self, lab: Lab) -> Finding:
        """Compute spectra and representations of all networks."""
        small = lab.photos("cifar10", SIDE)
        x = lab.images(small, count=max(1, lab.budget.measured // 4))
        found = lab.each(lambda seed: spectra_and_errors(lab, small, x, seed))
        spectra, errors = ([f[i] for f in found] for i in (0, 1))
        numbers: dict[str, Estimate] = {}
        for end in SPECTRA:
            numbers |= conditions(end, [s[end] for s in spectra])
        for end in errors[0]:
            of = ", untrained" if end == ", untrained" else ""
            numbers |= correlations(end, [s[of] for s in spectra], [e[end] for e in errors])
        trained = [s[""] for s in spectra], [e[""] for e in errors]
        return Finding(numbers, {"conditioning": _points(*trained)})


def spectra_and_errors(
    lab: Lab, photos: Photos, x: Images, seed: int
) -> tuple[dict[str, ByKind], dict[str, ByKind]]:
    """Spectra of every network, trained and untrained; and errors of representations, by search method."""
    trained = {name: lab.trained(make, photos, seed) for name, make in KINDS.items()}
    new = {name: lab.untrained(make, photos, seed) for name, make in KINDS.items()}
    lbfgs = Inversion(steps=lab.budget.scaled(200))
    plain = Inversion("", lab.budget.scaled(300), "descent", "l1", 0.02)
    ways = {"": (trained, lbfgs), ", plain descent": (trained, plain), ", untrained": (new, lbfgs)}
    size = x[0].numel() ** 0.5

    def error(model: Autoencoder, invert: Inversion) -> Tensor:
        return invert(model, x, lab.rng(seed, "start")).numbers["image"].double().cpu() / size

    spectra = {end: {name: spectrum(m, x) for name, m in ways[end][0].items()} for end in SPECTRA}
    return spectra, {end: {k: error(m, invert) for k, m in ms.items()} for end, (ms, invert) in ways.items()}


def conditions(end: str, spectra: list[ByKind]) -> dict[str, Estimate]:
    """Numbers from the spectra of every seed, for each network."""
    numbers: dict[str, Estimate] = {}
    for name in KINDS:
        values = [of[name] for of in spectra]
        numbers |= {
            f"log10 condition {name}{end}": statistics.mean([log_condition(s) for s in values]),
            f"full rank {name}{end}": statistics.fraction([full_rank(s) for s in values]),
            f"share of small singular values {name}{end}": statistics.mean([small_values(s) for s in values]),
        }
    numbers[f"log10 condition without minus with residual{end}"] = statistics.difference(
        *([log_condition(of[name]) for of in spectra] for name in PAIR)
    )
    return numbers


def correlations(end: str, spectra: list[ByKind], errors: list[ByKind]) -> dict[str, Estimate]:
    """The errors of representations, and their correlations with conditioning."""
    bad = [torch.stack([log_condition(of[name]) for name in KINDS]) for of in spectra]
    logs = [torch.stack([of[name] for name in KINDS]).log10() for of in errors]
    regular = [i for i, name in enumerate(KINDS) if name != "linear"]
    each = {name: [of[name] for of in errors] for name in KINDS}
    numbers = {f"representation error {name}{end}": statistics.mean(values) for name, values in each.items()}
    return numbers | {
        f"error without over with residual{end}": statistics.ratio(*(each[name] for name in PAIR)),
        f"correlation{end}": correlation(bad, logs),
        f"correlation without the singular linear one{end}": correlation(
            [b[regular] for b in bad], [e[regular] for e in logs]
        ),
        f"correlation within the dot product{end}": correlation([b[:1] for b in bad], [e[:1] for e in logs]),
    }


def _points(spectra: list[ByKind], errors: list[ByKind]) -> Any:
    """A point for each image and seed: its condition number, and the error of its representation."""
    points = [
        torch.stack((log_condition(s[name]), e[name].log10()), dim=1)
        for name in KINDS
        for s, e in zip(spectra, errors, strict=True)
    ]
    labels = [name for name in KINDS for e in errors for _ in e[name]]
    return pictures.scatter(
        torch.cat(points),
        labels,
        "log10 of the condition number",
        "log10 of the representation's error per value",
    )


def small_values(s: Tensor) -> Tensor:
    """The share of singular values below a hundredth of the largest."""
    return (s < 0.01 * s[:, :1]).double().mean(1)


def correlation(xs: list[Tensor], ys: list[Tensor]) -> Estimate:
    """Pearson's correlation over all values, of k numbers per image (k x n), with its interval."""
    moments = [[f(x, y).mean(0) for x, y in zip(xs, ys, strict=True)] for f in _MOMENTS]

    def pearson(x: Tensor, y: Tensor, xy: Tensor, xx: Tensor, yy: Tensor) -> Tensor:
        r = (xy - x * y) / ((xx - x * x) * (yy - y * y)).clamp(min=1e-30).sqrt()
        return r.clamp(-1, 1)  # for one image drawn repeatedly, rounding would exceed it

    return statistics.estimate(pearson, *moments)


_MOMENTS = (lambda x, _: x, lambda _, y: y, lambda x, y: x * y, lambda x, _: x * x, lambda _, y: y * y)
