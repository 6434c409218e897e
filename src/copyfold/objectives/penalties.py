"""Penalties on a code: what makes an autoencoder sparse, contractive or variational."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from copyfold.errors import UsageError, at_least, one_of, within
from copyfold.models.base import Autoencoder, class_name, flat
from copyfold.objectives.base import Penalty
from copyfold.types import Code, Images

Estimator: TypeAlias = Literal["hutchinson", "exact", "closed"]

_ROWS = 2**27  # numbers of a Jacobian that are computed at once
_CLAMP = 1e-6  # a unit's mean activation is clamped to [1e-6, 1 - 1e-6] before its logarithm is taken


@dataclass(frozen=True)
class L1(Penalty):
    """Sparse codes: weight * mean over the batch of sum_k |z_k|.

    Murphy, Probabilistic Machine Learning: An Introduction (2022), section 20.3. A tuple of maps is summed over
    all of them.

    When: For codes of which few numbers are on, with code_activation="relu" so that they can be 0 exactly.
    Cost: Nothing.
    Fails: Units die under a large weight; under a linear decoder without a bound the code shrinks and the weights
    grow.
    Source: Sparse coding: Olshausen and Field, 1996; Murphy, section 20.3.
    """

    weight: float = 1.0

    sparse: ClassVar[bool] = True

    def __post_init__(self) -> None:
        within("[0, inf)", self, weight=self.weight)

    def __call__(self, model: Autoencoder, x: Images, z: Code, q: Normal | None = None) -> Tensor:
        """The weighted sum of absolute values per image."""
        return self.weight * flat(z).abs().sum() / len(x)


@dataclass(frozen=True)
class KLSparsity(Penalty):
    r"""Sparse logistic units: the mean activation of each is near `target`.

        weight * sum_k KL(p || q_k)        q_k = mean over the batch of z_k,   p = target
        KL(p || q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q))

    A penalty of the batch: q_k is clamped to [1e-6, 1 - 1e-6]. The mean of the activations has a gradient; the
    indicator that Murphy's section 20.3 prints for q_k has none. The code's values must be within [0, 1]: give
    the model code_activation="sigmoid".

    When: For logistic units each of which is to stand for a share of the images.
    Cost: Nothing.
    Fails: Batches that are small against 1 / target: q_k is then an average over too few images.
    Source: Ng, 2011 (lecture notes "Sparse autoencoder"); Murphy, section 20.3.
    """

    weight: float = 1.0
    target: float = 0.1

    sparse: ClassVar[bool] = True

    def __post_init__(self) -> None:
        within("[0, inf)", self, weight=self.weight)
        within("(0, 1)", self, target=self.target)

    def __call__(self, model: Autoencoder, x: Images, z: Code, q: Normal | None = None) -> Tensor:
        """The weighted sum over the units."""
        units = flat(z)
        outside = ((units < 0) | (units > 1)).any()
        if outside.device.type == "cpu" and outside:
            raise UsageError(
                f"KLSparsity needs a code within [0, 1], and this one has {units.min():.3g} to {units.max():.3g}: "
                'give an MLP code_activation="sigmoid" (--model MLP --model.code_activation sigmoid)'
            )
        rate, p = units.mean(0).clamp(_CLAMP, 1 - _CLAMP), self.target
        off = (1 - p) * torch.log((1 - p) / (1 - rate))
        nats = (p * torch.log(p / rate) + off).sum()
        # No synchronisation with a GPU in every step: there a code outside [0, 1] makes the loss NaN
        return self.weight * torch.where(outside, torch.nan, nats)

    @torch.no_grad()
    def check(self, model: Autoencoder) -> None:
        """UsageError where the code of random images leaves [0, 1]."""
        device, training = next(model.parameters()).device, model.training
        x = torch.rand(4, *model.shape, device=device)
        try:
            for scale in (1, 1000):  # a code that is non-negative but unbounded leaves [0, 1] for large values
                self(model, x, flat(model.eval().encode(scale * x)).cpu())
        finally:
            model.train(training)


@dataclass(frozen=True)
class Contraction(Penalty):
    r"""A contractive penalty: the squared norm of the encoder's Jacobian.

        weight * mean over the batch of ||J||_F^2        J = dE(x)/dx,   ||J||_F^2 = sum_k ||grad_x z_k||^2

    z is the posterior's mean where there is a posterior. Three estimators:
    "hutchinson", ||J^T v||^2 for one vector v of random signs per image: unbiased, one more backward pass for a
    code of any size (Hutchinson, 1990);
    "exact", every row of J: as many backward passes as the code has numbers;
    "closed", for one logistic layer z = s(Wx + b): sum_k (z_k (1 - z_k))^2 sum_j W_kj^2.
    Rifai et al., "Contractive Auto-Encoders" (2011); Murphy, section 20.3. UsageError for batch statistics: with
    them a code also has derivatives with respect to the other images.

    When: For codes that do not follow noise, and to teach what a Jacobian is.
    Cost: "hutchinson" 1.6 to 1.8 times the time of a step, "closed" 1.3 times, "exact" as many backward passes as
    the code has numbers.
    Fails: An encoder can lower it by shrinking its code, while the decoder grows: nothing else changes then.
    Source: Rifai et al., 2011.
    """

    weight: float = 1.0
    estimator: Estimator = "hutchinson"

    differentiates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        within("[0, inf)", self, weight=self.weight)
        one_of(Estimator, "estimator", self.estimator)

    def __call__(self, model: Autoencoder, x: Images, z: Code, q: Normal | None = None) -> Tensor:
        """The weighted squared norm of the Jacobian per image; z must come from x by differentiable steps."""
        code = flat(z if q is None else q.mean)
        if self.estimator == "closed":
            weight = _logistic_layer(model).weight
            squares = (code * (1 - code)).square() @ weight.square().sum(1)
        elif self.estimator == "exact":
            # encoded once more: vmap does not work on an existing graph for every layer
            pull = torch.func.vjp(lambda x: flat(model.encode(x)), x)[1]
            rows = torch.eye(code.shape[1], device=x.device, dtype=code.dtype)[:, None].expand(-1, len(x), -1)
            (jacobian,) = torch.func.vmap(pull, chunk_size=max(1, _ROWS // x.numel()))(rows)
            squares = jacobian.square().flatten(2).sum((0, 2))
        else:
            signs = torch.randint_like(code, 2) * 2 - 1
            (pulled,) = torch.autograd.grad(code, x, signs, create_graph=True)
            squares = pulled.square().flatten(1).sum(1)
        return self.weight * squares.sum() / len(x)

    def check(self, model: Autoencoder) -> None:
        """UsageError for batch statistics, and for the closed form of another encoder than one logistic layer."""
        if self.estimator == "closed":
            _logistic_layer(model)
        ours = model.has_statistics and model.statistics == "batch"
        theirs = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
        if ours or any(isinstance(m, theirs) for m in model.modules()):
            raise UsageError(
                "Contraction is undefined under batch statistics, where a code depends on other images too: give "
                "the model another norm (--model.norm group, layer or none) or --model.statistics running "
                "(--core.norm, --core.statistics within a Variational)"
            )


@dataclass(frozen=True)
class Divergence(Penalty):
    r"""The KL divergence of the posterior from the prior N(0, I).

        beta * mean over the batch of KL(q(z|x) || N(0, I)) = beta/2 sum_k (s_k^2 + m_k^2 - 1 - log s_k^2)

    q = N(m, diag(s^2)). With beta = 1 and a likelihood as fidelity, the loss is the negative evidence lower
    bound up to the fidelity's constant (Kingma and Welling, 2013); beta > 1 is the beta-VAE (Higgins et al.,
    2017). `warm_up` is the number of steps in which beta rises from 0; `free_bits` are the nats that every
    dimension may have without a penalty, on the mean of the batch (Kingma et al., 2016). Both are against
    posterior collapse.

    When: With `Variational`, always.
    Cost: Nothing.
    Fails: Posterior collapse: dimensions that say nothing of x. Lower `beta`, a `warm_up`, `free_bits`, or a
    smaller SquaredError(std) help.
    Source: Kingma and Welling, 2013; beta: Higgins et al., 2017; free bits: Kingma et al., 2016.
    """

    beta: float = 1.0
    warm_up: int = 0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        within("[0, inf)", self, beta=self.beta, free_bits=self.free_bits)
        at_least(0, warm_up=self.warm_up)

    def __call__(self, model: Autoencoder, x: Images, z: Code, q: Normal | None = None) -> Tensor:
        """The weighted divergence per image."""
        if q is None:
            self.check(model)
            raise UsageError("Divergence was given no posterior: give it q = model.posterior(x)")
        return self.beta * divergence(q).mean(0).clamp(min=self.free_bits).sum()

    def share(self, step: int) -> float:
        """A linear warm-up to 1."""
        return min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0

    def check(self, model: Autoencoder) -> None:
        """UsageError for a deterministic encoder, which has no posterior."""
        if not model.stochastic:
            raise UsageError(
                f"Divergence needs a posterior, which a {class_name(model)} does not have: wrap it, "
                "Variational(model, latent_dim) (--model Variational --core "
                f"{class_name(model)})"
            )


def divergence(q: Normal) -> Tensor:
    """KL(q || N(0, 1)) of every number of a normal posterior, in its shape, in nats."""
    return (q.variance + q.mean.square() - 1 - q.variance.log()) / 2


def _logistic_layer(model: Autoencoder) -> nn.Linear:
    """The encoder's only layer, where its code is sigmoid(linear(x)); UsageError otherwise."""
    leaves = [m for m in model.encoder.modules() if not list(m.children())]
    layers = [m for m in leaves if not isinstance(m, nn.Flatten | nn.Identity)]
    if [type(m) for m in layers] != [nn.Linear, nn.Sigmoid]:
        raise UsageError(
            'Contraction(estimator="closed") is for one logistic layer, MLP(hidden=(), code_activation="sigmoid") '
            '(--model.hidden [] --model.code_activation sigmoid): "hutchinson" takes any encoder'
        )
    return layers[0]
