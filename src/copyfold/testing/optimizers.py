"""Requirements of an optimiser: it steps every weight, by the rate of its groups, and resumes exactly."""

from copy import deepcopy
from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn

from copyfold.models.dense import MLP
from copyfold.testing.demands import SHAPE, attempt, class_name, require, seeded, shown, stores_arguments
from copyfold.training.optimizer_state import resume_optimizer, settings
from copyfold.training.optimizers import Optimizer
from copyfold.types import Precision

PRECISIONS: tuple[Precision, ...] = ("32", "bf16", "16")
LR = 1e-3
STEPS = 3


def check_optimizer(optimizer: Optimizer) -> None:
    """Check that an optimiser behaves as copyfold requires.

    `build` returns a torch.optim.Optimizer for every precision, with every weight that requires a gradient in
    one of its groups. A step changes every weight that has a gradient, and none where the learning rates of
    all groups are 0, which is how schedules work. A state that was saved and loaded into a new one continues with
    exactly the same steps. The default learning rate, `lr`, is above 0. Its arguments are stored.

    Checked on an MLP with norms. AssertionError says in one line what is wrong.
    """
    name = class_name(optimizer, Optimizer)
    stores_arguments(optimizer)
    require(optimizer.lr > 0, f"{name}: lr is {optimizer.lr}: give the class a learning rate above 0")
    with seeded():
        model = MLP(SHAPE, hidden=(5,), latent_dim=3, norm="batch").train()
        for precision in PRECISIONS:
            made = _built(name, optimizer, model, precision)
            _has_every_weight(name, made, model)
        _steps_by_its_rate(name, optimizer, model)
        _resumes(name, optimizer, model)


def _built(
    name: str, optimizer: Optimizer, model: nn.Module, precision: Precision = "32"
) -> torch.optim.Optimizer:
    with attempt(f"{name}: build with precision {precision!r}"):
        made: Any = optimizer.build(model, LR, precision)
    right = isinstance(made, torch.optim.Optimizer)
    require(right, f"{name}: build returns {shown(made)}: expected a torch.optim.Optimizer")
    return made


def _has_every_weight(name: str, made: torch.optim.Optimizer, model: nn.Module) -> None:
    held = [id(weight) for group in made.param_groups for weight in group["params"]]
    weights = {id(weight): title for title, weight in model.named_parameters() if weight.requires_grad}
    missing = [title for key, title in weights.items() if key not in held]
    require(not missing, f"{name}: {missing and missing[0]} is in no group: give all of model.parameters()")


def _step(name: str, made: torch.optim.Optimizer, model: MLP, n: int) -> None:
    """One step, of a gradient that depends on n alone."""
    with seeded(n):
        gradients = [torch.randn_like(weight) for weight in model.parameters()]
    for weight, gradient in zip(model.parameters(), gradients, strict=True):
        weight.grad = gradient
    with attempt(f"{name}: step"):
        made.step()


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {title: weight.detach().clone() for title, weight in model.named_parameters()}


def _steps_by_its_rate(name: str, optimizer: Optimizer, given: MLP) -> None:
    model = deepcopy(given)
    made, before = _built(name, optimizer, model), _weights(model)
    _step(name, made, model, 0)
    still = [title for title, weight in _weights(model).items() if torch.equal(weight, before[title])]
    require(not still, f"{name}: a step does not change {still and still[0]}, which has a gradient")
    for group in made.param_groups:
        group["lr"] = 0.0
    before = _weights(model)
    _step(name, made, model, 1)
    moved = [title for title, weight in _weights(model).items() if not torch.equal(weight, before[title])]
    require(
        not moved,
        f"{name}: a step with a learning rate of 0 changes {moved and moved[0]}: multiply each step by "
        "group['lr'], which a schedule sets",
    )


def _resumes(name: str, optimizer: Optimizer, given: MLP) -> None:
    model = deepcopy(given)
    made = _built(name, optimizer, model)
    for n in range(STEPS):
        _step(name, made, model, n)
    other = deepcopy(model)
    again = _built(name, optimizer, other)
    file, before = BytesIO(), settings(again)
    torch.save([made.state_dict(), before], file)
    file.seek(0)
    with attempt(f"{name}: to load its state", "keep numbers, words and tensors in self.state and in the groups"):
        resume_optimizer(again, *torch.load(file, weights_only=True))
    for n in range(STEPS, 2 * STEPS):
        _step(name, made, model, n)
        _step(name, again, other, n)
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    require(
        all(torch.equal(a, b) for a, b in pairs),
        f"{name}: a state that was saved and loaded steps to other weights: keep all that a step remembers in "
        "self.state",
    )
