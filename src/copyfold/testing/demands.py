"""What the checks share: failing with a message, the models to check on, and what must not change."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor

from copyfold import catalogue
from copyfold.catalogue import Recorded
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.models.base import maps as maps
from copyfold.models.dense import MLP
from copyfold.models.unet import UNet
from copyfold.models.variational import Variational
from copyfold.types import Code, Images, Shape

T = TypeVar("T")

SEED = 31_415  # unlikely to be the seed that a checked class sets itself
SHAPE: Shape = (3, 16, 12)  # in colour and not square, so that swapped axes are noticed


def require(holds: object, message: str) -> None:
    """Raise AssertionError with this message if the condition is false."""
    __tracebackhide__ = True  # pytest ends its traceback at the caller
    if not holds:
        raise AssertionError(message)


@contextmanager
def attempt(what: str, advice: str = "") -> Generator[None]:
    """Turn any error within a with-block into an AssertionError of one line."""
    try:
        yield
    except AssertionError:
        raise
    except UsageError as error:
        raise AssertionError(f"{what}: {error}") from error
    except Exception as error:  # whatever a user's class may raise
        raise AssertionError(f"{what} failed: {_first_line(error)}{advice and f': {advice}'}") from error


def _first_line(error: Exception) -> str:
    """The type of an error and its first line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


@contextmanager
def seeded(seed: int = SEED) -> Generator[None]:
    """Seed torch within a with-block; afterwards torch's global generator has its former state."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def no_global_randomness(name: str) -> Generator[None]:
    """Require that torch's global generator is not used within a with-block."""
    before = torch.get_rng_state()
    yield
    require(
        torch.equal(before, torch.get_rng_state()),
        f"{name}: uses torch's global generator, but gets its own: draw from rng, as in torch.randn(..., "
        "generator=rng) or copyfold.corruptions.noise_like(x, rng=rng), and do not seed torch",
    )


@contextmanager
def untouched(model: Autoencoder, name: str) -> Generator[None]:
    """Require that a model is not changed within a with-block."""
    before = _state(model)
    yield
    after = _state(model)
    advice = {
        "weights or buffers": "compute in a copy (copy.deepcopy(model)), or restore them",
        "mode": "restore it afterwards, with copyfold.probes.base.still(model) or try and finally",
        "statistics": "choose them with model.using(...), which restores them",
        "requires_grad": "restore it, or use torch.autograd.grad with respect to what you optimise",
        "gradients": "use torch.autograd.grad with respect to what you optimise, which leaves .grad alone",
        "hooks": "remove every registered hook, in a finally clause",
    }
    for what, fix in advice.items():
        require(same(before[what], after[what]), f"{name}: changes the model's {what}: {fix}")


def _state(model: Autoencoder) -> dict[str, Any]:
    modules, parameters = list(model.modules()), list(model.parameters())
    return {
        "weights or buffers": tuple(v.detach().clone() for v in [*parameters, *model.buffers()]),
        "mode": [module.training for module in modules],
        "statistics": model.statistics,
        "requires_grad": [p.requires_grad for p in parameters],
        "gradients": [p.grad is None for p in parameters],
        "hooks": [_hooks(module) for module in modules],
    }


def _hooks(module: Any) -> int:
    """How many hooks a torch module has, which it does not say itself."""
    return len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)


def same(a: Any, b: Any) -> bool:
    """Whether two tensors, tuples of tensors, or other values are equal in every bit."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return type(a) is type(b) and a == b


def close(a: Tensor, b: Tensor, rtol: float = 1e-4, atol: float = 1e-5) -> bool:
    """Whether two tensors are of one shape and equal to rounding."""
    return a.shape == b.shape and torch.allclose(a, b, rtol=rtol, atol=atol)


def copied(z: Code) -> Code:
    """A copy of a code, detached."""
    return tuple(m.detach().clone() for m in z) if isinstance(z, tuple) else z.detach().clone()


def first(names: list[str]) -> str:
    """The first of several names, for a message; "" if there is none."""
    return names[0] if names else ""


def size(x: Tensor) -> str:
    """A shape for a message, as in 4x3x16x12."""
    return "x".join(map(str, x.shape)) or "one number"


def shown(value: object) -> str:
    """The type of a value, or the shape of a tensor, for a message."""
    return f"a tensor of {size(value)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


# ---------------------------------------------------------------- instances


def class_name(value: object, base: type) -> str:
    """Require an instance of a base class; returns the name of its class."""
    if isinstance(value, type):
        raise AssertionError(f"{value.__name__}: is a class: expected an instance, {value.__name__}(...)")
    name = type(value).__name__
    require(isinstance(value, base), f"{name}: is not a copyfold.{base.__name__}: derive it from that class")
    return name


def stores_arguments(value: Recorded) -> None:
    """Require that the constructor stores its arguments, unchanged, under their names."""
    name = type(value).__name__
    with attempt(name):
        given = catalogue.arguments(value)
    with attempt(f"{name}: created again from its stored arguments, {list(given)},"):
        again = catalogue.arguments(catalogue.changed(value))
    other = [argument for argument in given if not same(given[argument], again[argument])]
    require(
        not other,
        f"{name}: created again from its stored arguments, it has another {first(other)}: store every argument of "
        "the constructor unchanged, under its name",
    )


def can_be_saved(value: Recorded) -> None:
    """Require that an object can be saved in a run's folder, and read back."""
    name = type(value).__name__
    with attempt(name):
        described = catalogue.describe(value)
        again = catalogue.describe(catalogue.build(Recorded, described))
    before, after = (plain.get("init_args", {}) for plain in (described, again))
    other = [argument for argument in before if before[argument] != after.get(argument)]
    require(
        not other,
        f"{name}: saved and read back, it has another {first(other)}: store every argument of the constructor "
        "unchanged",
    )


# ---------------------------------------------------------------- models and images to check on


def images(shape: Shape = SHAPE, count: int = 4) -> Images:
    """Random images in [0, 1], the same in every call."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def models(given: Autoencoder | None) -> list[Autoencoder]:
    """The models to check on: a copy of the given model, or three small ones, one for each kind of code.

    On the CPU, in eval mode and with running statistics, so that an image's result does not depend on the others.
    """
    if given is None:
        logistic = MLP(SHAPE, hidden=(), latent_dim=4, code_activation="sigmoid", output="sigmoid")
        variational = Variational(MLP(SHAPE, hidden=(8,), latent_dim=6, output="sigmoid"), latent_dim=4)
        levels = UNet(SHAPE, width=4, depth=1, skips="concat", norm="none")
        tried: list[Autoencoder] = [logistic, variational, levels]
    else:
        tried = [deepcopy(given).cpu()]
    for model in tried:
        model.eval().statistics = "running"
    return tried


def kind(model: Autoencoder) -> str:
    """A model for a message: its name, and whether its code is a tuple."""
    tuples = " (its code is a tuple of maps)" if len(model.code_shapes()) > 1 else ""
    return f"{type(model).__name__}{tuples}"


def accepted(
    name: str, given: Autoencoder | None, ask: Callable[[Autoencoder], T], advice: str = "", on_tuples: str = ""
) -> list[tuple[Autoencoder, T]]:
    """The models that are not refused with UsageError, at least one, each with the result of `ask`.

    If `ask` fails otherwise, the message has `advice`, or `on_tuples` if the code is a tuple of maps. `ask` must
    not change a model.
    """
    found: list[tuple[Autoencoder, T]] = []
    refusal: UsageError | None = None
    for model in models(given):
        try:
            failed = attempt(f"{name} on {kind(model)}", on_tuples if len(model.code_shapes()) > 1 else advice)
            with untouched(model, name), failed:
                found.append((model, ask(model)))
        except AssertionError as error:
            if not isinstance(error.__cause__, UsageError):
                raise
            refusal = error.__cause__
    if not found:
        tried = "every model that it is checked on" if given is None else "this model"
        raise AssertionError(
            f"{name}: refuses {tried} ({refusal}): give model=, with one that it accepts"
        ) from refusal
    return found
