# Written by scripts/stubs.py: run `make stubs` where public names or the arguments of fit have changed.

from copyfold.detection.alike import similar as similar
from copyfold.detection.base import Score as Score
from copyfold.detection.codes import Mahalanobis as Mahalanobis
from copyfold.detection.codes import NeighbourDistance as NeighbourDistance
from copyfold.detection.combination import Combined as Combined
from copyfold.detection.copies import duplicates as duplicates
from copyfold.detection.errors import RelativeError as RelativeError
from copyfold.detection.errors import RestorationError as RestorationError
from copyfold.detection.finding import outliers as outliers
