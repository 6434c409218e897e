"""Ancestral sampling: draw a code from the prior, decode it."""

from dataclasses import dataclass

import torch
from torch import Generator

from copyfold.corruptions import noise_like
from copyfold.errors import within
from copyfold.models.base import Autoencoder, class_name
from copyfold.samplers.base import Sampler
from copyfold.types import Film, Images, Shape


@dataclass(frozen=True)
class Prior(Sampler):
    r"""Draw codes from the prior and decode them: nonlinear factor analysis.

        z ~ N(0, I),   x = D(z) + std eta        eta ~ N(0, I)

    One frame, of as many images as x has; std = 0 gives the mean images E[x|z] = D(z), as is usual. With a linear
    decoder D(z) = Wz + b this is factor analysis with equal noise: x ~ N(b, W W^T + std^2 I). Meant for a
    Variational model. The codes of a deterministic model need not be distributed as N(0, I), and then its images
    of such codes mean nothing; FittedGaussian and FittedMixture draw from the distribution of its codes. Every map
    of a code that is a tuple of maps is drawn from N(0, I). Murphy, section 20.3.5.

    When: With a `Variational` model, to draw new images.
    Cost: One pass through the decoder.
    Fails: Deterministic models, whose codes are nowhere near N(0, I); take `FittedGaussian`.
    Source: Kingma and Welling, 2013; Murphy, section 20.3.5.
    """

    std: float = 0.0

    def __post_init__(self) -> None:
        within("[0, inf)", self, std=self.std)

    def noise(self, count: int, shape: Shape, rng: Generator) -> Images:
        """Zeros, whose number alone is used."""
        return torch.zeros(count, *shape, device=rng.device)

    def doubt(self, model: Autoencoder) -> str:
        """A deterministic model has no prior."""
        return no_prior(model)

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield the one frame."""
        maps = [noise_like(x.new_empty(len(x), *shape), rng=rng) for shape in model.code_shapes()]
        image = model.decode(tuple(maps) if len(maps) > 1 else maps[0])
        yield image + noise_like(image, 0.0, self.std, rng) if self.std else image


def no_prior(model: Autoencoder) -> str:
    """A warning, in one sentence, where the prior of a model is not N(0, I); "" where it is."""
    if model.stochastic:
        return ""
    return (
        f"this {class_name(model)} has no prior: it was not trained to have codes distributed as N(0, I), so "
        "images of such codes are only a control; FittedGaussian draws from the distribution of its codes"
    )
