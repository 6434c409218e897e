"""Are the details true that a denoising autoencoder adds?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.notes import DENOISING
from copyfold.corruptions import Corruption, Gaussian, Masking
from copyfold.measures import sharpness
from copyfold.probes.denoising import Denoising, best_baseline
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.codes import output
from copyfold.studies.toolkit.denoising import FITTED
from copyfold.studies.toolkit.notes import CROSS_ENTROPY, EPOCHS, contestants, fashion, learned
from copyfold.types import Images

FILTERS = ("7x7 filter", "11x11 filter", "frequency filter")
KINDS: dict[str, Corruption] = {"noise": Gaussian(0.2), "masking": Masking(0.5)}


@dataclass(frozen=True)
class FillsInDetail(Study):
    """A denoising autoencoder adds true details that its input lacks.

    The notes' CNN learns Fashion-MNIST for 10 epochs from images with noise of std 0.2, and another from images of
    which half of the pixels are set to zero. What it adds, d, is its output minus that of the best linear filter;
    what is missing, t, is the clean image minus the filter's output. The true share, sum d t / sum d^2, is taken
    on held-out images, over all pixels for noise and over the pixels that were set to zero for masking: 1 where
    all that is added is in the clean image too, 0 where it is invented. Above a half, the output is nearer to the
    clean image than the filter's.

    Controls: filters of 7x7 and 11x11 and by frequency, fitted on training images with the same corruption, of
    which the best on the measured images counts; the training image nearest in the visible pixels ("store"), which
    is what a memory of training images would give; for noise, the best classical denoiser.

    In the pictures, rows from the top: clean, corrupted, the filter, the nearest training image, and the
    autoencoder's output.
    """

    claim: ClassVar[str] = "hallucination"
    place: ClassVar[str] = f"{DENOISING}: the model is able to hallucinate details that are missing in the input"
    items: ClassVar[tuple[int, ...]] = (132,)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "What a denoising autoencoder adds to an image is more often true than invented.",
        PARTLY: "Whether the added detail is true depends on the corruption: noise and missing pixels differ.",
        Verdict.DOES_NOT_HOLD: "What it adds is invented: a linear filter is nearer to the truth.",
    }

    true_share_noise: Above = Above(0.5)
    true_share_masking: Above = Above(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Corrupt, restore, and measure the detail that was added."""
        numbers: dict[str, Estimate] = {}
        figures: dict[str, Any] = {}
        for name, corruption in KINDS.items():
            found, rows = self._of(lab, name, corruption)
            numbers |= found
            figures[name] = pictures.comparison({k: v[:SHOWN] for k, v in rows.items()})
        return Finding(numbers, figures)

    def _of(self, lab: Lab, name: str, corruption: Corruption) -> tuple[dict[str, Estimate], dict[str, Images]]:
        """What is added to images with one corruption."""
        photos = fashion(lab)
        x, reference = lab.images(photos), lab.images(photos, "train", FITTED)
        make, objective = contestants(photos.shape)[1], replace(CROSS_ENTROPY, corruption=corruption)
        models = lab.each(lambda seed: learned(lab, make, photos, seed, EPOCHS, objective))
        reading = Denoising(corruption, reference)(models[0], x, lab.rng(0, name))
        noisy, times = reading.images["corrupted"], len(models)
        visible = torch.ones_like(x)
        if isinstance(corruption, Masking):  # the same draw, for images without zeros of their own
            visible = (corruption(visible, lab.rng(0, name)) > 0).to(x)
        lost = 1 - visible if isinstance(corruption, Masking) else visible
        errors = {filter: within((reading.images[filter] - x).square(), lost) for filter in FILTERS}
        best = min(errors, key=lambda filter: errors[filter].mean().item())
        everything = lab.images(photos, "train", len(photos))
        store = recalled(noisy, visible, everything)
        outputs = [output(model, noisy) for model in models]
        added, lacking = [y - reading.images[best] for y in outputs], x - reading.images[best]
        squares = [within((y - x).square(), lost) for y in outputs]
        spent = [within(d.square(), lost) for d in added]
        numbers = {
            f"true share {name}": statistics.ratio([within(d * lacking, lost) for d in added], spent),
            f"added over lacking, {name}": statistics.ratio(spent, [within(lacking.square(), lost)] * times),
            f"error over best filter, {name}": statistics.ratio(squares, [errors[best]] * times),
            f"error over store, {name}": statistics.ratio(squares, [within((store - x).square(), lost)] * times),
            f"sharpness over clean, {name}": statistics.ratio(
                [sharpness(y) for y in outputs], [sharpness(x)] * times
            ),
            f"sharpness over clean, best filter, {name}": statistics.ratio(
                [sharpness(reading.images[best])], [sharpness(x)]
            ),
        }
        if lost is visible:
            classical = [best_baseline(reading)[1]] * times
            numbers[f"error over best baseline, {name}"] = statistics.ratio(squares, classical)
        rows = {"clean": x, "corrupted": noisy, best: reading.images[best], "nearest training image": store}
        return numbers, rows | {"autoencoder": outputs[0]}


def within(values: Images, where: Images) -> Tensor:
    """The mean of each image's values where the mask is 1; 0 for an image whose mask is 0 everywhere."""
    return (values * where).flatten(1).sum(1) / where.flatten(1).sum(1).clamp(min=1)


def recalled(x: Images, visible: Images, everything: Images) -> Images:
    """For each x, the nearest image by the visible pixels."""
    seen, rows = visible.flatten(1), everything.flatten(1)
    squares = seen @ rows.square().T - 2 * (seen * x.flatten(1)) @ rows.T
    return everything[squares.argmin(1)]
