"""Smooth paths, and paths that jump."""

import torch

from copyfold.claims.notes.smoother_codes import faded, straight, unevenness
from copyfold.studies.toolkit.codes import pca
from labs import in_a_plane


def test_a_straight_path_is_smooth_and_a_jump_is_not() -> None:
    x = in_a_plane(4)
    assert unevenness(faded(x)).allclose(torch.ones(4), atol=1e-4)
    assert unevenness(straight(pca(in_a_plane(200), 6), x)).allclose(torch.ones(4), atol=1e-3)
    jump = torch.stack([x, x, x, x.roll(-1, 0)])
    assert unevenness(jump).allclose(torch.full((4,), 3.0))
    assert unevenness(torch.stack([x, x])).allclose(torch.ones(4))
    assert faded(x)[-1].allclose(x.roll(-1, 0))
