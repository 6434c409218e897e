"""T26: does dot-product attention represent its input less accurately than linear attention?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold import pictures
from copyfold.claims.attention import SECTION, STEPS
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Control, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.attention import gather, rows, search_ended, single_attention, summary
from copyfold.studies.toolkit.networks import WIDE


@dataclass(frozen=True)
class DotProductLessAccurate(Study):
    """Dot-product attention represents its input less well than linear attention.

    One attention between convolutions of 64 maps learns to copy landscapes, in 800 batches of 16 for each kind.
    The number is the distance from held-out images to their representations (60 steps of L-BFGS from noise,
    running statistics), that of dot-product over that of linear attention.

    Controls: a second learning rate, 3e-4 besides 1e-3, both fixed beforehand, since an order that depends on the
    rate says nothing about attention; linear attention with elu + 1, which has no norm after it, as the dot
    product has none; the untrained dot product; and the errors of copying.

    In the figure, rows from the top: clean, mixed, and for each network its output and its representation.
    """

    claim: ClassVar[str] = "T26"
    place: ClassVar[str] = f"{SECTION}: the sentence on limiting the input resolution to 32^2, and its figure"
    items: ClassVar[tuple[int, ...]] = (36, 128, 152)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Where detail must pass an attention, use linear attention: it is more accurate for "
        "less compute.",
        PARTLY: "Which attention is more accurate depends on the learning rate, and not on its kind.",
        Verdict.DOES_NOT_HOLD: "Linear attention gains speed here, and no accuracy.",
    }

    representation_error_dot_over_linear: Above = Above(1.0)
    representation_error_dot_over_linear_lower_rate: Above = Above(1.0)

    controls: ClassVar[Mapping[str, Control]] = search_ended(
        *(f"{kind}{end}" for end in ("", " lower rate") for kind in ("linear attention", "dot product"))
    )

    def measure(self, lab: Lab) -> Finding:
        """Measure every kind, at both rates."""
        steps = lab.budget.scaled(STEPS)
        kinds = {
            "linear attention": (single_attention("softmax"), steps, 1e-3),
            "dot product": (single_attention("dot"), steps, 1e-3),
            "elu attention": (single_attention("elu"), steps, 1e-3),
            "linear attention lower rate": (single_attention("softmax"), steps, WIDE),
            "dot product lower rate": (single_attention("dot"), steps, WIDE),
        }
        found = gather(lab, kinds, "dot product")
        numbers = summary(found)
        for end in ("", " lower rate"):
            for what, number in (("representation error", "representation"), ("copying error", "copying")):
                dot, linear = (
                    [r.numbers[number] for r in found[f"{kind}{end}"]]
                    for kind in ("dot product", "linear attention")
                )
                numbers[f"{what} dot over linear{end}"] = statistics.ratio(dot, linear)
        dot, elu = ([r.numbers["representation"] for r in found[k]] for k in ("dot product", "elu attention"))
        numbers["representation error dot over elu"] = statistics.ratio(dot, elu)
        shown = {name: found[name] for name in ("linear attention", "dot product", "elu attention")}
        return Finding(numbers, {"images": pictures.comparison(rows(shown))})
