"""Training: the only package that knows Fabric. `fit` takes a model, an objective and photos."""

from copyfold.training.distributed import rank
from copyfold.training.fitting import fit
from copyfold.training.plan import Plan
from copyfold.training.stopping import Stopped

__all__ = ["Plan", "Stopped", "fit", "rank"]
