"""T23: is batch norm needed for an accurate representation?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from copyfold import pictures
from copyfold.claims.normalisation import SECTION
from copyfold.measures import mse
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Control, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import restored, unet, with_running_averages
from copyfold.studies.toolkit.norms import by_norm, norm_label
from copyfold.studies.toolkit.search import SEARCHING

INVERTED = 24  # images whose representation is computed


@dataclass(frozen=True)
class NormNotNeededToSee(Study):
    """Batch norm is not needed for an accurate representation in the output layer.

    The U-Net without skips learns to copy landscapes with batch norm and without, all else being equal. The
    representation of a held-out image is an image with the same output, found by L-BFGS from noise N(0.7, 0.05^2),
    in 80 steps for all. Its error is its distance to the held-out image over the root of the number of values:
    accurate is below 0.1, a tenth of the range. Batch norm uses its running statistics here, so that no image's
    search depends on others.

    Controls: the untrained network with batch norm, which has the running statistics of training images; the start
    of the search; the image with noise of std 1/18, the essay's own reference; the distance of the output from the
    target output, over that of this noisy image, since above 1 the search has not converged and the error may not
    come from the network; the errors of copying, since a badly trained network represents badly; and group norm.

    In the figure, rows from the top: the image, and its representation by each network.
    """

    claim: ClassVar[str] = "T23"
    place: ClassVar[str] = f"{SECTION}: the last paragraph and the figure under it"
    items: ClassVar[tuple[int, ...]] = (125, 151)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Batch norm can be left out without harm to what the network represents of its input.",
        PARTLY: "Without batch norm the representation is as good as with it but not accurate, or "
        "accurate but worse: see which.",
        Verdict.DOES_NOT_HOLD: "Without batch norm the network represents less of its input.",
    }

    representation_error_without_norm_over_batch_norm: Below = Below(1.1)
    representation_error_without_norm: Below = Below(0.1)

    controls: ClassVar[Mapping[str, Control]] = {
        f"output over reference noise {kind}": (Below(1.0), SEARCHING) for kind in ("batch norm", "without norm")
    }

    def measure(self, lab: Lab) -> Finding:
        """Invert the output of each network."""
        photos = lab.photos("landscapes")
        x = lab.images(photos, count=min(INVERTED, lab.budget.measured))
        invert, size = Inversion(steps=lab.budget.scaled(80)), x[0].numel() ** 0.5
        found: dict[str, list[Tensor]] = {}
        copying: dict[str, list[Tensor]] = {}
        left: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        looks, reference = {"image": x[:SHOWN]}, []
        seen = lab.images(photos, "train")
        for seed, models in by_norm(lab, photos):
            models = {"untrained": with_running_averages(lab.untrained(unet(lab), photos, seed), seen)} | models
            for kind, model in models.items():
                copying.setdefault(norm_label(kind), []).append(mse(restored(model, x, statistics="running"), x))
                reading = invert(model, x, lab.rng(seed, "start"))
                found.setdefault(norm_label(kind), []).append(reading.numbers["image"] / size)
                outputs = left.setdefault(norm_label(kind), ([], []))
                outputs[0].append(reading.numbers["layer"])
                outputs[1].append(reading.numbers["layer, reference"])
                looks.setdefault(norm_label(kind), reading.images["found"][:SHOWN])
                if kind == "batch":
                    reference.append(reading.numbers["image, reference"] / size)
        start = ((x - invert.mean).square() + invert.std**2).mean((1, 2, 3)).sqrt()
        numbers = {f"representation error {name}": statistics.mean(values) for name, values in found.items()}
        numbers |= {f"output over reference noise {name}": statistics.ratio(*of) for name, of in left.items()}
        numbers |= {f"copying error {name}": statistics.mean(values) for name, values in copying.items()}
        numbers |= {
            f"representation error {name} over batch norm": statistics.ratio(found[name], found["batch norm"])
            for name in ("without norm", "group norm")
        }
        numbers |= {
            "representation error, reference noise": statistics.mean(reference),
            "error of the start": statistics.mean([start] * len(reference)),
        }
        captions = {name: f"error {numbers[f'representation error {name}'].value:.3f}" for name in found}
        return Finding(numbers, {"representations": pictures.comparison(looks, captions)})
