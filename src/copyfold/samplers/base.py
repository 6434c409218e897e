"""The base class of samplers: a model, images to start from and a generator in; a film out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, TypeAlias

import torch
from torch import Generator, Tensor

from copyfold.catalogue import Recorded
from copyfold.corruptions import noise_like
from copyfold.models.base import Autoencoder
from copyfold.types import Code, Film, Images, Shape

Trace: TypeAlias = Iterator[tuple[Images, dict[str, Tensor]]]
"""Frames, each with numbers by name: one per image, or one for all."""


class Sampler(Recorded, ABC):
    """Makes images with a trained autoencoder, one frame at a time.

    `x` is the start: pure noise to generate, photographs to walk from. The model's own `statistics` are used. The
    frames are on the device of x and the model. Random numbers are drawn on the generator's device and then moved,
    so that one state of the generator gives the same film, on another device up to rounding.

    A sampler with an argument `steps` gives that many frames. Each is a new tensor without a gradient, computed
    when it is asked for; the model is unchanged, also where a film is not consumed to its end.
    `copyfold.testing.check_sampler` tests one of your own.
    """

    random: ClassVar[bool] = True
    """Whether the film depends on the generator, with the fields at their defaults."""

    @abstractmethod
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Film:
        """Yield batches of images lazily, each of x's shape unless the sampler says otherwise."""

    def trace(self, model: Autoencoder, x: Images, rng: Generator) -> Trace:
        """The same film, each frame with what the sampler measured on the way to it; most measure nothing."""
        for frame in self(model, x, rng):
            yield frame, {}

    def length(self) -> int | None:
        """How many frames a film has: the argument `steps`; None where the sampler has none."""
        return getattr(self, "steps", None)

    def noise(self, count: int, shape: Shape, rng: Generator) -> Images | None:
        """The pure noise to generate from, on rng's device; None for a sampler that starts from photographs."""
        del count, shape, rng
        return None

    @classmethod
    def generates(cls) -> bool:
        """Whether it generates images from noise: whether it defines `noise`. The result is its last frame.

        The result of any other sampler is its whole film, from photographs to other images. A still picture of it
        is a strip of its frames (`pictures.strip`).
        """
        return cls.noise is not Sampler.noise

    def doubt(self, model: Autoencoder) -> str:
        """A warning where this sampler does not suit the model, in one sentence; "" where there is none."""
        del model
        return ""

    def remedy(self, model: Autoencoder) -> str:
        """What to do where the images that it made are nearly the same, or blank, in one clause."""
        del model
        return "train the model longer"


def on_maps(change: Callable[..., Tensor], *codes: Code) -> Code:
    """Apply `change` to these codes: to the tensors, or map by map where they are tuples of maps."""
    if isinstance(codes[0], tuple):
        return tuple(change(*maps) for maps in zip(*codes, strict=True))
    return change(*codes)


def decoded(model: Autoencoder, z: Code, x: Images) -> Images:
    """D(z) with the sides of x: a code of images of other sides than the model's may be of padded ones."""
    return model.decode(z)[..., : x.shape[2], : x.shape[3]]


def perturbed(z: Code, std: float, rng: Generator, unit: Code | None = None) -> Code:
    """The code plus noise N(0, std^2), which is multiplied by `unit` where given; on every map of a tuple."""

    def noisy(m: Tensor, unit: Tensor | float = 1.0) -> Tensor:
        return m + unit * noise_like(m, 0.0, std, rng)

    if std == 0:
        return z
    return on_maps(noisy, z) if unit is None else on_maps(noisy, z, unit)


def unflatten(rows: Tensor, like: Code) -> Code:
    """The inverse of `flat`: b x all numbers of all maps to a code with the maps of `like`."""
    maps = like if isinstance(like, tuple) else (like,)
    parts: tuple[Tensor, ...] = torch.split(rows, [m[0].numel() for m in maps], 1)
    made = [part.reshape(len(rows), *m.shape[1:]).to(m.dtype) for part, m in zip(parts, maps, strict=True)]
    return tuple(made) if isinstance(like, tuple) else made[0]


def parts(images: Images, batch: int) -> tuple[Images, ...]:
    """Split the images into the fewest parts of at most `batch`, of equal size (for batch statistics)."""
    return images.tensor_split(-(-len(images) // batch))
