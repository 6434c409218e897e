"""Is the denoising that nobody taught any good? Against much noise, and against filters fitted in a second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from copyfold.claims.denoising.skips_teach_the_identity import (
    FITTED,
    FULLY_CONNECTED,
    SECTION,
    first,
    mean_image,
    shown,
)
from copyfold.corruptions import Corruption, Gaussian, Mix
from copyfold.measures import mse
from copyfold.objectives.base import Classical
from copyfold.probes.base import Reading
from copyfold.probes.denoising import Denoising
from copyfold.studies import statistics
from copyfold.studies.base import Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.networks import hidden, overcomplete, restored, unet
from copyfold.types import Images, Statistics

STRENGTHS = (0.05, 0.1, 0.2, 0.4)
LINEAR = ("7x7 filter", "11x11 filter", "frequency filter")
TAUGHT = "A network that was taught is no better: its size and training may be what falls short, not its lessons."
CLASSICAL = ("PCA-Wiener", "non-local means", "wavelet")


@dataclass(frozen=True)
class MoreTrainingMoreNoise(Study):
    """With more training photographs come back out of a large addition of noise.

    The essay's U-Net without skips learns to copy photographs, and is kept at four moments. Held-out ones are
    mixed with noise N(0.7, 0.2^2), so that 0.5, 0.3 or 0.1 of the mix is the photograph; batch norm uses the
    statistics of the batch, as in the essay. The decisive numbers, where 0.3 is kept: the squared error of the
    last network over that of the first, and over that of the mean training image.

    Controls: the mean training image, which looks at nothing; an output that is farther from the photograph has
    not brought it back, whatever it looks like; and the last network over the first where 0.1 is kept.

    The first figure shows the error over that of the mean image against the steps of training: below 1 something
    of the photograph is there. In the second, the last two rows are made from noise without any photograph.
    """

    claim: ClassVar[str] = "heavy noise"
    place: ClassVar[str] = f"{SECTION}: the figures of LSUN churches, the second and the third"
    items: ClassVar[tuple[int, ...]] = (106, 107, 108)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Training for copies goes on to widen what noise can be undone: do not stop early.",
        Verdict.MIXED: "Longer training helps, and still the output is no photograph but a plausible one; or the "
        "other way round: what can be undone is there early.",
        Verdict.FAILS: "Longer training does not help against much noise, and the mean image is nearer.",
    }

    error_late_over_early: Below = Below(1.0)
    error_over_mean_image: Below = Below(1.0)

    controls: ClassVar[Mapping[str, Control]] = {
        "error late over early, keep 0.1": (
            Below(1.0),
            "Where a tenth of the photograph is left, longer training does not help: what it widens has an end.",
        )
    }

    def measure(self, lab: Lab) -> Finding:
        """Train on, and mix with more and more noise."""
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        steps = [lab.whole(photos, lab.budget.scaled(n)) for n in (100, 300, 1000, 2500)]
        keeps = (0.5, 0.3, 0.1, 0.0)

        def look(seed: int) -> list[dict[float, Images]]:
            """The mixes, all of x first, then what each model makes of them."""
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
        return Finding(numbers, {"training": figure, "images": first(rows)})


@dataclass(frozen=True)
class BetterThanLinear(Study):
    """A network taught only to copy denoises better than a linear filter.

    Four that were never shown noise restore held-out photographs with Gaussian noise of std 0.05 to 0.4, and mixed
    half and half with noise N(0.7, 0.2^2): the U-Net with the statistics of the batch and with running ones, the
    overcomplete fully connected network, and the U-Net with the hidden module. The number is the squared error
    over that of the best linear filter, fitted by least squares on training photographs with the same noise. It
    decides at std 0.2 and for the mix, of whichever untaught network is best there.

    Controls: two U-Nets that were taught, on Gaussian noise of std 0.05 to 0.4 and on mixes of any share, which
    must beat the filter if the measurement is right; an untrained U-Net; doing nothing; and the best classical
    denoiser, told the noise. The filter is the best of three on the very images measured, the network as well.

    In the first figure the bands are intervals, and below the line of the filter a network is better; the second
    has the same for the mix, the small circles are the seeds. The third shows photographs with noise of std 0.2.
    """

    claim: ClassVar[str] = "fairly"
    place: ClassVar[str] = f"{SECTION}: its title"
    items: ClassVar[tuple[int, ...]] = (72, 105)
    means: ClassVar[Mapping[Verdict, str]] = {
        Verdict.HOLDS: "Copying teaches what a linear filter cannot know: an autoencoder in the drawer denoises.",
        Verdict.MIXED: "It depends on the noise: far from all photographs copying helps, near to them a filter "
        "fitted in a second does better.",
        Verdict.FAILS: "If noise is to be removed, teach it, or fit a filter: copying alone is no match.",
    }

    error_over_linear_filter_gaussian: Below = Below(1.0)
    error_over_linear_filter_mix: Below = Below(1.0)

    controls: ClassVar[Mapping[str, Control]] = {
        "error over linear filter, U-Net taught gaussian, gaussian 0.2": (Below(1.0), TAUGHT),
        "error over linear filter, U-Net taught mixes, mix": (Below(1.0), TAUGHT),
    }

    def measure(self, lab: Lab) -> Finding:
        """Corrupt more and more, restore with everything, compare."""
        photos = lab.photos("landscapes")
        x, reference = lab.images(photos), lab.images(photos, "train", FITTED)
        noises: Mapping[str, Corruption] = {f"gaussian {std}": Gaussian(std) for std in STRENGTHS} | {
            "mix": Mix(0.5)
        }
        untaught: dict[str, tuple[Make, dict[str, Any], Statistics]] = {
            "U-Net, batch statistics": (unet(lab), {}, "batch"),
            "U-Net, running statistics": (unet(lab), {}, "running"),
            "fully connected": (overcomplete(lab), FULLY_CONNECTED, "running"),
            "U-Net with hidden module": (hidden(lab), {}, "batch"),
        }
        taught: dict[str, tuple[Make, dict[str, Any], Statistics]] = {
            "U-Net taught gaussian": (unet(lab), {"objective": Classical(Gaussian((0.05, 0.4)))}, "running"),
            "U-Net taught mixes": (unet(lab), {"objective": Classical(Mix((0.0, 1.0)))}, "running"),
        }
        blank = lab.untrained(unet(lab), photos, 0)
        plain = {
            name: Denoising(noise, reference, "batch")(blank, x, lab.rng(0, name))
            for name, noise in noises.items()
        }

        def restore(seed: int) -> dict[str, dict[str, Reading]]:
            restored: dict[str, dict[str, Reading]] = {}
            for kind, (make, plan, use) in (untaught | taught).items():
                model = lab.trained(make, photos, seed, **plan)
                with model.using(use), torch.no_grad():
                    outputs = {name: model(r.images["corrupted"]) for name, r in plain.items()}
                restored[kind] = {
                    n: shown(Reading({"error": mse(y, x)}, {"output": y})) for n, y in outputs.items()
                }
            return restored

        found = lab.each(restore)
        numbers: dict[str, Estimate] = {}
        for name, reading in plain.items():
            errors = {kind: [f[kind][name].numbers["error"] for f in found] for kind in found[0]}
            errors["untrained U-Net"] = [reading.numbers["restored"]] * len(found)
            rivals = {"linear filter": least(reading, LINEAR), "classical denoiser": least(reading, CLASSICAL)}
            rivals["doing nothing"] = "corrupted"
            for rival, chosen in rivals.items():
                theirs = [reading.numbers[chosen]] * len(found)
                numbers |= {
                    f"error over {rival}, {k}, {name}": statistics.ratio(e, theirs) for k, e in errors.items()
                }
            numbers[f"linear filter over classical denoiser, {name}"] = statistics.ratio(
                [reading.numbers[rivals["linear filter"]]], [reading.numbers[rivals["classical denoiser"]]]
            )
        best = {
            n: min(untaught, key=lambda k, n=n: numbers[f"error over linear filter, {k}, {n}"].value)
            for n in noises
        }
        decisive = {"gaussian": "gaussian 0.2", "mix": "mix"}
        for name, noise in decisive.items():
            numbers[f"error over linear filter {name}"] = numbers[
                f"error over linear filter, {best[noise]}, {noise}"
            ]
        figures = self._figures(numbers, found[0], plain["gaussian 0.2"], best["gaussian 0.2"])
        notes = [f"best of the untaught, {n}: {k}" for n, k in best.items()]
        return Finding(numbers, figures, notes=tuple(notes))

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
        rows |= {f"untaught: {best}": outputs[best]["gaussian 0.2"].images["output"]}
        rows |= {name: plain.images[name] for name in (least(plain, LINEAR), least(plain, CLASSICAL))}
        rows |= {"taught": outputs["U-Net taught gaussian"]["gaussian 0.2"].images["output"]}
        return {
            "strengths": strengths,
            "mix": charts.intervals(mix, label, level, logx=True),
            "images": first(rows),
        }


def least(reading: Reading, names: Sequence[str]) -> str:
    """Which of several baselines has the least mean error."""
    return min(names, key=lambda name: reading.numbers[name].mean().item())
