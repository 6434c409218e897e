"""Requirements of a probe, which must not change the model, and of a classical denoiser."""

import torch
from torch import Generator, Tensor

from copyfold.models.base import Autoencoder
from copyfold.probes.base import Probe, Reading
from copyfold.probes.baselines import Baseline
from copyfold.testing.demands import (
    SHAPE,
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
from copyfold.types import Images

COUNT = 8  # images given to a probe
STD = 0.1  # of the noise given to a baseline


def check_probe(probe: Probe, model: Autoencoder | None = None, x: Images | None = None) -> None:
    """Check that a probe behaves as copyfold requires. Use a fast one: it runs twice per model.

    It returns a Reading with at least one number, and images of b x c x h x w, all finite and without a gradient.
    It is a function of the images and of the state of the generator. It does not change x, or the model's weights,
    buffers, mode, statistics, requires_grad, .grad or hooks. Its arguments are stored.

    Checked on an MLP, a Variational and a UNet whose code is a tuple of maps, unless `model` is given; models that
    it refuses with UsageError are skipped. AssertionError says in one line what is wrong.
    """
    name = class_name(probe, Probe)
    stores_arguments(probe)

    def ask(model: Autoencoder) -> Reading:
        given = images(model.shape, COUNT) if x is None else x
        x_copy = given.clone()
        with untouched(model, name), no_global_randomness(name):
            reading = probe(model, x_copy, Generator().manual_seed(2))
        require(same(x_copy, given), f"{name}: changes the given images: work on a copy")
        return reading

    on_tuples = "take the code as one vector, copyfold.models.base.flat(z), or refuse such models with UsageError"
    with seeded():
        for net, reading in accepted(name, model, ask, on_tuples=on_tuples):
            _is_a_reading(name, reading)
            with attempt(f"{name} on {kind(net)}, run again"):
                again = ask(net)
            other = next((n for n, v in reading.numbers.items() if not same(v, again.numbers.get(n))), None)
            require(
                other is None,
                f"{name}: {other} has two values for the same state of the generator: draw from rng alone, and "
                "keep no state between calls",
            )


def _is_a_reading(name: str, reading: object) -> None:
    """A Reading of finite numbers and images, without a gradient."""
    if not isinstance(reading, Reading):
        raise AssertionError(f"{name}: returns {shown(reading)}: expected a copyfold.probes.base.Reading")
    require(reading.numbers, f"{name}: its Reading has no number: give it at least one")
    for what, value in (*reading.numbers.items(), *reading.images.items()):
        require(isinstance(value, Tensor), f"{name}: {what} is {shown(value)}: expected a tensor")
        require(value.isfinite().all(), f"{name}: {what} has NaN or infinite values")
        require(not value.requires_grad, f"{name}: {what} requires a gradient: put @torch.no_grad() on __call__")
    for what, value in reading.images.items():
        require(value.dim() == 4, f"{name}: the images {what} are {size(value)}: expected b x c x h x w")


def check_baseline(baseline: Baseline, x: Images | None = None) -> None:
    """Check that a classical denoiser behaves as copyfold requires, on clean images x (random waves by default).

    It is a function of the noisy images, which it does not change, and the std of their noise. It returns finite
    images of the same shape, dtype and device. `tuned` returns another instance of its class, which does so too.
    Its arguments are stored. AssertionError says in one line what is wrong.
    """
    name = class_name(baseline, Baseline)
    stores_arguments(baseline)
    clean = _smooth_images() if x is None else x
    noisy = clean + STD * torch.randn(clean.shape, generator=Generator().manual_seed(1)).to(clean)
    _denoises(name, baseline, noisy)
    with seeded(), attempt(f"{name}: tuned(noisy, clean, {STD})"):
        other = type(baseline).tuned(noisy, clean, STD)
    alike = isinstance(other, type(baseline))
    require(alike, f"{name}: tuned returns {shown(other)}: expected a {name} tuned to these images")
    _denoises(f"{name} as tuned", other, noisy)


def _denoises(name: str, baseline: Baseline, noisy: Images) -> None:
    given = noisy.clone()
    with seeded(), attempt(f"{name}: {size(noisy)} with noise of std {STD}"):
        first = baseline(given, STD)
        again = baseline(given, STD)
    require(same(given, noisy), f"{name}: changes the given images: work on a copy, x = x.clone()")
    shaped = isinstance(first, Tensor) and first.shape == noisy.shape
    require(shaped, f"{name}: returns {shown(first)} for {size(noisy)}: expected images of that shape")
    kept = first.dtype == noisy.dtype and first.device == noisy.device
    require(
        kept, f"{name}: returns {first.dtype} on {first.device} for {noisy.dtype} on {noisy.device}: keep both"
    )
    require(first.isfinite().all(), f"{name}: returns NaN or infinite values")
    require(same(first, again), f"{name}: returns two results for the same images: make it deterministic")


def _smooth_images() -> Images:
    """Eight images of low frequency waves, which can be separated from noise."""
    channels, height, width = SHAPE
    angle, phase = (3 * images((channels, 1, 1), 16)).split(8)
    place = torch.linspace(0, 3, height)[:, None] + torch.linspace(0, 2, width)
    return 0.5 + 0.4 * torch.sin(angle * place + phase)
