"""What a sampler is: a model, images to start from and a generator in; a film out."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Generator, Tensor

from copyfold.catalogue import Recorded
from copyfold.corruptions import noise_like
from copyfold.models.base import Autoencoder
from copyfold.types import Code, Film, Images, Shape


class Sampler(Recorded, ABC):
    """Makes images with a trained autoencoder, one frame at a time.

    `x` is the seed of everything: pure noise to generate, photographs to walk from. The model's own
    `statistics` are used. The frames are where x and the model are. Random numbers are drawn where the generator
    is and then moved, so that the same state of it gives the same film, on another device to rounding.

    One with an argument `steps` gives that many frames. Each is a new tensor without a gradient, made when it is
    asked for; the model is left as it was, also where a film is not looked at to its end.
    `copyfold.testing.check_sampler` tries one of your own.
    """

    random: ClassVar[bool] = True
    """Whether the generator makes a difference, with the fields at their defaults."""

    @abstractmethod
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield batches of images, as many as x has and of x's shape unless the sampler says so, lazily."""

    def noise(self, count: int, shape: Shape, rng: Generator) -> Images | None:
        """The pure noise that this sampler makes images from, where rng is; None if it starts from photographs."""
        del count, shape, rng
        return None

    @classmethod
    def generates(cls) -> bool:
        """Whether it makes images out of nothing, which are then its last frame: where it says what `noise` is.

        The film of another one goes somewhere, from photographs to other images, and is itself what is made. A
        still picture of it is a strip of its frames (`pictures.strip`).
        """
        return cls.noise is not Sampler.noise

    def doubt(self, model: Autoencoder) -> str:
        """Why images that it makes with this model may mean nothing, in a sentence; "" where nothing is known."""
        del model
        return ""


def on_maps(change: Callable[..., Tensor], *codes: Code) -> Code:
    """`change` of these codes: of their tensors, or map by map where they are tuples of maps."""
    if isinstance(codes[0], tuple):
        return tuple(change(*maps) for maps in zip(*codes, strict=True))
    return change(*codes)


def perturbed(z: Code, std: float, rng: Generator, unit: Code | None = None) -> Code:
    """The code plus N(0, std^2), times `unit` where there is one; on every map where it is a tuple of maps."""

    def noisy(m: Tensor, unit: Tensor | float = 1.0) -> Tensor:
        return m + unit * noise_like(m, 0.0, std, rng)

    if std == 0:
        return z
    return on_maps(noisy, z) if unit is None else on_maps(noisy, z, unit)


def unflat(rows: Tensor, like: Code) -> Code:
    """The inverse of `flat`: b x all numbers of all maps as a code with the maps of `like`."""
    maps = like if isinstance(like, tuple) else (like,)
    parts: tuple[Tensor, ...] = torch.split(rows, [m[0].numel() for m in maps], 1)
    made = [part.reshape(len(rows), *m.shape[1:]).to(m.dtype) for part, m in zip(parts, maps, strict=True)]
    return tuple(made) if isinstance(like, tuple) else made[0]


def parts(images: Images, batch: int) -> tuple[Images, ...]:
    """The images in as few parts of at most `batch` as can be, and equal ones: batch norm may look at them."""
    return images.tensor_split(-(-len(images) // batch))
