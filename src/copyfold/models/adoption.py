"""`adopt`: use a third-party autoencoder with every sampler and every probe."""

from collections.abc import Callable
from itertools import chain
from math import prod
from operator import attrgetter
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Normal

from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder, Summary, maps
from copyfold.models.checks import called, shown, tried
from copyfold.types import Code, Images, Shape

__all__ = ["adopt"]

Method: TypeAlias = str | Callable[[Any], Any]
"""The name of one of the module's methods, or a function."""


def adopt(
    module: nn.Module,
    shape: Shape,
    encode: Method = "encode",
    decode: Method = "decode",
    *,
    posterior: Method | None = None,
) -> Autoencoder:
    """Wrap any module that encodes and decodes images as an Autoencoder, in eval mode.

    Samplers and probes take it like one of copyfold's own. Images have values in [0, 1] in both directions. For a
    module with another range, or one that returns its outputs in an object, give functions:

        vae = AutoencoderKL.from_pretrained(...)
        model = cf.adopt(
            vae,
            (3, 256, 256),
            encode=lambda x: vae.encode(2 * x - 1).latent_dist.mode(),
            decode=lambda z: (vae.decode(z).sample + 1) / 2,
        )

    The module itself becomes `model.module`, so that to(), train(), eval() and parameters() reach it; its
    nn.BatchNorm layers follow train() and eval(), not `statistics`. Functions use the module that they were
    written with, so adopt a deep copy of the model again. The model can be trained with an objective in your own
    loop, and saved in the module's own way; `save` and `fit` write only copyfold's classes.

    Args:
        module: Any torch module.
        shape: Channels, height and width of its images.
        encode: Images b x c x h x w to a code: a tensor, or a tuple of tensors, with the batch first, and the
            same for the same images: the mean where the encoder is stochastic. The name of a method (a
            dotted name goes into submodules) or a function.
        decode: A code to images b x c x h x w: a name or a function.
        posterior: Images to a torch.distributions.Normal of the code's shape, from which `draw` draws, where
            the encoder is stochastic: a name or a function.

    All are tried with two random images. UsageError says what they returned instead of a code or images.
    """
    model = _Adopted(module, shape, encode, decode, posterior).eval()
    _try(model)
    return model


class _Counts(Summary):
    """The summary of a third-party model, whose receptive fields are not known."""

    def __str__(self) -> str:
        return super().__str__().rpartition("; ")[0]


class _Adopted(Autoencoder):
    """A third-party module, called by the methods or functions that `adopt` was given."""

    def __init__(
        self, module: nn.Module, shape: Shape, encode: Method, decode: Method, posterior: Method | None = None
    ) -> None:
        super().__init__(shape, "linear")
        if not isinstance(module, nn.Module):
            raise UsageError(f"a {type(module).__name__} cannot be adopted: give a torch module")
        self.module = module
        # In a dict: a module among them would otherwise be registered, and its parameters named, a second time
        self.methods: dict[str, Any] = {"encode": encode, "decode": decode, "posterior": posterior}
        self.stochastic = posterior is not None

    @classmethod
    def tiny(cls) -> Autoencoder:
        """The identity."""
        return cls(nn.Identity(), (1, 4, 4), "forward", "forward")

    def _get_name(self) -> str:  # torch's own: repr and class_name use it
        """The module's class."""
        return type(self.module).__name__

    @property
    def encoder(self) -> nn.Module:
        """The whole module: which of its layers come before the code is not known."""
        return self.module

    @property
    def decoder(self) -> nn.Module:
        """The whole module."""
        return self.module

    def encode(self, x: Images) -> Code:
        """The module's code of x."""
        return self._call("encode", x)

    def logits(self, z: Code) -> Images:
        """The module's images for the code z."""
        return self._call("decode", z)

    def posterior(self, x: Images) -> Normal | None:
        """The distribution of the codes of x; None where `adopt` was given no posterior."""
        return self._call("posterior", x) if self.stochastic else None

    @torch.no_grad()
    def summary(self) -> Summary:
        """Count parameters and numbers of the code; receptive fields are None, the bound that always holds."""
        code = self.encode(self.examples())
        return _Counts(
            parameters=sum(p.numel() for p in self.parameters()),
            input_size=prod(self.shape),
            code_size=sum(m[0].numel() for m in maps(code)),
            code_field=None,
            output_field=None,
        )

    def examples(self) -> Images:
        """Two random images in [0, 1], always the same, on the module's device."""
        tensors = chain(self.parameters(), self.buffers())
        device = next((t.device for t in tensors), torch.device("cpu"))
        return torch.rand(2, *self.shape, generator=Generator().manual_seed(0)).to(device)

    @property
    def config(self) -> NoReturn:  # pyright: ignore[reportIncompatibleMethodOverride]
        """UsageError: a third-party model has no configuration."""
        raise UsageError(
            f"an adopted {type(self.module).__name__} cannot be saved as a copyfold model: save it in its own "
            "format, and adopt it again after loading"
        )

    def save(self, folder: Any, state: Any = None) -> None:
        """UsageError: `load` could not read the model back."""
        self.config  # noqa: B018

    def _call(self, what: str, value: Any) -> Any:
        method = self.methods[what]
        return (attrgetter(method)(self.module) if isinstance(method, str) else method)(value)


@torch.no_grad()
def _try(model: _Adopted) -> None:
    """Encode and decode two images; UsageError for a wrong type or shape, or a code that changes between calls."""
    for what, method in model.methods.items():
        _check_name(model.module, what, method)
    x = model.examples()
    advice = "; give the right shape=, or a function that extracts what is asked for"
    z = tried(model, x, advice=advice, real=True)
    pairs = zip(maps(z), maps(model.encode(x)), strict=True)
    if not all(torch.allclose(a, b, rtol=1e-2, atol=1e-3, equal_nan=True) for a, b in pairs):
        raise UsageError(
            "encode returned two different codes for the same images: expected the mean; "
            "give the distribution as posterior="
        )
    if model.stochastic:
        q: Any = called("posterior", model.posterior, x)
        if not isinstance(q, Normal) or not isinstance(z, Tensor) or q.mean.shape != z.shape:
            found = f"a Normal of {shown(q.mean)}" if isinstance(q, Normal) else shown(q)
            raise UsageError(
                f"posterior returned {found} where encode returned {shown(z)}: expected a "
                "torch.distributions.Normal of the code's shape"
            )


def _check_name(module: nn.Module, what: str, method: Method | None) -> None:
    """UsageError where the name of a method is not one of the module's."""
    try:
        if isinstance(method, str):
            attrgetter(method)(module)
    except AttributeError:
        raise UsageError(
            f"{type(module).__name__} has no {method!r}: give {what}= as the name of one of its methods, or as a "
            "function"
        ) from None
