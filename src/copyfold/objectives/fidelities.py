"""Fidelities: how well the decoded image explains the original."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from copyfold.catalogue import Recorded
from copyfold.errors import UsageError, of_model, within
from copyfold.measures import filled
from copyfold.models.base import Autoencoder
from copyfold.types import Code, Images


class Fidelity(Recorded, ABC):
    """How well D(z) explains x, as a negative log-likelihood.

    A function of z and x, in float32 under mixed precision too (`model.decode(z).float()`).
    `copyfold.testing.check_fidelity` tests one of your own.
    """

    @abstractmethod
    def __call__(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """-log p(x|z), summed over pixels, averaged over the batch, without constants; and the image D(z)."""

    leaves_out: ClassVar[bool] = False
    """Whether pixels may be missing in x, NaN, and are left out."""

    def pixels(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """-log p(x|z) of every pixel value, b c h w, and the image D(z); where pixels are independent given z.

        With it a fidelity can be that of `Observed` pixels.
        """
        raise UsageError(f"{type(self).__name__} has no value of its own for every pixel")

    def check(self, model: Autoencoder) -> None:
        """Raise UsageError where this fidelity has no meaning for the model; called before training."""
        del model


@dataclass(frozen=True)
class SquaredError(Fidelity):
    """Gaussian pixels of fixed std: the squared error.

        -log p(x|z) = sum_pixels (x - D(z))^2 / (2 std^2)  [+ D/2 log(2 pi std^2)]        D = c h w

    std = 1 is half the squared norm. In units of std^2 a perfect copy of noise of that std costs 1/2 per pixel.
    `constant` adds the term in brackets, which has no gradient, so that the loss is a likelihood in nats.
    """

    std: float = 1.0
    constant: bool = False

    def __post_init__(self) -> None:
        within("(0, inf)", self, std=self.std)

    def __call__(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The sum of squares over 2 std^2, and D(z)."""
        image = model.decode(z).float()
        loss = (x - image).square().sum() / (2 * self.std**2 * len(x))
        return loss + self.constant * x[0].numel() * math.log(self.std * math.sqrt(2 * math.pi)), image

    def pixels(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The square over 2 std^2 of every pixel value, and D(z)."""
        image = model.decode(z).float()
        errors = (x - image).square() / (2 * self.std**2)
        return errors + self.constant * math.log(self.std * math.sqrt(2 * math.pi)), image


@dataclass(frozen=True)
class AbsoluteError(Fidelity):
    """Laplacian pixels of fixed scale: the absolute error, whose optimum is a median.

        -log p(x|z) = sum_pixels |x - D(z)| / scale  [+ D log(2 scale)]        D = c h w

    The "L1 loss" of the essay's adversarial script. `constant` adds the term in brackets.
    """

    scale: float = 1.0
    constant: bool = False

    def __post_init__(self) -> None:
        within("(0, inf)", self, scale=self.scale)

    def __call__(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The sum of absolute errors over the scale, and D(z)."""
        image = model.decode(z).float()
        loss = (x - image).abs().sum() / (self.scale * len(x))
        return loss + self.constant * x[0].numel() * math.log(2 * self.scale), image

    def pixels(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The absolute error of every pixel value over the scale, and D(z)."""
        image = model.decode(z).float()
        return (x - image).abs() / self.scale + self.constant * math.log(2 * self.scale), image


@dataclass(frozen=True)
class Bernoulli(Fidelity):
    """Bernoulli pixels: the cross-entropy, computed from logits.

        -log p(x|z) = sum_pixels -x log p - (1 - x) log(1 - p),   p = sigmoid(logits(z)) = D(z)

    For grey values it is a pseudo-likelihood, minimal at p = x but not 0 there. The model's output must be
    "sigmoid". Murphy, Probabilistic Machine Learning: An Introduction (2022), section 20.3.
    """

    def __call__(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The cross-entropy, and the mean image p."""
        logits = model.logits(z).float()
        loss = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        return loss, torch.sigmoid(logits)

    def pixels(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The cross-entropy of every pixel value, and the mean image p."""
        logits = model.logits(z).float()
        return F.binary_cross_entropy_with_logits(logits, x, reduction="none"), torch.sigmoid(logits)

    def check(self, model: Autoencoder) -> None:
        """Only an output in (0, 1) can be a probability."""
        if model.output != "sigmoid":
            raise UsageError(
                "Bernoulli needs an output in (0, 1), and this model's is linear: "
                f"make it, or the core of a Variational, with {of_model('output', 'sigmoid')}, or use SquaredError"
            )


@dataclass(frozen=True)
class HardPixels(Fidelity):
    """The squared error of the pixels whose error is above a threshold.

        sum_pixels e [e > least] * D / #{e > least} / 2        e = (x - D(z))^2,   D = c h w

    The mean over the hard pixels only, of the whole batch, in the units of SquaredError(1); 0 where there are
    none. Not a likelihood: two of the essay's scripts use it, with least = 0.01.
    """

    least: float = 0.01

    def __post_init__(self) -> None:
        within("[0, inf)", self, least=self.least)

    def __call__(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The mean over hard pixels times half the number of pixels, and D(z)."""
        image = model.decode(z).float()
        errors = (x - image).square()
        hard = errors > self.least
        return (errors * hard).sum() / hard.sum().clamp(min=1) * x[0].numel() / 2, image


@dataclass(frozen=True)
class ErrorAndAngle(Fidelity):
    """Squared error and the angle between the images, as vectors of the whole batch.

        D (alpha mse - cos(x, D(z)))        alpha = 1, 2, 4 ... the smallest with alpha mse >= 1,   D = c h w

    Not a likelihood. The dual loss of the essay's upscaling script, which doubles alpha at the end of an epoch
    where alpha mse < 1; here alpha is computed from the batch, so that there is no state.
    """

    def __call__(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The weighted error less the cosine, times the number of pixels, and D(z)."""
        image = model.decode(z).float()
        mse = F.mse_loss(image, x)
        alpha = 2 ** (-mse.detach().clamp(min=1e-12).log2()).ceil().clamp(min=0)
        cosine = F.cosine_similarity(image.flatten(), x.flatten(), dim=0)
        return (alpha * mse - cosine) * x[0].numel(), image


@dataclass(frozen=True)
class Observed(Fidelity):
    """Another fidelity, of the observed pixels: those missing, NaN, are left out.

        -log p(x_observed|z) = sum_{observed pixels} -log p(x_i|z)

    A sum, averaged over the batch, and not rescaled to all pixels: a missing pixel is no evidence, and one nat of
    a penalty weighs against one nat of evidence, as without missing pixels. Equal to `inner` where none is
    missing; no gradient comes from those that are. The model sees x `measures.filled`. `inner` is of independent
    pixels: SquaredError, AbsoluteError or Bernoulli, or one of your own with `pixels`.
    """

    inner: Fidelity = field(default_factory=SquaredError)

    leaves_out: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Fidelity) or type(self.inner).pixels is Fidelity.pixels:
            raise UsageError(
                f"Observed(inner={self.inner!r}) is invalid: expected a fidelity that is a sum over pixels, as "
                "SquaredError(), AbsoluteError() or Bernoulli()"
            )

    def __call__(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The sum over observed pixels, and D(z)."""
        nats, image = self.inner.pixels(model, z, filled(x))
        return torch.where(x.isnan(), 0, nats).sum() / len(x), image

    def check(self, model: Autoencoder) -> None:
        """UsageError where `inner` has no meaning for the model."""
        self.inner.check(model)
