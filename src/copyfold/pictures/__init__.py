"""What a person looks at: grids, labelled figures, films.

matplotlib and PyAV are imported when first needed.
"""

from copyfold.pictures.diagrams import diagram
from copyfold.pictures.figures import arrows, comparison, curves, heatmaps, histograms, intervals, scatter
from copyfold.pictures.films import evenly, film, sampled, strip
from copyfold.pictures.grids import Contrast, Picture, grid, png, save

__all__ = [
    "Contrast",
    "Picture",
    "arrows",
    "comparison",
    "curves",
    "diagram",
    "evenly",
    "film",
    "grid",
    "heatmaps",
    "histograms",
    "intervals",
    "png",
    "sampled",
    "save",
    "scatter",
    "strip",
]
