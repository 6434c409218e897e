"""Images from the code's side: draw a code from the prior, decode it."""

from dataclasses import dataclass

import torch
from torch import Generator

from copyfold.corruptions import noise_like
from copyfold.errors import not_negative
from copyfold.models.base import Autoencoder
from copyfold.samplers.base import Sampler
from copyfold.types import Film, Images, Shape


@dataclass(frozen=True)
class Prior(Sampler):
    r"""Draw codes from the prior and decode them: nonlinear factor analysis.

        z ~ N(0, I),   x = D(z) + std eta        eta ~ N(0, I)

    One frame, of as many images as x has; std = 0 gives the mean images E[x|z] = D(z), as is usual. With a linear
    decoder D(z) = Wz + b this is factor analysis with equal noise: x ~ N(b, W W^T + std^2 I). Meant for a
    Variational model, and a test of any other: the codes of a deterministic one need not look like N(0, I), and
    then its images of such codes look like nothing; FittedGaussian and FittedMixture draw codes as they are.
    N(0, I) is drawn on every map of a code that is a tuple of maps. Murphy, section 20.3.5.
    """

    std: float = 0.0

    def __post_init__(self) -> None:
        not_negative(self, std=self.std)

    def noise(self, count: int, shape: Shape, rng: Generator) -> Images:
        """Images that say how many; their pixels are not looked at."""
        return torch.zeros(count, *shape, device=rng.device)

    def doubt(self, model: Autoencoder) -> str:
        """That a deterministic model has no prior."""
        return unlike_prior(model)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the one frame."""
        maps = [noise_like(x.new_empty(len(x), *shape), rng=rng) for shape in model.code_shapes()]
        image = model.decode(tuple(maps) if len(maps) > 1 else maps[0])
        yield image + noise_like(image, 0.0, self.std, rng) if self.std else image


def unlike_prior(model: Autoencoder) -> str:
    """Why codes drawn from N(0, I) may mean nothing to this model, in a sentence; "" where it has that prior."""
    if model.stochastic:
        return ""
    return (
        f"this {type(model).__name__} has no prior: nothing has made its codes look like N(0, I), and what it "
        "makes of such codes is a control at best; FittedGaussian draws codes as they lie"
    )
