"""T21: what changes without batch norm: noise, statistics, blur?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold.claims.normalisation import NOISES, SECTION
from copyfold.corruptions import Blur
from copyfold.measures import mse, noise_level
from copyfold.probes.geometry import IdentityGap
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.networks import probed, restored
from copyfold.studies.toolkit.norms import NORMS, by_norm, norm_label
from copyfold.types import Images

NOT_SHARPER = "Nothing is deblurred: the comparison only shows how well the networks copy."


@dataclass(frozen=True)
class NoNormNoNoise(Study):
    """Without batch norm outputs lack noise, have wrong statistics, deblur as well.

    The U-Net without skips learns to copy landscapes with batch norm and without any norm, all else being equal.
    Held-out images are mixed half and half with noise N(0.7, 0.2^2), and restored with the statistics of batches
    of 16. The gap of an output is the distance of its channels' means and standard deviations from those of the
    clean image. Its noise is a blind estimate of the std of white noise in it, over that of the clean image, whose
    texture counts as noise too. The essay's blur (std 8 in 256 pixels) is scaled to the side; for blurred images,
    squared errors are compared.

    Controls: group norm, which does not depend on the batch; the noise and the gap of the mixed images themselves;
    the share of weak noise (std 0.1) that passes to the output, since the mix halves texture too, so that an
    output which keeps some of the noise may measure no more than a clean image; and the error of the blurred image
    itself and the ratio of the copying errors, since for two networks that do not deblur the comparison is one of
    copying.

    In the figures, rows from the top: clean, corrupted, and the outputs of the networks.
    """

    claim: ClassVar[str] = "T21"
    place: ClassVar[str] = f"{SECTION}: the paragraph on removing it from all convolutions, and the figure there"
    items: ClassVar[tuple[int, ...]] = (123, 151)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Batch norm corrects brightness and contrast and does nothing else here: where those of "
        "the input are right, it is not needed.",
        PARTLY: "Batch norm does not only correct brightness and contrast: see which of noise, "
        "statistics and blur it changes.",
        Verdict.DOES_NOT_HOLD: "Removing batch norm changes other things than the essay says.",
    }

    noise_without_norm_over_clean: Below = Below(1.1)
    gap_without_norm_over_batch_norm: Above = Above(2.0)
    deblurring_error_without_norm_over_batch_norm: Below = Below(1.1)

    controls: ClassVar[Mapping[str, Control]] = {
        "deblurring error over doing nothing batch norm": (Below(1.0), NOT_SHARPER),
        "deblurring error over doing nothing without norm": (Below(1.0), NOT_SHARPER),
    }

    def measure(self, lab: Lab) -> Finding:
        """Restore mixed and blurred images with each network."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        blurred = scaled_blur(photos.shape[2])(x)
        models = by_norm(lab, photos)
        mixed = [NOISES["mix"](x, lab.rng(seed, "mix")) for seed, _ in models]
        clean = [noise_level(x)] * len(models)
        passed = IdentityGap(NOISES["gaussian"], draws=0, statistics="batch")
        numbers = {
            "noise mixed over clean": statistics.ratio([noise_level(m) for m in mixed], clean),
            "gap mixed": statistics.mean([statistics_gap(m, x) for m in mixed]),
        }
        gaps, deblurring, copying = {}, {}, {}
        looks = {"clean": x, "mixed with noise": mixed[0]}
        blurs = {"clean": x, "blurred": blurred}
        for kind in NORMS:
            label = norm_label(kind)
            outputs = [restored(m[kind], y) for (_, m), y in zip(models, mixed, strict=True)]
            sharp = [restored(m[kind], blurred) for _, m in models]
            gaps[kind] = [statistics_gap(y, x) for y in outputs]
            deblurring[kind] = [mse(y, x) for y in sharp]
            copying[kind] = [mse(restored(m[kind], x), x) for _, m in models]
            numbers |= {
                f"noise {label} over clean": statistics.ratio([noise_level(y) for y in outputs], clean),
                f"gap {label}": statistics.mean(gaps[kind]),
                f"error over doing nothing {label}": statistics.ratio(
                    [mse(y, x) for y in outputs], [mse(y, x) for y in mixed]
                ),
                f"deblurring error over doing nothing {label}": statistics.ratio(
                    deblurring[kind], [mse(blurred, x)] * len(models)
                ),
                f"copying error {label}": statistics.mean(copying[kind]),
                f"noise passed {label}": statistics.mean(
                    [probed(passed, m[kind], x, lab.rng(seed, "gaussian")).numbers["passed"] for seed, m in models]
                ),
            }
            looks[f"output {label}"], blurs[f"output {label}"] = outputs[0], sharp[0]
        for kind in ("none", "group"):
            pairs = {"gap": gaps, "deblurring error": deblurring, "copying error": copying}
            numbers |= {
                f"{what} {norm_label(kind)} over batch norm": statistics.ratio(of[kind], of["batch"])
                for what, of in pairs.items()
            }
        return Finding(numbers, {"noise": first_images(looks), "blur": first_images(blurs)})


def statistics_gap(y: Images, x: Images) -> Tensor:
    """How far means and standard deviations of the channels are from another image's: one number per pair.

    The root of the mean over channels of (mean y - mean x)^2 + (std y - std x)^2.
    """
    of_y, of_x = (torch.stack((a.mean((2, 3)), a.std((2, 3), correction=0))) for a in (y, x))
    return (of_y - of_x).square().sum(0).mean(1).sqrt()


def scaled_blur(side: int) -> Blur:
    """The essay's blur, 19 pixels wide with std 8 in an image of 256, in proportion to the side."""
    return Blur(max(3, 2 * round(9 * side / 256) + 1), 8 * side / 256)
