"""The time of a step, by a clock that goes on by as much as its objective says."""

import time
from itertools import count
from pathlib import Path

import pytest
import torch

import copyfold as cf
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.costs import step_costs

SHAPE = (1, 8, 8)


def test_costs_are_ratios_to_the_first_in_the_median_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third round the machine is busy while one kind is measured; the first of all allocates memory."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def costing(seconds: float, busy: int):
        rounds, objective = count(), cf.Classical()

        def cost(model, x):
            n = next(rounds)
            clock[0] += seconds * (1000 if n == 0 else 50 if n % 3 == busy else 1)
            return objective(model, x)

        return cost

    steps = {
        name: (cf.MLP(SHAPE, hidden=[8], latent_dim=2), costing(*cost))
        for name, cost in {"plain": (0.5, 1), "exact": (3.5, 2)}.items()
    }
    lab = Lab(BUDGETS["cpu"], cache=tmp_path)
    assert step_costs(lab, steps, torch.rand(4, *SHAPE)) == pytest.approx({"plain": 1.0, "exact": 7.0})
