"""Whether a model works before it is trained: it can be read back, and its code and images have their shapes.

And whether what a function is given from Python is a model, or images, at all.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from copyfold import catalogue
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder, maps
from copyfold.models.building import rebuilt
from copyfold.types import Code, Images

LARGEST = 16
"""The largest value of images with noise that is taken for one: those of 0 to 255 are beyond."""


def check_model(model: object) -> None:
    """UsageError where a model is none."""
    if not isinstance(model, Autoencoder):
        given = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise UsageError(
            f"{given} is no Autoencoder: give run.model, cf.load(folder), or cf.adopt(network, shape) of a "
            "network of your own"
        )


def check_images(x: object, weight: Tensor | None = None, missing: bool = False) -> None:
    """UsageError where images are not as models take them, of the dtype of a model's `weight`.

    That is b x c x h x w with values in [0, 1], or about it where there is noise; NaN where pixels may be missing.
    """
    if not isinstance(x, Tensor):
        raise UsageError(f"images are {shown(x)}: expected a tensor, as torch.from_numpy gives")
    if x.dim() != 4:
        raise UsageError(f"images are {shown(x)}: expected batch x channels x height x width, as x[None] of one")
    if not x.is_floating_point():
        raise UsageError(f"images are {shown(x)}: expected floats in [0, 1], as x / 255 of 8 bits")
    if weight is not None and x.dtype != weight.dtype:
        raise UsageError(f"images are {x.dtype} and the model is {weight.dtype}: give x.to({weight.dtype})")
    known = x[~x.isnan()] if missing else x
    largest = max(map(abs, torch.stack(known.aminmax()).tolist())) if known.numel() else 0.0  # NaN where one is
    if not math.isfinite(largest):
        raise UsageError("images hold NaN or infinite values: fill in or leave out such pixels, or images, first")
    if largest > LARGEST:
        raise UsageError(f"images have values up to {largest:g}: expected [0, 1], as x / 255 of 8 bits")


def check_reloadable(model: Autoencoder) -> None:
    """UsageError where `load` could not read the model back; called before training writes anything.

    For a user's own class: where an argument of its constructor cannot be serialised or is stored under another
    name, where the name of the class is taken, where the constructor with the stored arguments builds another
    model, and where `encode` and `decode` fail on two images.
    """
    name = type(model).__name__
    model.described  # noqa: B018 - raises where a name is taken
    spec = catalogue.describe(model)
    if not catalogue.foreign(spec):
        return
    try:
        again = rebuilt(spec)
    except Exception as error:
        raise UsageError(f"{name} cannot be rebuilt from its stored arguments, {model.config}: {error}") from None
    for argument, value in again.config.items():
        if value != model.config[argument]:
            raise UsageError(
                f"{name} stores {argument}={model.config[argument]!r}, but {value!r} when rebuilt from that: "
                f"store the argument unchanged, self.{argument} = {argument}"
            )
    before, after = ({k: tuple(v.shape) for k, v in m.state_dict().items()} for m in (model, again))
    if different := sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k)):
        raise UsageError(
            f"{name} rebuilt from its arguments has other weights, {len(different)} of them, the first is "
            f"{different[0]}: make everything that its layers depend on an argument of the constructor"
        )
    x = torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0))
    tried(again.eval(), x, f"{name}.")


@torch.no_grad()
def tried(model: Autoencoder, x: Images, name: str = "", advice: str = "", real: bool = False) -> Code:
    """The code of x, decoded too; UsageError where `encode` and `decode` return no code and images.

    `name` stands before theirs in the message, and `advice` at its end; with `real` a code is of real numbers.
    """
    given = x.clone()
    z: Any = called(f"{name}encode", model.encode, x)
    parts: Any = maps(z)
    rows = all(isinstance(m, Tensor) and m.shape[:1] == x.shape[:1] for m in parts)
    if not rows or (real and not all(m.is_floating_point() for m in parts)):
        raise UsageError(
            f"{name}encode returned {shown(z)} for {shown(x)}: expected a tensor{' of real numbers' * real} with "
            f"a row per image, or a tuple of such tensors{advice}"
        )
    if not torch.equal(x, given):
        raise UsageError(
            f"{name}encode changes its input images in place: use no inplace=True in the first layer, or work on "
            "a copy"
        )
    y: Any = called(f"{name}decode", model.decode, z)
    if not isinstance(y, Tensor) or y.shape != x.shape or not y.is_floating_point():
        raise UsageError(
            f"{name}decode returned {shown(y)} for the code of {shown(x)}: expected images of that shape{advice}"
        )
    return z


def called(name: str, function: Callable[[Any], Any], value: Any) -> Any:
    """What a user's function returns; UsageError in one line where it fails."""
    try:
        return function(value)
    except UsageError:
        raise
    except Exception as error:  # it may raise anything
        reason = (str(error).splitlines() or [""])[0]
        raise UsageError(f"{name} failed on {shown(value)}: {type(error).__name__}: {reason}") from error


def shown(value: Any) -> str:
    """Type and shape of a value, for a message."""
    if isinstance(value, Tensor):
        kind = "" if value.is_floating_point() else f" {str(value.dtype).removeprefix('torch.')}"
        return f"a tensor of {'x'.join(map(str, value.shape)) or 'no dimensions'}{kind}"
    if isinstance(value, tuple):
        return f"a tuple of ({', '.join(map(shown, cast(tuple[Any, ...], value)))})"
    return "None" if value is None else f"a {type(value).__name__}"
