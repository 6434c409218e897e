"""Inversion, the search for an image with a given output: one protocol, and its answer near the image."""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold.corruptions import noise_like
from copyfold.measures import distance, noise_level, psnr
from copyfold.probes.base import Reading, still, tap
from copyfold.probes.geometry import jacobian
from copyfold.probes.inversion import Inversion
from copyfold.studies.lab import Lab
from copyfold.types import Float, Images, Statistics

START = 0.7  # of every pixel, in the essay's scripts
STARTS = (START, 0.3)  # of a search, and of another for images that have no answer after it
MOST = 2000  # steps of a search at the cpu budget
ENOUGH = 0.1  # of the reference distance: a search that comes so near at the layer has an answer
LOOK = 20  # steps from one look at the distance to the next
REST, SLOW = 200, 0.95  # a search is at rest when in so many steps no distance has fallen to this share
DIRECTIONS = 400  # conjugate directions at most, near an image


def at_most(lab: Lab, steps: int) -> int:
    """This many steps, or fewer where the budget is smaller than cpu."""
    return min(steps, lab.budget.scaled(steps))


def representation(
    lab: Lab, model: nn.Module, layer: str, x: Images, rng: Generator, statistics: Statistics = "running"
) -> Reading:
    """What a layer represents, by the one protocol of all claims: an image found for the layer's output of each x.

    Adam with a rate from 0.03 to 0.003, from a grey image, for up to 2,000 steps (fewer at a smaller budget),
    until at the layer every image is nearer to its target than a tenth of the reference: the change that noise of
    std 1/18 in the image makes there. A search also ends where it has come to rest: where no image that is still
    searched has come nearer by a twentieth in 200 steps. Images that are left are then searched once more, from a
    dark image. One whose searches do not come so near has no answer: it was hard to find, which does not say what
    the layer represents. With batch `statistics`, which the images share, give 64 of them or more.

    Numbers per image: "answer", 1 or 0; "error", the distance from x per value, "psnr" in dB and "noise" (std of
    white noise in the difference), all NaN where there is no answer; "layer over reference", the distance that is
    left; "reference", that of the noise itself per value. For all: "steps". Images: "target" and "found". Take
    medians over images (`statistics.median`), and count the answers (`statistics.fraction`).
    """
    target, reference, beside = _aimed_at(model, layer, x, rng, statistics)
    found, left, steps = torch.full_like(x, START), torch.full_like(reference, math.inf), 0
    for start in STARTS:
        waiting = left >= ENOUGH
        if statistics == "batch":
            waiting = waiting.any().expand_as(waiting)  # images share their statistics
        rows = waiting.nonzero().flatten()
        if len(rows):
            search = Inversion(
                layer, at_most(lab, MOST), "adam", rate=(0.03, 0.003),
                start="constant", mean=start, statistics=statistics,
            )  # fmt: skip
            image, ended, took = _searched(search, model, x[rows], target[rows], reference[rows], rng)
            nearer = rows[ended < left[rows]]
            found[nearer], left[nearer] = image[ended < left[rows]], ended[ended < left[rows]]
            steps += took
    return _read(x, found, left, beside, steps)


def near_image(model: nn.Module, layer: str, x: Images, rng: Generator) -> Reading:
    r"""What a layer represents near each image, without a search: of its linearisation, which has one answer.

        O(x + d) ~ O(x) + J d,   d_0 = grey - x,   d_k = argmin ||J d|| over d_0 + span{(J^T J)^i d_0, 0 < i <= k}

    The image is x + d_k of the first k with ||J d_k|| below a tenth of the reference, the criterion of
    `representation`: by conjugate gradients (CGLS, Hestenes and Stiefel, 1952), which like descent never leave
    d_0 + the row space of J. For a linear layer it is what descent finds, and in an untrained network, whose kinks
    stop every search, it says what the layer determines of an image. Running statistics. The numbers and images
    are those of `representation`; "steps" are conjugate directions, at most 400.
    """
    _, reference, beside = _aimed_at(model, layer, x, rng, "running")
    with still(model), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # fused kernels have no such derivative
        push, pull = jacobian(lambda a: tap(model, layer, a), x)
        d = START - x
        rest = -push(d)
        slope = pull(rest)
        way, energy, steps = slope, _energy(slope), 0
        left = _norm(rest) / reference
        while steps < DIRECTIONS and bool((left >= ENOUGH).any()):
            ahead = push(way)
            length = (energy / _energy(ahead).clamp(min=1e-30)).where(left >= ENOUGH, 0.0)
            d, rest = d + _each(length) * way, rest - length[:, None] * ahead
            slope, former = pull(rest), energy
            energy = _energy(slope)
            way = slope + _each(energy / former.clamp(min=1e-30)) * way
            left, steps = _norm(rest) / reference, steps + 1
    return _read(x, x + d, left, beside, steps)


def _aimed_at(
    model: nn.Module, layer: str, x: Images, rng: Generator, statistics: Statistics
) -> tuple[Tensor, Tensor, Tensor]:
    """The layer's output for each image; its change by weak noise; and that of the image itself, per value."""
    near = x + noise_like(x, 0.0, 1 / 18, rng)
    with still(model, statistics), torch.no_grad():
        target, beside = (tap(model, layer, a) for a in (x, near))
    return target, distance(beside, target), distance(near, x) / math.sqrt(x[0].numel())


def _searched(
    search: Inversion, model: nn.Module, x: Images, target: Tensor, reference: Tensor, rng: Generator
) -> tuple[Images, Tensor, int]:
    """Where one search ends, how far from its targets, over the reference, and after how many steps."""
    found, left, former, steps = x, torch.full_like(reference, math.inf), None, 0
    for steps, found in enumerate(search.film(model, x, rng), 1):
        if steps % LOOK and steps != search.steps:
            continue
        with still(model, search.statistics), torch.no_grad():
            left = distance(tap(model, search.layer, found), target) / reference
        waiting = left >= ENOUGH
        if not waiting.any():
            break
        if steps % REST == 0:
            if former is not None and not bool((waiting & (left < SLOW * former)).any()):
                break
            former = left
    return found, left, steps


def _read(x: Images, found: Images, left: Tensor, reference: Tensor, steps: int) -> Reading:
    """The numbers of `representation`; NaN where there is no answer."""
    answer, size = left < ENOUGH, math.sqrt(x[0].numel())
    numbers = {"error": distance(found, x) / size, "psnr": psnr(found, x), "noise": noise_level(found - x)}
    numbers = {name: value.where(answer, math.nan) for name, value in numbers.items()}
    numbers |= {"answer": answer.float(), "layer over reference": left, "steps": torch.tensor(float(steps))}
    return Reading(numbers | {"reference": reference}, {"target": x, "found": found})


def _energy(x: Tensor) -> Float[Tensor, "b"]:
    """||x||^2 of every row."""
    return x.flatten(1).square().sum(1)


def _norm(x: Tensor) -> Float[Tensor, "b"]:
    return x.flatten(1).norm(dim=1)


def _each(weights: Tensor) -> Tensor:
    """A number for each image, to multiply images with."""
    return weights[:, None, None, None]
