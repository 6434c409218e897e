"""T16: does training end the walk?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from copyfold.claims.walking import SECTION
from copyfold.studies import statistics
from copyfold.studies.base import Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import unet
from copyfold.studies.toolkit.samples import course
from copyfold.studies.toolkit.walks import KNOWN, repeated


@dataclass(frozen=True)
class TrainingEndsTheWalk(Study):
    """With more training, far fewer images walk when they are mapped repeatedly.

    One training of the U-Net is measured at three times, the last after ten times as many batches as the first.
    Each time the map is applied 100 times (300 at the gpu budget) to held-out photographs without noise, with the
    statistics of the batch, and those that walk are counted, as in the study of walks without noise
    (walks-without-noise). The number is the share after the most training minus that after the least. The essay
    counted 7 of 8, and 1 of 8 after 200 more epochs.

    Controls: running statistics, with which no image depends on another; how far the images move, which a count
    hides; and the largest singular value of the Jacobian at the photographs, above 1 where a small change grows:
    the instability that is supposed to explain the walk.

    The first figure shows the share that walks with its 95 % interval, the second the largest singular value.
    """

    claim: ClassVar[str] = "T16"
    place: ClassVar[str] = f"{SECTION}: the last paragraph, from 7/8 to around 1/8"
    items: ClassVar[tuple[int, ...]] = (90, 91, 114, 146)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "A walk shows that training is not finished: a well trained model keeps its images, and "
        "the best model gives no walk.",
        Verdict.DOES_NOT_HOLD: "Training does not stop the walk within this budget: instability is not just a "
        "lack of training.",
    }

    fraction_late_minus_early: Below = Below(-0.2)

    def measure(self, lab: Lab) -> Finding:
        """Count the walks at three times of one training."""
        photos = lab.photos("landscapes", lab.budget.large)
        x = lab.images(photos, count=max(SHOWN, lab.budget.measured // 2))
        known, steps = lab.images(photos, "train", KNOWN), course(lab, photos)

        def look(seed: int) -> list[dict[str, dict[str, Tensor]]]:
            few = x[::2]  # running statistics are a control, and Jacobians take long
            return [
                {
                    "batch statistics": repeated(lab, model, x, known, seed),
                    "running statistics": repeated(lab, model, few, known, seed, "running", 1),
                }
                for model in lab.course(unet(lab, large=True), photos, seed, steps)
            ]

        found = lab.each(look)
        late, early = ([f[when]["batch statistics"]["walks"] for f in found] for when in (-1, 0))
        numbers = {"fraction late minus early": statistics.difference(late, early)}
        shares: dict[str, list[Estimate]] = {name: [] for name in found[0][0]}
        tops: list[Estimate] = []
        for i, count in enumerate(steps):
            for name, share in shares.items():
                share.append(statistics.fraction([f[i][name]["walks"] for f in found]))
                numbers[f"walking fraction, {name}, after {count} batches"] = share[-1]
                displaced = [f[i][name]["displacement"] for f in found]
                numbers[f"displacement, {name}, after {count} batches"] = statistics.mean(displaced)
            tops.append(statistics.mean([f[i]["running statistics"]["singular values"][:, 0] for f in found]))
            numbers[f"largest singular value, after {count} batches"] = tops[-1]
        figures = {
            "fractions": _against(steps, shares, "share of the images that walk", (0, 1.02)),
            "singular-values": _against(steps, {"": tops}, "largest singular value of the Jacobian"),
        }
        return Finding(numbers, figures)


def _against(
    steps: Sequence[int],
    lines: Mapping[str, list[Estimate]],
    ylabel: str,
    ylim: tuple[float, float] | None = None,
) -> Any:
    """Numbers against the length of the training, with their intervals."""
    along = {name: (steps, line) for name, line in lines.items()}
    return charts.curves(along, "batches of 16 photographs learned from", ylabel, ylim=ylim)
