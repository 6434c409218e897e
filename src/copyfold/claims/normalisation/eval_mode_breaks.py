"""T24: does denoising break with running averages in place of the statistics of the batch?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from copyfold import pictures
from copyfold.claims.normalisation import NOISES, NOTHING, SECTION
from copyfold.measures import mse
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import restored, unet
from copyfold.types import Statistics


@dataclass(frozen=True)
class EvalModeBreaks(Study):
    """A network trained with statistics of the batch does not denoise in eval mode.

    The U-Net without skips, trained to copy landscapes, restores held-out images twice: with the statistics of
    batches of 16, as the essay uses it, and with the running averages of training, as eval mode would. The number
    is the squared error with running averages over that with batch statistics: "does not denoise" is at least
    twice the error. The essay's mix with N(0.7, 0.2^2) makes images brighter and lowers their contrast; noise of
    std 0.1 does not change brightness.

    Controls: copying clean images, which eval mode should not harm; and the error of doing nothing, with which
    both must be compared.

    In the first figure 1 is doing nothing. In the second, rows from the top: clean, then for each kind of noise:
    corrupted, restored with batch statistics, restored with running averages.
    """

    claim: ClassVar[str] = "T24"
    place: ClassVar[str] = f"{SECTION}: the note that batch norm is not switched to evaluation mode"
    items: ClassVar[tuple[int, ...]] = (151,)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Emergent denoising depends on the statistics of the batch: eval mode loses it.",
        PARTLY: "Eval mode no longer undoes a shift in brightness, but still removes noise: for noise "
        "alone use the running averages, and no image's result depends on others.",
        Verdict.DOES_NOT_HOLD: "Eval mode is safe: the running averages denoise as the batch does.",
    }

    running_over_batch_mix: Above = Above(2.0)
    running_over_batch_gaussian: Above = Above(2.0)

    def measure(self, lab: Lab) -> Finding:
        """Restore with both statistics."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        models = lab.each(lambda seed: (seed, lab.trained(unet(lab), photos, seed)))
        kinds: tuple[Statistics, ...] = ("batch", "running")
        numbers, shown, looks = {}, {}, {"clean": x[:SHOWN]}
        for noise, corruption in NOISES.items():
            noisy = [corruption(x, lab.rng(seed, noise)) for seed, _ in models]
            looks[f"{noise}: corrupted"] = noisy[0][:SHOWN]
            errors: dict[str, list[Tensor]] = {}
            for kind in kinds:
                outputs = [restored(m, y, statistics=kind) for (_, m), y in zip(models, noisy, strict=True)]
                errors[kind] = [mse(y, x) for y in outputs]
                looks[f"{noise}: {kind}"] = outputs[0][:SHOWN]
                shown[f"{noise}: {kind}"] = statistics.ratio(errors[kind], [mse(y, x) for y in noisy])
                numbers[f"error over doing nothing {noise}, {kind}"] = shown[f"{noise}: {kind}"]
            numbers[f"running over batch {noise}"] = statistics.ratio(errors["running"], errors["batch"])
        clean = {kind: [mse(restored(m, x, statistics=kind), x) for _, m in models] for kind in kinds}
        numbers |= {f"copying error, {kind}": statistics.mean(errors) for kind, errors in clean.items()}
        numbers["running over batch, clean images"] = statistics.ratio(clean["running"], clean["batch"])
        figure = charts.intervals(shown, "squared error, ratio to doing nothing", NOTHING, logx=True)
        return Finding(numbers, {"errors": figure, "images": pictures.comparison(looks)})
