"""How far a model is from the identity."""

import torch

from copyfold import pictures
from copyfold.data.sampling import SHOWN
from copyfold.measures import filled
from copyfold.probes.geometry import IdentityGap
from copyfold.report.base import BELOW, Content, Figure, Scale, Section
from copyfold.report.commands import command
from copyfold.report.context import SOME, Context


class Copying(Section):
    """Whether it simply copies its input: how far it is from the identity."""

    title = "Does it copy?"
    order = 30
    scales = (
        Scale(
            "passed",
            "<O(x + n) - O(x), n> / ||n||^2, O = D(E(.)), n noise of std 0.2, median; 1 for the identity",
            (
                (BELOW, "It does not simply copy: {passed:z.0%} of an added perturbation passes through."),
                (0.10, "It copies in part: {passed:z.0%} of an added perturbation passes through."),
                (0.50, "It is close to the identity: {passed:z.0%} of an added perturbation passes through."),
                (0.90, "It has become the identity: {passed:z.0%} of an added perturbation passes through."),
            ),
        ),
    )

    def __call__(self, context: Context) -> Content:
        """Add noise, and measure how much of it passes to the output."""
        probe, x = IdentityGap(), context.few(SOME)
        reading = probe(context.model, x, context.rng)
        gap, passed, jacobian = (reading.numbers[name].median().item() for name in ("gap", "passed", "jacobian"))
        text = (
            f"{passed:z.1%} of noise added to an image passes to the output; the identity passes all of it, a "
            f"constant none. The output is {gap:.2f} times as far from the noisy image as the noise had moved it "
            f"(the identity: 0, a perfect denoiser: 1). The Jacobian differs by {jacobian:.2f} from the identity "
            "matrix (Frobenius norm over the root of the number of pixel values)."
        )
        numbers = {"passed": passed, "gap": gap, "distance of the Jacobian from I": jacobian}
        return Content(text, (_figure(context, probe, len(x)),), numbers)


def _figure(context: Context, probe: IdentityGap, count: int) -> Figure:
    """What the output has beside some images; the command is of all `count` of them."""
    x = context.few(SHOWN)
    noisy = probe.corruption(filled(x), context.rng)
    with torch.no_grad(), context.model.using("running"):
        restored = context.model(noisy)
    rows = {"image": x, "with noise": noisy, "output": restored, "output - image": 0.5 + restored - x}
    caption = (
        "How to read it: the last row is the output minus the clean image, grey where they are equal. Noise there "
        "has passed through; outlines there are detail that was lost."
    )
    return Figure(pictures.comparison(rows), caption, command(context, probe, count))
