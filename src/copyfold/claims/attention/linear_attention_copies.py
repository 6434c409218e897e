"""T25: does one linear attention learn to copy, including noise?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold import pictures
from copyfold.claims.attention import SECTION, STEPS
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.attention import gather, rows, search_ended, single_attention, summary
from copyfold.studies.toolkit.networks import unet


@dataclass(frozen=True)
class LinearAttentionCopies(Study):
    """One linear attention between convolutions learns to copy and denoises poorly.

    Such networks, with 64 maps, learn to copy landscapes in 800 batches of 16; the attention is that of the
    script. The representation of a held-out image is an image with the same output, found from noise.
    "Near-perfect" means nearer to it than the same image with noise of std 1/18, the essay's own reference.
    "Denoises poorly" means that more than half of the squared error remains for an image mixed half and half with
    noise N(0.7, 0.2^2), and that more than half of weak noise (std 0.1) passes to the output. Batch norm uses the
    statistics of the batch, as in the essay, and running ones for the representation.

    Controls: the U-Net without skips, for which the essay claims the opposite; the untrained network; and linear
    attention with the kernel elu + 1 of the paper that the essay cites.

    In the figure, rows from the top: clean, mixed, and for each network its output and its representation.
    """

    claim: ClassVar[str] = "T25"
    place: ClassVar[str] = f"{SECTION}: the paragraph on just one linear attention, and the figure after it"
    items: ClassVar[tuple[int, ...]] = (35, 127, 152)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Linear attention bypasses a bottleneck: where it is a skip in a U-Net, the layers "
        "below need not learn what it copies.",
        PARTLY: "To represent everything and to pass noise on are two things here: see which one holds.",
        Verdict.DOES_NOT_HOLD: "A linear attention does not copy: it can be used in the skips of a network that "
        "is meant to denoise.",
    }

    representation_over_reference_noise_linear_attention: Below = Below(1.0)
    error_over_doing_nothing_linear_attention: Above = Above(0.5)
    noise_passed_linear_attention: Above = Above(0.5)

    controls: ClassVar[Mapping[str, Control]] = search_ended("linear attention", "U-Net")

    def measure(self, lab: Lab) -> Finding:
        """Measure both kinds and the U-Net."""
        steps = lab.budget.scaled(STEPS)
        kinds = {
            "linear attention": (single_attention("softmax"), steps, 1e-3),
            "elu attention": (single_attention("elu"), steps, 1e-3),
            "U-Net": (unet(lab), lab.budget.steps, 1e-3),
        }
        found = gather(lab, kinds, "linear attention")
        numbers = summary(found)
        return Finding(numbers, {"images": pictures.comparison(rows({name: found[name] for name in kinds}))})
