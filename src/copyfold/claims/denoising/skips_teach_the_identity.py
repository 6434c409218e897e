"""T5: do skips make a U-Net learn the identity?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from copyfold.claims.denoising import SECTION
from copyfold.corruptions import Gaussian, Mix
from copyfold.data import Photos
from copyfold.models.adoption import adopt
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.denoising import Denoising
from copyfold.probes.geometry import IdentityGap
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.denoising import trimmed
from copyfold.studies.toolkit.networks import unet
from copyfold.types import Images


@dataclass(frozen=True)
class SkipsTeachTheIdentity(Study):
    """With its skips a U-Net learns the identity function; without them it does not.

    A U-Net whose decoder stages receive the encoder's maps, and the essay's, whose decoder stages receive a copy
    of their own input instead, learn to copy photographs. The gap is ||O(x~) - x~|| / ||x - x~|| for held-out
    photographs mixed half and half with noise N(0.7, 0.2^2), and "passed" the share of noise of std 0.1 that
    passes to the output: 0 and 1 for the identity. The thresholds are those of the study of the overcomplete
    network, for a copy and for no copy. The deciding numbers use running statistics: those of a batch alone undo a
    shift of brightness, which the identity does not.

    Controls: both networks before training; the exact identity, whose numbers are measured too; the statistics of
    the batch, with which the essay works; and, since a code shorter than the image excludes an exact copy for that
    reason alone, the usual U-Net without skips on smaller images, whose code is longer. A note gives the length of
    each code.

    In the figure, rows from the top: clean, mixed with noise, and the outputs with skips and without; "passed" is
    for the weak noise, which is not shown.
    """

    claim: ClassVar[str] = "T5"
    place: ClassVar[str] = f"{SECTION}: the paragraph on residual connections"
    items: ClassVar[tuple[int, ...]] = (19, 139)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Leave skips out where a network is to learn more than to copy.",
        PARTLY: "Skips alone do not decide whether a U-Net copies.",
        Verdict.DOES_NOT_HOLD: "Skips do not lead to the identity, and a network without them may still learn it.",
    }

    gap_with_skips: Below = Below(0.3)
    passed_with_skips: Above = Above(0.9)
    passed_without_skips: Below = Below(0.8)

    def measure(self, lab: Lab) -> Finding:
        """Corrupt photographs, and compare outputs with inputs."""
        photos = lab.photos("landscapes", lab.budget.large)
        small = lab.photos("landscapes")
        x, smaller = lab.images(photos), lab.images(small)
        makes = {"with skips": unet(lab, large=True, skips="concat"), "without skips": unet(lab, large=True)}
        usual = "without skips, smaller images"

        def look(seed: int) -> dict[str, Reading]:
            models = {name: lab.trained(make, photos, seed) for name, make in makes.items()}
            models |= {f"{k}, untrained": lab.untrained(make, photos, seed) for k, make in makes.items()}
            models |= {"exact identity": identity(photos)}
            readings = {name: copying(model, x, lab, seed) for name, model in models.items()}
            return readings | {usual: copying(lab.trained(unet(lab), small, seed), smaller, lab, seed)}

        found = lab.each(look)
        numbers: dict[str, Estimate] = {}
        for name in found[0]:
            of_seeds = [f[name].numbers for f in found]
            for what in ("gap", "passed", "gap, batch statistics"):
                numbers[f"{what} {name}"] = statistics.mean([n[what] for n in of_seeds])
            for noise in ("mix", "gaussian"):
                numbers[f"error over doing nothing {name}, {noise}"] = statistics.ratio(
                    [n[noise] for n in of_seeds], [n[f"{noise}, nothing"] for n in of_seeds]
                )
        rows = {"clean": x, "mixed with noise": found[0]["with skips"].images["corrupted"]}
        rows |= {name: found[0][name].images["restored"] for name in makes}
        captions = {
            n: f"passed {numbers[f'passed {n}'].value:.2f}, gap {numbers[f'gap {n}'].value:.2f}" for n in makes
        }
        plain = {"without skips": lab.untrained(makes["without skips"], photos, 0)}
        plain[usual] = lab.untrained(unet(lab), small, 0)
        notes = tuple(f"{name}: {model.summary()}" for name, model in plain.items())
        return Finding(numbers, {"copies": first_images(rows, captions)}, notes=notes)


def copying(model: Autoencoder, x: Images, lab: Lab, seed: int) -> Reading:
    """How near to the identity a network is, and its squared errors and those of doing nothing."""
    mix, weak = Mix(0.5), Gaussian(0.1)
    gap = IdentityGap(mix, draws=0)(model, x, lab.rng(seed, "mix")).numbers["gap"]
    of_batch = IdentityGap(mix, draws=0, statistics="batch")(model, x, lab.rng(seed, "mix")).numbers["gap"]
    passed = IdentityGap(weak, draws=0)(model, x, lab.rng(seed, "weak")).numbers["passed"]
    numbers = {"gap": gap, "gap, batch statistics": of_batch, "passed": passed}
    mixed, noisy = Denoising(mix)(model, x, lab.rng(seed, "mix")), Denoising(weak)(model, x, lab.rng(seed, "weak"))
    for name, reading in {"mix": mixed, "gaussian": noisy}.items():
        numbers |= {name: reading.numbers["restored"], f"{name}, nothing": reading.numbers["corrupted"]}
    return trimmed(Reading(numbers, mixed.images))


def identity(photos: Photos) -> Autoencoder:
    """The identity as a network."""
    return adopt(nn.Identity(), photos.shape, encode="forward", decode="forward")
