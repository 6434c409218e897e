"""Samplers that draw codes from a distribution fitted to the codes of reference images."""

import warnings
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from copyfold.corruptions import noise_like
from copyfold.errors import UsageError, at_least
from copyfold.models.base import Autoencoder, flat
from copyfold.samplers.base import Sampler, decoded, parts, unflatten
from copyfold.types import Code, Film, Images, Shape

SMALLEST = 1e-6  # of the largest variance: smaller ones are rounding errors in float32


@dataclass(frozen=True)
class Fitted(Sampler):
    r"""Draw codes from a distribution fitted to those of real images, and decode.

        z = m + sum_i w[i] (E(x[i]) - m) + s eta        m = mean_i E(x[i]),   eta ~ N(0, I)

    Every sample is a combination of the reference codes, so that no matrix of code x code is needed for a code of
    any size and number of maps. s^2 is the mean variance of the posterior, 0 where a model has none. `reference`
    images are x itself unless given; the command line gives the run's training images. They are encoded `batch`
    at a time, and their codes are kept in memory. One frame, of as many images as x has.
    """

    reference: Images | None = field(default=None, repr=False, compare=False)
    batch: int = 64

    def __post_init__(self) -> None:
        at_least(1, batch=self.batch)

    @abstractmethod
    def weights(self, centred: Tensor, count: int, rng: Generator) -> Tensor:
        """w, count x n, for n centred reference codes, n x d."""

    def noise(self, count: int, shape: Shape, rng: Generator) -> Images | None:
        """Zeros, whose number alone is used; None without `reference`, where x is encoded."""
        return None if self.reference is None else torch.zeros(count, *shape, device=rng.device)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the one frame."""
        reference = x if self.reference is None else self.reference.to(x)
        if len(reference) < 2:
            raise UsageError(f"{type(self).__name__} cannot be fitted to 1 image: give at least 2")
        like, codes, variance = _encoded(model, reference, self.batch)
        mean = codes.mean(0)
        codes -= mean
        z = mean + self.weights(codes, len(x), rng) @ codes
        if model.stochastic:
            z = z + variance.sqrt() * noise_like(z, rng=rng)
        yield decoded(model, unflatten(z, like), reference)


@dataclass(frozen=True)
class FittedGaussian(Fitted):
    r"""Draw codes with the mean and covariance of real codes, and decode them.

        z ~ N(m, C + diag(s^2))        m, C: mean and covariance of E(x[i]),   s^2 = mean_i Var q(z|x[i])

    The moments of the aggregate posterior (1/n) sum_i q(z|x[i]) of the reference images, to be compared with the
    prior of a Variational model; for a deterministic autoencoder the simplest model of its codes. The full
    covariance is used for a code of any size: (1/sqrt(n-1)) sum_i eta[i] (E(x[i]) - m) has the covariance C. One
    frame, of as many images as x has. `reference` images are x itself unless given; the command line gives the
    run's training images. They are encoded `batch` at a time. UsageError where there are fewer than two.

    When: To draw images from any autoencoder, a deterministic one too.
    Cost: One pass over the reference images, one through the decoder.
    Fails: Codes in several clusters: between them it draws images that are none.
    Source: The aggregate posterior: Makhzani et al., 2015 (arXiv:1511.05644); fitted afterwards: Ghosh et al.,
    2020.
    """

    def weights(self, centred: Tensor, count: int, rng: Generator) -> Tensor:
        """Independent normal numbers of variance 1 / (n - 1)."""
        n = len(centred)
        return noise_like(centred.new_empty(count, n), rng=rng) / (n - 1) ** 0.5


@dataclass(frozen=True)
class FittedMixture(Fitted):
    r"""Draw codes from a mixture of Gaussians fitted to real codes, and decode them.

        z ~ sum_k p[k] N(m[k], C[k])        fitted by EM to E(x[i]), with k = 1 .. components

    Samples have the clusters of the codes. Ghosh et al., "From Variational to Deterministic Autoencoders" (2020,
    arXiv:1903.12436), sample a deterministic autoencoder so, with 10 components. For a code with more than `rank`
    numbers, the mixture is of its first `rank` principal components, and the others have one normal distribution
    with their covariance; the variance of a posterior is added as in FittedGaussian. One frame,
    of as many images as x has. `reference` images are x itself unless given; the command line gives the run's
    training images. They are encoded `batch` at a time. UsageError where there are fewer of them than components.

    When: As `FittedGaussian`, where the images are of several kinds.
    Cost: As FittedGaussian, and seconds for the fit.
    Fails: Few reference images: clusters of a handful are drawn again and again.
    Source: Ghosh et al., 2020 (arXiv:1903.12436).
    """

    components: int = 10
    rank: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, components=self.components, rank=self.rank)

    def weights(self, centred: Tensor, count: int, rng: Generator) -> Tensor:
        """Weights of samples from the mixture along the principal axes, and from a normal in all others."""
        n = len(centred)
        across = noise_like(centred.new_empty(count, n), rng=rng) / (n - 1) ** 0.5
        # On the CPU, where EM is too, so that the signs of the axes are the same for every device
        values, vectors = (part.to(centred) for part in torch.linalg.eigh((centred @ centred.T).cpu()))
        leading = values > SMALLEST * values[-1]
        leading[: -self.rank] = False
        if not leading.any():  # all codes are the same
            return across
        # The scores along an axis are std sqrt(n - 1) times its unit vector; EM sees them without their scale
        axes, std, unit = vectors[:, leading], (values[leading] / (n - 1)).sqrt(), (values[-1] / (n - 1)).sqrt()
        fit = self.mixture(axes * (n - 1) ** 0.5 * std / unit, rng)
        along = self.mixed(fit, count, rng).to(centred) * unit / std / (n - 1) ** 0.5
        return (along - across @ axes) @ axes.T + across

    def mixture(self, scores: Tensor, rng: Generator) -> Any:
        """scikit-learn's fit to n x rank numbers."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        if len(scores) < self.components:
            raise UsageError(
                f"a mixture of {self.components} components cannot be fitted to the codes of {len(scores)} "
                "images: give more reference images, or fewer components"
            )
        seed = int(torch.randint(2**31 - 1, (), generator=rng, device=rng.device))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # EM that has not converged is good enough
            return GaussianMixture(self.components, random_state=seed).fit(scores.double().cpu().numpy())

    def mixed(self, mixture: Any, count: int, rng: Generator) -> Tensor:
        """Samples of the mixture, count x rank: first the component, then the point."""
        share, means, covariances = (
            torch.as_tensor(a, device=rng.device) for a in (mixture.weights_, mixture.means_, mixture.covariances_)
        )
        which = torch.multinomial(share, count, replacement=True, generator=rng)
        eta = noise_like(means[which], rng=rng)
        return means[which] + (torch.linalg.cholesky(covariances)[which] @ eta[:, :, None])[:, :, 0]


def _encoded(model: Autoencoder, images: Images, batch: int) -> tuple[Code, Tensor, Tensor]:
    """One code, for its shape; all codes as vectors, n x all numbers; the mean variance of the posteriors."""
    rows, variance, done = torch.empty(0), torch.zeros(()), 0
    z: Code = rows
    for part in parts(images, batch):
        q = model.posterior(part)
        z = model.encode(part) if q is None else q.mean
        code = flat(z)
        if not done:  # allocated once: the codes can be a gigabyte, which a list would need twice
            rows = code.new_empty(len(images), code.shape[1])
        rows[done : done + len(part)] = code
        variance = variance if q is None else variance + flat(q.variance).sum(0) / len(images)
        done += len(part)
    return z, rows, variance
