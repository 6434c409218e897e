"""Training: the only package that knows Lightning. `fit` takes a model, an objective and photos."""

from copyfold.training.classifying import fit_classifier
from copyfold.training.ending import Stopped as Stopped
from copyfold.training.fitting import fit
from copyfold.training.plan import Plan as Plan
from copyfold.training.ranks import rank as rank

__all__ = ["fit", "fit_classifier"]
