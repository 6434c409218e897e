"""What a probe is: a model, images and a generator in; numbers and images out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Generator, Tensor

from copyfold.models.base import Autoencoder
from copyfold.types import Images


@dataclass(frozen=True)
class Reading:
    """What a probe found: numbers per image (or one for all), and the images to look at."""

    numbers: dict[str, Tensor]
    images: dict[str, Images] = field(default_factory=dict[str, Images])


class Probe(ABC):
    """Asks a trained autoencoder one question. It changes nothing in the model and draws nothing on a screen."""

    @abstractmethod
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Look at what the model does with the images x."""
