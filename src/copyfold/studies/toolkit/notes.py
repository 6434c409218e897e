"""The notes' images, networks and trainings."""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch

from copyfold.data import Photos
from copyfold.models.base import Autoencoder
from copyfold.models.conv import Conv
from copyfold.models.dense import MLP
from copyfold.models.variational import Variational
from copyfold.objectives.base import Classical, Objective, Penalty
from copyfold.objectives.fidelities import Bernoulli
from copyfold.objectives.penalties import L1, Divergence, KLSparsity
from copyfold.studies.lab import Lab, Make
from copyfold.types import Shape

SIDE = 28  # pixels of the side of an image
BATCH = 128
SHORT, EPOCHS, LONG = 5, 10, 20  # passes over the images: of the notes' plain networks, regularised ones, and ours
CODE = 30  # numbers of the code of the notes' perceptron
LATENT = 20  # numbers of a code, as in the notes' VAE
UNITS = 300  # of the code of the notes' regularised networks
TARGET = 0.1  # mean activation of a unit that the KL penalty asks for

CROSS_ENTROPY = Classical(fidelity=Bernoulli())
ELBO = Classical(fidelity=Bernoulli(), penalties=[Divergence()])


def fashion(lab: Lab, classes: bool = False) -> Photos:
    """The notes' images at their side, or at the budget's where that is smaller; DataError without `classes`."""
    find = lab.labelled if classes else lab.photos
    return find("fashion_mnist", min(SIDE, lab.budget.side))


def course(
    lab: Lab,
    make: Make,
    photos: Photos,
    seed: int,
    epochs: Sequence[int],
    objective: Objective | None = None,
    **plan: Any,
) -> list[Autoencoder]:
    """One training, and the model after each of these numbers of epochs; fewer where the budget is tiny."""
    batches = len(photos) // min(BATCH, len(photos))
    steps = [min(n, lab.budget.scaled(n)) * batches for n in epochs]
    return lab.course(make, photos, seed, steps, objective, BATCH, **plan)


def learned(
    lab: Lab,
    make: Make,
    photos: Photos,
    seed: int,
    epochs: int,
    objective: Objective | None = None,
    **plan: Any,
) -> Autoencoder:
    """The model after this many epochs."""
    return course(lab, make, photos, seed, (epochs,), objective, **plan)[0]


def contestants(shape: Shape) -> tuple[Make, Make, Make, Make]:
    """The notes' perceptron and CNN; a CNN of no larger code, and a perceptron of no more parameters."""
    look = {"activation": "selu", "output": "sigmoid"}
    cnn = partial(Conv, channels=(16, 32, 64), **look)
    with torch.device("meta"):
        weights = cnn(shape).summary().parameters
    positions, size = (shape[1] // 8) * (shape[2] // 8), prod(shape)
    # D h + h + 30 h + 30 one way, 30 h + h + D h + D the other
    units = (weights - size - CODE) // (2 * (size + CODE + 1))
    narrow = partial(Conv, channels=(16, 32, max(1, CODE // positions)), **look)
    mlp, small = (partial(MLP, hidden=[h], latent_dim=CODE, **look) for h in (100, max(1, units)))
    return mlp, cnn, narrow, small


def plain_autoencoder(shape: Shape) -> MLP:
    """A deterministic autoencoder that is `variational` without its distribution: the same layers, one code."""
    return MLP(shape, [512], LATENT, output="sigmoid")


def variational(shape: Shape) -> Variational:
    """A VAE: mean and log variance are linear in the output of its core's last layer, which is linear."""
    return Variational(MLP(shape, [512], 2 * LATENT, output="sigmoid"), LATENT)


def plain_and_variational(lab: Lab, photos: Photos, seed: int) -> tuple[Autoencoder, Autoencoder]:
    """The deterministic autoencoder and the VAE of one seed, trained alike."""
    alone = learned(lab, plain_autoencoder, photos, seed, LONG, CROSS_ENTROPY)
    return alone, learned(lab, variational, photos, seed, LONG, ELBO)


def logistic(hidden: tuple[int, ...]) -> Make:
    """The notes' perceptron with 300 logistic units for a code."""
    return partial(
        MLP, hidden=hidden, latent_dim=UNITS, activation="selu", code_activation="sigmoid", output="sigmoid"
    )


def penalised(penalty: Penalty | None) -> Classical:
    """The cross-entropy with this penalty."""
    return CROSS_ENTROPY if penalty is None else Classical(fidelity=Bernoulli(), penalties=[penalty])


def sparsities(shape: Shape) -> dict[str, Penalty | None]:
    """With the weights of the notes' companion notebook; its loss is a mean over pixels, ours a sum."""
    return {"no penalty": None, "L1": L1(1e-3 * prod(shape)), "KL": KLSparsity(0.05 * prod(shape), TARGET)}


def sparse_models(lab: Lab, seed: int) -> dict[str, Autoencoder]:
    """The notes' networks of 300 units, without a penalty and with each."""
    photos = fashion(lab)
    return {
        name: learned(lab, logistic((100,)), photos, seed, EPOCHS, penalised(penalty))
        for name, penalty in sparsities(photos.shape).items()
    }
