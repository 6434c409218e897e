"""What a person looks at: grids, labelled figures, films.

matplotlib and PyAV are imported when first needed.
"""

from copyfold.pictures.figures import comparison, curves, scatter
from copyfold.pictures.films import evenly, film, sampled
from copyfold.pictures.grids import Contrast, Picture, grid, png, save

__all__ = [
    "Contrast",
    "Picture",
    "comparison",
    "curves",
    "evenly",
    "film",
    "grid",
    "png",
    "sampled",
    "save",
    "scatter",
]
