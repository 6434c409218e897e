"""Pictures of the gallery: what the last line of a block is, where it is a figure, a picture or a film.

The scripts do not use pyplot, for which Sphinx-Gallery has a scraper of its own: they end a block with what a
notebook would show.
"""

import ast
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from copyfold.pictures import png
from copyfold.pictures.notebook import Clip


def bytes_of(value: object) -> tuple[str, bytes] | None:
    """The suffix and the bytes of a picture; None where it is none."""
    if isinstance(value, Figure):
        return "png", png(value)
    if isinstance(value, Clip):
        return "gif", value.data
    if isinstance(value, Image.Image):
        import numpy as np

        return "png", png(np.asarray(value.convert("RGB")))
    return None


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Sphinx-Gallery's scraper: write the picture of a block, and return the reST that shows it."""
    from sphinx_gallery.scrapers import figure_rst

    body = ast.parse(block[1]).body
    ends = bool(body) and isinstance(body[-1], ast.Expr)  # else ___ is still what an earlier block ended with
    found = bytes_of(block_vars["example_globals"].get("___")) if ends else None
    if found is None:
        return ""
    suffix, data = found
    path = Path(next(block_vars["image_path_iterator"])).with_suffix(f".{suffix}")
    path.write_bytes(data)
    return figure_rst([path], gallery_conf["src_dir"])
