"""Several scores as one, put together without having seen an outlier."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from copyfold.detection.base import PART, Detector, Score, Scored, Seen, in_parts
from copyfold.detection.codes import Mahalanobis, NeighbourDistance
from copyfold.detection.errors import RelativeError
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.types import Float, Images

UPPER = 0.9  # the quantile whose distance from the median is the scale of a score
NORMAL = 1.2815515655446004  # its place in a standard normal distribution


@dataclass(frozen=True)
class Combined(Score):
    r"""Several scores as one: how far each is above what is usual, the largest most.

        score = log mean_k exp(z_k),   z_k = 1.28 (s_k - median_k) / (q_k - median_k)

    median_k and q_k, the quantile of .9, are of the scores s_k of the normal images; 1.28 makes z_k that of a
    normal distribution. Nothing is chosen by outliers, which are not known beforehand. It is at least the largest
    z_k less log K for K scores, so that what one score alone finds remains found; and among images that no score
    calls unusual it orders by all of them. By default two distances of codes know where things are, and one only
    which features there are. The map is the mean of the maps that there are.
    """

    scores: tuple[Score, ...] = (RelativeError(), NeighbourDistance(), Mahalanobis(), Mahalanobis(grid=1))

    def __post_init__(self) -> None:
        if not self.scores:
            raise UsageError("Combined(scores=()) is invalid: expected at least one score")
        object.__setattr__(self, "scores", tuple(self.scores))

    @torch.no_grad()
    def __call__(self, model: Autoencoder, normal: Images) -> Detector:
        """Learn each score, and what is usual in it, from one pass of the normal images through the model."""
        looked = [self._looks(model, part) for part in normal.split(PART)]
        of_each = [torch.cat(rows) for rows in zip(*looked, strict=True)]
        judges = [score.learn(model, rows) for score, rows in zip(self.scores, of_each, strict=True)]
        usual = [_usual(in_parts(judge, rows).scores) for judge, rows in zip(judges, of_each, strict=True)]

        @torch.no_grad()
        def detect(x: Images) -> Scored:
            found = [judge(rows) for judge, rows in zip(judges, self._looks(model, x), strict=True)]
            z = torch.stack(
                [(part.scores - median) / scale for part, (median, scale) in zip(found, usual, strict=True)]
            )
            maps = [part.maps for part in found if part.maps is not None]
            score = z.logsumexp(0) - math.log(len(z))
            return Scored(score, torch.stack(maps).mean(0) if maps else None)

        return detect

    def _looks(self, model: Autoencoder, x: Images) -> list[Tensor]:
        """What each score looks at in a few images."""
        seen = Seen(model, x)
        return [score.look(seen) for score in self.scores]


def _usual(scores: Float[Tensor, "b"]) -> tuple[Tensor, Tensor]:
    """The median of scores, and their standard deviation by the upper half of them."""
    ordered = scores.sort().values
    median, upper = ordered[len(scores) // 2], ordered[min(int(UPPER * len(scores)), len(scores) - 1)]
    return median, ((upper - median) / NORMAL).clamp(min=torch.finfo(scores.dtype).tiny)
