"""Requirements of a sampler, which yields a film and must not change the model, and of a schedule."""

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
    attempt,
    class_name,
    images,
    kind,
    no_global_randomness,
    require,
    same,
    seeded,
    shown,
    size,
    stores_arguments,
    untouched,
)
from copyfold.types import Film, Images

LONGEST = 1000  # the most frames of a sampler without `steps`


def check_sampler(sampler: Sampler, model: Autoencoder | None = None, x: Images | None = None) -> None:
    """Check that a sampler behaves as copyfold requires. Use few frames: its film is computed twice per model.

    Frames are yielded lazily, as many as `steps` if it has that argument. Each has as many images as x, of x's
    shape (of other sides if the model takes them), finite, without a gradient. The film is a function of x and of
    the state of the generator. Model and x are not changed, even if a film is not read to its end. `noise` returns
    images to start from, or None. Its arguments are stored.

    Checked on an MLP, a Variational and a UNet whose code is a tuple of maps, unless `model` is given; models that
    it refuses with UsageError are skipped. AssertionError says in one line what is wrong.
    """
    name = class_name(sampler, Sampler)
    stores_arguments(sampler)

    def begin(model: Autoencoder) -> None:
        """Take one frame and drop the film, which closes the generator."""
        with no_global_randomness(name):
            next(iter(sampler(model, _given(model, x), Generator().manual_seed(5))), None)

    on_tuples = (
        "treat every map as you treat a code, with copyfold.samplers.base.on_maps, or refuse with UsageError"
    )
    with seeded():
        for net, _ in accepted(name, model, begin, on_tuples=on_tuples):
            _yields_a_film(name, sampler, net, _given(net, x))


def _given(model: Autoencoder, x: Images | None) -> Images:
    return images(model.shape) if x is None else x.clone()


def _yields_a_film(name: str, sampler: Sampler, model: Autoencoder, x: Images) -> None:
    on = f"{name} on {kind(model)}"
    _starts_from_noise(name, sampler, model)
    given = x.clone()
    with untouched(model, name), no_global_randomness(name), attempt(on):
        first, calls = _recorded_frames(name, sampler, model, x)
    require(same(x, given), f"{name}: changes the given images: work on a copy, x = x.clone()")
    _has_the_right_frames(name, sampler, model, x, first)
    fresh = len({id(frame) for frame in first}) == len(first)
    require(
        fresh,
        f"{name}: yields one tensor several times: yield a new tensor for every frame, and change none in place",
    )
    # at least one decoding per frame, all of them before the first frame
    eager = len(first) > 1 and calls[0] == calls[-1] >= len(first)
    require(
        not eager, f"{name}: computes all frames before it yields the first: yield each as soon as it is computed"
    )
    with attempt(on):
        again = list(sampler(model, x, Generator().manual_seed(5)))
    require(
        same(tuple(first), tuple(again)),
        f"{name}: returns two films for the same state of the generator: draw from rng alone, and keep no state "
        "between calls",
    )


def _recorded_frames(name: str, sampler: Sampler, model: Autoencoder, x: Images) -> tuple[list[Images], list[int]]:
    """The frames, and how many codes had been decoded when each was yielded."""
    frames: list[Images] = []
    decoded: list[int] = []
    with _recorded_calls(model) as calls:
        film: Film = sampler(model, x, Generator().manual_seed(5))
        require(isinstance(film, Iterator), f"{name}: returns {shown(film)}: yield the frames one by one")
        require(
            not calls,
            f"{name}: calls the model before a frame is requested: compute inside the generator, with yield",
        )
        steps = getattr(sampler, "steps", None)
        for frame in islice(film, steps + 1 if isinstance(steps, int) else LONGEST + 1):
            frames.append(frame)
            decoded.append(calls.count("decode"))
    return frames, decoded


@contextmanager
def _recorded_calls(model: Autoencoder) -> Yields[list[str]]:
    """The names of the model's methods called within a with-block, in order."""
    calls: list[str] = []

    def counting(name: str) -> Any:
        method = getattr(model, name)

        def counted(value: Any) -> Any:
            calls.append(name)
            return method(value)

        return counted

    methods = ("encode", "decode", "logits", "posterior")
    for name in methods:
        object.__setattr__(model, name, counting(name))
    try:
        yield calls
    finally:
        for name in methods:
            object.__delattr__(model, name)


def _has_the_right_frames(name: str, sampler: Sampler, model: Autoencoder, x: Images, film: list[Images]) -> None:
    steps = getattr(sampler, "steps", None)
    require(film, f"{name}: yields no frame")
    if isinstance(steps, int):
        count = f"more than {steps}" if len(film) > steps else len(film)
        require(
            len(film) == steps, f"{name}: yields {count} frames with steps={steps}: yield exactly `steps` frames"
        )
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
            f"{name}: frame {n} requires a gradient, as do all before it: put @torch.no_grad() on __call__",
        )


def _starts_from_noise(name: str, sampler: Sampler, model: Autoencoder) -> None:
    """`noise` returns images, the same for the same state of the generator; or None."""
    with no_global_randomness(name), attempt(f"{name}: noise(3, {model.shape}, rng)"):
        noise, again = (sampler.noise(3, model.shape, Generator().manual_seed(5)) for _ in range(2))
    if noise is None:
        return
    shaped = isinstance(noise, Tensor) and noise.shape == (3, *model.shape)
    require(shaped, f"{name}: noise returns {shown(noise)}: expected 3 images of {model.shape}, or None")
    require(
        same(noise, again), f"{name}: noise returns two results for the same state of the generator: draw from rng"
    )


def check_schedule(schedule: Schedule, steps: int = 10) -> None:
    """Check that a schedule behaves as copyfold requires.

    For every n = 1 .. steps it returns three finite weights, (image, reconstruction, noise), the same in every
    call. Its arguments are stored. AssertionError says in one line what is wrong.
    """
    name = class_name(schedule, Schedule)
    stores_arguments(schedule)
    with attempt(f"{name}: steps 1 to {steps}"):
        weights, again = ([schedule(n, steps) for n in range(1, steps + 1)] for _ in range(2))
    for n, three in enumerate(weights, 1):
        right = isinstance(three, tuple) and len(three) == 3 and all(isinstance(w, int | float) for w in three)
        require(
            right and all(map(isfinite, three)),
            f"{name}: returns {three} for step {n}: expected three finite numbers, (image, reconstruction, noise)",
        )
    require(weights == again, f"{name}: returns other weights when called again: keep no state between calls")
