"""Does longer training recover photographs from more noise?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold.claims.denoising import SECTION
from copyfold.corruptions import Mix
from copyfold.measures import mse
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Control, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.denoising import mean_image
from copyfold.studies.toolkit.networks import restored, unet
from copyfold.types import Images


@dataclass(frozen=True)
class MoreTrainingMoreNoise(Study):
    """With more training photographs are recovered from a large addition of noise.

    The essay's U-Net without skips learns to copy photographs, and is saved at four stages. Held-out photographs
    are mixed with noise N(0.7, 0.2^2), so that 0.5, 0.3 or 0.1 of the mix is the photograph; batch norm uses the
    statistics of the batch, as in the essay. The deciding numbers, where 0.3 is kept: the squared error of the
    last network over that of the first, and over that of the mean training image.

    Controls: the mean training image, which ignores its input: an output that is farther from the photograph has
    not recovered it, whatever it looks like; and the last network over the first where 0.1 is kept.

    The first figure shows the error over that of the mean image against the steps of training: below 1 something
    of the photograph is recovered. In the second, the last two rows are made from noise without any photograph.
    """

    claim: ClassVar[str] = "heavy noise"
    place: ClassVar[str] = f"{SECTION}: the figures of LSUN churches, the second and the third"
    items: ClassVar[tuple[int, ...]] = (106, 107, 108)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Training to copy continues to increase the noise that can be removed: do not stop early.",
        PARTLY: "Either longer training helps, and yet the output is only a plausible photograph and "
        "not the true one; or what can be removed is removed early.",
        Verdict.DOES_NOT_HOLD: "Longer training does not help against much noise, and the mean image is nearer.",
    }

    error_late_over_early: Below = Below(1.0)
    error_over_mean_image: Below = Below(1.0)

    controls: ClassVar[Mapping[str, Control]] = {
        "error late over early, keep 0.1": (
            Below(1.0),
            "Where a tenth of the photograph is left, longer training does not help: its effect has a limit.",
        )
    }

    def measure(self, lab: Lab) -> Finding:
        """Train in stages, and mix with rising shares of noise."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        steps = [lab.whole(photos, lab.budget.scaled(n)) for n in (100, 300, 1000, 2500)]
        keeps = (0.5, 0.3, 0.1, 0.0)

        def look(seed: int) -> list[dict[float, Images]]:
            """The mixes (the first is x itself), then each model's outputs for them."""
            mixed = {1.0: x} | {keep: Mix(keep)(x, lab.rng(seed, f"mix {keep}")) for keep in keeps}
            models = lab.course(unet(lab), photos, seed, steps)
            return [mixed, *({keep: restored(m, noisy) for keep, noisy in mixed.items()} for m in models)]

        found = lab.each(look)
        mean = [mse(mean_image(lab, photos).expand_as(x), x)] * len(found)
        errors = {k: [[mse(f[i][k], x) for f in found] for i in range(1, len(steps) + 1)] for k in keeps}
        over = {keep: [statistics.ratio(e, mean) for e in of_steps] for keep, of_steps in errors.items()}
        numbers = {
            "error late over early": statistics.ratio(errors[0.3][-1], errors[0.3][0]),
            "error over mean image": over[0.3][-1],
            "error late over early, keep 0.1": statistics.ratio(errors[0.1][-1], errors[0.1][0]),
        }
        for keep in keeps[:-1]:
            numbers |= {
                f"error over mean image, keep {keep}, {n} steps": e for n, e in zip(steps, over[keep], strict=True)
            }
        figure = charts.curves(
            {f"{keep} kept": (steps, over[keep]) for keep in keeps[:-1]},
            "steps of training",
            "squared error over that of the mean image",
            logx=True,
            logy=True,
        )
        mixed, early, *_, late = found[0]
        rows = {"clean": x, "copy": late[1.0], "0.3 kept": mixed[0.3]}
        rows |= {"0.3 kept, early": early[0.3], "0.3 kept, late": late[0.3]}
        rows |= {"noise alone": mixed[0.0], "noise alone, late": late[0.0]}
        return Finding(numbers, {"training": figure, "images": first_images(rows)})
