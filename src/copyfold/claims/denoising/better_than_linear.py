"""Is emergent denoising better than a linear filter fitted in a second?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from copyfold.claims.denoising import SECTION
from copyfold.corruptions import Corruption, Gaussian, Mix
from copyfold.measures import mse
from copyfold.objectives.base import Classical
from copyfold.probes.base import Reading
from copyfold.probes.denoising import Denoising
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.denoising import FITTED, trimmed
from copyfold.studies.toolkit.networks import FULLY_CONNECTED, hidden, overcomplete, unet
from copyfold.types import Statistics

STRENGTHS = (0.05, 0.1, 0.2, 0.4)
LINEAR = ("7x7 filter", "11x11 filter", "frequency filter")
TAUGHT = "A network trained to denoise is no better: the limit may be size and training time, not the objective."
CLASSICAL = ("PCA-Wiener", "non-local means", "wavelet")

Denoiser: TypeAlias = tuple[Make, dict[str, Any], Statistics]
"""How a network is made, its plan of training, and the statistics that it restores with."""


@dataclass(frozen=True)
class BetterThanLinear(Study):
    """A network trained only to copy denoises better than a linear filter.

    Four networks that never saw noise restore held-out photographs with Gaussian noise of std 0.05 to 0.4, and
    mixed half and half with noise N(0.7, 0.2^2): the U-Net with the statistics of the batch and with running ones,
    the overcomplete fully connected network, and the U-Net with the hidden module. The number is the squared error
    over that of the best linear filter, fitted by least squares on training photographs with the same noise. It
    decides at std 0.2 and for the mix, each time for the best of these networks there.

    Controls: two U-Nets trained to denoise ("taught"), one on Gaussian noise of std 0.05 to 0.4 and one on mixes
    of any share, which must beat the filter if the measurement is right; an untrained U-Net; doing nothing; and
    the best classical denoiser, given the noise level. The filter is the best of three on the images measured, and
    the network is chosen in the same way.

    In the first figure the bands are intervals; below the line of the filter a network is better. The second shows
    the same for the mix; the small circles are the seeds. The third shows photographs with noise of std 0.2.
    """

    claim: ClassVar[str] = "fairly"
    place: ClassVar[str] = f"{SECTION}: its title"
    items: ClassVar[tuple[int, ...]] = (72, 105)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Training to copy teaches what a linear filter cannot know: an existing autoencoder is "
        "a denoiser.",
        PARTLY: "It depends on the noise: for noise far from all photographs training to copy helps; "
        "for weak noise a filter fitted in a second is better.",
        Verdict.DOES_NOT_HOLD: "To remove noise, train a network to denoise, or fit a filter: training to copy "
        "alone is worse.",
    }

    error_over_linear_filter_gaussian: Below = Below(1.0)
    error_over_linear_filter_mix: Below = Below(1.0)

    controls: ClassVar[Mapping[str, Control]] = {
        "error over linear filter, U-Net taught gaussian, gaussian 0.2": (Below(1.0), TAUGHT),
        "error over linear filter, U-Net taught mixes, mix": (Below(1.0), TAUGHT),
    }

    def measure(self, lab: Lab) -> Finding:
        """Corrupt with rising strength, restore with every network and filter, compare."""
        photos = lab.photos("landscapes")
        x, reference = lab.images(photos), lab.images(photos, "train", FITTED)
        noises: dict[str, Corruption] = {f"gaussian {std}": Gaussian(std) for std in STRENGTHS}
        noises["mix"] = Mix(0.5)
        blank = lab.untrained(unet(lab), photos, 0)
        plain = {
            name: Denoising(noise, reference, "batch")(blank, x, lab.rng(0, name))
            for name, noise in noises.items()
        }
        emergent, taught = emergent_denoisers(lab), trained_denoisers(lab)

        def restore(seed: int) -> dict[str, dict[str, Reading]]:
            restored: dict[str, dict[str, Reading]] = {}
            for kind, (make, plan, use) in (emergent | taught).items():
                model = lab.trained(make, photos, seed, **plan)
                with model.using(use), torch.no_grad():
                    outputs = {name: model(r.images["corrupted"]) for name, r in plain.items()}
                restored[kind] = {
                    n: trimmed(Reading({"error": mse(y, x)}, {"output": y})) for n, y in outputs.items()
                }
            return restored

        found = lab.each(restore)
        numbers: dict[str, Estimate] = {}
        for name, reading in plain.items():
            errors = {kind: [f[kind][name].numbers["error"] for f in found] for kind in found[0]}
            numbers |= self._ratios(name, errors, reading)
        best = {
            n: min(emergent, key=lambda k, n=n: numbers[f"error over linear filter, {k}, {n}"].value)
            for n in noises
        }
        for name, noise in {"gaussian": "gaussian 0.2", "mix": "mix"}.items():
            decisive = numbers[f"error over linear filter, {best[noise]}, {noise}"]
            numbers[f"error over linear filter {name}"] = decisive
        figures = self._figures(numbers, found[0], plain["gaussian 0.2"], best["gaussian 0.2"])
        notes = [f"best of those trained only to copy, {n}: {k}" for n, k in best.items()]
        return Finding(numbers, figures, notes=tuple(notes))

    def _ratios(self, noise: str, errors: dict[str, list[Tensor]], reading: Reading) -> dict[str, Estimate]:
        """The errors of every network with one noise over those of the filter and the classical denoiser."""
        errors = errors | {"untrained U-Net": [reading.numbers["restored"]] * len(next(iter(errors.values())))}
        rivals = {"linear filter": least(reading, LINEAR), "classical denoiser": least(reading, CLASSICAL)}
        numbers: dict[str, Estimate] = {}
        for rival, chosen in (rivals | {"doing nothing": "corrupted"}).items():
            numbers |= {
                f"error over {rival}, {k}, {noise}": statistics.ratio(e, [reading.numbers[chosen]] * len(e))
                for k, e in errors.items()
            }
        filtered, denoised = ([reading.numbers[chosen]] for chosen in rivals.values())
        numbers[f"linear filter over classical denoiser, {noise}"] = statistics.ratio(filtered, denoised)
        return numbers

    def _figures(
        self,
        numbers: Mapping[str, Estimate],
        outputs: Mapping[str, Mapping[str, Reading]],
        plain: Reading,
        best: str,
    ) -> dict[str, Any]:
        """The ratio against the strength of the noise, the same for the mix, and images."""
        said, label = "error over linear filter", "squared error over that of the best linear filter"
        along = {
            kind: (STRENGTHS, [numbers[f"{said}, {kind}, gaussian {s}"] for s in STRENGTHS]) for kind in outputs
        }
        level = {"the best linear filter": 1.0}
        strengths = charts.curves(along, "std of the Gaussian noise", label, level, logy=True)
        mix = {kind: numbers[f"error over linear filter, {kind}, mix"] for kind in outputs}
        rows = {k: plain.images[k] for k in ("clean", "corrupted")}
        rows |= {f"trained only to copy: {best}": outputs[best]["gaussian 0.2"].images["output"]}
        rows |= {name: plain.images[name] for name in (least(plain, LINEAR), least(plain, CLASSICAL))}
        rows |= {"trained to denoise": outputs["U-Net taught gaussian"]["gaussian 0.2"].images["output"]}
        return {
            "strengths": strengths,
            "mix": charts.intervals(mix, label, level, logx=True),
            "images": first_images(rows),
        }


def emergent_denoisers(lab: Lab) -> dict[str, Denoiser]:
    """Networks that are trained only to copy."""
    return {
        "U-Net, batch statistics": (unet(lab), {}, "batch"),
        "U-Net, running statistics": (unet(lab), {}, "running"),
        "fully connected": (overcomplete(lab), FULLY_CONNECTED, "running"),
        "U-Net with hidden module": (hidden(lab), {}, "batch"),
    }


def trained_denoisers(lab: Lab) -> dict[str, Denoiser]:
    """Networks that are trained to denoise."""
    return {
        "U-Net taught gaussian": (unet(lab), {"objective": Classical(Gaussian((0.05, 0.4)))}, "running"),
        "U-Net taught mixes": (unet(lab), {"objective": Classical(Mix((0.0, 1.0)))}, "running"),
    }


def least(reading: Reading, names: Sequence[str]) -> str:
    """Which of several baselines has the least mean error."""
    return min(names, key=lambda name: reading.numbers[name].mean().item())
