"""How films and samples are made, and how similar to photographs their images are."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from copyfold.corruptions import Blur, Gaussian
from copyfold.data import Photos
from copyfold.measures import sharpness
from copyfold.models.base import Autoencoder, flat
from copyfold.models.dense import MLP
from copyfold.models.unet import Affine
from copyfold.objectives.base import Classical
from copyfold.probes.base import Reading, still
from copyfold.probes.quality import Quality, patch_wasserstein
from copyfold.samplers.ascent import Ascent
from copyfold.samplers.base import Sampler, parts
from copyfold.samplers.fitted import FittedGaussian
from copyfold.samplers.renoising import Renoising
from copyfold.studies import statistics
from copyfold.studies.base import Estimate
from copyfold.studies.lab import QUALITY, Lab, Make
from copyfold.studies.toolkit.copying import MARK
from copyfold.studies.toolkit.networks import BATCH, DENSE, LARGE, WIDE, unet
from copyfold.studies.toolkit.training import copier
from copyfold.types import Film, Float, Images, Statistics

EPSILON = 0.2  # the noise on the code of a walk, the essay's
REFERENCE = 512  # training images that a set is compared with
LEARNED = 4096  # training images at most that the linear model is fitted to, more than it is compared with
CELLS = 8  # along a side of the coarse image whose far parts are correlated
LEFT = 0.02  # of held-out images: copies look like their photographs
DENOISED = 3000  # batches of 32 that a denoiser of all levels learns from at the cpu budget
LARGER = 1500  # batches at the cpu budget in which 64 pixels are copied so well: 1.6 % was left after 1,200
COARSE = 0.127
"""What PCA of 32 components leaves of held-out landscapes of 32 pixels, of which it knows the coarse image."""
MODULE = 1000  # batches at the cpu budget that the hidden module learns from
MODULE_LEFT = 0.1
"""What the hidden module is asked for. PCA of its 100 numbers leaves .063, but 1,325 photographs are too few for
it: with seed 0 it left .076 after 1,000 batches and .077 after 2,500, of training images .062 and .032."""
BRIEF = 164
"""Batches at the cpu budget, two passes over the photographs, after which the plain network copies about as well
as that with the hidden module: it left .062 and .117 with two seeds, and .042 and .063 after 246."""
BISECTIONS = 30
JUDGE = 1000  # the judge's seed, which is that of no model it judges


def essay_steps(lab: Lab, count: int, cpu: int | None = None) -> int:
    """The essay's number of steps, or fewer: `cpu` of them at the cpu budget, where all would take too long."""
    return min(count, lab.budget.scaled(cpu or count))


def film(
    sampler: Sampler,
    model: Autoencoder,
    x: Images,
    rng: Generator,
    batch: int = BATCH,
    statistics: Statistics = "batch",
) -> Film:
    """The sampler's film from x, batch after batch, with the statistics of the batch unless given."""
    with still(model, statistics):
        for frames in zip(*(sampler(model, part, rng) for part in parts(x, batch)), strict=True):
            yield torch.cat(frames)


def last(frames: Iterable[Images]) -> Images:
    """The last frame of a film."""
    *_, frame = frames
    return frame


def from_noise(
    lab: Lab,
    model: Autoencoder,
    count: int,
    seed: int,
    sampler: Renoising | Ascent | None = None,
    batch: int = BATCH,
    statistics: Statistics = "batch",
) -> Film:
    """Images from noise as they form, in 30 steps unless a sampler is given; the same noise for every model."""
    sampler = sampler or Renoising(essay_steps(lab, 30))
    rng = lab.rng(seed, "samples")
    start = sampler.noise(count, model.shape, rng).to(lab.device)
    return film(sampler, model, start, rng, batch, statistics)


def denoiser(lab: Lab, photos: Photos, seed: int) -> Autoencoder:
    """A network that removes noise of all levels, as the recipe `prior` trains it: what Ascent samples from."""
    make = unet(lab, depth=3, skips="concat", norm="none")
    objective = Classical(Gaussian((0.01, 1.0)))
    return lab.trained(
        make, photos, seed, objective=objective, steps=lab.budget.scaled(DENOISED), batch=32, **QUALITY
    )


def ascended(lab: Lab, model: Autoencoder, count: int, seed: int) -> Images:
    """Images that Ascent draws from a denoiser's prior, in its 201 steps where the budget allows."""
    return last(from_noise(lab, model, count, seed, Ascent(steps=essay_steps(lab, 201)), LARGE, "running"))


def large_copier(lab: Lab, seed: int) -> Autoencoder:
    """The network that has learned to copy the budget's larger landscapes until 2 % of held-out ones is left.

    What claims sample from and walk with where images have to be large enough to be recognised.
    """
    photos = lab.photos("landscapes", lab.budget.large)
    return copier(lab, unet(lab, depth=2), photos, seed, LEFT, lab.budget.scaled(LARGER))


def hidden_module(lab: Lab) -> Make:
    """The U-Net of depth 2 with the essay's hidden module, fully connected, of 100 numbers."""
    return unet(lab, depth=2, middle=Affine())


def hidden_copier(lab: Lab, seed: int) -> Autoencoder:
    """The same, trained on landscapes for as long as its copies of held-out ones get better."""
    steps = lab.budget.scaled(MODULE)
    return copier(lab, hidden_module(lab), lab.photos("landscapes"), seed, MODULE_LEFT, steps, steps, lr=DENSE)


def plain(lab: Lab, seed: int, steps: int | None = None) -> Autoencoder:
    """The plain U-Net of depth 2 after so many batches at the cpu budget, at the end of its learning rate.

    After few, it is what networks that copy less well are to be compared with.
    """
    steps = lab.budget.steps if steps is None else lab.budget.scaled(steps)
    return lab.trained(unet(lab, depth=2), lab.photos("landscapes"), seed, steps=steps, **QUALITY)


def as_shown(x: Images) -> Images:
    """Images clipped to [0, 1], as they are shown."""
    return x.nan_to_num(0.5).clamp(0, 1)


@torch.no_grad()
def code_spread(model: Autoencoder, x: Images) -> float:
    """The standard deviation of all numbers of the codes, with the statistics of a batch."""
    with still(model, "batch"):
        return flat(model.encode(x)).std().item()


def variance(x: Images) -> float:
    """The mean squared distance of images from their mean: 0 where all are one."""
    return (x - x.mean(0)).square().mean().item()


def blurred_to(x: Images, like: Images) -> Images:
    """Images blurred until they are on average as sharp as others; as they are where those are no less sharp.

    To compare with: what is as blurred, and otherwise real. By bisection of the std of a Gaussian window.
    """
    wanted, low, high = sharpness(like).mean(), 0.0, float(max(x.shape[2:]))
    if not sharpness(x).mean() > wanted:
        return x
    for _ in range(BISECTIONS):
        std = (low + high) / 2
        low, high = (std, high) if sharpness(_blurred(x, std)).mean() > wanted else (low, std)
    return _blurred(x, high)


def _blurred(x: Images, std: float) -> Images:
    return Blur(2 * math.ceil(3 * std) + 1, std)(x)


def kept(found: Mapping[str, float]) -> dict[str, Tensor]:
    """Numbers as a reading keeps them."""
    return {name: torch.tensor(value) for name, value in found.items()}


def read(readings: Sequence[Reading], *skipped: str) -> list[dict[str, float]]:
    """The single numbers of every reading, without those on copying and those that begin with these words."""
    return [
        {n: v.item() for n, v in r.numbers.items() if not v.dim() and not n.startswith((MARK, *skipped))}
        for r in readings
    ]


def judge(lab: Lab, side: int) -> Autoencoder:
    """The encoder in whose code all sets of landscapes are compared: a perceptron's, trained only for this.

    The Frechet distance in its 32 numbers sees the layout of an image, which distances of patches do not.
    """
    make = partial(MLP, hidden=[512], latent_dim=32)
    return lab.trained(make, lab.photos("landscapes", side), JUDGE, batch=64, lr=WIDE)


def judged(lab: Lab, by: Autoencoder, sets: Mapping[str, Images], side: int, seed: int) -> dict[str, float]:
    """Distances of every set from the training landscapes, and its sharpness, as "patch distance, NAME".

    "real" is the same number of held-out landscapes in place of a set. The same patches and directions are used
    for all sets.
    """
    photos = lab.photos("landscapes", side)
    probe = Quality(lab.images(photos, "train", REFERENCE), lab.images(photos), by)
    names = {
        "patch distance": "sliced Wasserstein",
        "Frechet distance": f"Frechet distance, {type(by).__name__}",
        "sharpness": "sharpness",
    }
    found = {}
    for name, x in sets.items():
        numbers = probe(by, x, lab.rng(seed, "patches")).numbers
        found |= {f"{ours}, {name}": numbers[theirs].item() for ours, theirs in names.items()}
        found |= {f"{ours}, real": numbers[f"{theirs}, real"].item() for ours, theirs in names.items()}
    return found


def levels(x: Images, reference: Float[Tensor, "m c h w"], rng: Generator) -> list[float]:
    """Patch distances at every level of a pyramid: the finest detail first, the coarse image last."""
    return [value.item() for value in patch_wasserstein(x, reference, rng).values()]


def mean(values: Sequence[float]) -> float:
    """The mean of some numbers."""
    return sum(values) / len(values)


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean of some numbers."""
    return torch.tensor(list(values), dtype=torch.float64).log().mean().exp().item()


def far_correlations(x: Images) -> Tensor:
    r"""Correlations of brightness between distant cells, over a set of images: all pairs, every channel.

        corr(x[i], x[j])        i, j: cells of the image at 8 x 8, half of the side or more apart

    0 where a cell is the same in all images.
    """
    size = (min(CELLS, x.shape[2]), min(CELLS, x.shape[3]))
    cells = F.adaptive_avg_pool2d(x.double(), size).flatten(2).permute(1, 2, 0)  # c x cells x b
    cells = cells - cells.mean(2, keepdim=True)
    cells = cells / cells.norm(dim=2, keepdim=True).clamp(min=1e-9)
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in size), indexing="ij")
    apart = [(p.flatten()[:, None] - p.flatten()).abs() for p in (rows, columns)]
    far = ((apart[0] >= size[0] / 2) | (apart[1] >= size[1] / 2)).triu()
    return (cells @ cells.mT)[:, far.to(x.device)]


def order_error(x: Images, reference: Float[Tensor, "m c h w"]) -> float:
    """Root mean square difference between the far correlations of two sets of images."""
    return (far_correlations(x) - far_correlations(reference)).square().mean().sqrt().item()


def normal_images(reference: Images, count: int, rng: Generator) -> Images:
    """Draws from the normal distribution with the mean and covariance of these images."""
    rows = reference.flatten(1)
    centred = rows - rows.mean(0)
    drawn = rows.mean(0) + FittedGaussian().weights(centred, count, rng) @ centred
    return drawn.view(count, *reference.shape[1:])


def pooled(found: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Estimates over all seeds, by name; those called "... over ..." are ratios, whose logarithms are averaged.

    A number that some seeds do not have, as what is only shown where it could be made, is over the others.
    """
    return {
        name: statistics.over_seeds(
            [numbers[name] for numbers in found if name in numbers],
            "log" if re.search(r"\bover\b", name) else "linear",
        )
        for name in dict.fromkeys(name for numbers in found for name in numbers)
    }
