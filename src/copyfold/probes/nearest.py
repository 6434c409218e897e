"""The nearest training images of an image: a test for memorisation."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from copyfold.errors import UsageError, at_least
from copyfold.measures import filled
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Probe, Reading
from copyfold.types import Float, Images, Int

QUERIES = 256  # vectors whose distances to all others are in memory together
PART = 4096  # others that are centred together
SPARE = 8  # further candidates, whose distances are computed exactly


@dataclass(frozen=True)
class Nearest(Probe):
    r"""The training images that each image is nearest to, and how near.

        distance = min over r in reference of ||x - r|| / sqrt(D)        D = c h w, over all channels

    Without `reference`, each image is compared with the others of x, which gives the distance between images.
    Numbers per image: "distance" (root mean square per pixel value) and "index" in the reference, both b x count
    for a `count` above 1, the nearest first; and for count = 1 "ratio", the distance of the nearest over that of
    the second nearest: near 0 where an image is a copy of one training image (1 where both distances are 0). It is
    left out where there is no second. Images: "x", "nearest". The model is not used; x is what it generated.

    When: For everything that a model generates: is it a copy of a training image?
    Cost: Images times reference images, in pixels.
    Fails: A copy that is shifted by a pixel is far away in pixels.
    Source: Nearest neighbours beside samples are customary; the ratio is copyfold's.
    """

    reference: Images | None = None
    count: int = 1

    def __post_init__(self) -> None:
        at_least(1, count=self.count)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Find the nearest."""
        del model, rng
        alone = self.reference is None
        x = filled(x)
        among = x if self.reference is None else filled(self.reference.to(x))
        seconds = 1 if len(among) - alone > self.count == 1 else 0
        distance, index = neighbours(x, among, self.count + seconds, leave_out_own=alone)
        numbers = {"distance": distance[:, : self.count], "index": index[:, : self.count]}
        if self.count == 1:
            numbers = {name: value[:, 0] for name, value in numbers.items()}
        if distance.shape[1] > 1:
            first, second = distance[:, 0], distance[:, 1]
            numbers["ratio"] = torch.where(second > 0, first / second, torch.ones_like(first))
        return Reading(numbers, {"x": x, "nearest": among[index[:, 0]]})


def neighbours(
    x: Float[Tensor, "b ..."], among: Float[Tensor, "n ..."], count: int = 1, leave_out_own: bool = False
) -> tuple[Float[Tensor, "b count"], Int[Tensor, "b count"]]:
    """Distances, root mean square per number, and indices of the `count` nearest, the nearest first.

    Of equally near ones the first. `leave_out_own`: x and `among` are the same, and none is its own neighbour.
    Candidates, 8 more than `count`, are found by ||a||^2 - 2 a b + ||b||^2, centred at the mean of `among`; their
    distances are then computed from the differences, so that an equal image is at distance 0.
    """
    available = len(among) - leave_out_own
    if x.shape[1:] != among.shape[1:] or not 1 <= count <= available:
        raise UsageError(
            f"the {count} nearest to images {tuple(x.shape[1:])} cannot be found among {available} others of size "
            f"{tuple(among.shape[1:])}: expected at least that number, of the same size"
        )
    kind = torch.promote_types(x.dtype, torch.float32)
    x, among = x.flatten(1).to(kind), among.flatten(1).to(kind)
    centre = among.mean(0)
    found: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(x), QUERIES):
        queries = x[start : start + QUERIES]
        squares = torch.cat([_squares(queries - centre, part - centre) for part in among.split(PART)], dim=1)
        if leave_out_own:
            squares[:, start : start + len(queries)].fill_diagonal_(torch.inf)
        candidates = squares.topk(min(count + SPARE, available), largest=False).indices.sort().values
        found += [_sorted(query, among, few, count) for query, few in zip(queries, candidates, strict=True)]
    distances, indices = zip(*found, strict=True)
    return torch.stack(distances), torch.stack(indices)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """||a - b||^2 - ||a||^2, but for rounding: as good to sort by."""
    return b.square().sum(1) - 2 * a @ b.T


def _sorted(query: Tensor, among: Tensor, candidates: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The nearest of some candidates, by their own distances."""
    distance = (among[candidates] - query).square().mean(1).sqrt()
    order = distance.sort(stable=True).indices[:count]
    return distance[order], candidates[order]
