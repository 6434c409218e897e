r"""What training makes smaller: one equation with three slots.

    L(x) = fidelity(D(z), x) + sum_i penalty_i(x~, z)        x~ ~ C(x),   z ~ E(x~)

Fidelities and penalties are sums over pixels or over dimensions of the code, in nats, averaged over the batch:
one unit of a penalty means the same for every model and every size of batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal

from copyfold.corruptions import Clean, Corruption
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.types import Code, Diagnostics, Images, Terms


class Objective(ABC):
    """A map of a model and a batch to the addends of a loss; it calls the model, never the other way round."""

    @abstractmethod
    def __call__(self, model: Autoencoder, x: Images, watch: Diagnostics | None = None) -> Terms:
        """The weighted addends by name; their sum is the loss. Diagnostics go into `watch` where it is given."""


class Fidelity(ABC):
    """How well D(z) explains x, as a negative log-likelihood."""

    @abstractmethod
    def __call__(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """-log p(x|z), summed over pixels, averaged over the batch, without constants; and the image D(z)."""

    def check(self, model: Autoencoder) -> None:
        """Raise UsageError where this fidelity has no meaning for the model; called before training."""
        del model


@dataclass(frozen=True)
class SquaredError(Fidelity):
    """Gaussian pixels of fixed std: the squared error.

        -log p(x|z) = sum_pixels (x - D(z))^2 / (2 std^2)  + const

    std = 1 is half the squared norm. In units of std^2 a perfect copy of noise of that std costs 1/2 per pixel.
    """

    std: float = 1.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise UsageError(f"SquaredError(std={self.std}) cannot be: the std of a pixel must be above 0")

    def __call__(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The sum of squares over 2 std^2, and D(z)."""
        image = model.decode(z).float()
        return (x - image).square().sum() / (2 * self.std**2 * len(x)), image


@dataclass(frozen=True)
class Bernoulli(Fidelity):
    """Bernoulli pixels: the cross-entropy, computed from logits.

        -log p(x|z) = sum_pixels -x log p - (1 - x) log(1 - p),   p = sigmoid(logits(z)) = D(z)

    For grey values it is a pseudo-likelihood, smallest at p = x but not 0 there. The model's output must be
    "sigmoid". Murphy, Probabilistic Machine Learning: Advanced Topics, section 20.3.
    """

    def __call__(self, model: Autoencoder, z: Code, x: Images) -> tuple[Tensor, Images]:
        """The cross-entropy, and the mean image p."""
        logits = model.logits(z).float()
        loss = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        return loss, torch.sigmoid(logits)

    def check(self, model: Autoencoder) -> None:
        """Only an output in (0, 1) can be a probability."""
        if model.output != "sigmoid":
            raise UsageError(
                "Bernoulli needs an output in (0, 1), and this model's is linear: "
                'make it with output="sigmoid" (--model.output sigmoid), or use SquaredError'
            )


class Penalty(ABC):
    """What a code has to pay for: its weight times the mean over the batch of the sum over dimensions."""

    @abstractmethod
    def __call__(self, model: Autoencoder, x: Images, z: Code, q: Normal | None = None) -> Tensor:
        """The weighted penalty of the codes z of the (corrupted) images x; q is the posterior if there is one."""


@dataclass(frozen=True)
class Classical(Objective):
    r"""The classical family in one equation: corruption, fidelity and penalties.

        L(x) = fidelity(D(z), x) + sum_i penalty_i(x~, z)        x~ ~ C(x),   z ~ E(x~)

    They compose freely. Clean and no penalty is plain reconstruction; Gaussian, Masking or Mix make it a
    denoising autoencoder.
    Terms: "fidelity" and each penalty by its class's name. Diagnostics: "mse", the squared error of D(z) against
    the clean x per pixel, and "psnr" in dB, -10 log10 of each image's mse, averaged over images.
    """

    corruption: Corruption = field(default_factory=Clean)
    fidelity: Fidelity = field(default_factory=SquaredError)
    penalties: Sequence[Penalty] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "penalties", tuple(self.penalties))
        names = [type(penalty).__name__ for penalty in self.penalties]
        if len(names) != len(set(names)):
            raise UsageError(f"penalties={names} holds one of them twice: add their weights instead")

    def __call__(self, model: Autoencoder, x: Images, watch: Diagnostics | None = None) -> Terms:
        """Corrupt, encode once, and add up."""
        noisy = self.corruption(x)
        z = model.draw(noisy)
        loss, image = self.fidelity(model, z, x)
        if watch is not None:
            errors = (x - image.detach()).square().flatten(1).mean(1)
            watch |= {"mse": errors.mean(), "psnr": -10 * errors.clamp(min=1e-12).log10().mean()}
        return {"fidelity": loss} | {type(p).__name__: p(model, noisy, z) for p in self.penalties}
