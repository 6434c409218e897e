"""How the codes of images lie."""

from typing import Any

from torch import Tensor

from copyfold import pictures
from copyfold.data.sampling import MAPPED, SHOWN, Sample
from copyfold.probes.latent import Latent
from copyfold.report.base import Content, Figure, Section
from copyfold.report.commands import command
from copyfold.report.context import Context

NUMBERS = 60_000_000  # of all codes together, that may be in memory


class Codes(Section):
    """How codes lie: a map of them, their dimension, and whether labels lie apart."""

    title = "Its codes"
    order = 70

    def __call__(self, context: Context) -> Content:
        """Encode images, with their labels where they have any."""
        size = context.model.summary().code_size
        drawn = context.reference.some(max(SHOWN, min(MAPPED, NUMBERS // size)), context.seed)
        probe = Latent(labels=drawn.labels)
        found = probe(context.model, drawn.images, context.rng).numbers
        numbers = {name: value.item() for name, value in found.items() if value.dim() == 0}
        text = (
            f"A code has {size:,} numbers; over {len(drawn)} images they vary in about "
            f"{numbers['effective dimension']:.0f} directions (participation ratio)."
        )
        if "purity" in numbers:
            text += (
                f" {numbers['purity']:.0%} of the ten nearest codes have the same label; by chance "
                f"{numbers['purity by chance']:.0%} would."
            )
        return Content(text, (_figure(context, drawn, found["map"], probe),), numbers)


def _figure(context: Context, drawn: Sample, points: Tensor, probe: Latent) -> Figure:
    """The map, coloured by label, or by brightness where there are no labels."""
    labels, names = drawn.labels, context.photos.classes
    kinds: Any = drawn.images.nanmean((1, 2, 3)) if labels is None else labels
    if labels is not None and names:
        kinds = [names[label] if label >= 0 else "no label" for label in labels.tolist()]
    coloured = "the brightness of the image" if labels is None else "the label of the image"
    caption = (
        f"How to read it: each point is the code of a {context.reference_word} image, in two dimensions by t-SNE; "
        f"its colour is {coloured}. Neighbours are similar to the model; distances between groups that are far "
        "apart mean nothing."
        + (" The command maps held-out images." if context.reference_word == "training" else "")
    )
    return Figure(pictures.scatter(points, kinds), caption, command(context, probe, len(drawn)))
