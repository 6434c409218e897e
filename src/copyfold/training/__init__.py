"""Training: the only package that knows Lightning. `fit` takes a model, an objective and photos."""

from copyfold.training.fitting import Stopped, fit
from copyfold.training.plan import Plan

__all__ = ["Plan", "Stopped", "fit"]
