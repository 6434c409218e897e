"""Photos from any source, in batches; what is in a source; and data made by formula."""

from copyfold.data.batches import Batches
from copyfold.data.images import open_image, to_pixels
from copyfold.data.photos import Photos
from copyfold.data.sampling import Sample
from copyfold.data.streaming import Stream
from copyfold.data.survey import Survey, survey
from copyfold.data.synthetic import GaussianMixture, ring, scenes

__all__ = [
    "Batches",
    "GaussianMixture",
    "Photos",
    "Sample",
    "Stream",
    "Survey",
    "open_image",
    "ring",
    "scenes",
    "survey",
    "to_pixels",
]
