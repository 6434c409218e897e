"""What the checks share: how a demand fails, what is tried on, and what has to stay as it was."""

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

SEED = 31_415  # none that anyone's class would seed torch with itself
SHAPE: Shape = (3, 16, 12)  # of colour and not square, so that axes that are mixed up are seen


def require(holds: object, message: str) -> None:
    """Raise AssertionError with this message where something does not hold."""
    __tracebackhide__ = True  # pytest ends its traceback at the demand
    if not holds:
        raise AssertionError(message)


@contextmanager
def asked(what: str, advice: str = "") -> Generator[None]:
    """Whatever fails within a with-block becomes an AssertionError of one line."""
    try:
        yield
    except AssertionError:
        raise
    except UsageError as error:
        raise AssertionError(f"{what}: {error}") from error
    except Exception as error:  # whatever a class of a person's own may raise
        raise AssertionError(f"{what} failed: {_said(error)}{advice and f': {advice}'}") from error


def _said(error: Exception) -> str:
    """The kind of an error and its first line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


@contextmanager
def seeded(seed: int = SEED) -> Generator[None]:
    """Draw from this seed within a with-block; afterwards torch's global generator is where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def nothing_global(name: str) -> Generator[None]:
    """Demand that torch's global generator is not touched within a with-block."""
    before = torch.get_rng_state()
    yield
    require(
        torch.equal(before, torch.get_rng_state()),
        f"{name}: uses torch's global generator although it is given one: draw from rng, as torch.randn(..., "
        "generator=rng) does, or copyfold.corruptions.noise_like(x, rng=rng); seed nothing",
    )


@contextmanager
def untouched(model: Autoencoder, name: str) -> Generator[None]:
    """Demand that nothing of a model is changed by what happens within a with-block."""
    before = _state(model)
    yield
    after = _state(model)
    advice = {
        "weights or buffers": "compute in a copy (copy.deepcopy(model)), or put them back",
        "mode": "go back to it afterwards: with copyfold.probes.base.still(model), or try and finally",
        "statistics": "choose them with model.using(...), which puts them back",
        "requires_grad": "put it back, or use torch.autograd.grad with respect to what you optimise",
        "gradients": "use torch.autograd.grad with respect to what you optimise, which leaves .grad alone",
        "hooks": "remove every hook that you register, in a finally",
    }
    for what, to_do in advice.items():
        require(same(before[what], after[what]), f"{name}: changes the model's {what}: {to_do}")


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
    """The same numbers in memory of their own."""
    return tuple(m.detach().clone() for m in z) if isinstance(z, tuple) else z.detach().clone()


def first(names: list[str]) -> str:
    """The first of several, for a message; nothing of none."""
    return names[0] if names else ""


def size(x: Tensor) -> str:
    """A shape in a few letters, 4x3x16x12."""
    return "x".join(map(str, x.shape)) or "one number"


def shown(value: object) -> str:
    """What a value is, in a few words."""
    return f"a tensor of {size(value)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


# ---------------------------------------------------------------- instances


def instance(value: object, base: type) -> str:
    """Demand an instance of a family's base; its class's name."""
    if isinstance(value, type):
        raise AssertionError(f"{value.__name__}: is a class: give an instance, {value.__name__}(...)")
    name = type(value).__name__
    require(isinstance(value, base), f"{name}: is no {base.__name__}: derive it from copyfold.{base.__name__}")
    return name


def stored(value: Recorded) -> None:
    """Demand that the arguments of the constructor are stored under their names, as they were given."""
    name = type(value).__name__
    with asked(name):
        given = catalogue.arguments(value)
    with asked(f"{name}: made again from what it stores, {list(given)},"):
        again = catalogue.arguments(catalogue.changed(value))
    other = [argument for argument in given if not same(given[argument], again[argument])]
    require(
        not other,
        f"{name}: made again from what it stores, it stores another {first(other)}: store every argument of the "
        "constructor as it was given, under its name",
    )


def written(value: Recorded) -> None:
    """Demand of what goes into a run's folder that it can be written down, and read back."""
    name = type(value).__name__
    with asked(name):
        described = catalogue.describe(value)
        again = catalogue.describe(catalogue.build(Recorded, described))
    before, after = (plain.get("init_args", {}) for plain in (described, again))
    other = [argument for argument in before if before[argument] != after.get(argument)]
    require(
        not other,
        f"{name}: written down and read back it has another {first(other)}: store every argument of the "
        "constructor as it was given",
    )


# ---------------------------------------------------------------- what it is tried on


def images(shape: Shape = SHAPE, count: int = 4) -> Images:
    """Random images in [0, 1], always the same."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))


def models(given: Autoencoder | None) -> list[Autoencoder]:
    """What something is tried on: a copy of the model given, or three small ones, of every kind of code.

    On the CPU, in eval mode and with running statistics, so that no image's result depends on the others.
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
    """A model in words: its name, and what is special in its code."""
    tuples = " (its code is a tuple of maps)" if len(model.code_shapes()) > 1 else ""
    return f"{type(model).__name__}{tuples}"


def accepted(
    name: str, given: Autoencoder | None, ask: Callable[[Autoencoder], T], advice: str = "", on_tuples: str = ""
) -> list[tuple[Autoencoder, T]]:
    """The models that are not refused with UsageError, at least one, and what was answered of each.

    Where asking fails otherwise, `advice` is in the message, or `on_tuples` where the code is a tuple of maps.
    None may be changed by it.
    """
    found: list[tuple[Autoencoder, T]] = []
    refusal: UsageError | None = None
    for model in models(given):
        try:
            failed = asked(f"{name} on {kind(model)}", on_tuples if len(model.code_shapes()) > 1 else advice)
            with untouched(model, name), failed:
                found.append((model, ask(model)))
        except AssertionError as error:
            if not isinstance(error.__cause__, UsageError):
                raise
            refusal = error.__cause__
    if not found:
        tried = "all models that it is tried on" if given is None else "this model"
        raise AssertionError(
            f"{name}: refuses {tried} ({refusal}): give model=, one that it is meant for"
        ) from refusal
    return found
