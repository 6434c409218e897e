"""The base class of probes: a model, images and a generator in; numbers and images out. Outputs of layers."""

from abc import ABC, abstractmethod
from collections.abc import Generator as Yields
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from copyfold.catalogue import Recorded, nearest
from copyfold.errors import UsageError, at_least
from copyfold.models.base import Autoencoder, class_name
from copyfold.types import Float, Images, Statistics

__all__ = ["Probe", "Reading", "layers"]


@dataclass(frozen=True, repr=False)
class Reading:
    """The result of a probe: numbers per image (or one for all), and images to look at.

    Floating point numbers are quantities, counts included. Numbers of an integer dtype are identifiers, such as
    the row of a reference image, for which neither a mean nor an order has a meaning.
    """

    numbers: dict[str, Tensor]
    images: dict[str, Images] = field(default_factory=dict[str, Images])

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {name: torch.as_tensor(v) for name, v in self.numbers.items()})

    def __repr__(self) -> str:
        parts = {**self.numbers, **self.images}.items()
        return f"Reading({', '.join(f'{name} {_size(value)}' for name, value in parts)})"

    def _repr_html_(self) -> str:
        """For a notebook: every number, or the mean over all images, and up to eight images of each kind."""
        from copyfold.pictures import embedded, grid, shown, table

        rows = {name: _mean(value) for name, value in self.numbers.items()}
        drawn = (shown(name, embedded(grid(x[:8], columns=8), name)) for name, x in self.images.items())
        return shown("Reading", table(rows), *drawn)

    @property
    def quantities(self) -> dict[str, Tensor]:
        """The numbers whose mean has a meaning: those of floating point."""
        return {name: value for name, value in self.numbers.items() if value.is_floating_point()}


def _size(value: Tensor) -> str:
    """A number as it is; of more of them, how many."""
    return f"{value.item():.4g}" if value.dim() == 0 else "x".join(map(str, value.shape))


def _mean(value: Tensor) -> str:
    """A number as it is, and of more of them their mean, or the first of whole ones, which are names."""
    if value.dim() == 0 or not value.numel():
        return _size(value)
    if not value.is_floating_point():
        return f"{', '.join(map(str, value.flatten()[:8].tolist()))}{', ...' * (value.numel() > 8)}"
    return f"{value.mean().item():.4g} (mean of {_size(value)})"


class Probe(Recorded, ABC):
    """A measurement of a trained autoencoder. It does not change the model, and prints and draws nothing.

    The reading is on the device of x and the model; random numbers are drawn on the generator's device and then
    moved. One state of the generator gives one reading, of finite numbers without a gradient. `still` puts a model
    into eval mode and restores it. Pixels that miss in x are NaN: models see `measures.filled` images, and a
    comparison with x leaves the pixels out. `copyfold.testing.check_probe` tests one of your own.
    """

    @abstractmethod
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Measure the model on the images x."""


class _Reached(Exception):
    """Raised by a layer's hook to end the forward pass there."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output


def tap(model: nn.Module, layer: str, x: Tensor) -> Float[Tensor, "b n"]:
    """The output of one layer for x, flattened to one vector per image, b x n.

    UsageError as in `layer_output`, and where no tensor that the layer returns has a row per image.
    """
    parts = [
        part.flatten(1) for part in _tensors(layer_output(model, layer, x)) if part.dim() and len(part) == len(x)
    ]
    if not parts:
        raise UsageError(f"the layer {layer!r} of a {class_name(model)} returns no tensor with a row per image")
    return torch.cat(parts, dim=1)


def layer_output(model: nn.Module, layer: str, x: Tensor) -> Any:
    """The output of one layer in the forward pass of x, which stops there.

    `layer` is a name of `model.named_modules()`, "" the whole model. Of a layer that is called more than once, the
    first output. Gradients flow to x. UsageError where there is no such layer, or the pass does not call it.
    """
    named = _named(model)
    if layer not in named:
        raise UsageError(f"a {class_name(model)} has no layer {layer!r}: {nearest(layer, named.keys() - {''})}")

    def stop(_module: nn.Module, _inputs: object, output: object) -> None:
        raise _Reached(output)

    handle = named[layer].register_forward_hook(stop)
    try:
        model(x)
    except _Reached as reached:
        return reached.output
    finally:
        handle.remove()
    raise UsageError(
        f"the layer {layer!r} of a {class_name(model)} is not called in its forward pass: "
        "give one of copyfold.layers(model, x)"
    )


@torch.no_grad()
def layers(model: nn.Module, x: Tensor, count: int | None = None) -> list[str]:
    """Names of layers to compare along the depth of a model, in the order of the forward pass.

    They cover the model once: none is part of another. Starting from the whole model, modules are replaced by the
    modules that they call until there are at least `count`; of more, `count` of them are taken evenly, always with
    the last one. count = None goes down to the innermost modules. nn.Identity layers are left out.
    """
    at_least(1, **{} if count is None else {"count": count})
    named, order = _named(model), _order(model, x)
    shown = [""]
    while count is None or len(shown) < count:
        finer = [name for part in shown for name in (_within(named[part], part, order) or [part])]
        if finer == shown:
            break
        shown = finer
    shown.sort(key=order.index)
    if count is None or len(shown) <= count:
        return shown
    return [shown[(i + 1) * len(shown) // count - 1] for i in range(count)]


def _named(model: nn.Module) -> dict[str, nn.Module]:
    """Every module of a model by its name, "" the model itself; a module with two names is under both."""
    return dict(cast("Iterable[tuple[str, nn.Module]]", model.named_modules(remove_duplicate=False)))


def _order(model: nn.Module, x: Tensor) -> list[str]:
    """The names of the modules that are called, in the order in which their calls end."""
    order: list[str] = []
    with ExitStack() as hooks:
        for name, module in _named(model).items():

            def note(_module: nn.Module, _inputs: object, _output: object, name: str = name) -> None:
                order.append(name)

            if not isinstance(module, nn.Identity):
                hooks.callback(module.register_forward_hook(note).remove)
        hooks.enter_context(still(model))
        model(x)
    return list(dict.fromkeys(order))


def _within(module: nn.Module, name: str, called: list[str]) -> list[str]:
    """The outermost modules inside this one that are called."""
    inside: list[str] = []
    for child_name, child in module.named_children():
        full = f"{name}.{child_name}" if name else child_name
        inside += [full] if full in called else _within(child, full, called)
    return inside


def _tensors(output: object) -> Iterator[Tensor]:
    """Every floating point tensor in a layer's output."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, dict | tuple | list):
        parts = cast("Iterable[object]", output.values() if isinstance(output, dict) else output)
        for part in parts:
            yield from _tensors(part)


@contextmanager
def still(model: nn.Module, statistics: Statistics = "running") -> Yields[nn.Module]:
    """Put a model into eval mode within a with-block, and restore its modes after it.

    An autoencoder's batch norms use these statistics; those of any other module behave as in its eval mode.
    """
    modes = {module: module.training for module in model.modules()}
    with ExitStack() as stack:
        if isinstance(model, Autoencoder):
            stack.enter_context(model.using(statistics))
        model.eval()
        try:
            yield model
        finally:
            for module, training in modes.items():
                module.training = training
