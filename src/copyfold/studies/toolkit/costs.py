"""How long a step of training takes."""

from collections.abc import Mapping
from typing import Any

import torch

from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.studies.lab import Lab
from copyfold.types import Images


def step_costs(lab: Lab, steps: Mapping[str, tuple[Autoencoder, Objective]], x: Images) -> dict[str, float]:
    """The time of a training step over that of the first kind: the median of rounds of all kinds in turn."""
    from statistics import median
    from time import perf_counter

    run = {name: _stepper(model, objective, x) for name, (model, objective) in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in run}
    for _ in range(1 + lab.budget.scaled(11)):
        for name, step in run.items():
            start = perf_counter()
            step()
            times[name].append(perf_counter() - start)
    first = next(iter(times.values()))[1:]  # without the round in which memory is allocated
    return {name: median(a / b for a, b in zip(of[1:], first, strict=True)) for name, of in times.items()}


def _stepper(model: Autoencoder, objective: Objective, x: Images) -> Any:
    """One step of Adam; it returns when a GPU has finished it."""
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.stack(list(objective(model, x).values())).sum()
        loss.backward()
        optimizer.step()
        return next(model.parameters()).flatten()[0].item()

    return step
