"""What the numbers of a code do: which carry something, which are dead, always on, saturated or collapsed."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.distributions import Normal, kl_divergence

from copyfold.errors import at_least
from copyfold.models.base import Autoencoder, flat
from copyfold.probes.base import Probe, Reading
from copyfold.types import Images, Statistics

ACTIVE = 0.01  # Burda et al. (2015): a latent dimension is active where the variance of its mean is above this
ON = 0.1  # of the largest value of the code: what counts as on
NEAR = 0.01  # how near to 0 or 1 a logistic unit is saturated


@dataclass(frozen=True)
class CodeStatistics(Probe):
    r"""What every number of the code does over a set of images.

    Numbers per unit: "mean", "variance" and "on" (the share of images on which |z_k| is above a tenth of the
    largest value that the code has anywhere), and where there is a posterior "kl", the mean over images of
    KL(q(z_k|x) || N(0, 1)) in nats. Numbers for all: "units", "active_units" (variance of the mean above 0.01;
    Burda et al., 2015), "dead_units" (on for no image), "always_on_units", and, where all values are within
    [0, 1], "saturation", the share of them within 0.01 of 0 or 1. Images are encoded `batch` at a time.
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


def _encoded(model: Autoencoder, x: Images) -> tuple[Tensor, Tensor]:
    """The code of every image as one vector, and the divergence of each number's posterior (0 without one)."""
    q = model.posterior(x)
    units = flat(model.encode(x) if q is None else q.mean)
    return units, units.new_zeros(units.shape) if q is None else kl_divergence(q, Normal(0.0, 1.0)).flatten(1)


def _count(which: Tensor) -> Tensor:
    return which.float().sum()


def symptoms(numbers: dict[str, Tensor], sparse: bool = False, outside: float = 0.0) -> list[str]:
    """What CodeStatistics found, if it was asked, in plain words; what is as it should be is not mentioned.

    Dead and always-on units are mentioned where the code is meant to be `sparse`, collapse where there is a
    posterior; `outside` is the share of the output's values that are outside [0, 1].
    """
    n = {name: value.item() for name, value in numbers.items() if value.dim() == 0}
    said = _of_units(n, "kl" in numbers, sparse) if n else []
    if outside > 0.01:
        said.append(
            f"{outside:.1%} of the output's values lie outside [0, 1], which nothing forbids them: "
            'output="sigmoid" does'
        )
    return said


def _of_units(n: dict[str, float], variational: bool, sparse: bool) -> list[str]:
    """What is wrong with the units of a code."""
    units, said = round(n["units"]), []
    if variational and n["active_units"] < units:
        idle = units - round(n["active_units"])
        said.append(
            f"{idle} of {units} latent dimensions say nothing about the image (their posterior has collapsed to "
            "the prior): they are more than these images need, or beta is too high: lower it, or give Divergence "
            "a warm_up or free_bits"
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
