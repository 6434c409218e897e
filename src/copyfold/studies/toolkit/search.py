"""Inversion, the search for an image with a given output: one protocol from afar, and one from near the image."""

import math

import torch
from torch import Generator, Tensor, nn

from copyfold.corruptions import noise_like
from copyfold.measures import distance, noise_level, psnr
from copyfold.probes.base import Reading, still, tap
from copyfold.probes.inversion import Inversion
from copyfold.studies.lab import Lab, Paused
from copyfold.types import Images, Statistics

STARTS = {"light": 0.2, "dark": -0.2}  # of a search: plain images so much lighter and darker than the image
MOST = 1000  # steps of a search at the cpu budget
ENOUGH = 0.1  # of the reference distance: a search that comes so near at the layer has arrived
ALIKE = 0.2  # of their mean: as far as errors from both starts that agree may differ
REST, SLOW = 200, 0.95  # a search far away is at rest when in so many steps its distance has not fallen to this
GENTLE = (0.01, 0.01)  # of the range: no pixel changes by more in the first step of L-BFGS
GROUP = 16  # images that are searched side by side
NOISE = 1 / 18  # std of the noise whose change at a layer is the reference
NEAR = 0.3  # of the reference: as near at the layer as the search from near the image has to come
NEAREST = 300  # its steps at most
UNSEEN = NEAR**2  # of the noise's energy: what it may leave though the layer sees all, as the identity


def at_most(lab: Lab, steps: int) -> int:
    """This many steps, or fewer where the budget is smaller than cpu."""
    return min(steps, lab.budget.scaled(steps))


def representation(
    lab: Lab, model: nn.Module, layer: str, x: Images, rng: Generator, statistics: Statistics = "running"
) -> Reading:
    """What a layer represents, by the one protocol of all claims: images found for the layer's output of each x.

    Two searches for every image, from plain images 0.2 lighter and 0.2 darker than its mean, so equally far from
    it (the essay's start of 0.7 is about so much lighter than a photograph): up to 500 steps of Adam with a rate
    from 0.03 to 0.003, and from there up to 500 of L-BFGS (fewer at a smaller budget). A search has arrived when
    at the layer it is nearer to the target than a tenth of the reference: the change that noise of std 1/18 in the
    image makes there. Each image is kept as it is then. Where an image is still farther than the reference and has
    not come nearer by a twentieth in 200 steps of L-BFGS (of Adam, with batch statistics), its search is at rest
    and ends; other images change neither.

    Adam alone did not arrive in 2,000 steps from every start in U-Nets that leave 2 to 3 %; L-BFGS alone did in
    500, but it takes long steps: in a network of one attention, where Adam finds the image itself, it arrived at
    values far out of the range. Together both arrive.

    An image has an answer where both searches arrive. Their distances from x may differ, and for two reasons: what
    a layer does not see stays as in the start, so that a layer that loses much has two by right; and the search
    may stop in one of many places where the layer sees little: by method and start, distances from .09 to .27 were
    found of one network. Neither is told from the other; so what is concluded has to be so from both starts: see
    `representations.either`. With batch `statistics`, which the images share, all 1,000 steps are Adam's, and all
    images are searched at once; give 64 of them or more.

    Numbers per image: "answer", 1 or 0; "error", the distance from x per value, the mean of "error from light" and
    "error from dark", "psnr" in dB and "noise" (std of white noise in the difference), means of both, all NaN
    where there is no answer; "agree", 1 where both errors differ by at most a fifth of their mean or a tenth of
    the reference's, 0 elsewhere; "layer over reference", the larger distance that is left; "reference", that of
    the noise itself per value. For all: "steps". Images: "target", "found" from the lighter start, "from dark".
    Take medians over images (`statistics.median`), and count the answers (`statistics.fraction`). Paused where the
    lab's minutes end.
    """
    reference, near = _reference(model, layer, x, rng, statistics)
    middle, beside, steps = x.mean((1, 2, 3), keepdim=True), _error(near, x), 0
    found = torch.stack([(middle + start).expand_as(x) for start in STARTS.values()])
    lefts = torch.empty_like(reference).repeat(len(STARTS), 1)
    for image, left in zip(found, lefts, strict=True):
        for rows in torch.arange(len(x)).split(len(x) if statistics == "batch" else GROUP):
            search = _searches(layer, at_most(lab, MOST), image[rows], statistics)
            image[rows], left[rows], took = _searched(search, model, x[rows], reference[rows], ENOUGH, lab)
            steps += took
    errors = torch.stack([_error(a, x) for a in found])
    agree = errors.amax(0) - errors.amin(0) <= torch.maximum(ALIKE * errors.mean(0), ENOUGH * beside)
    answer = (lefts < ENOUGH).all(0)
    numbers = {f"error from {start}": error for start, error in zip(STARTS, errors, strict=True)} | {
        "error": errors.mean(0),
        "psnr": torch.stack([psnr(a, x) for a in found]).mean(0),
        "noise": torch.stack([noise_level(a - x) for a in found]).mean(0),
    }
    numbers = {name: value.where(answer, math.nan) for name, value in numbers.items()}
    numbers |= {"answer": answer.float(), "agree": (answer & agree).float()}
    numbers |= {"layer over reference": lefts.amax(0), "steps": torch.tensor(float(steps)), "reference": beside}
    return Reading(numbers, {"target": x, "found": found[0], "from dark": found[1]})


def near_image(model: nn.Module, layer: str, x: Images, rng: Generator) -> Reading:
    r"""The share of white noise near each image that a layer does not see: of an image with the same output there.

        a_0 = x + n,   n ~ N(0, 1/18^2);   a: the first step of L-BFGS with
        ||O(a) - O(x)|| < 0.3 ||O(x + n) - O(x)||;   noise left = ||a - x||^2 / ||n||^2

    Of the layer itself, not of its linearisation, which at images is valid only for changes a thousandth of this
    noise. n is drawn once for each image: with generators of one seed it is the same for all layers and networks.
    The share is of the energy, because for a linear layer it is then the share of directions that the layer does
    not see: 0 of the identity (at most 0.3^2 by this criterion), 3/4 of a random layer that keeps a quarter of the
    numbers. Of a network it can be above 1, where the search leads away from the image. A layer that sees a
    direction faintly counts as one that does not: the share is what is lost at this tolerance.

    The tolerance is 0.3 because every search arrives there: in pilots, in U-Nets of width 8, 16 and 32,
    perceptrons and a vision transformer, at four layers, before training or after it, within 100 steps. At the
    output of an untrained U-Net of width 32, where it is hardest, 0.25 took 325 steps, 0.2 was not reached in 800
    for 2 of 16 images, and 0.1 for few, by L-BFGS or by Adam. The medians of the share there were .88, .88, .90
    and .90 at 0.4, 0.3, 0.25 and 0.2; of a trained one of width 16 it fell from .84 to .80 between 0.3 and 0.1.
    Running statistics.

    Numbers per image: "answer", 1 or 0, after up to 300 steps; "noise left", "error" and "noise" as of
    `representation`, NaN where there is no answer; "layer over reference", "reference". For all: "steps". Images:
    "target" and "found".
    """
    reference, near = _reference(model, layer, x, rng, "running")
    found, left, steps = torch.empty_like(x), torch.empty_like(reference), 0
    for rows in torch.arange(len(x)).split(GROUP):
        search = Inversion(layer, NEAREST, "lbfgs", rate=GENTLE, first=near[rows])
        found[rows], left[rows], took = _searched(search, model, x[rows], reference[rows], NEAR)
        steps += took
    error, beside, answer = _error(found, x), _error(near, x), left < NEAR
    numbers = {"noise left": (error / beside).square(), "error": error, "noise": noise_level(found - x)}
    numbers = {name: value.where(answer, math.nan) for name, value in numbers.items()}
    numbers |= {"answer": answer.float(), "layer over reference": left, "reference": beside}
    return Reading(numbers | {"steps": torch.tensor(float(steps))}, {"target": x, "found": found})


def _reference(
    model: nn.Module, layer: str, x: Images, rng: Generator, statistics: Statistics
) -> tuple[Tensor, Images]:
    """How much weak noise changes the layer's output for each image, and the images with this noise."""
    near = x + noise_like(x, 0.0, NOISE, rng)
    with still(model, statistics), torch.no_grad():
        target, beside = (tap(model, layer, a) for a in (x, near))
    return distance(beside, target), near


def _searches(layer: str, steps: int, first: Images, statistics: Statistics) -> Inversion:
    """Adam, then L-BFGS; Adam alone where images share their statistics, as a line search is of each by itself."""
    half = steps if statistics == "batch" else steps // 2
    adam = Inversion(layer, half, "adam", rate=(0.03, 0.003), first=first, statistics=statistics)
    if statistics == "batch":
        return adam
    return Inversion(layer, steps - half, "lbfgs", rate=GENTLE, first=first, after=adam)


def _searched(
    search: Inversion, model: nn.Module, x: Images, reference: Tensor, enough: float, lab: Lab | None = None
) -> tuple[Images, Tensor, int]:
    """Where each image's search ends, how far from its target, over the reference, and all steps that were taken.

    Each is kept at its first step below `enough`, or where it is at rest: what the others do afterwards changes
    nothing of it.
    """
    found, left = x.clone(), torch.full_like(reference, math.inf)
    ended, former, steps = reference == 0, left.clone(), 0  # a layer that sees no noise leads nowhere
    first = search.after.steps if search.after is not None else 0  # steps of Adam, which L-BFGS goes on from
    for steps, (images, distances) in enumerate(search.trace(model, x, Generator(), ended), 1):
        if lab is not None and lab.over:
            raise Paused
        found[~ended], left[~ended] = images[~ended], (distances / reference)[~ended]
        ended |= left < enough
        if steps >= first and (steps - first) % REST == 0:
            if steps > first:
                ended |= ~(left <= 1) & ~(left < SLOW * former)  # so also where it is not a number
            former = left.clone()
        if ended.all():
            break
    return found, left, steps


def _error(a: Images, x: Images) -> Tensor:
    """The distance from x per value, of every image."""
    return distance(a, x) / math.sqrt(x[0].numel())
