"""A step with more work takes longer."""

from pathlib import Path

import pytest
import torch

from copyfold.objectives.base import Classical
from copyfold.objectives.penalties import Contraction
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.costs import step_costs
from copyfold.studies.toolkit.notes import contestants

SHAPE = (1, 8, 8)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(BUDGETS["tiny"], cache=tmp_path)


def test_a_step_with_more_work_takes_longer(lab: Lab) -> None:
    make = contestants(SHAPE)[0]
    steps = {
        "plain": (make(SHAPE), Classical()),
        "exact": (make(SHAPE), Classical(penalties=[Contraction(1.0, "exact")])),
    }
    assert step_costs(lab, steps, torch.rand(32, *SHAPE))["exact"] > 1.2
