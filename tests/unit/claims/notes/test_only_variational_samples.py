"""T30: good and bad samples are judged so."""

import torch

from copyfold.claims.notes.only_variational_samples import judged
from copyfold.studies.toolkit.codes import pca
from labs import in_a_plane

SHAPE = (1, 8, 8)


def test_samples_are_judged() -> None:
    x, judge = in_a_plane(400), pca(in_a_plane(400), 6)
    real, mean = judged(judge, x[:200], x[200:]), judged(judge, x.mean(0).expand(200, *SHAPE), x[200:])
    noise = judged(judge, 3 * torch.randn(200, *SHAPE), x[200:])
    assert real[0] < 0.2 < 0.8 < mean[0] < 1.2 < noise[0]
    assert real[1] > 0.8 > 0.1 > noise[1]
