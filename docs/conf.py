"""The documentation site: `make docs` builds it, from the pages here, the gallery in examples/ and the docstrings.

Nothing is fetched: mathematics are MathML, which browsers draw by themselves, and no other site's index is read.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small networks: more threads only wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("COPYFOLD_CACHE", str(HERE / "_build" / "cache"))

import copyfold

project = "copyfold"
author = copyright = "the copyfold contributors"
version = release = copyfold.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "notebooks",
    "markdown",
    "docstrings",
    "reference",
]
exclude_patterns = ["_build", "_ext", "**/GALLERY_HEADER.rst", "gallery/**/*.ipynb", "gallery/**/*.py"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!copyfold\.).*"),  # torch's, numpy's and Python's own names, whose pages are elsewhere
    ("py:.*", r"copyfold\.[a-z_]+\..*"),  # in signatures: types that are not public
]
suppress_warnings = [
    "config.cache",  # the gallery is configured with functions
    "myst.header",  # pages that GitHub shows begin as they like
]
show_warning_types = True

html_theme = "pydata_sphinx_theme"
html_title = "copyfold"
html_static_path = ["_static"]
html_css_files = ["copyfold.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "copyfold"},
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {
        "[!g]**": ["page-toc"],
        "gl*": ["page-toc"],
    },  # all but gallery/
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 8,
}
html_math_renderer = "mathml"

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline", "dollarmath"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

sphinx_gallery_conf = {
    "examples_dirs": ["../examples/lecture", "../examples/essay", "../examples/use"],
    "gallery_dirs": ["gallery/lecture", "gallery/essay", "gallery/use"],
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("scraping.scrape",),
    "reset_modules": (),
    "capture_repr": ("_repr_html_",),
    "ignore_repr_types": r"Figure|Clip|PIL",
    "doc_module": ("copyfold",),
    "backreferences_dir": "gallery/backreferences",
    "inspect_global_variables": False,
    "first_notebook_cell": "%matplotlib inline",
    "abort_on_example_error": True,
    "show_signature": False,
    "show_memory": False,
    "download_all_examples": False,
    "write_computation_times": False,  # its pages load scripts from elsewhere
    "remove_config_comments": True,
    "plot_gallery": "COPYFOLD_NO_GALLERY" not in os.environ,
}
