"""What an optimiser remembers: read from a checkpoint, compared with its weights, and only then taken over."""

import math
from collections.abc import Mapping
from itertools import chain
from reprlib import repr as short
from typing import Any

import torch
from torch import Tensor

from copyfold.errors import UsageError, is_number, option


class Unfit(ValueError):
    """Says in a few words what part of a checkpoint cannot be used."""


def settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """All that the groups of an optimiser hold but their weights."""
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def check_optimizer(trial: torch.optim.Optimizer, kept: Any, before: Any, own: str = "") -> None:
    """Compare what another optimiser remembers with what `trial`, a new one of the same weights, makes in a step.

    A fused kernel takes the addresses of these tensors and the number of weights: a smaller tensor would be read
    and written beyond its end. The step is of gradients that are 0; the weights are as before afterwards. `own`
    is what the recipe calls the optimiser of the checkpoint, for the message.

    Raises Unfit where a value is missing, or of another kind, shape or dtype; UsageError for another optimiser.
    """
    try:
        _require_kind(trial, before, own)
        weights = _weights(trial)
        found = _by_weight(kept, trial)
        _check_options(trial, kept, before)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        if isinstance(error, UsageError | Unfit):
            raise
        raise Unfit("has no state of an optimiser that fits these weights") from None
    for weight, expected, state in zip(weights, _after_a_step(trial), found, strict=True):
        if state is None or state == {}:  # it has had no gradient yet
            continue
        if not isinstance(state, Mapping):
            raise Unfit("has no state of an optimiser that fits these weights")
        if missing := expected.keys() - state.keys():
            raise Unfit(f"has no {min(missing)} of a weight of {tuple(weight.shape)} in its optimiser")
        for name, value in state.items():
            if not _fits(value, expected.get(name, value), weight):
                shape = tuple(weight.shape)
                raise Unfit(f"has {str(name)[:40]} = {_said(value)} of a weight of {shape} in its optimiser")


def resume_optimizer(optimizer: torch.optim.Optimizer, kept: dict[str, Any], before: list[dict[str, Any]]) -> None:
    """Take over what another optimiser remembers, which had the settings `before` when it was made.

    What the plan says now, such as a lower learning rate, stays; what steps have changed in a group is taken over.
    Tensors are copied, in the memory layout of their weights: fused kernels go through both in memory's order.
    UsageError where it is of another kind.
    """
    _require_kind(optimizer, before)
    now = settings(optimizer)
    groups = [
        group | {name: value for name, value in new.items() if name == "lr" or group.get(name) == old[name]}
        for group, old, new in zip(kept["param_groups"], before, now, strict=True)
    ]
    ids = chain.from_iterable(group["params"] for group in groups)
    weights = dict(zip(ids, _weights(optimizer), strict=True))
    state = {
        k: {name: _laid_out(value, weights[k]) for name, value in values.items()}
        for k, values in kept["state"].items()
    }
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _require_kind(optimizer: torch.optim.Optimizer, before: list[dict[str, Any]], name: str = "") -> None:
    if [group.keys() for group in settings(optimizer)] != [group.keys() for group in before]:
        own = f"its own, {option('optimizer')} {name}" if name else "the one in recipe.yaml"
        raise UsageError(
            f"the checkpoint is of another optimizer: continue with {own}, or start again with "
            f"{option('overwrite', True)}"
        )


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _by_weight(kept: dict[str, Any], optimizer: torch.optim.Optimizer) -> list[Any]:
    """What is remembered of every weight, in their order; Unfit where groups have other numbers of weights."""
    counts = [len(group["params"]) for group in optimizer.param_groups]
    ids = [k for group in kept["param_groups"] for k in group["params"]]
    if [len(group["params"]) for group in kept["param_groups"]] != counts or len(set(ids)) != len(ids):
        raise Unfit("has an optimiser of other weights")
    if set(kept["state"]) - set(ids):
        raise Unfit("has an optimiser of more weights")
    return [kept["state"].get(k) for k in ids]


def _check_options(trial: torch.optim.Optimizer, kept: dict[str, Any], before: list[dict[str, Any]]) -> None:
    """Unfit where an option of a group is of another kind, or not what it was when training began.

    Steps may have changed options, which are then taken over: only those of an optimiser of the user's own do.
    torch's and copyfold's leave all options but the rate as the recipe makes them.
    """
    fixed = type(trial).__module__.partition(".")[0] in ("torch", "copyfold")
    for group, old, new in zip(kept["param_groups"], before, settings(trial), strict=True):
        if fixed and group.keys() - new.keys() != {"params"}:
            raise Unfit("has options that its optimiser does not")
        for name, expected in new.items():
            value = group[name]
            if not _alike(value, expected):
                raise Unfit(f"has options of its optimiser of another type: {name[:40]} = {_said(value)}")
            if name == "lr":  # the schedule's, which is set again before every step
                if is_number(value) and not 0 <= value < math.inf:
                    raise Unfit(f"has lr = {_said(value)} in its optimiser, and not a finite number from 0")
            elif not bool(value == old[name]) and fixed:
                raise Unfit(f"has {name[:40]} = {_said(value)} in its optimiser, and the recipe {_said(expected)}")


def _said(value: Any) -> str:
    """A value in a few words; of a container its type alone, for what it holds may be long."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    numbers = isinstance(value, tuple) and all(map(is_number, value))
    plain = numbers or value is None or isinstance(value, int | float | str)
    return short(value) if plain else type(value).__name__


def _alike(value: Any, expected: Any) -> bool:
    """Whether an option is a number, a flag or some numbers where it should be; of others nothing is known."""
    if isinstance(expected, tuple):
        same = isinstance(value, tuple) and len(value) == len(expected)
        return same and all(map(_alike, value, expected))
    if isinstance(expected, bool):
        return isinstance(value, bool)
    return is_number(value) or not is_number(expected)


def _after_a_step(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What an optimiser remembers of every weight after a step, with tensors that have no memory of their own."""
    weights = _weights(optimizer)
    trained = [weight for weight in weights if weight.requires_grad]
    former = [weight.detach().clone() for weight in trained]
    try:
        for weight in trained:
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
        return [
            {k: v.to("meta") if isinstance(v, Tensor) else v for k, v in optimizer.state.get(weight, {}).items()}
            for weight in weights
        ]
    finally:
        optimizer.state.clear()
        with torch.no_grad():
            for weight, values in zip(trained, former, strict=True):
                weight.grad = None
                weight.copy_(values)


def is_plain(value: Any) -> bool:
    """Whether it is a tensor in the usual layout, with values, that a checkpoint was read into memory from."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _fits(value: Any, expected: Any, weight: Tensor) -> bool:
    """Whether a value may stand where the optimiser made the other one, for this weight."""
    if not isinstance(expected, Tensor):
        return type(value) is type(expected)
    if not is_plain(value):
        return False
    if value is expected:  # made in later steps only, so that nothing says how large it is
        return value.dim() == 0 or value.shape == weight.shape
    return (value.shape, value.dtype) == (expected.shape, expected.dtype)


def _laid_out(value: Any, weight: Tensor) -> Any:
    """A copy of a tensor in the layout of its weight, where it has its shape; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    if value.shape == weight.shape:
        return torch.empty_like(weight, dtype=value.dtype, requires_grad=False).copy_(value.detach())
    return value.detach().clone(memory_format=torch.contiguous_format)
