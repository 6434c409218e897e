"""The essay's last claims on attention: can it be inverted, and what has conditioning to do with it?"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold import pictures
from copyfold.claims.attention.linear_attention_copies import SECTION, STEPS, look, rows, searched, single, summary
from copyfold.models.attention import SingleAttention
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading, still
from copyfold.probes.geometry import jacobian
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import Above, Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.types import Images

SIDE = 8  # of the images whose whole Jacobian is taken: 192 x 192 in colour; a quarter of the measured ones are
SPECTRA = ("", ", untrained")


@torch.no_grad()
def spectrum(model: Autoencoder, x: Images) -> Tensor:
    """All singular values of the model's Jacobian at each image, b x D, the largest first, in float64."""
    exact, size = deepcopy(model).double(), x[0].numel()
    every = torch.eye(size, dtype=torch.float64, device=x.device).view(size, 1, *x.shape[1:])
    with still(exact), sdpa_kernel(SDPBackend.MATH):  # fused kernels have no derivative of this kind
        pull = jacobian(exact, x.double())[1]
        rows = torch.stack([pull(e.expand(len(x), -1, -1, -1)) for e in every], dim=1)
    return torch.linalg.svdvals(rows.flatten(2)).cpu()


def full_rank(s: Tensor) -> Tensor:
    """1 where no singular value is 0 up to rounding, as numpy's matrix_rank has it; else 0."""
    return (s[:, -1] > s.shape[1] * torch.finfo(s.dtype).eps * s[:, 0]).double()


def log_condition(s: Tensor) -> Tensor:
    """log10 of the largest singular value over the smallest; at most what float64 can tell, 15.7."""
    return (s[:, 0] / s[:, -1].clamp(min=1e-300)).clamp(max=1 / torch.finfo(s.dtype).eps).log10()


def small_values(s: Tensor) -> Tensor:
    """The share of singular values below a hundredth of the largest."""
    return (s < 0.01 * s[:, :1]).double().mean(1)


def correlation(xs: list[Tensor], ys: list[Tensor]) -> Estimate:
    """Pearson's, over all values, of k numbers per image (k x n): with the interval of seeds and images."""
    moments = [[f(x, y).mean(0) for x, y in zip(xs, ys, strict=True)] for f in _MOMENTS]

    def pearson(x: Tensor, y: Tensor, xy: Tensor, xx: Tensor, yy: Tensor) -> Tensor:
        r = (xy - x * y) / ((xx - x * x) * (yy - y * y)).clamp(min=1e-30).sqrt()
        return r.clamp(-1, 1)  # of one image drawn again and again, rounding would make it more

    return statistics.estimate(pearson, *moments)


_MOMENTS = (lambda x, y: x, lambda x, y: y, lambda x, y: x * y, lambda x, y: x * x, lambda x, y: y * y)


@dataclass(frozen=True)
class DotProductAlone(Study):
    """Dot-product attention alone is not invertible, sees well and does not denoise.

    The attention without any convolution, 513 parameters for grey images, learns to copy landscapes in 800 batches
    of 16. Its representation (an image sought from noise for the same output) is good if its distance to the
    held-out image is below a tenth of the range per value. It does not denoise if of the squared error of an image
    mixed with noise N(0.7, 0.2^2) no more than a tenth goes. "Strictly non-invertible" asks for a Jacobian that
    nowhere has full rank: that of the attention trained on CIFAR-10 at 8x8 (1,539 parameters, as many batches as a
    U-Net) is taken whole, in float64, and a singular value counts as 0 below D times the rounding error times the
    largest.

    Controls: the attention with new weights, for the representation and the rank; the share of weak noise that
    comes out again, which knows nothing of brightness; the copying error, as a poor copier says nothing. Full rank
    means invertible near that image; that no other image far away has the same output is not shown by it.

    In the first figure, the singular values of the Jacobian over the largest: lines are medians over images and
    seeds, bands from the least to the most. In the second, rows from the top: clean, mixed, and trained and
    untrained the output and the representation.
    """

    claim: ClassVar[str] = "T27"
    place: ClassVar[str] = f"{SECTION}: the paragraph before the last figure"
    items: ClassVar[tuple[int, ...]] = (129, 152)
    data: ClassVar[tuple[str, ...]] = ("landscapes", "cifar10")
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Singular, and yet it shows its input well: what is lost there is little.",
        Verdict.MIXED: "See which part fails. If it is the rank, attention is not non-invertible as such: what "
        "makes it hard to invert is how small some singular values are.",
        Verdict.FAILS: "Nothing of what is said of dot-product attention alone is so.",
    }

    representation_error_dot_product_alone: Below = Below(0.1)
    error_over_doing_nothing_dot_product_alone: Above = Above(0.9)
    full_rank_trained: Below = Below(0.1)

    controls: ClassVar[Mapping[str, Control]] = searched("dot product alone")

    def measure(self, lab: Lab) -> Finding:
        """Look at the attention at the budget's side, and at its Jacobian at 8x8."""
        photos, small = lab.photos("landscapes"), lab.photos("cifar10", SIDE)
        x, few = lab.images(photos), lab.images(small, count=max(1, lab.budget.measured // 4))
        make, steps = single("dot", None), lab.budget.scaled(STEPS)

        def measure(seed: int) -> tuple[dict[str, Reading], dict[str, Tensor]]:
            large = {
                "dot product alone": lab.trained(make, photos, seed, steps=steps),
                "untrained": lab.untrained(make, photos, seed),
            }
            tiny = {"trained": lab.trained(make, small, seed), "untrained": lab.untrained(make, small, seed)}
            return (
                {name: look(lab, model, x, seed) for name, model in large.items()},
                {name: spectrum(model, few) for name, model in tiny.items()},
            )

        measured = lab.each(measure)
        found = {name: [readings[name] for readings, _ in measured] for name in measured[0][0]}
        numbers = summary(found)
        lines, bands = {}, {}
        for name in ("trained", "untrained"):
            values = [spectra[name] for _, spectra in measured]
            numbers |= {
                f"full rank {name}": statistics.fraction([full_rank(s) for s in values]),
                f"log10 condition {name}": statistics.mean([log_condition(s) for s in values]),
            }
            relative = torch.cat([s / s[:, :1] for s in values])
            order = torch.arange(1, relative.shape[1] + 1)
            lines[name] = (order, relative.median(0).values)
            bands[name] = (relative.amin(0), relative.amax(0))
        figure = pictures.curves(
            lines, "number of the singular value", "over the largest", logy=True, bands=bands,
            title=f"Jacobian at {SIDE}x{SIDE}",
        )  # fmt: skip
        return Finding(numbers, {"spectrum": figure, "images": pictures.comparison(rows(found))})


@dataclass(frozen=True)
class ConditioningDecides(Study):
    """It is conditioning that makes attention without a residual hard to see through.

    Dot-product and linear attention alone, with and without a residual around them, learn to copy CIFAR-10 at 8x8.
    For each held-out image the Jacobian's condition number, largest over smallest singular value in float64,
    stands beside the error of its representation (distance per value, 200 steps of L-BFGS from noise). "Hard" is
    at least twice the error of the dot product without the residual; "because" asks that its conditioning is at
    least ten times worse without it, and that over images and networks the logarithms correlate so that one
    explains half of the other.

    Controls: the correlation within the dot product without residual, as networks that differ in everything
    correlate in anything; the kernel elu + 1, as the linear attention of the script ends with a norm over the
    image that takes mean and scale away, and has no full rank whatever the attention does; the correlation
    without that one, whose condition number is endless and cut off at 10^15.7, as a heap of points so far away
    correlates by itself; networks with new weights; and 300 steps of the essay's plain descent, which suffers
    more from conditioning.

    The figure has a point per image and seed of the trained networks.
    """

    claim: ClassVar[str] = "T28"
    place: ClassVar[str] = f"{SECTION}: the last paragraph"
    items: ClassVar[tuple[int, ...]] = (152,)
    data: ClassVar[tuple[str, ...]] = ("cifar10",)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Put a residual around attention where its input must be recovered, and look at singular "
        "values before anything else.",
        Verdict.MIXED: "The residual helps, or conditioning tells what is hard to recover, but the one is not the "
        "reason for the other as far as these numbers go.",
        Verdict.FAILS: "Attention without a residual is not hard to see through, or not for its conditioning.",
    }

    error_without_over_with_residual: Above = Above(2.0)
    log10_condition_without_minus_with_residual: Above = Above(1.0)
    correlation: Above = Above(0.7)

    controls: ClassVar[Mapping[str, Control]] = {
        "correlation within the dot product": (
            Above(0.0),
            "Within one network conditioning does not tell which image is hard to find: what correlates is "
            "whether there is a residual.",
        )
    }

    def measure(self, lab: Lab) -> Finding:
        """Take spectra and representations of all networks."""
        small = lab.photos("cifar10", SIDE)
        x = lab.images(small, count=max(1, lab.budget.measured // 4))
        kinds: dict[str, Make] = {
            "dot product": single("dot", None),
            "dot product, residual": partial(SingleAttention, kind="dot", channels=None, residual=True),
            "linear": single("softmax", None),
            "linear, residual": partial(SingleAttention, kind="softmax", channels=None, residual=True),
            "elu": single("elu", None),
            "elu, residual": partial(SingleAttention, kind="elu", channels=None, residual=True),
        }
        curved = Inversion(steps=lab.budget.scaled(200))
        plain = Inversion("", lab.budget.scaled(300), "descent", "l1", 0.02)
        size, pair = x[0].numel() ** 0.5, ("dot product", "dot product, residual")
        regular = [i for i, name in enumerate(kinds) if name != "linear"]

        def measure(seed: int) -> tuple[dict[str, dict[str, Tensor]], dict[str, dict[str, Tensor]]]:
            trained = {name: lab.trained(make, small, seed) for name, make in kinds.items()}
            new = {name: lab.untrained(make, small, seed) for name, make in kinds.items()}
            ways = {"": (trained, curved), ", plain descent": (trained, plain), ", untrained": (new, curved)}

            def error(model: Autoencoder, invert: Inversion) -> Tensor:
                return invert(model, x, lab.rng(seed, "start")).numbers["image"].double().cpu() / size

            spectra = {end: {name: spectrum(m, x) for name, m in ways[end][0].items()} for end in SPECTRA}
            return spectra, {
                end: {k: error(m, invert) for k, m in ms.items()} for end, (ms, invert) in ways.items()
            }

        found = lab.each(measure)
        numbers: dict[str, Estimate] = {}
        for end in SPECTRA:
            for name in kinds:
                values = [spectra[end][name] for spectra, _ in found]
                numbers |= {
                    f"log10 condition {name}{end}": statistics.mean([log_condition(s) for s in values]),
                    f"full rank {name}{end}": statistics.fraction([full_rank(s) for s in values]),
                    f"share of small singular values {name}{end}": statistics.mean(
                        [small_values(s) for s in values]
                    ),
                }
            numbers[f"log10 condition without minus with residual{end}"] = statistics.difference(
                *([log_condition(spectra[end][name]) for spectra, _ in found] for name in pair)
            )
        for end in found[0][1]:
            of = ", untrained" if end == ", untrained" else ""
            bad = [torch.stack([log_condition(spectra[of][name]) for name in kinds]) for spectra, _ in found]
            logs = [torch.stack([errors[end][name] for name in kinds]).log10() for _, errors in found]
            each = {name: [errors[end][name] for _, errors in found] for name in kinds}
            numbers |= {
                f"representation error {name}{end}": statistics.mean(values) for name, values in each.items()
            }
            numbers |= {
                f"error without over with residual{end}": statistics.ratio(*(each[name] for name in pair)),
                f"correlation{end}": correlation(bad, logs),
                f"correlation without the singular linear one{end}": correlation(
                    [b[regular] for b in bad], [e[regular] for e in logs]
                ),
                f"correlation within the dot product{end}": correlation(
                    [b[:1] for b in bad], [e[:1] for e in logs]
                ),
            }
        points = [
            torch.stack((log_condition(spectra[""][name]), errors[""][name].log10()), dim=1)
            for name in kinds
            for spectra, errors in found
        ]
        labels = [name for name in kinds for _ in range(len(found) * len(x))]
        figure = pictures.scatter(
            torch.cat(points),
            labels,
            "log10 of the condition number",
            "log10 of the representation's error per value",
        )
        return Finding(numbers, {"conditioning": figure})
