"""T8: can a network copy well and represent its input poorly?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from copyfold.claims.denoising import SECTION
from copyfold.corruptions import Mix
from copyfold.measures import distance, mse
from copyfold.probes.base import Reading
from copyfold.probes.denoising import Denoising
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.denoising import mean_image, trimmed
from copyfold.studies.toolkit.networks import hidden, unet
from copyfold.studies.toolkit.search import START, few_images, inversion_numbers, lbfgs, plain_descent
from copyfold.types import Images

KINDS = ("hidden", "plain")


@dataclass(frozen=True)
class HiddenModuleHidesInput(Study):
    """A U-Net can copy and denoise well, and yet represent its input poorly.

    The essay's U-Net with a module of 500, 100 and 500 units at its narrowest point, and the one without it, learn
    to copy photographs. Three things are measured on held-out photographs: the error of the copy, over that of the
    mean training image; the error of the restoration from the half and half mix with noise N(0.7, 0.2^2), over
    that of doing nothing; and the error of the representation, an image with the same output, found by L-BFGS from
    a grey image: its distance to the photograph, over that of the plain network. All with the statistics of the
    batch, as in the essay.

    Controls: the plain network, in all three; the grey image, whose distance a poor representation does not beat;
    plain descent in place of L-BFGS; and the distance between the output of the image that was found and the
    target output, over the change of output by noise of std 1/18: where it is large, the search has failed and not
    the representation.

    In the figures the rows from the top are: clean, mixed with noise, and the outputs of each network for both;
    and photographs, and their representations by each network.
    """

    claim: ClassVar[str] = "T8"
    place: ClassVar[str] = f"{SECTION}: the last paragraph and its figure"
    items: ClassVar[tuple[int, ...]] = (110, 119, 141)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "How well a network copies does not say how much of the image passes its narrowest point.",
        PARTLY: "The hidden module costs copying or denoising too, or the representation less than claimed.",
        Verdict.DOES_NOT_HOLD: "A narrow module copies badly, and the representation is as good as without it.",
    }

    copying_error_over_mean_image: Below = Below(0.1)
    error_over_doing_nothing: Below = Below(0.5)
    image_distance_over_plain: Above = Above(2.0)

    def measure(self, lab: Lab) -> Finding:
        """Copy, restore, and invert the output, with the module and without."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        some = few_images(lab, x)
        makes = dict(zip(KINDS, (hidden(lab), unet(lab)), strict=True))
        methods = {"lbfgs": lbfgs(lab), "descent": plain_descent(lab)}

        def look(seed: int) -> dict[str, Reading]:
            readings: dict[str, Reading] = {}
            for kind, make in makes.items():
                model = lab.trained(make, photos, seed)
                readings[kind] = trimmed(Denoising(Mix(0.5), statistics="batch")(model, x, lab.rng(seed, "mix")))
                for name, method in methods.items():
                    readings[f"{kind}, {name}"] = method(model, some, lab.rng(seed, name))
            return readings

        found = lab.each(look)
        mean = [mse(mean_image(lab, photos).expand_as(x), x)] * len(found)
        numbers = {"image distance, grey image": statistics.mean([distance(torch.full_like(some, START), some)])}
        for kind in makes:
            errors = [f[kind].numbers for f in found]
            numbers |= {
                f"copying error over mean image, {kind}": statistics.ratio(
                    [e["reconstruction"] for e in errors], mean
                ),
                f"error over doing nothing, {kind}": statistics.ratio(
                    [e["restored"] for e in errors], [e["corrupted"] for e in errors]
                ),
            }
            for name in methods:
                of_kind = inversion_numbers([f[f"{kind}, {name}"] for f in found])
                numbers |= {f"{what}, {kind}, {name}": e for what, e in of_kind.items()}
        for name in methods:
            theirs, plain = ([f[f"{kind}, {name}"].numbers["image"] for f in found] for kind in makes)
            numbers[f"image distance over plain, {name}"] = statistics.ratio(theirs, plain)
        numbers |= {what: numbers[f"{what}, hidden"] for what in list(self.thresholds())[:2]}
        numbers["image distance over plain"] = numbers["image distance over plain, lbfgs"]
        return Finding(numbers, self._figures(x, some, found[0]))

    def _figures(self, x: Images, some: Images, readings: dict[str, Reading]) -> dict[str, Any]:
        """The outputs of each network for photographs, clean and mixed with noise, and their representations."""
        rows = {"clean": x, "mixed with noise": readings["plain"].images["corrupted"]}
        for kind in KINDS:
            rows[f"{kind}: copy"] = readings[kind].images["reconstruction"]
            rows[f"{kind}: restored"] = readings[kind].images["restored"]
        searches = [f"{kind}, {name}" for name in ("lbfgs", "descent") for kind in KINDS]
        inverted = {"photographs": some} | {search: readings[search].images["found"] for search in searches}
        return {"copies": first_images(rows), "representations": first_images(inverted)}
