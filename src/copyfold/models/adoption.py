"""`adopt`: a stranger's autoencoder becomes ours, for every sampler and every probe."""

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
from copyfold.types import Code, Images, Shape

__all__ = ["adopt"]

Way: TypeAlias = str | Callable[[Any], Any]
"""How something is asked of a module: the name of one of its methods, or a function."""


def adopt(
    module: nn.Module,
    shape: Shape,
    encode: Way = "encode",
    decode: Way = "decode",
    *,
    posterior: Way | None = None,
) -> Autoencoder:
    """Make any module that encodes and decodes images an Autoencoder, in eval mode.

    Samplers and probes take it as they take one of copyfold's own. Values in [0, 1] come in and are expected
    back; a module with another range, or with outputs in an object of its own, is given as functions:

        vae = AutoencoderKL.from_pretrained(...)
        model = cf.adopt(
            vae,
            (3, 256, 256),
            encode=lambda x: vae.encode(2 * x - 1).latent_dist.mode(),
            decode=lambda z: (vae.decode(z).sample + 1) / 2,
        )

    The module itself becomes `model.module`, so that to(), train(), eval() and parameters() reach it; its
    nn.BatchNorm layers follow train() and eval(), not `statistics`. Functions use the module that they were
    written with, so a deep copy of the model needs to be adopted anew. It can be trained with an objective in
    a loop of one's own, and saved in the module's own way; `save` and `fit` write only copyfold's classes.

    Args:
        module: The stranger: any torch module.
        shape: Channels, height and width of its images.
        encode: Images b x c x h x w to a code: a tensor, or a tuple of tensors, with the batch first, and the
            same for the same images: the mean where the encoder is stochastic. The name of a method (a
            dotted name goes into submodules) or a function.
        decode: A code to images b x c x h x w: a name or a function.
        posterior: Images to a torch.distributions.Normal of the code's shape, from which `draw` draws, where
            the encoder is stochastic: a name or a function.

    All is tried with two random images. Raises UsageError that says what came instead of a code or images.
    """
    model = _Adopted(module, shape, encode, decode, posterior).eval()
    _try(model)
    return model


class _Counts(Summary):
    """What is known of a stranger, which is not how far its layers see."""

    def __str__(self) -> str:
        return super().__str__().rpartition("; ")[0]


class _Adopted(Autoencoder):
    """A stranger's module, asked in the ways that `adopt` was told."""

    def __init__(
        self, module: nn.Module, shape: Shape, encode: Way, decode: Way, posterior: Way | None = None
    ) -> None:
        super().__init__(shape, "linear")
        if not isinstance(module, nn.Module):
            raise UsageError(f"a {type(module).__name__} cannot be adopted: give the torch module itself")
        self.module = module
        # In a dict, since a way that is a module would be registered, and its parameters named, a second time
        self.ways: dict[str, Any] = {"encode": encode, "decode": decode, "posterior": posterior}
        self.stochastic = posterior is not None

    @classmethod
    def tiny(cls) -> Autoencoder:
        """The identity."""
        return cls(nn.Identity(), (1, 4, 4), "forward", "forward")

    @property
    def encoder(self) -> nn.Module:
        """The whole module: which of its layers come before the code is its own affair."""
        return self.module

    @property
    def decoder(self) -> nn.Module:
        """The whole module."""
        return self.module

    def encode(self, x: Images) -> Code:
        """What the stranger makes of x."""
        return self.ask("encode", x)

    def logits(self, z: Code) -> Images:
        """What the stranger makes of z."""
        return self.ask("decode", z)

    def posterior(self, x: Images) -> Normal | None:
        """The distribution of the codes of x; None where `adopt` was told of none."""
        return self.ask("posterior", x) if self.stochastic else None

    @torch.no_grad()
    def summary(self) -> Summary:
        """Count parameters and code; what sees what is not worked out: None, the bound that always holds."""
        code = self.encode(self.examples())
        return _Counts(
            parameters=sum(p.numel() for p in self.parameters()),
            input_size=prod(self.shape),
            code_size=sum(m[0].numel() for m in maps(code)),
            code_field=None,
            output_field=None,
        )

    def examples(self) -> Images:
        """Two random images in [0, 1], always the same, where the module is."""
        tensors = chain(self.parameters(), self.buffers())
        device = next((t.device for t in tensors), torch.device("cpu"))
        return torch.rand(2, *self.shape, generator=Generator().manual_seed(0)).to(device)

    @property
    def config(self) -> NoReturn:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Refuse: a stranger cannot be written down as a configuration."""
        raise UsageError(
            f"an adopted {type(self.module).__name__} cannot be written down as one of copyfold's models: "
            "keep it in its own way of saving, and adopt it again after loading"
        )

    def save(self, folder: Any, state: Any = None) -> None:
        """Refuse, since nothing could read it back."""
        self.config  # noqa: B018

    def ask(self, what: str, value: Any) -> Any:
        way = self.ways[what]
        return (attrgetter(way)(self.module) if isinstance(way, str) else way)(value)


@torch.no_grad()
def _try(model: _Adopted) -> None:
    """Encode and decode two images, and refuse what is no code, no image, or another at every call."""
    x = model.examples()
    z, again = (_answer(model, "encode", x) for _ in range(2))
    if not all(isinstance(m, Tensor) and m.is_floating_point() and m.shape[:1] == x.shape[:1] for m in maps(z)):
        raise UsageError(
            f"encode gave {_said(z)} for {_said(x)}: it must give a tensor of real numbers, or a tuple of such, "
            "with the batch first; give a function that takes the code out"
        )
    pairs = zip(maps(z), maps(again), strict=True)
    if not all(torch.allclose(a, b, rtol=1e-2, atol=1e-3, equal_nan=True) for a, b in pairs):
        raise UsageError(
            "encode gave two codes for the same images: it must give the mean; "
            "what it draws from can be given as posterior="
        )
    y = _answer(model, "decode", z)
    if not isinstance(y, Tensor) or y.shape != x.shape or not y.is_floating_point():
        raise UsageError(
            f"decode gave {_said(y)} for the code of {_said(x)}: it must give images of that shape and in [0, 1]; "
            "give the right shape=, or a function that takes the images out"
        )
    if model.stochastic:
        q = _answer(model, "posterior", x)
        if not isinstance(q, Normal) or not isinstance(z, Tensor) or q.mean.shape != z.shape:
            found = f"a Normal of {_said(q.mean)}" if isinstance(q, Normal) else _said(q)
            raise UsageError(
                f"posterior gave {found} where encode gave {_said(z)}: it must give a torch.distributions.Normal "
                "of the code's shape"
            )


def _answer(model: _Adopted, what: str, value: Any) -> Any:
    """Ask, and say in one line what went wrong."""
    way, stranger = model.ways[what], type(model.module).__name__
    if isinstance(way, str):
        try:
            attrgetter(way)(model.module)
        except AttributeError:
            raise UsageError(
                f"{stranger} has no {way!r}: give {what}= as the name of a method of its, or as a function"
            ) from None
    try:
        return model.ask(what, value)
    except Exception as error:  # whatever a stranger may raise
        reason = (str(error).splitlines() or [""])[0]
        raise UsageError(f"{what} failed on {_said(value)}: {type(error).__name__}: {reason}") from error


def _said(value: Any) -> str:
    """What a value is, in a few words."""
    if isinstance(value, Tensor):
        kind = "" if value.is_floating_point() else f" {str(value.dtype).removeprefix('torch.')}"
        return f"a tensor of {'x'.join(map(str, value.shape)) or 'no dimensions'}{kind}"
    if isinstance(value, tuple):
        return f"a tuple of ({', '.join(map(_said, value))})"
    return "None" if value is None else f"a {type(value).__name__}"
