"""Does an overcomplete network memorise its training images, or does it copy new ones?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from copyfold import pictures
from copyfold.claims.walking import SECTION
from copyfold.measures import mse
from copyfold.probes.base import still
from copyfold.probes.nearest import neighbours
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.denoising import copying_error
from copyfold.studies.toolkit.networks import WIDE, overcomplete, unet


@dataclass(frozen=True)
class GeneralisesUnderDescent(Study):
    """An overcomplete autoencoder trained by gradient descent generalises.

    The essay's overcomplete network and its U-Net without skips learn to copy photographs that they see dozens of
    times. The number for each is the squared error on held-out photographs over that on training photographs. The
    U-Net uses its running statistics.

    Control: a network that only memorised would return the training photograph nearest to its input. The error of
    that photograph is what a pure memory would have on held-out images.

    In the first figure each line is a ratio for one network: of its errors on new and on training images (1 is no
    gap), or of its error and that of a memory (1 is no better than memory); the small circles are the seeds. The
    second shows photographs, the training photographs nearest to them, and the copies.
    """

    claim: ClassVar[str] = "generalisation"
    place: ClassVar[str] = f"{SECTION}, the first two paragraphs"
    items: ClassVar[tuple[int, ...]] = (149,)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "No regulariser is needed here: the network learns a map for all images and is not a "
        "memory.",
        PARTLY: "New images are copied far better than a memory could, but worse than training images: "
        "use held-out images, and look at both numbers.",
        Verdict.DOES_NOT_HOLD: "A network of this capacity memorises: its training error says nothing about new "
        "images.",
    }

    held_out_over_training_error_fully_connected: Below = Below(1.5)
    held_out_over_training_error_unet: Below = Below(1.5)
    error_over_memory_fully_connected: Below = Below(0.5)
    error_over_memory_unet: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Compare errors on new images with those on training images and those of a memory."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        seen = lab.images(photos, "train", len(x))
        everything = lab.images(photos, "train", len(photos))
        remembered = everything[neighbours(x, everything)[1][:, 0]]
        kinds: dict[str, Make] = {
            "fully connected": overcomplete(lab),
            "unet": unet(lab),
        }
        numbers, rows = {}, {"clean": x[:SHOWN], "nearest training image": remembered[:SHOWN]}
        for name, make in kinds.items():
            plan: dict[str, Any] = {"batch": 64, "lr": WIDE} if name != "unet" else {}
            models = lab.each(lambda seed, make=make, plan=plan: lab.trained(make, photos, seed, **plan))
            new, old = ([copying_error(model, images) for model in models] for images in (x, seen))
            numbers |= {
                f"held out over training error {name}": statistics.ratio(new, old),
                f"error over memory {name}": statistics.ratio(new, [mse(remembered, x)] * len(new)),
                f"held-out error, {name}": statistics.mean(new),
            }
            with still(models[0]), torch.no_grad():
                rows[f"output, {name}"] = models[0](x[:SHOWN])
        shown = {name: e for name, e in numbers.items() if not name.startswith("held-out error")}
        marks = {"as good as memory, or no gap": 1.0}
        figure = charts.intervals(shown, "ratio of squared errors", marks, logx=True)
        return Finding(numbers, {"ratios": figure, "images": pictures.comparison(rows)})
