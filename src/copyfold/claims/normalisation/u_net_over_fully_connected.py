"""T4: does a U-Net denoise better than a fully connected network?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from torch import Tensor

from copyfold.claims.normalisation import SECTION
from copyfold.corruptions import Corruption, Gaussian, Mix
from copyfold.models.dense import MLP, VectorNorm
from copyfold.probes.base import Reading
from copyfold.probes.denoising import Denoising
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.denoising import trimmed
from copyfold.studies.toolkit.networks import FULLY_CONNECTED, overcomplete, parameters, unet
from copyfold.types import Images, Shape, Statistics

PLAIN = "fully connected, equal parameters"
NORMED = "fully connected, equal parameters, batch norm"


@dataclass(frozen=True)
class UNetOverFullyConnected(Study):
    """A U-Net denoises better than a fully connected network.

    The essay's U-Net without skips and its overcomplete fully connected network learn to copy the same photographs
    in equally many steps (the latter with 64 images a step and not 16, which favours it). Held-out photographs are
    mixed half and half with noise N(0.7, 0.2^2), where the U-Net uses the statistics of the batch, as in the
    essay; or they get noise of std 0.2, where it uses running statistics and no image depends on another. The
    deciding numbers are squared errors of the U-Net over those of the other network, for the same noisy images.

    Controls: a fully connected network with as many weights as the U-Net (its layers are then narrower than the
    image, which by itself removes noise), and the same with batch norm, so that an effect of size or norm is not
    attributed to convolution. All errors are also given over those of doing nothing; and the errors of copying
    clean images.

    The figure has a line per network and noise: below 1 it is better than doing nothing; small circles are seeds.
    The rows of images are mixed with noise.
    """

    claim: ClassVar[str] = "T4"
    place: ClassVar[str] = f"{SECTION}: its first paragraph"
    items: ClassVar[tuple[int, ...]] = (105, 139)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Emergent denoising comes from convolution and depth, not from the number of weights.",
        PARTLY: "It depends on the noise, or on width: a narrow fully connected network can be as good.",
        Verdict.DOES_NOT_HOLD: "A fully connected network, with the same data and steps, denoises as well or "
        "better.",
    }

    error_over_fully_connected_mix: Below = Below(1.0)
    error_over_fully_connected_gaussian: Below = Below(1.0)
    error_over_equal_parameters_gaussian: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Corrupt in two ways, and restore with each network."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        noises: dict[str, Corruption] = {"mix": Mix(0.5), "gaussian": Gaussian(0.2)}
        narrow = {"batch": 64}
        both: tuple[Statistics, ...] = ("batch", "running")
        kinds: dict[str, tuple[Make, dict[str, Any], tuple[Statistics, ...]]] = {
            "U-Net": (unet(lab), {}, both),
            "fully connected": (overcomplete(lab), FULLY_CONNECTED, both[1:]),
            PLAIN: (with_parameters_of(unet(lab)), narrow, both[1:]),
            NORMED: (with_parameters_of(unet(lab), "batch"), narrow, both),
        }

        def look(seed: int) -> dict[str, Reading]:
            readings: dict[str, Reading] = {}
            for kind, (make, plan, uses) in kinds.items():
                model = lab.trained(make, photos, seed, **plan)
                for use in uses:
                    for name, noise in noises.items():
                        reading = Denoising(noise, statistics=use)(model, x, lab.rng(seed, name))
                        readings[f"{kind}, {name}" + f", {use}" * (uses == both)] = trimmed(reading)
            return readings

        found = lab.each(look)
        errors = {name: [f[name].numbers for f in found] for name in found[0]}
        over = {
            f"error over doing nothing, {name}": statistics.ratio(
                *(_of(of_seeds, k) for k in ("restored", "corrupted"))
            )
            for name, of_seeds in errors.items()
        }
        numbers = over | self._ratios({name: _of(of_seeds, "restored") for name, of_seeds in errors.items()})
        for kind in kinds:
            name = next(n for n in errors if n.startswith(f"{kind}, gaussian"))
            numbers[f"copying error, {kind}"] = statistics.mean(_of(errors[name], "reconstruction"))
        drawn = {name.removeprefix("error over doing nothing, "): e for name, e in over.items()}
        figure = charts.intervals(
            drawn, "squared error over that of doing nothing", {"doing nothing": 1.0}, logx=True
        )
        count = parameters(unet(lab), photos.shape)
        notes = (f"weights: U-Net {count:,}, overcomplete {parameters(overcomplete(lab), photos.shape):,}",)
        return Finding(numbers, {"ratios": figure, "images": self._images(x, found[0])}, notes=notes)

    def _ratios(self, restored: dict[str, list[Tensor]]) -> dict[str, Estimate]:
        """The errors of the U-Net over those of each other network, for the same noisy images."""
        mixed, added = restored["U-Net, mix, batch"], restored["U-Net, gaussian, running"]
        return {
            "error over fully connected mix": statistics.ratio(mixed, restored["fully connected, mix"]),
            "error over fully connected gaussian": statistics.ratio(added, restored["fully connected, gaussian"]),
            "error over equal parameters gaussian": statistics.ratio(added, restored[f"{PLAIN}, gaussian"]),
            "error over equal parameters mix": statistics.ratio(mixed, restored[f"{PLAIN}, mix"]),
            "error over equal parameters with batch norm mix": statistics.ratio(
                mixed, restored[f"{NORMED}, mix, batch"]
            ),
        }

    def _images(self, x: Images, readings: dict[str, Reading]) -> Any:
        """Photographs, the same mixed with noise, and each network's restorations."""
        rows = {"clean": x, "mixed with noise": readings["fully connected, mix"].images["corrupted"]}
        names = {"U-Net": "U-Net, mix, batch", "fully connected": "fully connected, mix"}
        names |= {PLAIN: f"{PLAIN}, mix", NORMED: f"{NORMED}, mix, batch"}
        return first_images(rows | {row: readings[name].images["restored"] for row, name in names.items()})


def with_parameters_of(other: Make, norm: VectorNorm = "none") -> Make:
    """A fully connected network of five equal hidden layers with about as many weights as another network."""

    def make(shape: Shape) -> MLP:
        ends, count = 2 * prod(shape), parameters(other, shape)
        units = max(1, round((math.sqrt(ends**2 + 16 * count) - ends) / 8))  # ends u + 4 u^2 = count
        return MLP(shape, [units, units], units, activation="gelu", code_activation="gelu", norm=norm)

    return make


def _of(numbers: list[dict[str, Tensor]], what: str) -> list[Tensor]:
    return [of_seed[what] for of_seed in numbers]
