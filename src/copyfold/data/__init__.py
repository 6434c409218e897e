"""Photos from any source, in batches; what is in a source; and data made by formula."""

from copyfold.data.batches import Batches as Batches
from copyfold.data.images import open_image as open_image
from copyfold.data.images import to_pixels as to_pixels
from copyfold.data.photos import Photos
from copyfold.data.sampling import Sample
from copyfold.data.streaming import Stream
from copyfold.data.survey import Survey as Survey
from copyfold.data.survey import survey as survey
from copyfold.data.synthetic import GaussianMixture, ring, scenes

__all__ = ["GaussianMixture", "Photos", "Sample", "Stream", "ring", "scenes"]
