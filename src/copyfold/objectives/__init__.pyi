# Written by scripts/stubs.py: run `make stubs` where public names or the arguments of fit have changed.

from copyfold.objectives.base import Classical as Classical
from copyfold.objectives.base import Objective as Objective
from copyfold.objectives.base import Penalty as Penalty
from copyfold.objectives.blind_spot import BlindSpot as BlindSpot
from copyfold.objectives.fidelities import AbsoluteError as AbsoluteError
from copyfold.objectives.fidelities import Bernoulli as Bernoulli
from copyfold.objectives.fidelities import ErrorAndAngle as ErrorAndAngle
from copyfold.objectives.fidelities import Fidelity as Fidelity
from copyfold.objectives.fidelities import HardPixels as HardPixels
from copyfold.objectives.fidelities import Observed as Observed
from copyfold.objectives.fidelities import SquaredError as SquaredError
from copyfold.objectives.noise_prediction import NoisePrediction as NoisePrediction
from copyfold.objectives.penalties import L1 as L1
from copyfold.objectives.penalties import Contraction as Contraction
from copyfold.objectives.penalties import Divergence as Divergence
from copyfold.objectives.penalties import KLSparsity as KLSparsity
