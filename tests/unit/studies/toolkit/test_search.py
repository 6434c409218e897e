"""Images are taken evenly spaced, and a search has its bounded length."""

import pytest
import torch

from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.search import at_most, few_images


@pytest.mark.parametrize(("budget", "count"), [("tiny", 4), ("cpu", 8), ("gpu", 32)])
def test_a_few_images_are_taken_evenly_spaced(budget, count):
    lab = Lab(BUDGETS[budget])
    x = torch.arange(lab.budget.measured)
    taken = few_images(lab, x)
    assert len(taken) == count
    assert len(taken.diff().unique()) == 1
    assert at_most(lab, 500) <= 500
