"""T6: does training to copy remove noise from the representation of an output?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from copyfold.claims.denoising import SECTION
from copyfold.measures import distance, noise_level
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.networks import unet
from copyfold.studies.toolkit.search import (
    START,
    STATES,
    at_most,
    few_images,
    inversion_numbers,
    lbfgs,
    plain_descent,
)


@dataclass(frozen=True)
class TrainingCleansRepresentation(Study):
    """Training a U-Net to copy removes noise from its output's representation.

    The representation of a photograph x is an image a with the same output, found by minimising ||O(a) - O(x)||
    from a grey image: by plain descent on the sum of absolute differences, as in the essay's script, by L-BFGS on
    squares, and by Adam, which gets farther than L-BFGS in an untrained network. Each takes as many steps before
    training as after. "Noise" is the std of the white component of a - x, in which fine texture of x that a lacks
    counts too. Networks use the statistics of the batch, as the essay's text has it.

    Controls: the grey image itself, which is not a representation, and whose "noise" is all texture of x: compare
    the others with it; the noise in a itself; the distance to x, which decides too, by the method that is best for
    the untrained network; a start from noise N(0.7, 0.05^2), as in the script, which adds noise of its own; and
    running statistics, as in the script, with which an untrained U-Net gives the same output for every image. "Way
    gone" is the distance of a from grey, over that of x; "output distance over reference" the distance between the
    outputs of a and x, over the change of output by noise of std 1/18.

    In the figure, rows from the top: photographs, and the images found after and before training, with each
    method.
    """

    claim: ClassVar[str] = "T6"
    place: ClassVar[str] = f"{SECTION}: the figure of the landscape representations"
    items: ClassVar[tuple[int, ...]] = (104, 140)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "After training the output determines more of the image, and leaves less undetermined.",
        PARTLY: "It depends on the method of inversion, or less noise does not mean more of the image.",
        Verdict.DOES_NOT_HOLD: "Before training the output determines as much of the image, with as little noise.",
    }

    noise_over_untrained_descent: Below = Below(1.0)
    noise_over_untrained_lbfgs: Below = Below(1.0)
    image_distance_over_untrained_adam: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Invert with each method, before and after training."""
        photos = lab.photos("landscapes")
        x, make = few_images(lab, lab.images(photos)), unet(lab)
        adam = replace(lbfgs(lab), optimizer="adam", rate=(0.03, 0.003), steps=at_most(lab, 100))
        methods = {"descent": plain_descent(lab), "lbfgs": lbfgs(lab), "adam": adam}
        methods |= {
            "lbfgs from noise": replace(lbfgs(lab), start="noise"),
            "lbfgs, running statistics": replace(lbfgs(lab), statistics="running"),
        }

        def look(seed: int) -> dict[str, Reading]:
            models = {"trained": lab.trained(make, photos, seed), "untrained": lab.untrained(make, photos, seed)}
            return {
                f"{state}, {name}": method(model, x, lab.rng(seed, name))
                for state, model in models.items()
                for name, method in methods.items()
            }

        found = lab.each(look)
        start = torch.full_like(x, START)
        numbers = {
            "image distance, grey image": statistics.mean([distance(start, x)]),
            "noise, grey image": statistics.mean([noise_level(start - x)]),
        }
        for name in methods:
            before, after = ([f[f"{state}, {name}"] for f in found] for state in ("untrained", "trained"))
            for what, key in {"noise": "noise", "image distance": "image"}.items():
                numbers[f"{what} over untrained {name}"] = statistics.ratio(
                    [r.numbers[key] for r in after], [r.numbers[key] for r in before]
                )
            for state, readings in {"trained": after, "untrained": before}.items():
                numbers |= {f"{what}, {state}, {name}": e for what, e in inversion_numbers(readings).items()}
        rows = {"photographs": x}
        for name in ("lbfgs", "descent", "adam"):
            rows |= {f"{state}, {name}": found[0][f"{state}, {name}"].images["found"] for state in STATES}
        captions = {row: f"PSNR {numbers[f'psnr, {row}'].value:.1f} dB" for row in rows if row != "photographs"}
        return Finding(numbers, {"representations": first_images(rows, captions)})
