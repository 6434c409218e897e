"""T25: does one linear attention learn to copy, noise and all?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold import pictures
from copyfold.claims.attention import SECTION, STEPS
from copyfold.studies.base import Above, Below, Control, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.attention import gather, rows, search_ended, single_attention, summary
from copyfold.studies.toolkit.networks import unet


@dataclass(frozen=True)
class LinearAttentionCopies(Study):
    """One linear attention between convolutions learns to copy: it denoises poorly.

    With 64 maps, such networks learn to copy landscapes in 800 batches of 16; the attention is the script's.
    Its representation is the image, sought from noise, whose output is that of a held-out image. "Near-perfect" is
    nearer to it than the same image with noise of std 1/18, the essay's own measure. "Denoises poorly" is that of
    the squared error of an image mixed half and half with noise N(0.7, 0.2^2) more than half stays, and that more
    than half of weak noise (std 0.1) comes out again. Batch norm uses the statistics of the batch, as in the
    essay, and running ones for the representation.

    Controls: the U-Net without skips, which is said to do the opposite; the untrained network; and linear
    attention with the kernel elu + 1 of the paper that the essay cites.

    In the figure, rows from the top: clean, mixed, and of each network its output and its representation.
    """

    claim: ClassVar[str] = "T25"
    place: ClassVar[str] = f"{SECTION}: the paragraph on just one linear attention, and the figure after it"
    items: ClassVar[tuple[int, ...]] = (35, 127, 152)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Linear attention is a way around the bottleneck: where it bridges a U-Net, what is copied "
        "there is not learned below.",
        Verdict.MIXED: "Seeing everything and passing noise on are two things here: look at which one holds.",
        Verdict.FAILS: "A linear attention does not copy: it may bridge a network that is meant to denoise.",
    }

    representation_over_reference_noise_linear_attention: Below = Below(1.0)
    error_over_doing_nothing_linear_attention: Above = Above(0.5)
    noise_passed_linear_attention: Above = Above(0.5)

    controls: ClassVar[Mapping[str, Control]] = search_ended("linear attention", "U-Net")

    def measure(self, lab: Lab) -> Finding:
        """Look at both kinds and at the U-Net."""
        steps = lab.budget.scaled(STEPS)
        kinds = {
            "linear attention": (single_attention("softmax"), steps, 1e-3),
            "elu attention": (single_attention("elu"), steps, 1e-3),
            "U-Net": (unet(lab), lab.budget.steps, 1e-3),
        }
        found = gather(lab, kinds, "linear attention")
        numbers = summary(found)
        return Finding(numbers, {"images": pictures.comparison(rows({name: found[name] for name in kinds}))})
