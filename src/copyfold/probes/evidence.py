"""Bounds on the log evidence of images under a variational autoencoder, and its amortisation gap."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from copyfold.corruptions import noise_like
from copyfold.errors import UsageError, at_least
from copyfold.measures import filled
from copyfold.models.base import Autoencoder, class_name
from copyfold.probes.base import Probe, Reading
from copyfold.types import Images, Statistics

_PRIOR = Normal(0.0, 1.0, validate_args=False)


@dataclass(frozen=True)
class Evidence(Probe):
    r"""Bounds on log p(x) of a variational autoencoder, amortised and per image.

        elbo       = E_q[log p(x|z)] - KL(q || p)  <=  log p(x)          q = q(z|x), the encoder's
        importance = log 1/K sum_k p(x|z_k) p(z_k) / q(z_k)              z_k ~ q,   K = draws
        optimised  = the elbo of the best normal q for this image, found by `steps` of Adam from the encoder's
        gap        = optimised - elbo >= 0 up to sampling error: the amortisation gap

    Numbers per image, in nats, with all constants; means over `draws` draws, the same for both q. Pixels are
    normal with this `std`, or Bernoulli where it is None, which needs output="sigmoid" (for grey values then a
    pseudo-likelihood). The importance-weighted bound rises with K to log p(x) (Burda et al., 2015,
    arXiv:1509.00519); amortisation gap: Cremer et al., 2018 (arXiv:1801.03558). Pixels missing in x, NaN, are
    left out. UsageError where the model has no posterior.

    When: To compare variational models in nats, and to see whether the encoder is the bottleneck.
    Cost: `draws` passes through the decoder, and `steps` of an optimiser for each batch.
    Fails: Bounds of models with different fidelities, or a different std, do not compare.
    Source: Burda et al., 2015; Cremer et al., 2018.
    """

    std: float | None = None
    draws: int = 64
    steps: int = 100
    lr: float = 0.02
    statistics: Statistics = "running"

    def __post_init__(self) -> None:
        at_least(1, draws=self.draws)
        at_least(0, steps=self.steps)
        if self.std is not None and not self.std > 0:
            raise UsageError(f"Evidence(std={self.std}) is invalid: expected the std of a pixel, above 0")

    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Bound the evidence of every image."""
        with model.using(self.statistics), torch.no_grad():
            q = model.posterior(filled(x))
            if q is None:
                raise UsageError(
                    f"Evidence needs a posterior, and a {class_name(model)} has none: wrap it in Variational"
                )
            if self.std is None and model.output != "sigmoid":
                raise UsageError(
                    'Evidence needs the std of a pixel for a model whose output is not "sigmoid": give std '
                    "(--probe.std 0.1)"
                )
            best = self._best(model, x, q, rng)
            noise = noise_like(q.mean.expand(self.draws, *q.mean.shape), rng=rng)
            elbo, importance = self._bounds(model, x, q, noise)
            optimised, _ = self._bounds(model, x, best, noise)
        return Reading(
            {
                "elbo": elbo,
                "kl": kl_divergence(q, _PRIOR).flatten(1).sum(1),
                "importance": importance,
                "optimised": optimised,
                "gap": optimised - elbo,
            }
        )

    def _bounds(self, model: Autoencoder, x: Images, q: Normal, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The elbo and the importance-weighted bound by draws q.mean + q.stddev noise, draws x b x latent."""
        z = q.mean + q.stddev * noise
        seen = torch.stack([self._likelihood(model, x, each) for each in z])
        weights = seen + (_PRIOR.log_prob(z) - q.log_prob(z)).flatten(2).sum(2)
        elbo = seen.mean(0) - kl_divergence(q, _PRIOR).flatten(1).sum(1)
        return elbo, weights.logsumexp(0) - math.log(len(z))

    def _likelihood(self, model: Autoencoder, x: Images, z: Tensor) -> Tensor:
        """log p(x|z) of every image."""
        if self.std is None:
            pixels = Bernoulli(logits=model.logits(z), validate_args=False)
        else:
            pixels = Normal(model.decode(z), self.std, validate_args=False)
        return torch.where(x.isnan(), 0, pixels.log_prob(filled(x))).flatten(1).sum(1)

    @torch.enable_grad()
    def _best(self, model: Autoencoder, x: Images, q: Normal, rng: Generator) -> Normal:
        """The q of each image after `steps` of Adam, with one sample of z per step."""
        free = [q.mean.clone().requires_grad_(), q.stddev.log().requires_grad_()]
        optimizer = torch.optim.Adam(free, lr=self.lr)
        for _ in range(self.steps):
            now = Normal(free[0], free[1].exp(), validate_args=False)
            z = now.mean + now.stddev * noise_like(now.mean, rng=rng)
            loss = kl_divergence(now, _PRIOR).sum() - self._likelihood(model, x, z).sum()
            for value, gradient in zip(free, torch.autograd.grad(loss, free), strict=True):
                value.grad = gradient
            optimizer.step()
        return Normal(free[0].detach(), free[1].detach().exp(), validate_args=False)
