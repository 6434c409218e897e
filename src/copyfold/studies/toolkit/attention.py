"""How a network with attention, or the U-Net it is compared with, copies, denoises and represents."""

import math
from collections.abc import Mapping
from functools import partial

from copyfold.corruptions import Gaussian, Mix
from copyfold.measures import mse
from copyfold.models.attention import Attention, SingleAttention
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.geometry import IdentityGap
from copyfold.probes.inversion import Inversion
from copyfold.studies import statistics
from copyfold.studies.base import Estimate
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import LARGE, probed, restored, with_running_averages
from copyfold.studies.toolkit.spectra import SIDE
from copyfold.studies.toolkit.training import copier
from copyfold.types import Images

INVERTED = 16  # images whose representation is computed
MAPS = 64
LEFT = "output over reference noise"


ALONE = "dot product alone"
SHORT_OF, LENGTH = 0.1, 2500  # what an attention alone is trained to leave; batches of 64 of its first training


def single_attention(kind: Attention, channels: int | None = MAPS) -> Make:
    """One attention between convolutions of 64 maps, or alone."""
    return partial(SingleAttention, kind=kind, channels=channels)


def alone(lab: Lab, seed: int, kind: Attention, residual: bool = False) -> Autoencoder:
    """One attention and nothing else, trained to copy CIFAR-10 at 8 pixels.

    Until it leaves a tenth; where 2,500 batches of 64 are not enough, for twice as many, and no longer: without a
    residual the dot product was at .41 to .46 after trials of several lengths, and came no further.
    """
    photos = lab.photos("cifar10", SIDE)
    make = partial(SingleAttention, kind=kind, channels=None, residual=residual)
    steps, batch = lab.budget.scaled(LENGTH), min(LARGE, len(photos))
    return copier(lab, make, photos, seed, SHORT_OF, steps, 2 * steps, batch=batch)


def look(lab: Lab, model: Autoencoder, x: Images, seed: int) -> Reading:
    """How a model copies, denoises with the statistics of the batch, and represents.

    Numbers per image: "copying", "error" and "nothing", squared errors of a clean image, of one mixed with noise
    and of the mix itself; "passed", the share of noise of std 0.1 that passes to the output. For a few of the
    images, those of `images`: "representation" and "reference", the distances per value from the image to one
    found for the same output (60 steps of L-BFGS, running statistics), and to the image with noise of std 1/18;
    "left" and "beside", the distances of the outputs of both from the target output.
    """
    noisy = Mix()(x, lab.rng(seed, "mix"))
    output = restored(model, noisy)
    few = slice(0, None, max(1, len(x) // INVERTED))
    inverted = Inversion(steps=lab.budget.scaled(60))(model, x[few], lab.rng(seed, "start"))
    gap = probed(IdentityGap(Gaussian(0.1), draws=0, statistics="batch"), model, x, lab.rng(seed, "gaussian"))
    size = math.sqrt(x[0].numel())
    numbers = {
        "copying": mse(restored(model, x), x),
        "error": mse(output, x),
        "nothing": mse(noisy, x),
        "passed": gap.numbers["passed"],
        "representation": inverted.numbers["image"] / size,
        "reference": inverted.numbers["image, reference"] / size,
        "left": inverted.numbers["layer"],
        "beside": inverted.numbers["layer, reference"],
    }
    images = {"clean": x, "mixed": noisy, "output": output}
    shown = {name: y[few][:SHOWN] for name, y in images.items()} | {"found": inverted.images["found"][:SHOWN]}
    return Reading(numbers, shown)


def summary(found: Mapping[str, list[Reading]]) -> dict[str, Estimate]:
    """The numbers of `look` for every network, over all seeds.

    Where the output over reference noise is above 1, the search has not converged, and it may be the cause of the
    representation's error; where it is far below 1 and that error is large, the network has lost the image.
    """
    numbers: dict[str, Estimate] = {}
    for name, readings in found.items():
        of = {number: [r.numbers[number] for r in readings] for number in readings[0].numbers}
        numbers |= {
            f"error over doing nothing {name}": statistics.ratio(of["error"], of["nothing"]),
            f"noise passed {name}": statistics.mean(of["passed"]),
            f"copying error {name}": statistics.mean(of["copying"]),
            f"representation error {name}": statistics.mean(of["representation"]),
            f"representation over reference noise {name}": statistics.ratio(of["representation"], of["reference"]),
            f"{LEFT} {name}": statistics.ratio(of["left"], of["beside"]),
        }
    return numbers


def rows(found: Mapping[str, list[Reading]]) -> dict[str, Images]:
    """The first seed's images: clean, mixed, then each network's output and its representation of the first."""
    first = {name: readings[0].images for name, readings in found.items()}
    shared = next(iter(first.values()))
    each = {f"{name}: {what}": images[what] for name, images in first.items() for what in ("output", "found")}
    return {"clean": shared["clean"], "mixed with noise": shared["mixed"]} | each


def gather(lab: Lab, kinds: Mapping[str, tuple[Make, int, float]], untrained: str) -> dict[str, list[Reading]]:
    """`look` at networks trained on landscapes, each with its steps and rate; at one of them untrained too."""
    photos = lab.photos("landscapes")
    x, seen = lab.images(photos), lab.images(photos, "train")

    def measure(seed: int) -> dict[str, Reading]:
        models = {
            name: lab.trained(make, photos, seed, steps=steps, lr=lr) for name, (make, steps, lr) in kinds.items()
        }
        models["untrained"] = with_running_averages(lab.untrained(kinds[untrained][0], photos, seed), seen)
        return {name: look(lab, model, x, seed) for name, model in models.items()}

    found = lab.each(measure)
    return {name: [readings[name] for readings in found] for name in found[0]}
