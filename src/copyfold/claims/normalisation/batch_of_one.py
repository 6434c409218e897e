"""T22: does batch norm need the other images of a batch?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from copyfold import pictures
from copyfold.claims.normalisation import NOISES, NOTHING, SECTION
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import BATCH, restored, unet
from copyfold.types import Images

WAYS = {  # which network, and the batch size in use
    "batches of 16": ("sixteen", BATCH),
    "batches of 1": ("one", 1),
    "1, as few steps": ("few", 1),
    "16, used by 1": ("sixteen", 1),
}


@dataclass(frozen=True)
class BatchOfOne(Study):
    """With batches of 1, batch norm denoises as well as with batches of 16.

    The U-Net without skips learns to copy landscapes with batches of 16, and with batches of 1; each is then used
    with the batches it was trained with. rho is ||O(x~) - x|| / ||x~ - x|| over held-out images, of the essay's
    mix with noise N(0.7, 0.2^2) and of noise of std 0.1, which changes no brightness. Both have seen every image
    equally often, as when one changes the batch size and keeps the number of epochs: batches of 1 make 16 times as
    many steps at the same learning rate. "As well" means within a tenth, and better than doing nothing.

    Controls: the same training with batches of 1 after about as many steps as the other makes (whole epochs), with
    a 16th of the images seen; the network trained with batches of 16 but used one image at a time, which shows the
    effect of the other images in use; and the errors of copying clean images, which would show a worse training.

    In the figure each line is a way to train and use the network; the small circles are the seeds, and 1 is doing
    nothing.
    """

    claim: ClassVar[str] = "T22"
    place: ClassVar[str] = f"{SECTION}: the paragraph on batch sizes of 1, and the figure after it"
    items: ClassVar[tuple[int, ...]] = (70, 124, 151)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "What batch norm does for denoising it does within an image: no memory for a batch is "
        "needed, and an image's result need not depend on others.",
        PARTLY: "Batches of 1 do as well for one kind of noise and not for the other: test on your own data.",
        Verdict.DOES_NOT_HOLD: "The other images of a batch matter: batches of 1 cost quality.",
    }

    rho_one_over_sixteen_mix: Below = Below(1.1)
    rho_one_over_sixteen_gaussian: Below = Below(1.1)
    rho_mix_batches_of_1: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Train and use with both sizes."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        steps, make = lab.budget.steps, unet(lab)

        def train(seed: int) -> tuple[int, dict[str, Autoencoder]]:
            short, long = lab.course(make, photos, seed, (steps, BATCH * steps), batch=1)
            return seed, {"sixteen": lab.trained(make, photos, seed, batch=BATCH), "one": long, "few": short}

        models = lab.each(train)

        def used(way: str, images: list[Images]) -> list[Images]:
            network, batch = WAYS[way]
            return [restored(m[network], y, batch) for (_, m), y in zip(models, images, strict=True)]

        numbers, shown, looks = {}, {}, {"clean": x[:SHOWN]}
        for noise, corruption in NOISES.items():
            noisy = [corruption(x, lab.rng(seed, noise)) for seed, _ in models]
            outputs = {way: used(way, noisy) for way in WAYS}
            errors = {way: [mse(y, x) for y in images] for way, images in outputs.items()}
            nothing = [mse(y, x) for y in noisy]
            shown |= {f"{noise} {way}": rho(values, nothing) for way, values in errors.items()}
            one, sixteen = errors["batches of 1"], errors["batches of 16"]
            numbers |= {
                f"rho one over sixteen {noise}": rho(one, sixteen),
                f"rho difference {noise}": statistics.estimate(
                    lambda a, b, c: (a / c).sqrt() - (b / c).sqrt(), one, sixteen, nothing
                ),
                f"rho one over sixteen {noise}, equal steps": rho(errors["1, as few steps"], sixteen),
            }
            looks[f"{noise}: corrupted"] = noisy[0][:SHOWN]
            looks |= {f"{noise}: {way}": outputs[way][0][:SHOWN] for way in ("batches of 16", "batches of 1")}
        numbers |= {f"rho {name}": e for name, e in shown.items()}
        for way in WAYS:
            copies = used(way, [x] * len(models))
            numbers[f"copying error, {way}"] = statistics.mean([mse(y, x) for y in copies])
        figure = charts.intervals(shown, "rho, ratio of distances to the clean image", NOTHING, logx=True)
        return Finding(numbers, {"rho": figure, "images": pictures.comparison(looks)})


def rho(restored: Sequence[Tensor], corrupted: Sequence[Tensor]) -> Estimate:
    """The ratio of distances to the clean images, of squared errors."""
    return statistics.estimate(lambda a, b: (a / b).sqrt(), restored, corrupted)
