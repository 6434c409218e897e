"""T7: is noise lost in the representation of a noisy photograph?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from copyfold.claims.denoising import SECTION
from copyfold.corruptions import Corruption, Gaussian, Mix
from copyfold.measures import distance
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.networks import unet
from copyfold.studies.toolkit.search import STATES, at_most, few_images, inversion_numbers, lbfgs
from copyfold.types import Images


@dataclass(frozen=True)
class RepresentationLosesNoise(Study):
    """The representation of a noisy photograph has less noise than was added.

    A photograph x is corrupted to x~. For a U-Net without skips, an image a with the same output as x~ is found by
    L-BFGS from a grey image. The number is ||a - x|| / ||x~ - x||: below 1, the output has lost some of the noise.
    Corruptions are Gaussian noise of std 0.2 and the essay's half and half mix with N(0.7, 0.2^2); networks use
    the statistics of the batch, as in the essay.

    Controls: the identity, for which the number is 1; the output O(x~) itself, over the same; the network before
    training, which also loses noise if it loses everything; and the essay's own descent from noise. x~ itself has
    that output, so that the result depends on which image descent finds; the distance between the outputs of a and
    x~ is given over the change of output by noise of std 1/18.

    In the figures, one for each corruption, rows from the top: clean, noisy, output, and the images found after
    and before training.
    """

    claim: ClassVar[str] = "T7"
    place: ClassVar[str] = f"{SECTION}: the figure of representations of noised inputs"
    items: ClassVar[tuple[int, ...]] = (81, 109, 140)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "The noise is lost on the way to the output: the output does not depend on it.",
        PARTLY: "One kind of noise is lost on the way, and the other reaches the output.",
        Verdict.DOES_NOT_HOLD: "The output still depends on the noise: denoising is not explained by what is "
        "represented.",
    }

    distance_over_corruption_gaussian: Below = Below(1.0)
    distance_over_corruption_mix: Below = Below(1.0)

    controls: ClassVar[Mapping[str, Control]] = {
        f"output distance over reference, trained, {noise}": (
            Below(1.0),
            "The search has not converged: the image that it found has another output, and says little.",
        )
        for noise in ("gaussian", "mix")
    }

    def measure(self, lab: Lab) -> Finding:
        """Corrupt, find an image with the same output, compare it with the clean one."""
        photos = lab.photos("landscapes")
        x, make = few_images(lab, lab.images(photos)), unet(lab)
        corruptions: dict[str, Corruption] = {"gaussian": Gaussian(0.2), "mix": Mix(0.5)}
        methods = {name: replace(lbfgs(lab), corruption=noise) for name, noise in corruptions.items()}
        script = replace(Inversion.unet_variations(), steps=at_most(lab, 1000))

        def look(seed: int) -> dict[str, Reading]:
            trained = lab.trained(make, photos, seed)
            models = {
                "trained": trained,
                "untrained": lab.untrained(make, photos, seed),
                "identity": nn.Identity(),
            }
            readings = {
                f"{kind}, {name}": method(model, x, lab.rng(seed, name))
                for kind, model in models.items()
                for name, method in methods.items()
            }
            readings["script, mix"] = script(trained, x, lab.rng(seed, "mix"))
            for name in methods:
                readings[f"output, {name}"] = answered(trained, readings[f"trained, {name}"])
            return readings

        found = lab.each(look)
        numbers = self._numbers(found)
        return Finding(numbers, {name: self._rows(x, found[0], name) for name in methods})

    def _numbers(self, found: list[dict[str, Reading]]) -> dict[str, Estimate]:
        """How much of each corruption is left, and how well the search converged."""
        numbers: dict[str, Estimate] = {}
        for kind in found[0]:
            of_seeds = [f[kind].numbers for f in found]
            numbers[f"distance over corruption, {kind}"] = statistics.ratio(
                [n["image"] for n in of_seeds], [n["corruption"] for n in of_seeds]
            )
            if "layer" in of_seeds[0]:
                searched = inversion_numbers([f[kind] for f in found])
                numbers |= {f"{what}, {kind}": e for what, e in searched.items()}
        return numbers | {
            what: numbers[f"distance over corruption, trained, {what.split()[-1]}"] for what in self.thresholds()
        }

    def _rows(self, x: Images, readings: dict[str, Reading], noise: str) -> Any:
        """Photographs, the same with noise, the output, and the images found after and before training."""
        rows = {
            "clean": x,
            "noisy": readings[f"trained, {noise}"].images["corrupted"],
            "output": readings[f"output, {noise}"].images["found"],
        }
        return first_images(rows | {state: readings[f"{state}, {noise}"].images["found"] for state in STATES})


@torch.no_grad()
def answered(model: Autoencoder, reading: Reading) -> Reading:
    """The output itself in place of the image found."""
    target, noisy = reading.images["target"], reading.images["corrupted"]
    with model.using("batch"):
        output = model(noisy)
    errors: dict[str, Tensor] = {"image": distance(output, target), "corruption": distance(noisy, target)}
    return Reading(errors, {"found": output})
