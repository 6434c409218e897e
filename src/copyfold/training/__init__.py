"""Training: the only package that knows Lightning. `fit` takes a model, an objective and photos."""

from copyfold.training.ending import Stopped
from copyfold.training.fitting import fit
from copyfold.training.plan import Plan
from copyfold.training.ranks import rank

__all__ = ["Plan", "Stopped", "fit", "rank"]
