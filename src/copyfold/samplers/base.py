"""What a sampler is: a model, images to start from and a generator in; a film out."""

from abc import ABC, abstractmethod

from torch import Generator

from copyfold.corruptions import noise_like
from copyfold.models.base import Autoencoder
from copyfold.types import Code, Film, Images, Shape


class Sampler(ABC):
    """Makes images with a trained autoencoder, one frame at a time.

    `x` is the seed of everything: pure noise to generate, photographs to walk from. The model's own
    `statistics` are used. The same generator state gives the same film.
    """

    @abstractmethod
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield batches of images of x's shape, lazily."""

    def noise(self, count: int, shape: Shape, rng: Generator) -> Images | None:
        """The pure noise that this sampler makes images from; None where it starts from photographs."""
        del count, shape, rng
        return None


def perturbed(z: Code, std: float, rng: Generator) -> Code:
    """The code plus N(0, std^2), on every map where it is a tuple of maps."""
    if std == 0:
        return z
    if isinstance(z, tuple):
        return tuple(m + noise_like(m, 0.0, std, rng) for m in z)
    return z + noise_like(z, 0.0, std, rng)
