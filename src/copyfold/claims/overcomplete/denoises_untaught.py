"""T2: does an autoencoder that was trained only to copy remove noise?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from copyfold import pictures
from copyfold.claims.overcomplete import SECTION
from copyfold.corruptions import Mix
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.denoising import Denoising, best_baseline
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.denoising import FITTED
from copyfold.studies.toolkit.networks import WIDE, overcomplete, unet
from copyfold.types import Images

KEEPS = (0.9, 0.7, 0.5, 0.3, 0.1)  # of the image, in the essay's mix with noise


@dataclass(frozen=True)
class DenoisesUntaught(Study):
    """An autoencoder trained only to copy removes noise.

    The essay's fully connected network (on images of half the side, to save time) and its U-Net without skips
    learn to copy photographs. Held-out photographs are mixed with noise N(0.7, 0.2^2), keeping 0.9 to 0.1 of the
    image. The deciding numbers are for half and half: the squared error of the output over that of doing nothing,
    and over that of the best baseline without a network, for the better of the two networks, each as the essay
    uses it (the U-Net with the statistics of the batch, here of all images measured). A note gives the lengths of
    their codes: a code shorter than the image would remove noise for that reason alone.

    Controls: the mean training image; least-squares linear filters of 7x7 and 11x11 and by frequency, fitted on
    the same training images with the same noise; the Wiener filter of patches, non-local means and wavelets, with
    the noise level given. All correct the shift of brightness: the filters have a constant term, and for the
    others the shift is undone.

    The first figure shows the square root of both ratios against the share of the image that is kept: below 1 is
    better than doing nothing, or than the best baseline. The second shows images of the better network.
    """

    claim: ClassVar[str] = "T2"
    place: ClassVar[str] = f"{SECTION}: ||O(a~) - a|| < ||a~ - a||"
    items: ClassVar[tuple[int, ...]] = (105, 138)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Training to copy teaches a network more about images than a filter fitted in a second "
        "knows.",
        PARTLY: "It removes noise, but less than a linear filter fitted in a second. Noise of another "
        "brightness is far from all images, and moving it back towards them is easy.",
        Verdict.DOES_NOT_HOLD: "What looks like denoising is not even better than leaving the noise in.",
    }

    error_over_doing_nothing: Below = Below(1.0)
    error_over_best_baseline: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Mix with more and more noise, restore, compare."""
        kinds: dict[str, tuple[Make, int, dict[str, Any]]] = {
            "fully connected": (overcomplete(lab), lab.budget.side, {"batch": 64, "lr": WIDE}),
            "U-Net": (unet(lab, large=True), lab.budget.large, {}),
        }
        found: dict[str, dict[float, list[Reading]]] = {}
        sizes: list[str] = []
        for name, (make, side, plan) in kinds.items():
            photos = lab.photos("landscapes", side)
            x, reference = lab.images(photos), lab.images(photos, "train", FITTED)
            models = lab.each(lambda seed, p=photos, m=make, plan=plan: lab.trained(m, p, seed, **plan))
            sizes.append(f"{name}: {models[0].summary()}")
            found[name] = {keep: self._readings(lab, models, keep, x, reference) for keep in KEEPS}
        numbers = {}
        for name, readings in found.items():
            for keep, of_seeds in readings.items():
                numbers |= {f"{what}, {name}, keep {keep}": e for what, e in self._ratios(of_seeds).items()}
        best = min(found, key=lambda name: numbers[f"error over doing nothing, {name}, keep 0.5"].value)
        numbers |= {what: numbers[f"{what}, {best}, keep 0.5"] for what in self.thresholds()}
        series, bands = {}, {}
        for name in found:
            for what in self.thresholds():
                line = f"{name}: {what}"
                each = [numbers[f"{what}, {name}, keep {keep}"] for keep in KEEPS]
                series[line] = (KEEPS, [e.value**0.5 for e in each])
                bands[line] = ([max(e.low, 0) ** 0.5 for e in each], [e.high**0.5 for e in each])
        figure = pictures.curves(
            series, "share of the image that is kept", "distance to the clean image, ratio", logy=True, bands=bands
        )
        images = {k: v[:SHOWN] for k, v in found[best][0.5][0].images.items()}
        baseline = best_baseline(found[best][0.5][0])[0]
        rows = {k: images[k] for k in ("clean", "corrupted", "restored", baseline)}
        looks = pictures.comparison(rows, title=f"{best}, half of the image kept")
        return Finding(numbers, {"ratios": figure, "images": looks}, notes=(f"the better network: {best}", *sizes))

    def _readings(
        self, lab: Lab, models: list[Autoencoder], keep: float, x: Images, reference: Images
    ) -> list[Reading]:
        """Of every seed's model; the baselines are fitted once, as they and the noise are the same for all."""
        whole = Denoising(Mix(keep), reference, "batch")(models[0], x, lab.rng(0, f"mix {keep}"))
        alone = Denoising(Mix(keep), None, "batch")
        own = [alone(model, x, lab.rng(0, f"mix {keep}")) for model in models]
        return [Reading(whole.numbers | {"restored": r.numbers["restored"]}, whole.images) for r in own]

    def _ratios(self, readings: list[Reading]) -> dict[str, Estimate]:
        restored = [r.numbers["restored"] for r in readings]
        others = {
            "error over doing nothing": [r.numbers["corrupted"] for r in readings],
            "error over best baseline": [best_baseline(r)[1] for r in readings],
        }
        return {what: statistics.ratio(restored, errors) for what, errors in others.items()}
