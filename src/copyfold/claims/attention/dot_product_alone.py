"""T27: what dot-product attention alone copies and represents, and whether it can be inverted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.attention import SECTION, STEPS
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.attention import look, rows, search_ended, single_attention, summary
from copyfold.studies.toolkit.spectra import SIDE, full_rank, log_condition, spectrum


@dataclass(frozen=True)
class DotProductAlone(Study):
    """Dot-product attention is not invertible, represents well and does not denoise.

    The attention without any convolution, 513 parameters for grey images, learns to copy landscapes in 800 batches
    of 16. Its representation (an image with the same output, found from noise) is good if its distance to the
    held-out image is below a tenth of the range per value. It does not denoise if it removes at most a tenth of
    the squared error of an image mixed with noise N(0.7, 0.2^2). "Strictly non-invertible" requires a Jacobian
    that has full rank nowhere: the whole Jacobian of the attention trained on CIFAR-10 at 8x8 (1,539 parameters,
    as many batches as a U-Net) is computed in float64; a singular value counts as 0 below D times the rounding
    error times the largest.

    Controls: the untrained attention, for the representation and the rank; the share of weak noise that passes to
    the output, which does not depend on brightness; the copying error, since a network that copies poorly shows
    nothing. Full rank means invertible near that image; it does not exclude a distant image with the same output.

    In the first figure, the singular values of the Jacobian over the largest: lines are medians over images and
    seeds, bands reach from minimum to maximum. In the second, rows from the top: clean, mixed, then output and
    representation, trained and untrained.
    """

    claim: ClassVar[str] = "T27"
    place: ClassVar[str] = f"{SECTION}: the paragraph before the last figure"
    items: ClassVar[tuple[int, ...]] = (37, 129, 152)
    data: ClassVar[tuple[str, ...]] = ("landscapes", "cifar10")
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Singular, and yet its input is represented well: little is lost.",
        PARTLY: "See which part fails. If it is the rank, attention is not non-invertible as such: it "
        "is hard to invert because some singular values are very small.",
        Verdict.DOES_NOT_HOLD: "Nothing that is said about dot-product attention alone is true here.",
    }

    representation_error_dot_product_alone: Below = Below(0.1)
    error_over_doing_nothing_dot_product_alone: Above = Above(0.9)
    full_rank_trained: Below = Below(0.1)

    controls: ClassVar[Mapping[str, Control]] = search_ended("dot product alone")

    def measure(self, lab: Lab) -> Finding:
        """Measure the attention at the budget's side, and its Jacobian at 8x8."""
        photos, small = lab.photos("landscapes"), lab.photos("cifar10", SIDE)
        x, few = lab.images(photos), lab.images(small, count=max(1, lab.budget.measured // 4))
        make, steps = single_attention("dot", None), lab.budget.scaled(STEPS)

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
