"""A variational autoencoder, made by wrapping any other autoencoder."""

from math import prod
from typing import cast

from torch import Tensor, nn
from torch.distributions import Normal

from copyfold.errors import UsageError, at_least
from copyfold.models.base import Autoencoder
from copyfold.models.conv import Conv
from copyfold.types import Code, Images, Statistics

_LOG_VARIANCE = 20.0  # the bound of |log s^2|: e^-20 and e^20 are extreme even for float32


class Variational(Autoencoder):
    r"""A variational autoencoder: any autoencoder with a stochastic bottleneck.

        q(z|x) = N(m, diag(s^2)),   (m, log s^2) = A core.encode(x) + a        p(z) = N(0, I)
        D(z) = core.decode(B z + b)

    A and B are linear layers between the core's code, as one vector, and `latent_dim` numbers. `posterior(x)`
    is q(z|x), `encode` its mean, `draw` a reparameterised sample m + s eps. Train it with the penalty Divergence.
    log s^2 is clamped to [-20, 20]. Kingma and Welling, "Auto-Encoding Variational Bayes" (2013,
    arXiv:1312.6114). Raises UsageError where the core's code is a tuple of maps (skips="concat").

    When: To draw new images from N(0, I), to interpolate, and where a likelihood is needed.
    Cost: Two small linear layers more than its core.
    Fails: Copies are softer than the core's; dimensions of the code collapse where `beta` is too large, see
    `Divergence`.
    Source: Kingma and Welling, 2013 (arXiv:1312.6114).
    """

    stochastic = True

    def __init__(self, core: Autoencoder, latent_dim: int = 32) -> None:
        if not isinstance(core, Autoencoder):
            raise UsageError(
                f"core={core!r} is invalid: expected an autoencoder, as in Variational(MLP(shape), 32), --core MLP"
            )
        super().__init__(core.shape, core.output)
        at_least(1, latent_dim=latent_dim)
        self.core, self.latent_dim = core, latent_dim
        self._inner = core.inner_shape[1:]  # the core pads and crops
        shapes = core.code_shapes()
        if len(shapes) != 1:
            raise UsageError(
                f"Variational cannot wrap this {type(core).__name__}, whose code is {len(shapes)} maps: expected "
                'one tensor; give the core skips="none" or "self"'
            )
        self.code_shape = shapes[0]
        self.head = nn.Linear(prod(self.code_shape), 2 * latent_dim)
        self.lift = nn.Linear(latent_dim, prod(self.code_shape))

    @property
    def encoder(self) -> nn.Module:
        """The modules before the code: the core's, and the layer to m and log s^2."""
        return nn.ModuleDict({"core": self.core.encoder, "head": self.head})

    @property
    def decoder(self) -> nn.Module:
        """The modules after the code: the layer to the core's code, and the core's."""
        return nn.ModuleDict({"lift": self.lift, "core": self.core.decoder})

    @property
    def statistics(self) -> Statistics:
        """Which statistics the core's batch norms use."""
        return self.core.statistics

    @statistics.setter
    def statistics(self, value: Statistics) -> None:
        self.core.statistics = value

    def posterior(self, x: Images) -> Normal:
        """q(z|x), b x latent_dim."""
        code = cast(Tensor, self.core.encode(x))
        mean, log_variance = self.head(code.flatten(1)).float().chunk(2, dim=1)
        std = (log_variance.clamp(-_LOG_VARIANCE, _LOG_VARIANCE) / 2).exp()
        return Normal(mean, std, validate_args=False)

    def encode(self, x: Images) -> Code:
        """The posterior's mean."""
        return self.posterior(x).mean

    def logits(self, z: Code) -> Images:
        """core.logits(B z + b)."""
        return self.core.logits(self.lift(z).unflatten(1, self.code_shape))

    @classmethod
    def tiny(cls) -> "Autoencoder":
        """Four latent dimensions on a small convolutional core, with batch norm so that the laws see it."""
        return cls(Conv((2, 8, 8), channels=(3, 4), norm="batch"), latent_dim=4)
