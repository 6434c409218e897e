r"""The loss of training: one equation with three parts, corruption, fidelity and penalties.

    L(x) = fidelity(D(z), x) + sum_i penalty_i(x~, z)        x~ ~ C(x),   z ~ E(x~)

Fidelities and penalties are sums over pixels or over dimensions of the code, in nats, averaged over the batch:
one unit of a penalty means the same for every model and every size of batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold.catalogue import Recorded
from copyfold.corruptions import Clean, Corruption
from copyfold.errors import UsageError
from copyfold.measures import filled, mse
from copyfold.models.base import Autoencoder
from copyfold.objectives.fidelities import Fidelity, SquaredError
from copyfold.types import Code, Diagnostics, Images, Terms


class Objective(Recorded, ABC):
    """A map of a model and a batch to the terms of a loss. The objective calls the model.

    The terms are float32 scalars, also under mixed precision, averaged over the batch; random numbers come from
    torch's global generator. `copyfold.testing.check_objective` tests one of your own.
    """

    @abstractmethod
    def __call__(
        self, model: Autoencoder, x: Images, watch: Diagnostics | None = None, step: int | None = None
    ) -> Terms:
        """The weighted terms by name; their sum is the loss. Diagnostics go into `watch` where it is given.

        `step` is the number of the training step, for warm-up; None means that all warm-up is over.
        """

    @property
    def leaves_out(self) -> bool:
        """Whether pixels may be missing in x, NaN, and are left out."""
        return False

    def check(self, model: Autoencoder) -> None:
        """Raise UsageError where the objective has no meaning for the model; called before training."""
        del model

    def doubt(self, x: Images) -> str | None:
        """Say in a sentence why images such as x may not suit the objective; None where nothing is against it.

        Called before training with some of the training images; what it says is logged as a warning.
        """
        del x
        return None


class Penalty(Recorded, ABC):
    """A regulariser: its weight times the mean over the batch of a sum over the code's dimensions.

    A float32 scalar, also under mixed precision: `copyfold.models.base.flat(z)` gives a code of any shape as one
    float32 vector per image. An argument called `weight` or `beta` multiplies it. Random numbers come from torch's
    global generator. The code is not changed. `copyfold.testing.check_penalty` tests one of your own.
    """

    differentiates: ClassVar[bool] = False
    """Whether it needs the gradient of the code with respect to x."""
    sparse: ClassVar[bool] = False
    """Whether it makes codes sparse."""

    @abstractmethod
    def __call__(self, model: Autoencoder, x: Images, z: Code, q: Normal | None = None) -> Tensor:
        """The weighted penalty of the codes z of the (corrupted) images x; q is the posterior if there is one."""

    def share(self, step: int) -> float:
        """The factor of the penalty at a training step, 0 to 1: 1 unless it has a warm-up."""
        del step
        return 1.0

    def check(self, model: Autoencoder) -> None:
        """Raise UsageError where the penalty has no meaning for the model; called before training."""
        del model


@dataclass(frozen=True)
class Classical(Objective):
    r"""The classical family in one equation: corruption, fidelity and penalties.

        L(x) = fidelity(D(z), x) + sum_i penalty_i(x~, z)        x~ ~ C(x),   z ~ E(x~)

    They compose freely. Clean and no penalty is plain reconstruction; Gaussian, Masking or Mix make it a
    denoising autoencoder, Contraction a contractive one, L1 or KLSparsity a sparse one, Divergence with a
    Variational model a variational one.
    Terms: "fidelity" and each penalty by its class's name. Diagnostics: "mse", the squared error of D(z) against
    the clean x per pixel, "psnr" in dB, -10 log10 of each image's mse, averaged over images, and "outside", the
    share of the output's values outside [0, 1]. Pixels missing in x, NaN, are left out by the fidelity `Observed`.

    When: Always, but where only noisy images exist.
    Cost: One pass through the model a step, and what the penalties cost.
    Fails: Penalties that are too large make a model that copies nothing: watch "mse" beside the loss.
    Source: Murphy, section 20.3, has its parts; as one equation it is copyfold's.
    """

    corruption: Corruption = field(default_factory=Clean)
    fidelity: Fidelity = field(default_factory=SquaredError)
    penalties: Sequence[Penalty] = ()

    def __post_init__(self) -> None:
        kinds = {"corruption": Corruption, "fidelity": Fidelity, "penalties": Sequence}
        for name, kind in kinds.items():
            if not isinstance(value := getattr(self, name), kind):
                one = {"corruption": "Gaussian()", "fidelity": "SquaredError()", "penalties": "[L1()]"}[name]
                raise UsageError(f"{name}={value!r} is invalid: expected a {kind.__name__}, as in {name}={one}")
        object.__setattr__(self, "penalties", tuple(self.penalties))
        names = [type(penalty).__name__ for penalty in self.penalties]
        if len(names) != len(set(names)):
            raise UsageError(f"penalties={names} is invalid: expected each class once; add their weights instead")

    def __call__(
        self, model: Autoencoder, x: Images, watch: Diagnostics | None = None, step: int | None = None
    ) -> Terms:
        """Corrupt, encode once, and compute the terms."""
        noisy = self.corruption(filled(x) if self.leaves_out else x)
        with _differentiable(noisy, any(p.differentiates for p in self.penalties)) as noisy:
            q = model.posterior(noisy)
            z = model.draw(noisy) if q is None else q.rsample()
            paid = {type(p).__name__: self._paid(p, step) * p(model, noisy, z, q) for p in self.penalties}
        loss, image = self.fidelity(model, z, x)
        if watch is not None:
            image = image.detach()
            errors = mse(image, x) if self.leaves_out else (x - image).square().flatten(1).mean(1)
            watch |= {"mse": errors.mean(), "psnr": -10 * errors.clamp(min=1e-12).log10().mean()}
            watch |= {"outside": ((image < 0) | (image > 1)).float().mean()}
        return {"fidelity": loss} | paid

    @property
    def leaves_out(self) -> bool:
        """Whether the fidelity leaves missing pixels out; the model then sees `measures.filled` images."""
        return self.fidelity.leaves_out

    def check(self, model: Autoencoder) -> None:
        """UsageError where the fidelity or a penalty has no meaning for the model."""
        for part in (self.fidelity, *self.penalties):
            part.check(model)

    @staticmethod
    def _paid(penalty: Penalty, step: int | None) -> float:
        return 1.0 if step is None else penalty.share(step)


@contextmanager
def _differentiable(x: Images, wanted: bool) -> Generator[Images]:
    """The images, with requires_grad and twice differentiable attention where `wanted`."""
    if not wanted:
        yield x
        return
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # the fused attention has no second derivative
        yield x.detach().requires_grad_()
