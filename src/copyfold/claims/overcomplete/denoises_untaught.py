"""T2: does an autoencoder that was trained only to copy remove noise?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold.claims.overcomplete import SECTION
from copyfold.probes.base import Reading
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts, curve
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.copiers import D1, D2, D3, END, FULLY, UNTRAINED
from copyfold.studies.toolkit.copying import qualities
from copyfold.studies.toolkit.looks import BY_64, RUNNING
from copyfold.types import Images

NETWORK = "U-Net, depth 2"
LOOKS = {
    NETWORK: (D2, "0.02"),
    "untrained": (D2, UNTRAINED),
    "U-Net, depth 2, where 10 % is left": (D2, "0.1"),
    "U-Net, depth 2, end": (D2, END),
    "U-Net, depth 1": (D1, "0.02"),
    "U-Net, depth 3": (D3, "0.02"),
    "fully connected, end": (FULLY, END),
}
WEAK = "gaussian 0.1"


@dataclass(frozen=True)
class DenoisesUntaught(Study):
    """An autoencoder trained to copy removes more noise than PCA that copies as well.

    A U-Net without skips learns only to copy cifar10 at 32 pixels in colour, and is looked at when its copies
    first leave 2 % of held-out images' variance. Two numbers decide. The first is the essay's case: images are
    mixed half and half with noise N(0.7, 0.2^2), batch norm uses the statistics of batches of 64, and the squared
    error of the output over that of doing nothing has to be below 1, or no noise is removed; much of it is
    brightness, which the statistics of the batch set right, so that the noise that passes is shown beside. The
    second asks whether the noise is removed by anything beyond the imperfection of the copy: for noise of std 0.1
    and running statistics, the squared error over that of PCA with as many components as leave the same error of
    clean images. Every projection that leaves something out removes some noise; a network that has learned what
    images look like removes more than the projection that copies as well, so that the threshold is again 1.

    Regime: 2 %, where a copy has the details of its image; the error of copying is then an eighth of that of the
    noise. Controls: the same network untrained (with the running averages of images), which must be worse than
    doing nothing, or the architecture alone would remove noise; and the identity, whose ratio is 1 if the measure
    is right. The other networks, qualities and the best linear filter are shown; the study "fairly" is about that.

    Formerly (0.1.0) the better of a U-Net that left 13 % and a fully connected network that left 18 % of grey
    landscapes decided for the mix, over doing nothing (.18) and over the best of all baselines (2.0): MIXED. The
    baseline of equal copying error takes the place of the best one, which tested another claim.

    The first figure shows the squared error over that of doing nothing, for noise of std 0.1 and the mix. In the
    second, rows from the top: clean, with noise of std 0.2, and the outputs where 10 % and 2 % are left.
    """

    claim: ClassVar[str] = "T2"
    place: ClassVar[str] = f"{SECTION}: ||O(a~) - a|| < ||a~ - a||"
    items: ClassVar[tuple[int, ...]] = (105, 138)
    data: ClassVar[tuple[str, ...]] = ("cifar10",)
    asked: ClassVar[str] = (
        "Does an autoencoder that never saw noise remove it, beyond what any imperfect copy does?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Training to copy teaches a network what images look like: its output for a noisy image is "
        "nearer to the clean one, and nearer than a linear copy of equal quality.",
        PARTLY: "Its output is nearer to the clean image than the noisy one is, for the mix by brightness too, "
        "but it removes no more noise than PCA that copies as well: emergent denoising is the flip side of what a "
        "copy leaves out. To remove noise, train with noise.",
        Verdict.DOES_NOT_HOLD: "Once it copies well, it does not remove noise: train with noise.",
    }
    regime: ClassVar[Mapping[str, Regime]] = {NETWORK: Regime(0.02)}
    controls: ClassVar[Mapping[str, Control]] = {
        "error over doing nothing, untrained, gaussian 0.1": (
            Above(1.0),
            "The architecture removes noise without having learned anything.",
        ),
        "error over doing nothing, identity": (Above(0.999), "The measure does not see that nothing is done."),
    }

    error_over_doing_nothing: Below = Below(1.0)
    error_over_PCA_of_equal_error: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Read errors off the curve, where 2 % is left."""
        found = lab.by_seed(lambda seed: curve.read_off(lab, seed, LOOKS, _needed))
        numbers = {
            "error over doing nothing": curve.ratio(
                found, f"{NETWORK}: error, mix, {BY_64}", "beside: nothing, mix"
            ),
            "error over PCA of equal error": curve.ratio(
                found, f"{NETWORK}: error, {WEAK}, {RUNNING}", f"{NETWORK}: pca, error, {WEAK}"
            ),
            "error over doing nothing, identity": curve.ratio(
                found, f"beside: identity, error, {WEAK}, {RUNNING}", f"beside: nothing, {WEAK}"
            ),
        }
        for called in (NETWORK, "U-Net, depth 2, where 10 % is left", "U-Net, depth 2, end"):
            numbers[f"noise passed, {called}, mix"] = curve.mean(found, f"{called}: passed, mix, {BY_64}")
        for called in LOOKS:
            for noise, way in ((WEAK, RUNNING), ("mix", BY_64)):
                numbers[f"error over doing nothing, {called}, {noise}"] = curve.ratio(
                    found, f"{called}: error, {noise}, {way}", f"beside: nothing, {noise}"
                )
        for noise in (WEAK, "mix"):
            numbers[f"error over doing nothing, best linear filter, {noise}"] = curve.ratio(
                found, f"beside: linear, error, {noise}", f"beside: nothing, {noise}"
            )
        numbers[f"error over doing nothing, PCA of equal error, {WEAK}"] = curve.ratio(
            found, f"{NETWORK}: pca, error, {WEAK}", f"beside: nothing, {WEAK}"
        )
        start = "error over doing nothing, "
        drawn = {k.removeprefix(start): e for k, e in numbers.items() if k.startswith(start) and k.count(", ") > 1}
        figure = charts.intervals(
            drawn, "squared error over that of doing nothing", {"doing nothing": 1.0}, logx=True
        )
        return Finding(
            numbers,
            {"ratios": figure, "images": first_images(_rows(found[0]))},
            notes=curve.missed(found, LOOKS),
            copying=qualities(found),
            came_out=f"Where 2 % is left, the error for the essay's mix is "
            f"{numbers['error over doing nothing'].value:.2f} of doing nothing; for noise of std 0.1 it is "
            f"{numbers['error over PCA of equal error'].value:.2f} of that of PCA that copies as well.",
            captions={
                "ratios": "Squared error over that of doing nothing, a line for each network and noise: left of "
                "the mark noise is removed; small circles are seeds",
                "images": "Held-out images, the same with noise of std 0.2, and the outputs of the U-Net where "
                "10 % and where 2 % is left",
            },
        )


def _needed(what: str) -> bool:
    return WEAK in what or what.endswith(("mix", "mix, batches of 64"))


def _rows(found: Reading) -> dict[str, Images]:
    images = found.images
    return {
        "clean": images["beside: clean"],
        "noisy": images["beside: gaussian 0.2"],
        "10 % left": images["U-Net, depth 2, where 10 % is left: gaussian 0.2"],
        "2 % left": images[f"{NETWORK}: gaussian 0.2"],
    }
