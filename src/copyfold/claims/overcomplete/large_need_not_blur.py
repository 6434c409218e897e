"""Does the squared error cause blur, or the narrow code?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import ClassVar

import torch

from copyfold import pictures
from copyfold.claims.overcomplete import SECTION
from copyfold.measures import mse, sharpness
from copyfold.models.dense import MLP
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import WIDE, overcomplete


@dataclass(frozen=True)
class LargeNeedNotBlur(Study):
    """The squared error need not blur where the network is large.

    Perceptrons copy photographs: one with a code of 32 numbers, one with the same code but layers as wide as those
    of the overcomplete network, and the essay's overcomplete network. The number is the sharpness (energy of the
    Laplacian) of the held-out reconstruction over that of the photograph, the mean over the images of each.

    Controls: the sharpness of the error over that of the photograph, since noise is sharp too: where it is not far
    below that of the reconstruction, the edges are not those of the photograph; and the wide network with the
    narrow code. The squared error is least for the mean of all images that have the same code, so that a narrow
    code must blur however large the network is; if it were sharp, the size would matter and not the information in
    the code.

    In the figure, rows from the top: photographs, and each network's output.
    """

    claim: ClassVar[str] = "blur"
    place: ClassVar[str] = f"{SECTION}: the paragraphs around g(a; w, mu, sigma)"
    items: ClassVar[tuple[int, ...]] = (150,)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Blur is lost information and not caused by the squared error: make the code wider, not "
        "the layers.",
        PARTLY: "Neither size nor code alone decides about blur here: look at the three numbers.",
        Verdict.DOES_NOT_HOLD: "Networks of this kind blur by the squared error, however large.",
    }

    sharpness_overcomplete: Above = Above(0.8)
    sharpness_narrow_code: Below = Below(0.5)
    sharpness_wide_layers_narrow_code: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Copy with each, and look at the edges."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        units = round(lab.budget.hidden * prod(photos.shape))
        kinds: dict[str, Make] = {
            "narrow code": partial(MLP, hidden=[128], latent_dim=32),
            "wide layers narrow code": partial(MLP, hidden=[units, units], latent_dim=32),
            "overcomplete": overcomplete(lab),
        }
        numbers, rows = {}, {"clean": x[:SHOWN]}
        edges = sharpness(x)
        for name, make in kinds.items():
            models = lab.each(lambda seed, make=make: lab.trained(make, photos, seed, batch=64, lr=WIDE))
            with torch.no_grad():
                outputs = [model(x) for model in models]
            sharp = [sharpness(y) for y in outputs]
            numbers |= {
                f"sharpness {name}": statistics.ratio(sharp, [edges] * len(sharp)),
                f"sharpness of the error, {name}": statistics.ratio(
                    [sharpness(y - x) for y in outputs], [edges] * len(outputs)
                ),
                f"error, {name}": statistics.mean([mse(y, x) for y in outputs]),
            }
            rows[name] = outputs[0][:SHOWN]
        captions = {name: f"sharpness {numbers[f'sharpness {name}'].value:.2f}" for name in kinds}
        return Finding(numbers, {"images": pictures.comparison(rows, captions)})
