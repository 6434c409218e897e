"""T3: do the smallest networks copy noise as well?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold.corruptions import Gaussian
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.denoising import Denoising
from copyfold.probes.geometry import IdentityGap
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.denoising import trimmed
from copyfold.studies.toolkit.networks import parameters, unet
from copyfold.types import Images


@dataclass(frozen=True)
class SmallModelsCopyNoise(Study):
    """A very small model learns to copy without learning to denoise.

    U-Nets without skips learn to copy photographs, from the smallest, of one halving, up to the usual one. Each
    next one has one halving more and twice the width, so that all codes have the same size. Held-out photographs
    get noise of std 0.1, as much as is in the essay's half and half mix. "Passed" is the share of the noise that
    passes to the output; "error over doing nothing" the squared error of the output over that of the noisy image;
    "copying error over noise" the squared error of the copy of a clean image over the same. The last must be
    small; else the first two are not about a network that copies. The numbers of the smallest network decide.
    Batch norm uses its running statistics.

    Controls: the other networks, among them one of the usual width with one halving and one of the smallest width
    with all halvings, to separate width from depth. The identity would have 1, 1 and 0.

    In the first figure the mark is the identity and the small circles are the seeds. In the second, rows from the
    top: clean, noisy, and the outputs of the smallest network and of the usual one.
    """

    claim: ClassVar[str] = "T3"
    place: ClassVar[str] = 'essay, "Conclusion": the last sentence'
    items: ClassVar[tuple[int, ...]] = (139,)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Denoising depends on the size of a network and not on its loss: a small one copies.",
        PARTLY: "The smallest network is not a clear case: it copies badly, or removes some noise.",
        Verdict.DOES_NOT_HOLD: "Even the smallest network removes noise, and it does not copy well.",
    }

    passed: Above = Above(0.9)
    error_over_doing_nothing: Above = Above(0.9)
    copying_error_over_noise: Below = Below(0.1)

    def measure(self, lab: Lab) -> Finding:
        """Add noise, and measure how much of it each network passes."""
        photos = lab.photos("landscapes")
        x, makes = lab.images(photos), ladder(lab)

        def look(seed: int) -> dict[str, Reading]:
            models = {name: lab.trained(make, photos, seed) for name, make in makes.items()}
            return {name: passing(model, x, lab, seed) for name, model in models.items()}

        found = lab.each(look)
        numbers: dict[str, Estimate] = {}
        for name in makes:
            numbers |= {f"{what}, {name}": e for what, e in shares([f[name] for f in found]).items()}
        smallest, usual = next(iter(makes)), list(makes)[-1]
        numbers |= {what: numbers[f"{what}, {smallest}"] for what in self.thresholds()}
        drawn = [f"{what}, {name}" for what in ("passed", "error over doing nothing") for name in makes]
        figure = charts.intervals({name: numbers[name] for name in drawn}, "ratio", {"a true copy": 1.0})
        images = found[0][smallest].images
        rows = {"clean": x, "noisy": images["corrupted"], "smallest": images["restored"]}
        rows |= {"usual": found[0][usual].images["restored"]}
        sizes = "; ".join(f"{name}: {parameters(make, photos.shape):,} weights" for name, make in makes.items())
        return Finding(numbers, {"shares": figure, "images": first_images(rows)}, notes=(f"{sizes}",))


def ladder(lab: Lab) -> dict[str, Make]:
    """U-Nets by name, the smallest first and the usual one last; before it those of its width or depth alone."""
    width, depth = lab.budget.width, lab.budget.depth
    narrow = width >> (depth - 1)
    sizes = [(width >> (depth - d), d) for d in range(1, depth)] + [(width, 1), (narrow, depth), (width, depth)]
    return {f"width {w}, depth {d}": unet(lab, width=w, depth=d) for w, d in sizes}


def passing(model: Autoencoder, x: Images, lab: Lab, seed: int) -> Reading:
    """The effect of noise of std 0.1: squared errors, and the share of this noise that passes to the output."""
    reading = Denoising(Gaussian(0.1))(model, x, lab.rng(seed, "noise"))
    passed = IdentityGap(Gaussian(0.1), draws=0)(model, x, lab.rng(seed, "noise")).numbers["passed"]
    return trimmed(Reading(reading.numbers | {"passed": passed}, reading.images))


def shares(readings: list[Reading]) -> dict[str, Estimate]:
    """The share of noise that passes, and the errors over it, from the numbers of `passing` for every seed."""
    numbers = [r.numbers for r in readings]
    noise = [n["corrupted"] for n in numbers]
    return {
        "passed": statistics.mean([n["passed"] for n in numbers]),
        "error over doing nothing": statistics.ratio([n["restored"] for n in numbers], noise),
        "copying error over noise": statistics.ratio([n["reconstruction"] for n in numbers], noise),
    }
