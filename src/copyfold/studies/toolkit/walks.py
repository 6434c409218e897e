"""A network's map applied repeatedly: which images walk, rest, cycle or escape; measured once for all claims."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from math import prod

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.data import Photos
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.nearest import neighbours
from copyfold.probes.stability import Stability, rms, spacing
from copyfold.samplers.base import parts
from copyfold.samplers.walk import Walk
from copyfold.studies import statistics
from copyfold.studies.base import Estimate
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import copying, linear_left, principal_part
from copyfold.studies.toolkit.networks import LARGE, WAYS, projection, unet, with_running_averages
from copyfold.studies.toolkit.samples import EPSILON, essay_steps, film
from copyfold.studies.toolkit.training import Look, on_the_way
from copyfold.types import Film, Images, Statistics

SIDE = 16  # pixels
SETS = (32, 256)  # images that networks memorise
LEVELS = (0.1, 0.03, 0.01, 0.003, 0.001)  # what is left of training images when a network is looked at
GOOD, BEST = 0.01, 0.001  # of these: where copies look like their photographs, and the last
BATCHES = 6000  # of 16 images at the cpu budget: about two minutes
STEPS = 300  # of a walk, the essay's
LIMITS = (-1.0, 2.0)  # values of images are in [0, 1]: as much outside as that is wide is no image any more
FATES = ("walking", "resting", "cycling", "escaping")
STARTS = ("training", "held out")
KNOWN = 4096  # training images at most among which the nearest is searched
MARKS = 31  # frames of a walk that are kept to be shown

NOISY = " with noise"
UNTRAINED, IDENTITY, PCA = "untrained", "identity", "PCA"
NAMES = {level: f"{100 * level:g} % left" for level in LEVELS}
OTHERS = "others"  # the part of the measurement that is of no trained network


def within(x: Images) -> Images:
    """Images as they can be compared: of one that escaped, values at the limits."""
    return x.nan_to_num(LIMITS[1]).clamp(*LIMITS)


def fates(first: Images, last: Images, period: Tensor, known: Images) -> dict[str, Tensor]:
    """What became of each image when a map was applied repeatedly: 1 for exactly one of `FATES`.

    - escaping: a value of its last frame is below -1 or above 2, which no image comes near;
    - cycling, of the rest: the last frame is that of 2 to 8 steps before, and not that of one step before;
    - walking, of the rest: the last frame is farther from the first than tau, half of the median distance of a
      training image to its nearest other one, or nearest to another training image than the first is;
    - resting: all others; they are where they were after the first step.

    `first` is the frame after one step, since the first step brings an image onto the manifold; `period` as of
    `Stability`. "stopped" is 1 for those that walked and have come to rest (a period of 1).
    """
    escaping = ~((last > LIMITS[0]) & (last < LIMITS[1])).flatten(1).all(1)  # so that NaN escapes
    cycling = ~escaping & (period > 1)
    walking = ~escaping & ~cycling & walked(first, last, known)
    resting = ~(escaping | cycling | walking)
    found = dict(zip(FATES, (walking, resting, cycling, escaping), strict=True))
    return {name: x.float() for name, x in (found | {"stopped": walking & (period == 1)}).items()}


def walked(first: Images, last: Images, known: Images) -> Tensor:
    """Whether each image has gone farther than tau, or has another nearest training image."""
    first, last = within(first), within(last)
    changed = neighbours(first, known)[1] != neighbours(last, known)[1]
    return (rms(last, first) > spacing(known) / 2) | changed[:, 0]


def sizes(lab: Lab) -> dict[int, Photos]:
    """The sets to be memorised, by the number of images that names them; of no more than the budget allows."""
    return {n: lab.photos("landscapes", SIDE, min(n, lab.budget.limit or n)) for n in SETS}


def measured(lab: Lab) -> int:
    """How many images walk of each kind: a batch of 64, or fewer where the budget or the set has fewer."""
    return min(LARGE, lab.budget.measured)


def starting(lab: Lab, photos: Photos) -> dict[str, Images]:
    """The images that walks start from: of those that were memorised, and of others of the same kind."""
    count = measured(lab)
    return {"training": lab.images(photos, "train", count), "held out": held_out(lab, count)}


def held_out(lab: Lab, count: int) -> Images:
    """Images that no network has seen."""
    return lab.images(lab.photos("landscapes", SIDE), count=count)


def networks(lab: Lab, photos: Photos, seed: int) -> dict[str, Look]:
    """The network at every quality of `NAMES`, in one training.

    A quality that it does not reach has the network at its end, which comes nearest: `Look.left` says it.
    """
    make = unet(lab, depth=2)
    looks = on_the_way(lab, make, photos, seed, lab.budget.scaled(BATCHES), lefts=LEVELS, on="train")
    return {name: next((k for k in looks if k.left <= level), looks[-1]) for level, name in NAMES.items()}


def untrained(lab: Lab, photos: Photos, seed: int) -> Autoencoder:
    """The network before training, with running averages of training images."""
    return with_running_averages(
        lab.untrained(unet(lab, depth=2), photos, seed), lab.images(photos, "train", LARGE)
    )


def identity(lab: Lab, photos: Photos) -> Autoencoder:
    """The map that copies everything."""
    size = prod(photos.shape)
    return projection(photos.shape, torch.eye(size), torch.zeros(size)).to(lab.device)


def pca(lab: Lab, photos: Photos) -> Autoencoder:
    """PCA of the training images with as many components as leave 1 % of them."""
    return principal_part(lab, photos, int((linear_left(lab, photos, "training") > GOOD).sum()))


def walks(lab: Lab, count: int, seed: int) -> Reading:
    """What becomes of training and held-out images under the networks that memorised so many: kept by the lab.

    Per image, called "WHAT; NETWORK; START; WAY": the `FATES` and "stopped"; "moved", the distance of the last
    frame from the first; "near", the last frame's distance to the nearest training image, and "apart", its squared
    error against the mean of the last frames, both NaN where it escaped. WHAT ends in " with noise" where the code
    gets the essay's. For the set: "left; NETWORK", "step; NETWORK", and the copying of the networks at 1 % and at
    0.1 %; "singular; NETWORK; training", the largest singular value of the Jacobian with running statistics.
    Images: the last frames, called as the numbers, and strips of walks at 1 %, "strip; WAY".

    Measured and kept in parts, one for each quality and one for the networks that are not trained, so that a
    measurement which is stopped goes on after the last of them.
    """

    @cache
    def looks() -> dict[str, Look]:  # loaded once, and only where a part is missing
        return networks(lab, sizes(lab)[count], seed)

    numbers, images = dict[str, Tensor](), dict[str, Images]()
    for part in (*NAMES.values(), OTHERS):
        reading = _part(lab, count, part, seed, looks)
        numbers |= reading.numbers
        images |= reading.images
    return Reading(numbers, images)


def _part(lab: Lab, count: int, part: str, seed: int, looks: Callable[[], dict[str, Look]]) -> Reading:
    """What is measured of the network at one quality, or of the others: kept."""
    photos, whole = sizes(lab)[count], lab.photos("landscapes", SIDE)

    def look(seed: int) -> Reading:
        return _untrained(lab, photos, seed) if part == OTHERS else _trained(lab, count, part, seed, looks)

    return lab.shared(f"walks-of-{count}-{part.split()[0]}", seed, (photos, whole), look)


def _trained(lab: Lab, count: int, name: str, seed: int, looks: Callable[[], dict[str, Look]]) -> Reading:
    """The walks under the network at one quality; of one that stands for two, those that there are."""
    photos = sizes(lab)[count]
    known, x = _images(lab, photos)
    look, good = looks()[name], name == NAMES[GOOD]
    first = next(n for n, other in looks().items() if other is look)
    numbers, images = dict[str, Tensor](), dict[str, Images]()
    films = {}
    if first == name or good:
        films = {way: strip(lab, look.model, x["training"], seed, *how, EPSILON) for way, how in WAYS.items()}
    if first != name:  # of a quality that was not reached, or at the same step
        same, old, new = _part(lab, count, first, seed, looks), f"; {first};", f"; {name};"
        numbers |= {key.replace(old, new): value for key, value in same.numbers.items() if old in key}
        images |= {key.replace(old, new): value for key, value in same.images.items() if old in key}
    else:
        reading = _calm(lab, look.model, x, known, seed, name, list(WAYS), singular=True)
        numbers |= reading.numbers
        images |= reading.images
        for way, frames in films.items():
            where = f"{name}; training; {way}"
            found = became(frames[0], frames[-1], torch.zeros(len(frames[0])), known)
            numbers |= {f"{fate}{NOISY}; {where}": value for fate, value in found.items()}
            images[f"last{NOISY}; {where}"] = frames[-1][:SHOWN].clone()
    numbers |= {f"left; {name}": torch.tensor(look.left), f"step; {name}": torch.tensor(float(look.step))}
    if good:
        for way, how in WAYS.items():
            images[f"strip{NOISY}; {way}"] = shown(films[way])
            images[f"strip; {way}"] = shown(strip(lab, look.model, x["training"], seed, *how, 0.0))
    if name in (NAMES[GOOD], NAMES[BEST]):
        numbers |= copying(lab, f"{count} images, {name}", look.model, photos)
    return Reading(numbers, images)


def _untrained(lab: Lab, photos: Photos, seed: int) -> Reading:
    """The walks without noise under the untrained network, and under linear maps, which have no statistics."""
    known, x = _images(lab, photos)
    running, *_ = WAYS
    parts = [
        _calm(lab, untrained(lab, photos, seed), x, known, seed, UNTRAINED, list(WAYS), singular=True),
        _calm(lab, identity(lab, photos), x, known, seed, IDENTITY, [running]),
        _calm(lab, pca(lab, photos), x, known, seed, PCA, [running]),
    ]
    return Reading(
        {name: value for part in parts for name, value in part.numbers.items()},
        {name: value for part in parts for name, value in part.images.items()},
    )


def _images(lab: Lab, photos: Photos) -> tuple[Images, dict[str, Images]]:
    """All training images, and those that walks start from."""
    return lab.images(photos, "train", len(photos)), starting(lab, photos)


def _calm(
    lab: Lab,
    model: Autoencoder,
    starts: Mapping[str, Images],
    known: Images,
    seed: int,
    name: str,
    ways: Sequence[str],
    singular: bool = False,
) -> Reading:
    """What a map does without noise, from every start and in these ways; with singular values where they are."""
    numbers, images = dict[str, Tensor](), dict[str, Images]()
    for start, x in starts.items():
        for way in ways:
            where, (kind, batch) = f"{name}; {start}; {way}", WAYS[way]
            values = int(singular and kind == "running" and start == "training")
            found = repeated(lab, model, x, known, seed, kind, batch, values)
            if values:
                numbers[f"singular; {name}; {start}"] = found["singular values"][:, 0]
            fate = became(found["first"], found["last"], found["period"], known)
            numbers |= {f"{what}; {where}": value for what, value in fate.items()}
            images[f"last; {where}"] = found["last"][:SHOWN].clone()
    return Reading(numbers, images)


def became(first: Images, last: Images, period: Tensor, known: Images) -> dict[str, Tensor]:
    """The numbers of `walks` for images with these first and last frames."""
    found = fates(first, last, period, known)
    kept = found["escaping"] == 0
    first, end = (within(x) for x in (first, last))
    centre = (end[kept] if kept.any() else end).mean(0)
    return found | {
        "moved": rms(end, first),
        "near": torch.where(kept, neighbours(end, known)[0][:, 0], torch.nan),
        "apart": torch.where(kept, mse(end, centre.expand_as(end)), torch.nan),
    }


def quality(count: int, level: float) -> str:
    """What a page calls the network that memorised so many images, at a quality."""
    return f"{count} images, {NAMES[level]}"


def repeated(
    lab: Lab,
    model: Autoencoder,
    x: Images,
    known: Images,
    seed: int,
    kind: Statistics = "running",
    batch: int = LARGE,
    values: int = 0,
) -> dict[str, Tensor]:
    """The numbers of `Stability` for every image, batch by batch, and the images "first" and "last".

    The last of one that grew without end, where `Stability` stopped it, is infinite.
    """
    probe = Stability(essay_steps(lab, STEPS), values, known, statistics=kind)
    readings = [probe(model, part, lab.rng(seed, "starts")) for part in parts(x, batch)]
    names = [name for name, value in readings[0].numbers.items() if value.dim()]
    found = {name: torch.cat([r.numbers[name] for r in readings]) for name in names}
    found |= {name: torch.cat([r.images[name] for r in readings]) for name in ("first", "last")}
    found["last"][found["escaped"] > 0] = torch.inf
    return found


def strip(
    lab: Lab, model: Autoencoder, x: Images, seed: int, kind: Statistics, batch: int, std: float
) -> list[Images]:
    """At most 31 frames of a walk, evenly spaced, from the first to the last."""
    walk = Walk(essay_steps(lab, STEPS), std)
    return pictures.sampled(film(walk, model, x, lab.rng(seed, "walk"), batch, kind), marks(lab))


def marks(lab: Lab) -> list[int]:
    """The frames of a walk that are kept, from 0."""
    return pictures.evenly(essay_steps(lab, STEPS), MARKS)


def shown(frames: list[Images]) -> Images:
    """The first images of every frame, one after the other."""
    return torch.cat([frame[:SHOWN] for frame in frames])


def played(frames: Images) -> Film:
    """The frames that `shown` put one after the other, again as a film; of no more images than are shown."""
    return iter(frames.unflatten(0, (-1, SHOWN)))


def share(readings: list[Reading], what: str) -> Estimate:
    """The share of images, of a number that is 0 or 1."""
    return statistics.fraction([reading.numbers[what] for reading in readings])


def unreached(readings: Mapping[int, list[Reading]]) -> Iterator[str]:
    """Sentences on the qualities that networks did not reach."""
    for count, of in readings.items():
        for level, name in NAMES.items():
            missed = sum(bool(r.numbers[f"left; {name}"] > level) for r in of)
            if missed:
                yield (
                    f"{missed} of {len(of)} networks of {count} images did not reach {name}: the network at the "
                    "end of its training stands for it"
                )
