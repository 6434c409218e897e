"""The latent space: statistics of each number of the code, dead and collapsed units, and the codes' geometry."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.distributions import Normal, kl_divergence

from copyfold.errors import UsageError, at_least, of_model, within
from copyfold.measures import filled
from copyfold.models.base import Autoencoder, flat
from copyfold.probes.base import Probe, Reading, still
from copyfold.probes.nearest import neighbours
from copyfold.types import Float, Images, Int, Statistics

ACTIVE = 0.01  # Burda et al. (2015): a latent dimension is active where the variance of its mean is above this
ON = 0.1  # of the largest value of the code: what counts as on
NEAR = 0.01  # how near to 0 or 1 a logistic unit is saturated
MAPPED = 50  # principal components that t-SNE is given, of larger codes
ROUNDING = 1e-5  # of the largest value of the codes: what differs by less is the same but for rounding in float32


@dataclass(frozen=True)
class CodeStatistics(Probe):
    r"""Statistics of every number of the code over a set of images.

    Numbers per unit: "mean", "variance" and "on" (the share of images on which |z_k| is above a tenth of the
    largest value that the code has anywhere), and where there is a posterior "kl", the mean over images of
    KL(q(z_k|x) || N(0, 1)) in nats. Numbers for all: "units", "active_units" (variance of the mean above 0.01;
    Burda et al., 2015), "dead_units" (on for no image), "always_on_units", and, where all values are within
    [0, 1], "saturation", the share of them within 0.01 of 0 or 1. Images are encoded `batch` at a time.

    When: First of all, on any model: are there dead or collapsed units?
    Cost: One pass over the images.
    Fails: With few images a rare unit looks dead.
    Source: Active units: Burda et al., 2015 (arXiv:1509.00519).
    """

    statistics: Statistics = "running"
    batch: int = 64

    def __post_init__(self) -> None:
        at_least(1, batch=self.batch)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Encode the images and count."""
        with model.using(self.statistics):
            read = [_encoded(model, part) for part in x.split(self.batch)]
        units = torch.cat([part[0] for part in read])
        on = (units.abs() > ON * units.abs().max()).float().mean(0)
        variance = units.var(0, correction=0)
        numbers = {
            "mean": units.mean(0),
            "variance": variance,
            "on": on,
            "units": _count(torch.ones_like(on)),
            "active_units": _count(variance > ACTIVE),
            "dead_units": _count(on == 0),
            "always_on_units": _count(on == 1),
        }
        if model.stochastic:
            numbers["kl"] = torch.cat([part[1] for part in read]).mean(0)
        if units.min() >= 0 and units.max() <= 1:
            numbers["saturation"] = ((units < NEAR) | (units > 1 - NEAR)).float().mean()
        return Reading(numbers)


@dataclass(frozen=True)
class Latent(Probe):
    r"""The geometry of codes: their effective dimension, and their neighbours.

        effective dimension = (sum_i l_i)^2 / sum_i l_i^2        l_i the variances of their principal components

    That is the participation ratio: d for d equal variances, 1 for codes on a line, never more than the number
    of images less 1. For all: also "components", the fewest principal components with 95 % of the variance.
    Per number of the code: "mean" and "std". Per image: "pca", n x 2, the first two principal components, and
    "map", n x 2, their t-SNE (van der Maaten and Hinton, 2008; scikit-learn's): of all numbers of the code, or
    of the first 50 principal components of a larger one, started from "pca". In it neighbours mean something
    and distances between groups do not. Its perplexity is at most a third of the other images. Codes that differ
    by less than 1e-5 of their largest value, as of equal images, count as the same: nothing varies then, and all
    are at one point of the map.

    Where `labels` are given, one per image: "purity", the mean share of the `nearest` other codes (Euclidean)
    that have the image's label, and "purity by chance", what shuffled labels would give,
    sum_c n_c (n_c - 1) / (n (n - 1)). A code that is a tuple of maps is all their numbers. Images are encoded
    `batch` at a time; a map takes seconds for hundreds of images.

    When: To look at codes: their dimension, their map, whether neighbours are alike.
    Cost: One pass, and seconds for the map of hundreds of images.
    Fails: Distances between groups of a t-SNE mean nothing; purity needs labels.
    Source: Van der Maaten and Hinton, 2008.
    """

    labels: Int[Tensor, "n"] | None = None
    nearest: int = 10
    perplexity: float = 30.0
    statistics: Statistics = "running"
    batch: int = 64

    def __post_init__(self) -> None:
        at_least(1, nearest=self.nearest, batch=self.batch)
        within("[1, inf)", self, perplexity=self.perplexity)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Encode the images and look at how their codes lie."""
        if len(x) < 4:
            raise UsageError(f"{len(x)} images are too few for Latent: expected 4 or more")
        if self.labels is not None and len(self.labels) != len(x):
            raise UsageError(f"Latent has {len(self.labels)} labels for {len(x)} images: give one per image")
        with still(model, self.statistics):
            codes = torch.cat([_encoded(model, part)[0] for part in x.split(self.batch)])
        if _alike(codes):
            codes = codes[:1].expand_as(codes)
        variances, scores = principal(codes)
        missing = variances.cumsum(0) < 0.95 * variances.sum()
        numbers = {
            "mean": codes.mean(0),
            "std": codes.std(0, correction=0),
            "effective dimension": participation(variances),
            "components": (missing.sum() + (variances.sum() > 0)).float(),
            "pca": scores[:, :2],
            "map": self._map(scores if codes.shape[1] > MAPPED else codes, scores[:, :2], rng),
        }
        if self.labels is not None:
            numbers |= purity(codes, self.labels.to(codes.device), min(self.nearest, len(x) - 1))
        return Reading(numbers)

    def _map(self, points: Tensor, start: Tensor, rng: Generator) -> Tensor:
        """t-SNE in two dimensions, the same for the same generator."""
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

        n = len(points)
        if _alike(points) or not start[:, 0].std() > 0:  # t-SNE may crash where nothing tells two points apart
            return torch.zeros_like(start)
        seed = int(torch.randint(2**31, (), generator=rng, device=rng.device))
        rows = points[:, :MAPPED].double().cpu().numpy()
        # Small, as its authors start it; Any, as scikit-learn's types know of names only
        init: Any = (start / start[:, 0].std() * 1e-4).double().cpu().numpy()
        tsne = TSNE(2, perplexity=min(self.perplexity, (n - 1) / 3), init=init, random_state=seed)
        with threadpool_limits(1):  # threads sum in any order, and t-SNE amplifies rounding errors
            return torch.from_numpy(np.asarray(tsne.fit_transform(rows))).to(start)


def _alike(codes: Float[Tensor, "n d"]) -> bool:
    """Whether codes are the same but for rounding."""
    return bool((codes - codes[:1]).abs().max() <= ROUNDING * codes.abs().max())


def principal(codes: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "k"], Float[Tensor, "n k"]]:
    """Variances of the principal components, the largest first, and each code's coordinates along them.

    k = min(n, d), but at least 2: there are zeros where there is no second direction.
    """
    centred = codes - codes.mean(0)
    if (codes == codes[:1]).all():
        centred = torch.zeros_like(codes)  # and not what is left of rounding in the mean
    n, d = centred.shape
    if n > d:
        squares, v = torch.linalg.eigh((centred.T @ centred).double())
        scores = centred.double() @ v
    else:  # the smaller matrix has the same eigenvalues
        squares, u = torch.linalg.eigh((centred @ centred.T).double())
        scores = u * squares.clamp(min=0).sqrt()
    missing = (0, max(0, 2 - len(squares)))
    variances, scores = (torch.nn.functional.pad(v.flip(-1), missing) for v in (squares.clamp(min=0) / n, scores))
    return variances.to(codes), scores.to(codes)


def participation(variances: Float[Tensor, "k"]) -> Float[Tensor, ""]:
    """The participation ratio (sum l)^2 / sum l^2 of variances l; 0 where nothing varies."""
    share = variances / variances.sum().clamp(min=torch.finfo(variances.dtype).tiny)
    return share.sum() / share.square().sum().clamp(min=torch.finfo(variances.dtype).tiny)


def agreement(codes: Float[Tensor, "n d"], labels: Int[Tensor, "n"], nearest: int) -> Float[Tensor, "n"]:
    """The share of each code's nearest other codes that have its own label."""
    index = neighbours(codes, codes, nearest, leave_out_own=True)[1]
    return (labels[index] == labels[:, None]).to(codes).mean(1)


def purity(codes: Float[Tensor, "n d"], labels: Int[Tensor, "n"], nearest: int) -> dict[str, Float[Tensor, ""]]:
    """The mean share of the nearest other codes with a code's own label, and what chance gives."""
    n, counts = len(codes), labels.unique(return_counts=True)[1].to(codes)
    return {
        "purity": agreement(codes, labels, nearest).mean(),
        "purity by chance": (counts * (counts - 1)).sum() / (n * (n - 1)),
    }


def _encoded(model: Autoencoder, x: Images) -> tuple[Tensor, Tensor]:
    """The code of every image as one vector, and the divergence of each number's posterior (0 without one)."""
    x = filled(x)
    q = model.posterior(x)
    units = flat(model.encode(x) if q is None else q.mean)
    return units, units.new_zeros(units.shape) if q is None else kl_divergence(q, Normal(0.0, 1.0)).flatten(1)


def _count(which: Tensor) -> Tensor:
    return which.float().sum()


def code_warnings(numbers: dict[str, Tensor], sparse: bool = False, outside: float = 0.0) -> list[str]:
    """Warnings that follow from the numbers of CodeStatistics, which may be empty, one sentence each.

    Dead and always-on units are warned of where the code is meant to be `sparse`, collapse where there is a
    posterior; `outside` is the share of the output's values that are outside [0, 1].
    """
    n = {name: value.item() for name, value in numbers.items() if value.dim() == 0}
    said = _of_units(n, "kl" in numbers, sparse) if n else []
    if outside > 0.01:
        said.append(
            f"{outside:.1%} of the output's values are outside [0, 1], since the output is unbounded: "
            f"{of_model('output', 'sigmoid')} bounds it"
        )
    return said


def _of_units(n: dict[str, float], variational: bool, sparse: bool) -> list[str]:
    """What is wrong with the units of a code."""
    units, said = round(n["units"]), []
    if variational and n["active_units"] < units:
        idle = units - round(n["active_units"])
        said.append(
            f"{idle} of {units} latent dimensions are inactive (their posterior has collapsed to the prior): "
            "these images need fewer, or beta is too high: lower it, or give Divergence a warm_up or free_bits"
        )
    if sparse and n["dead_units"]:
        said.append(
            f"{n['dead_units']:.0f} of {units} units are dead, on for no image: give the sparsity a smaller weight"
        )
    if sparse and n["always_on_units"] > units / 2:
        said.append(
            f"{n['always_on_units']:.0f} of {units} units are on for every image, so the code is not sparse: "
            "give the sparsity a larger weight, or train longer"
        )
    if n.get("saturation", 0) > 0.5 and not sparse:
        said.append(
            f"{n['saturation']:.0%} of the logistic units' values are within {NEAR} of 0 or 1, where they hardly "
            "learn: give a lower lr, or a norm"
        )
    return said
