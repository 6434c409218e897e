"""T1: does a network that could represent the identity learn it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold.claims.overcomplete import SECTION
from copyfold.probes.base import Reading
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import curve
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.copiers import D1, D2, D3, END, FULLY
from copyfold.studies.toolkit.copying import qualities
from copyfold.studies.toolkit.looks import BY_64, RUNNING

NETWORK = "U-Net, depth 2"
LOOKS = {
    NETWORK: (D2, "0.01"),
    f"{NETWORK}, end": (D2, END),
    "U-Net, depth 1": (D1, "0.01"),
    "U-Net, depth 3": (D3, "0.01"),
    "fully connected": (FULLY, "0.05"),
}


@dataclass(frozen=True)
class NotTheIdentity(Study):
    """An overcomplete network does not learn the identity function.

    A U-Net without skips, whose code has 2.7 times as many numbers as the image, learns only to copy cifar10 at
    32 pixels in colour, and is looked at when its copies first leave 1 % of held-out images' variance: a network
    that has not learned to copy is not the identity for that reason alone. "Noise passed" is the share of added
    noise of std 0.1 that comes out again (1 for the identity), which does not contain the error of copying. It
    decides with running statistics, where no image depends on others, and with those of batches of 64, as the
    essay works.

    Threshold: below 0.8, as in the study before, since a map that removes less than a fifth of the noise would be
    called a copy by anyone who looks at it. Regime: 1 %, the quality at which copies are hard to tell from the
    images. Controls: the identity itself, measured in the same way; and the same network at the end of its
    training, since one that only is on its way to the identity would pass more and more. Beside them, PCA with as
    many components as leave the same error: the least noise that a linear copy of this quality passes; and other
    depths, whose codes have 5.3 and 1.3 times the image's numbers. The fully connected network (where 5 % is left)
    is shown, but its code is a third of the image: it cannot be the identity.

    Formerly (0.1.0) the essay's fully connected network of 1,331 units on 1,325 grey landscapes decided, by three
    numbers: HOLDS, with a share of .026. It left 18 % of the variance, so that it had not learned to copy.

    In the figure, rows from the top: clean, its copy, with noise of std 0.2, and the network's output for that.
    """

    claim: ClassVar[str] = "T1"
    place: ClassVar[str] = f"{SECTION}: the text under the figure of the overcomplete autoencoder"
    items: ClassVar[tuple[int, ...]] = (12, 103, 138)
    data: ClassVar[tuple[str, ...]] = ("cifar10",)
    asked: ClassVar[str] = (
        "Does a network whose code is larger than the image become the identity once it has learned to copy?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "An overcomplete network that copies well is still no identity: what it was not trained on "
        "does not come out unchanged. Do not count on its output being its input.",
        PARTLY: "It depends on the statistics of batch norm whether it only copies: use those that you measured.",
        Verdict.DOES_NOT_HOLD: "An overcomplete network that copies well also copies noise: give it a narrower "
        "code, a penalty, or noise to remove, if it is to do more than copy.",
    }
    regime: ClassVar[Mapping[str, Regime]] = {NETWORK: Regime(0.01)}
    controls: ClassVar[Mapping[str, Control]] = {
        "noise passed, identity": (Above(0.999), "The measure does not see the identity."),
        "noise passed, end of training": (
            Below(0.8),
            "The network is not the identity where 1 % is left, but longer training makes it one.",
        ),
    }

    noise_passed_running_statistics: Below = Below(0.8)
    noise_passed_batches_of_64: Below = Below(0.8)

    def measure(self, lab: Lab) -> Finding:
        """Read the share of weak noise that passes off the curve, where 1 % is left."""

        def look(seed: int) -> Reading:
            return curve.read_off(lab, seed, LOOKS, lambda what: "passed, gaussian 0.1" in what)

        found, weak = lab.by_seed(look), "passed, gaussian 0.1"
        numbers = {
            "noise passed running statistics": curve.mean(found, f"{NETWORK}: {weak}, {RUNNING}"),
            "noise passed batches of 64": curve.mean(found, f"{NETWORK}: {weak}, {BY_64}"),
            "noise passed, identity": curve.mean(found, f"beside: identity, {weak}, {RUNNING}"),
            "noise passed, end of training": curve.mean(found, f"{NETWORK}, end: {weak}, {RUNNING}"),
            "noise passed, PCA of equal error": curve.mean(found, f"{NETWORK}: pca, {weak}"),
            "noise passed, best linear filter": curve.mean(found, f"beside: linear, {weak}"),
        }
        others = [called for called in LOOKS if not called.startswith(NETWORK)]
        numbers |= {
            f"noise passed, {called}": curve.mean(found, f"{called}: {weak}, {RUNNING}") for called in others
        }
        images = found[0].images
        rows = {"clean": images["beside: clean"], "copy": images[f"{NETWORK}: copy"]}
        rows |= {"noisy": images["beside: gaussian 0.2"], "output": images[f"{NETWORK}: gaussian 0.2"]}
        passed, end, rival = (
            numbers[f"noise passed{of}"].value
            for of in (" running statistics", ", end of training", ", PCA of equal error")
        )
        return Finding(
            numbers,
            {"images": first_images(rows)},
            notes=curve.missed(found, LOOKS),
            copying=qualities(found),
            came_out=f"Where a U-Net of depth 2 leaves 1 %, {passed:.0%} of weak noise passes, at the end of its "
            f"training {end:.0%}; PCA that copies as well passes {rival:.0%}.",
            captions={
                "images": "Held-out images, the copies of the U-Net where 1 % is left, the images with noise of "
                "std 0.2, and its outputs for these"
            },
        )
