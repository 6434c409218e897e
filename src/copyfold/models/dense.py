"""Fully connected autoencoders: the linear one, whose optimum is PCA, and the multilayer perceptron."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from copyfold.errors import UsageError, at_least, numbers, one_of
from copyfold.models.base import Autoencoder, Chain, Output
from copyfold.models.blocks import Activation, activation, norm
from copyfold.types import Float, Shape, Statistics

VectorNorm: TypeAlias = Literal["none", "batch", "layer"]


class Linear(Chain):
    r"""One linear layer each way: D(E(x)) = W2 (W1 x + b1) + b2.

    Under the squared error its optimum spans the first `latent_dim` principal components; the remaining loss is
    the sum of the other eigenvalues of the covariance. `bias` centres the data; without it the optimum spans the
    first eigenvectors of the second moment E[x x^T]. `fit` trains it by steps, or solves it exactly (`solve`).
    Baldi and Hornik, 1989; Murphy, Probabilistic Machine Learning: An Introduction (2022), section 20.3.

    When: Always, as the baseline: what a code of this size can do without a hidden layer.
    Cost: Nothing with `solve`; it needs one pass over the images and a factorisation.
    Fails: Images that lie on a curved surface, as things that move or turn: their copies are blurred.
    Source: Baldi and Hornik, 1989.
    """

    def __init__(
        self,
        shape: Shape,
        latent_dim: int = 32,
        bias: bool = True,
        output: Output = "linear",
        statistics: Statistics = "batch",
    ) -> None:
        super().__init__(shape, output)
        at_least(1, latent_dim=latent_dim)
        self.latent_dim, self.bias = latent_dim, bias
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), latent_dim, bias))
        self.decoder = nn.Sequential(nn.Linear(latent_dim, prod(shape), bias), nn.Unflatten(1, tuple(shape)))
        self.statistics = statistics

    @torch.no_grad()
    def project(self, directions: Float[Tensor, "k d"], mean: Float[Tensor, "d"]) -> None:
        """Make it the orthogonal projection onto k orthonormal directions about a mean, k being `latent_dim`.

            W1 = V,  b1 = -V m;   W2 = V^T,  b2 = m        V the directions, a row each

        Without bias the mean is 0, whatever is given.
        """
        encoder, decoder = self.encoder[1], self.decoder[0]
        encoder.weight.copy_(directions)
        decoder.weight.copy_(directions.T)
        if self.bias:
            encoder.bias.copy_(-directions @ mean)
            decoder.bias.copy_(mean)

    @classmethod
    def tiny(cls) -> "Autoencoder":
        """A code of 4 for 8x8 grey images."""
        return cls((1, 8, 8), latent_dim=4)


class MLP(Chain):
    """A multilayer perceptron; the decoder mirrors the encoder.

        c·h·w -> hidden[0] -> ... -> latent_dim -> ... -> hidden[0] -> c·h·w

    Each hidden layer is linear, norm, activation; the code is linear, then `code_activation`. The widths make it
    undercomplete or overcomplete: hidden=[100], latent_dim=30 is Murphy's 784-100-30-100-784; hidden=[4000,
    4000], latent_dim=4000 the essay's overcomplete network with five hidden layers, wider than its 3072 inputs.
    `frozen` keeps the linear layers between hidden layers at their random initial weights, so that only the first
    and the last linear layer are trained. The essay's script did this: its hidden layers (one more than there are
    here) were in a list that the optimiser did not see.

    When: Small images of one size, up to some 32 x 32; whatever is no image, as rows of measurements.
    Cost: Weights grow with pixels times width: 64 x 64 in colour with 4000 units has 100 million.
    Fails: Photographs of any size, and everything that may be anywhere in the image: it learns each place by
    itself.
    Source: Rumelhart, Hinton and Williams, 1986; Hinton and Salakhutdinov, 2006.
    """

    def __init__(
        self,
        shape: Shape,
        hidden: Sequence[int] = (512,),
        latent_dim: int = 32,
        activation: Activation = "gelu",
        code_activation: Activation = "identity",
        norm: VectorNorm = "none",
        frozen: bool = False,
        output: Output = "linear",
        statistics: Statistics = "batch",
    ) -> None:
        super().__init__(shape, output)
        numbers(hidden=hidden)
        at_least(1, latent_dim=latent_dim, **{f"hidden[{i}]": width for i, width in enumerate(hidden)})
        one_of(Activation, "activation", activation)
        one_of(Activation, "code_activation", code_activation)
        one_of(VectorNorm, "norm", norm)
        self.hidden, self.latent_dim, self.norm = tuple(hidden), latent_dim, norm
        self.activation, self.code_activation, self.frozen = activation, code_activation, frozen
        widths = (prod(shape), *hidden, latent_dim)
        self.encoder = nn.Sequential(nn.Flatten(), *_layers(widths, activation, norm, code_activation))
        self.decoder = nn.Sequential(
            *_layers(widths[::-1], activation, norm, "identity"), nn.Unflatten(1, tuple(shape))
        )
        if frozen:
            _freeze([m for m in self.modules() if isinstance(m, nn.Linear)][1:-1])
        self.statistics = statistics

    @classmethod
    def tiny(cls) -> "Autoencoder":
        """16-8-4-8-16, with batch norm so that the laws see its statistics."""
        return cls((1, 4, 4), hidden=(8,), latent_dim=4, norm="batch")


def _freeze(layers: Sequence[nn.Linear]) -> None:
    """Exclude the weights of these layers from training."""
    if not layers:
        raise UsageError("frozen=True is invalid without hidden layers: expected at least one width in `hidden`")
    for layer in layers:
        layer.requires_grad_(False)


def _layers(widths: Sequence[int], between: str, norm_kind: str, last: str) -> list[nn.Module]:
    """Linear layers of these widths, norm and activation between them, the activation `last` at the end."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), norm(norm_kind, outputs), activation(between)]
    return [*layers[:-2], activation(last)]
