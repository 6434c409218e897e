"""Figures of estimates show the estimates."""

import numpy as np

from copyfold.studies.base import Estimate
from copyfold.studies.toolkit import charts

FOUND = {"a": ((1, 2), [Estimate(0.5, 0.4, 0.7, 9), Estimate(0.6, 0.5, 0.8, 9)])}


def test_a_curve_has_its_intervals_as_a_band_and_level_lines_beside():
    axes = charts.curves(FOUND, "x", "y", {"nothing": 0.9}, ylim=(0, 1)).axes[0]
    curve, level = axes.lines
    np.testing.assert_allclose(curve.get_xydata(), [(1, 0.5), (2, 0.6)])
    np.testing.assert_allclose(level.get_xydata(), [(1, 0.9), (2, 0.9)])
    corners = axes.collections[0].get_paths()[0].vertices
    assert {(1, 0.4), (1, 0.7), (2, 0.5), (2, 0.8)} <= {tuple(corner) for corner in corners.round(6)}
    assert axes.get_ylim() == (0, 1)
    assert axes.get_xscale() == axes.get_yscale() == "linear"
