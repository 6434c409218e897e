"""Pictures: image grids, labelled figures, films.

matplotlib and PyAV are imported when first needed.
"""

from copyfold.pictures.computation import elbo_graph as elbo_graph
from copyfold.pictures.diagrams import diagram as diagram
from copyfold.pictures.figures import arrows, comparison, curves, scatter
from copyfold.pictures.figures import beside as beside
from copyfold.pictures.figures import heatmaps as heatmaps
from copyfold.pictures.figures import histograms as histograms
from copyfold.pictures.figures import intervals as intervals
from copyfold.pictures.films import evenly as evenly
from copyfold.pictures.films import film, strip
from copyfold.pictures.films import sampled as sampled
from copyfold.pictures.grids import Contrast as Contrast
from copyfold.pictures.grids import Picture as Picture
from copyfold.pictures.grids import grid, save_picture
from copyfold.pictures.grids import heated as heated
from copyfold.pictures.grids import png as png
from copyfold.pictures.notebook import Clip as Clip
from copyfold.pictures.notebook import embedded as embedded
from copyfold.pictures.notebook import sheet as sheet
from copyfold.pictures.notebook import shown as shown
from copyfold.pictures.notebook import table as table

__all__ = ["arrows", "comparison", "curves", "film", "grid", "save_picture", "scatter", "strip"]
