"""What a sampler owes: a film, frame by frame, from a model that stays as it was; and what a schedule does."""

from collections.abc import Generator as Yields
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from math import isfinite
from typing import Any

from torch import Generator, Tensor

from copyfold.models.base import Autoencoder
from copyfold.samplers.base import Sampler
from copyfold.samplers.renoising import Schedule
from copyfold.testing.demands import (
    accepted,
    asked,
    images,
    instance,
    kind,
    nothing_global,
    require,
    same,
    seeded,
    shown,
    size,
    stored,
    untouched,
)
from copyfold.types import Film, Images

LONGEST = 1000  # frames of a sampler that does not say how many there are


def check_sampler(sampler: Sampler, model: Autoencoder | None = None, x: Images | None = None) -> None:
    """Demand of a sampler what copyfold relies on. Give one of few frames: its film is made twice per model.

    Frames come lazily, as many as `steps` where it has that argument. Each holds as many images as x, of x's shape
    (other sides where the model takes them), finite, without a gradient. The film is a function of x and of the
    generator's state. Model and x stay as they were, also where a film is not looked at to its end. `noise` gives
    images to start from, or None. Its arguments are stored.

    Tried on an MLP, a Variational and a UNet whose code is a tuple of maps, unless `model` is given; those that it
    refuses with UsageError are left out. AssertionError says in one line what is wrong.
    """
    name = instance(sampler, Sampler)
    stored(sampler)

    def begin(model: Autoencoder) -> None:
        """Look at one frame and let the film go, which closes a generator."""
        with nothing_global(name):
            next(iter(sampler(model, _given(model, x), Generator().manual_seed(5))), None)

    on_tuples = (
        "do to every map what you do to a code, with copyfold.samplers.base.on_maps, or refuse with UsageError"
    )
    with seeded():
        for net, _ in accepted(name, model, begin, on_tuples=on_tuples):
            _makes_a_film(name, sampler, net, _given(net, x))


def _given(model: Autoencoder, x: Images | None) -> Images:
    return images(model.shape) if x is None else x.clone()


def _makes_a_film(name: str, sampler: Sampler, model: Autoencoder, x: Images) -> None:
    on = f"{name} on {kind(model)}"
    _starts_from_noise(name, sampler, model)
    given = x.clone()
    with untouched(model, name), nothing_global(name), asked(on):
        first, calls = _watched(name, sampler, model, x)
    require(same(x, given), f"{name}: changes the images that it is given: work on a copy, x = x.clone()")
    _has_its_frames(name, sampler, model, x, first)
    fresh = len({id(frame) for frame in first}) == len(first)
    require(
        fresh, f"{name}: yields one tensor several times: make every frame a new one, and change none in place"
    )
    # one decoding or more a frame, and all of them before the first
    eager = len(first) > 1 and calls[0] == calls[-1] >= len(first)
    require(not eager, f"{name}: makes all frames before it gives the first: yield each as soon as it is made")
    with asked(on):
        again = list(sampler(model, x, Generator().manual_seed(5)))
    require(
        same(tuple(first), tuple(again)),
        f"{name}: gives two films for the same state of the generator: draw from rng alone, and keep nothing "
        "between calls",
    )


def _watched(name: str, sampler: Sampler, model: Autoencoder, x: Images) -> tuple[list[Images], list[int]]:
    """The frames, and how many codes had been decoded when each of them came."""
    frames: list[Images] = []
    decoded: list[int] = []
    with _counted(model) as calls:
        film: Film = sampler(model, x, Generator().manual_seed(5))
        require(isinstance(film, Iterator), f"{name}: gives {shown(film)}: give the frames one by one, with yield")
        require(
            not calls, f"{name}: asks the model before a frame is wanted: compute in the generator, with yield"
        )
        steps = getattr(sampler, "steps", None)
        for frame in islice(film, steps + 1 if isinstance(steps, int) else LONGEST + 1):
            frames.append(frame)
            decoded.append(calls.count("decode"))
    return frames, decoded


@contextmanager
def _counted(model: Autoencoder) -> Yields[list[str]]:
    """The names of the model's methods that are called within a with-block, as they are."""
    calls: list[str] = []

    def counting(way: str) -> Any:
        method = getattr(model, way)

        def counted(value: Any) -> Any:
            calls.append(way)
            return method(value)

        return counted

    ways = ("encode", "decode", "logits", "posterior")
    for way in ways:
        object.__setattr__(model, way, counting(way))
    try:
        yield calls
    finally:
        for way in ways:
            object.__delattr__(model, way)


def _has_its_frames(name: str, sampler: Sampler, model: Autoencoder, x: Images, film: list[Images]) -> None:
    steps = getattr(sampler, "steps", None)
    require(film, f"{name}: yields no frame")
    if isinstance(steps, int):
        count = f"more than {steps}" if len(film) > steps else len(film)
        require(len(film) == steps, f"{name}: yields {count} frames with steps={steps}: yield as many as `steps`")
    require(len(film) <= LONGEST, f"{name}: does not end after {LONGEST} frames: give it an argument `steps`")
    for n, frame in enumerate(film, 1):
        require(isinstance(frame, Tensor), f"{name}: frame {n} is {shown(frame)}: yield images")
        fixed = slice(None) if model.multiple is None else slice(2)
        alike = frame.dim() == 4 and frame.shape[fixed] == x.shape[fixed]
        require(
            alike,
            f"{name}: frame {n} is {size(frame)} for {size(x)}: yield as many images as x has, of that shape",
        )
        require(frame.isfinite().all(), f"{name}: frame {n} has NaN or infinite values")
        require(
            not frame.requires_grad,
            f"{name}: frame {n} carries a gradient, and all before it: put @torch.no_grad() on __call__",
        )


def _starts_from_noise(name: str, sampler: Sampler, model: Autoencoder) -> None:
    """`noise` gives images, the same for the same generator; or none."""
    with nothing_global(name), asked(f"{name}: noise(3, {model.shape}, rng)"):
        noise, again = (sampler.noise(3, model.shape, Generator().manual_seed(5)) for _ in range(2))
    if noise is None:
        return
    shaped = isinstance(noise, Tensor) and noise.shape == (3, *model.shape)
    require(shaped, f"{name}: noise gives {shown(noise)}: expected 3 images of {model.shape}, or None")
    require(
        same(noise, again), f"{name}: noise gives two results for the same state of the generator: draw from rng"
    )


def check_schedule(schedule: Schedule, steps: int = 10) -> None:
    """Demand of a schedule what copyfold relies on.

    For every n = 1 .. steps it gives three finite weights, (image, reconstruction, noise), and the same when it is
    asked again. Its arguments are stored. AssertionError says in one line what is wrong.
    """
    name = instance(schedule, Schedule)
    stored(schedule)
    with asked(f"{name}: steps 1 to {steps}"):
        weights, again = ([schedule(n, steps) for n in range(1, steps + 1)] for _ in range(2))
    for n, three in enumerate(weights, 1):
        right = isinstance(three, tuple) and len(three) == 3 and all(isinstance(w, int | float) for w in three)
        require(
            right and all(map(isfinite, three)),
            f"{name}: gives {three} after step {n}: expected three finite numbers, (image, reconstruction, noise)",
        )
    require(weights == again, f"{name}: gives other weights when it is asked again: keep nothing between calls")
