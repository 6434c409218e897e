"""Training: the only package that uses Fabric. `fit` takes a model, an objective and photos."""

from copyfold.training.callbacks import Callback as Callback
from copyfold.training.callbacks import Event as Event
from copyfold.training.classifying import fit_classifier
from copyfold.training.distributed import rank as rank
from copyfold.training.fitting import fit
from copyfold.training.loggers import Logger as Logger
from copyfold.training.plan import Plan as Plan
from copyfold.training.state import TrainState as TrainState
from copyfold.training.stopping import Stopped as Stopped
from copyfold.training.suggestion import Suggestion, suggest

__all__ = ["Suggestion", "fit", "fit_classifier", "suggest"]
