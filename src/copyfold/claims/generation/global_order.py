"""T20: what gives samples a global order?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Generator, Tensor

from copyfold import pictures
from copyfold.claims.generation import SECTION
from copyfold.corruptions import noise_like
from copyfold.models.attention import AttentionUNet
from copyfold.models.base import Autoencoder
from copyfold.models.conv import Conv
from copyfold.probes.base import still
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts, samples
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import BATCH, hidden, unet
from copyfold.studies.toolkit.samples import LEARNED, REFERENCE, from_noise, last, normal_images, order_error
from copyfold.types import Images

DRAWS = 8  # random directions for estimates of a Jacobian


@dataclass(frozen=True)
class GlobalOrder(Study):
    """A hidden module, one more level, or attention gives samples a global order.

    U-Nets learn the same photographs: plain, one level deeper, with the essay's hidden module (fully connected),
    and with linear attention on the skips. Order is measured in samples of 30 steps: correlations of brightness
    between cells half of the side or more apart, over all samples. The error is their root mean square difference
    from those of training photographs, so that too strong an order, as of samples that are all alike, is an error
    as too weak a one is. The numbers are this error over the plain network's.

    Controls: one convolution and one up-convolution, in whose output no pixel depends on far ones of the input; a
    normal distribution of pixels (the linear model), which has the right correlations by construction; the same
    number of held-out photographs ("real"), whose error is about the least possible; and the supposed cause of the
    order: how much a corner of the output depends on the opposite corner of the input, over how much on its own,
    by the Jacobian with running statistics.

    The first figure shows the errors, the second the dependence on the opposite corner (no mark where there is
    none), the third samples from the same noise, a row for each network.
    """

    claim: ClassVar[str] = "T20"
    place: ClassVar[str] = f"{SECTION}: the paragraphs on disorganisation, convolutions and far pixels"
    items: ClassVar[tuple[int, ...]] = (27, 122, 148)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Whatever connects distant pixels improves the whole picture: include it.",
        PARTLY: "Not every connection of distant pixels gives order: take the network whose error falls.",
        Verdict.DOES_NOT_HOLD: "Connecting distant pixels does not order samples here: disorder has another "
        "cause.",
    }

    order_error_hidden_module_over_plain: Below = Below(1.0)
    order_error_deeper_over_plain: Below = Below(1.0)
    order_error_attention_over_plain: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Sample with each, correlate far parts, differentiate."""
        slim, photos = lab.budget.slim, lab.photos("landscapes", lab.budget.large)
        x, reference = lab.images(photos), lab.images(photos, "train", REFERENCE)
        count = len(x)  # as fewer images have a larger error
        learned = lab.images(photos, "train", LEARNED)
        attentive = partial(AttentionUNet, width=slim, depth=lab.budget.depth + 1, heads=2, dim_head=16)
        kinds: dict[str, Make] = {
            "shallow": partial(Conv, channels=[slim]),
            "plain": unet(lab, large=True),
            "deeper": samples.deeper(lab),
            "hidden module": hidden(lab, large=True),
            "attention": attentive,
        }

        def look(seed: int) -> tuple[dict[str, float], dict[str, Tensor], dict[str, Images]]:
            models = {name: lab.trained(make, photos, seed) for name, make in kinds.items()}
            sets = {name: last(from_noise(lab, model, count, seed)) for name, model in models.items()}
            sets["linear model"] = normal_images(learned, count, lab.rng(seed, "gaussian"))
            sets["real"] = x
            found = {f"order error, {name}": order_error(images, reference) for name, images in sets.items()}
            for name in ("hidden module", "deeper", "attention"):
                ratio = found[f"order error, {name}"] / found["order error, plain"]
                found[f"order error {name} over plain"] = ratio
            few, signs = x[: 2 * BATCH], {name: lab.rng(seed, "corner") for name in models}
            corners = {name: corner_dependence(model, few, signs[name]) for name, model in models.items()}
            return found, corners, {name: images[:SHOWN] for name, images in sets.items()}

        found = lab.each(look)
        numbers = samples.pooled([f[0] for f in found])
        errors = {name: numbers[f"order error, {name}"] for name in found[0][2]}
        corners = {name: statistics.mean([f[1][name] for f in found]) for name in kinds}
        numbers |= {f"opposite corner over own, {name}": e for name, e in corners.items()}
        figures = {
            "errors": charts.intervals(errors, "error of the correlations of far parts"),
            "corners": charts.intervals(corners, "dependence on the opposite corner, over its own", logx=True),
            "samples": pictures.comparison(found[0][2]),
        }
        return Finding(numbers, figures)


def corner_dependence(model: Autoencoder, x: Images, rng: Generator) -> Tensor:
    r"""Dependence of an output corner on the opposite corner of x, over that on its own corner; per image.

        ||d out[A] / d x[B]||_F / ||d out[A] / d x[A]||_F        A, B: an eighth of the side, opposite corners

    Both norms are Hutchinson's estimates with the same random signs.
    """
    corner = max(1, min(x.shape[2:]) // 8)
    own, far = torch.zeros(2, len(x), device=x.device)
    with still(model, "running"):
        pull = torch.func.vjp(model, x)[1]
        for _ in range(DRAWS):
            v = torch.zeros_like(x)
            v[..., :corner, :corner] = noise_like(x, rng=rng)[..., :corner, :corner].sign()
            pulled = pull(v)[0].detach()
            own += pulled[..., :corner, :corner].square().flatten(1).sum(1)
            far += pulled[..., -corner:, -corner:].square().flatten(1).sum(1)
    return (far / own.clamp(min=1e-30)).sqrt()
