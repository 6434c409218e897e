"""Copying and denoising, one curve: what claims read off the looks at eight networks (`copiers.reading`).

`read_off` gives a claim the looks that it asks for; the others are numbers of them over all seeds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import Estimate
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copiers import END, PLACES, UNTRAINED, apart, photographs, reading
from copyfold.studies.toolkit.copying import MARK
from copyfold.studies.toolkit.looks import NOISES, RUNNING, noisy_images, undone
from copyfold.studies.toolkit.networks import restored
from copyfold.types import Images


def read_off(
    lab: Lab,
    seed: int,
    looks: Mapping[str, tuple[str, str]],
    only: Callable[[str], bool],
    courses: Collection[str] = (),
) -> Reading:
    """The looks that a claim needs: numbers and images "CALLED: WHAT" for every {CALLED: (network, AT)}.

    A quality that was not reached is replaced by the end, which the regime then shows, and `missed` says. How the
    networks copy is in the form of `copying.qualities`. Of the networks of `courses` every look that was reached
    is there too, its numbers alone, as "NETWORK at AT: WHAT". "beside: WHAT" is there as well. `only` says which
    numbers are kept.
    """
    numbers: dict[str, Tensor] = {}
    images: dict[str, Images] = {}
    whole = {name: reading(lab, name, seed) for name in dict.fromkeys((*(n for n, _ in looks.values()), *courses))}
    wanted = {called: (name, at) for called, (name, at) in looks.items()}
    wanted |= {f"{name} at {at}": (name, at) for name in courses for at in PLACES if _reached(whole[name], at)}
    for called, (name, at) in wanted.items():
        found, there = whole[name], at if _reached(whole[name], at) else END
        for key, value in found.numbers.items():
            place, _, what = key.partition(": ")
            if place == there and what.startswith(MARK) and called in looks:
                numbers[f"{MARK}{called}: {what.removeprefix(f'{MARK}: ')}"] = value
            elif place in (there, "beside") and not what.startswith(MARK) and only(what):
                numbers[f"{called if place == there else place}: {what}"] = value
        if called in looks:
            numbers[f"{called}: reached"] = torch.tensor(float(there == at))
            for key, x in found.images.items():
                place, _, what = key.partition(": ")
                if place in (there, "beside"):
                    images[f"{called if place == there else place}: {what}"] = x
    return apart(numbers, images)


def missed(found: Sequence[Reading], looks: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    """A sentence for every look at a quality that a training did not reach."""
    return tuple(
        f"{called}: {float(at):.1%} left was not reached with every seed; there the end of the training is shown"
        for called, (_, at) in looks.items()
        if not all(value.item() for value in of(found, f"{called}: reached"))
    )


def denoised(lab: Lab, model: Autoencoder, seed: int, called: str) -> tuple[dict[str, Tensor], dict[str, Images]]:
    """Squared errors of a denoiser on the curve's noisy images, the brightness of a mix undone; and some outputs.

    "CALLED: error, N" for every noise, with running statistics; the images CALLED are for noise of std 0.2.
    """
    photos = photographs(lab)
    x, numbers, images = lab.images(photos), dict[str, Tensor](), dict[str, Images]()
    for name, (_, corrupted) in noisy_images(lab, photos, seed).items():
        output = restored(model, undone(NOISES[name], corrupted)[0], statistics="running")
        numbers[f"{called}: error, {name}"] = mse(output, x)
        if name == "gaussian 0.2":
            images[called] = output[:SHOWN]
    return numbers, images


def _reached(found: Reading, at: str) -> bool:
    return f"{at}: copy, {RUNNING}" in found.numbers


def places(found: Sequence[Reading], name: str) -> list[str]:
    """The looks at a trained network that all seeds have, the worst copies first: qualities, then the end."""
    at = [at for at in PLACES if at != UNTRAINED]
    return [at for at in at if all(f"{name} at {at}: copy, {RUNNING}" in r.numbers for r in found)]


def of(found: Sequence[Reading], what: str) -> list[Tensor]:
    """One number of every seed's reading."""
    return [r.numbers[what] for r in found]


def mean(found: Sequence[Reading], what: str) -> Estimate:
    """Its mean over images and seeds."""
    return statistics.mean(of(found, what))


def ratio(found: Sequence[Reading], a: str, b: str) -> Estimate:
    """One number over another."""
    return statistics.ratio(of(found, a), of(found, b))


def left(found: Sequence[Reading], name: str, at: str) -> float:
    """The share of the measured images' variance that copies leave at a look: the geometric mean over seeds.

    At least a millionth, so that it is on a logarithmic axis.
    """
    return max(1e-6, ratio(found, f"{name} at {at}: copy, {RUNNING}", "beside: mean image").value)
