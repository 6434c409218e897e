"""Does attention in the skips of a U-Net make it denoise worse?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from copyfold import pictures
from copyfold.claims.attention import SECTION
from copyfold.models.attention import AttentionUNet
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.attention import gather, rows, summary
from copyfold.studies.toolkit.networks import unet


@dataclass(frozen=True)
class AttentionInSkipsDenoisesPoorly(Study):
    """A U-Net with linear attention in its skips is not very effective at denoising.

    It learns to copy landscapes, with the same channels, halvings and steps as the U-Net without skips. Held-out
    images are mixed half and half with noise N(0.7, 0.2^2) and restored with the statistics of batches of 16. "Not
    very effective" means that more than half of the squared error remains, and that its error is larger than that
    of the U-Net without skips.

    Controls: a U-Net with plain skips, since the skips and not the attention in them may pass the noise; the
    untrained network; and the share of weak noise that passes to the output, which does not depend on brightness.

    In the figure, rows from the top: clean, mixed, and for each network its output and its representation.
    """

    claim: ClassVar[str] = "attention-unet"
    place: ClassVar[str] = f"{SECTION}: the sentence and the figure under the diagram of the attention U-Net"
    items: ClassVar[tuple[int, ...]] = (126, 152)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Attention in the skips undoes the effect of leaving skips out: the network only learns "
        "to copy.",
        PARTLY: "It denoises worse than the U-Net without skips, or little, but not both: see the numbers.",
        Verdict.DOES_NOT_HOLD: "With attention in the skips, training to copy still gives denoising.",
    }

    error_over_doing_nothing_attention_unet: Above = Above(0.5)
    error_attention_unet_over_unet: Above = Above(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Measure U-Nets with each kind of skips."""
        sizes = {"width": lab.budget.width, "depth": lab.budget.depth}
        kinds = {
            "attention unet": (partial(AttentionUNet, **sizes), lab.budget.steps, 1e-3),
            "unet without skips": (unet(lab), lab.budget.steps, 1e-3),
            "unet with skips": (unet(lab, skips="concat"), lab.budget.steps, 1e-3),
        }
        found = gather(lab, kinds, "attention unet")
        numbers = summary(found)
        errors = {name: [r.numbers["error"] for r in readings] for name, readings in found.items()}
        with_attention = errors["attention unet"]
        numbers |= {
            "error attention unet over unet": statistics.ratio(with_attention, errors["unet without skips"]),
            "error attention unet over unet with skips": statistics.ratio(
                with_attention, errors["unet with skips"]
            ),
        }
        return Finding(numbers, {"images": pictures.comparison(rows({name: found[name] for name in kinds}))})
