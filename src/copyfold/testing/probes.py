"""What a probe owes: a reading, from a model that stays as it was; and what a classical denoiser does."""

import torch
from torch import Generator, Tensor

from copyfold.models.base import Autoencoder
from copyfold.probes.base import Probe, Reading
from copyfold.probes.baselines import Baseline
from copyfold.testing.demands import (
    SHAPE,
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
from copyfold.types import Images

COUNT = 8  # images that a probe is given
STD = 0.1  # of the noise that a baseline is given


def check_probe(probe: Probe, model: Autoencoder | None = None, x: Images | None = None) -> None:
    """Demand of a probe what copyfold relies on. Give a quick one: it is asked twice per model.

    It gives a Reading of at least one number, all finite and without a gradient, images b x c x h x w; a function
    of the images and of the generator's state. Model and x stay as they were: weights, buffers, mode, statistics,
    requires_grad, .grad and hooks. Its arguments are stored.

    Tried on an MLP, a Variational and a UNet whose code is a tuple of maps, unless `model` is given; those that it
    refuses with UsageError are left out. AssertionError says in one line what is wrong.
    """
    name = instance(probe, Probe)
    stored(probe)

    def ask(model: Autoencoder) -> Reading:
        given = images(model.shape, COUNT) if x is None else x
        shown_to_it = given.clone()
        with untouched(model, name), nothing_global(name):
            reading = probe(model, shown_to_it, Generator().manual_seed(2))
        require(same(shown_to_it, given), f"{name}: changes the images that it is given: work on a copy")
        return reading

    on_tuples = "take the code as one vector, copyfold.models.base.flat(z), or refuse such models with UsageError"
    with seeded():
        for net, reading in accepted(name, model, ask, on_tuples=on_tuples):
            _reads(name, reading)
            with asked(f"{name} on {kind(net)}, again"):
                again = ask(net)
            other = next((n for n, v in reading.numbers.items() if not same(v, again.numbers.get(n))), None)
            require(
                other is None,
                f"{name}: {other} has two values for the same state of the generator: draw from rng alone, and "
                "keep nothing between calls",
            )


def _reads(name: str, reading: object) -> None:
    """Numbers, all finite, and images to look at; without a gradient."""
    if not isinstance(reading, Reading):
        raise AssertionError(f"{name}: gives {shown(reading)}: expected a copyfold.probes.base.Reading")
    require(reading.numbers, f"{name}: reads no number: give Reading at least one")
    for what, value in (*reading.numbers.items(), *reading.images.items()):
        require(isinstance(value, Tensor), f"{name}: {what} is {shown(value)}: expected a tensor")
        require(value.isfinite().all(), f"{name}: {what} has NaN or infinite values")
        require(not value.requires_grad, f"{name}: {what} carries a gradient: put @torch.no_grad() on __call__")
    for what, value in reading.images.items():
        require(value.dim() == 4, f"{name}: the images {what} are {size(value)}: expected b x c x h x w")


def check_baseline(baseline: Baseline, x: Images | None = None) -> None:
    """Demand of a classical denoiser what copyfold relies on, for clean images x (random waves unless given).

    It is a function of noisy images and their std, which it leaves as they were, and gives images of their shape,
    dtype and device, finite. `tuned` gives another of its class, which does so too. Its arguments are stored.
    AssertionError says in one line what is wrong.
    """
    name = instance(baseline, Baseline)
    stored(baseline)
    clean = _waves() if x is None else x
    noisy = clean + STD * torch.randn(clean.shape, generator=Generator().manual_seed(1)).to(clean)
    _restores(name, baseline, noisy)
    with seeded(), asked(f"{name}: tuned(noisy, clean, {STD})"):
        other = type(baseline).tuned(noisy, clean, STD)
    alike = isinstance(other, type(baseline))
    require(alike, f"{name}: tuned gives {shown(other)}: expected a {name} with settings that suit these images")
    _restores(f"{name} as tuned", other, noisy)


def _restores(name: str, baseline: Baseline, noisy: Images) -> None:
    given = noisy.clone()
    with seeded(), asked(f"{name}: {size(noisy)} with noise of std {STD}"):
        first = baseline(given, STD)
        again = baseline(given, STD)
    require(same(given, noisy), f"{name}: changes the images that it is given: work on a copy, x = x.clone()")
    shaped = isinstance(first, Tensor) and first.shape == noisy.shape
    require(shaped, f"{name}: gives {shown(first)} for {size(noisy)}: expected images of that shape")
    kept = first.dtype == noisy.dtype and first.device == noisy.device
    require(kept, f"{name}: gives {first.dtype} on {first.device} for {noisy.dtype} on {noisy.device}: keep both")
    require(first.isfinite().all(), f"{name}: gives NaN or infinite values")
    require(same(first, again), f"{name}: gives two results for the same images: draw nothing at random")


def _waves() -> Images:
    """Eight images of slow waves, which noise can be told from."""
    channels, height, width = SHAPE
    angle, phase = (3 * images((channels, 1, 1), 16)).split(8)
    place = torch.linspace(0, 3, height)[:, None] + torch.linspace(0, 2, width)
    return 0.5 + 0.4 * torch.sin(angle * place + phase)
