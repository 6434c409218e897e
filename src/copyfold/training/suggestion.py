"""A plan that fits the machine: how large, how wide and how many steps, from some twenty steps measured here."""

import inspect
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import Any, NamedTuple

import torch

from copyfold.data import Photos, Stream
from copyfold.data.photos import natural_size
from copyfold.data.reading.opening import Given
from copyfold.data.reading.sizes import Sides, scaled, simple, written
from copyfold.errors import UsageError, option
from copyfold.models.base import Autoencoder
from copyfold.models.building import bounded
from copyfold.models.unet import UNet
from copyfold.objectives.base import Classical, Objective
from copyfold.training.distributed import launched
from copyfold.training.loop import one_step
from copyfold.training.loss import Loss
from copyfold.training.plan import GRACE, Plan, check_names, layout, optimizer_of
from copyfold.training.runtime import switched
from copyfold.training.state import TrainState
from copyfold.training.stopping import Clock
from copyfold.types import Shape

__all__ = ["Suggestion", "suggest"]

LADDER = ((32, 8), (32, 16), (48, 16), (64, 16), (64, 32), (96, 32), (128, 32), (128, 64))
"""Longer side and width, from the cheapest to the dearest: each learns more than the one before where time allows.
"""
SIDES = sorted({size for size, _ in LADDER})
ENOUGH = 50
"""Steps that a network must have time for, per unit of its width.

On CIFAR-10 at 32 pixels, in the time of 1,500 steps at width 32, which leave 1.9 % of the variance, 450 steps at
width 64 leave 2.7 %; 60 steps at any width leave all of it.
"""
LEAST = 300  # steps below which hardly anything is learned, and a plan is warned of
WAIST = 8  # pixels that the deepest map keeps at least: a smaller one is much harder to learn
DEEPEST = 3  # poolings that are suggested at most
HINDERED = 3  # times as slow as one thread: several are never that on a CPU that does nothing else
SHARE = 0.9  # of the minutes are steps; the rest is held-out images, running averages, checkpoints
MINUTES = 3.0
UNCOUNTED = 2  # steps before those that are measured: the first make room for what all need
SPENT = 0.01  # of the minutes, measuring of one network ends; a step that is being measured is waited for
OWN = ("steps", "minutes", "batch")  # of a plan, what a suggestion says itself
TRIED, CHOSEN = 3, 8  # throw-away steps of each network that is tried, and more of the one that is chosen


class Rung(NamedTuple):
    """A network that may be suggested."""

    size: int | Sides
    """The side of the images in pixels; height and width of those that are not square."""
    width: int
    depth: int | None
    """Poolings; None where the architecture has no such choice."""

    @property
    def sides(self) -> Sides:
        """Height and width."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@dataclass(frozen=True)
class Suggestion:
    """A network and a plan for it that fit so many minutes on this machine.

    `fit(s.model(photos.shape), photos=photos, **s.plan)` trains it, with photos of `size`.
    """

    architecture: Callable[..., Autoencoder]
    """What was measured, such as UNet; called with the shape, the width and the depth."""
    size: int | Sides
    """The side of the images in pixels; height and width of those that are not square."""
    width: int
    depth: int | None
    """Poolings; None where the architecture has no such choice."""
    steps: int
    minutes: float
    batch: int
    threads: int | None
    """1 where the cores are busy with other programs; else None, the plan's own."""
    seconds: float
    """What a step takes, as measured."""
    why: tuple[str, ...]
    """Sentences: what was chosen, and what will not do."""
    wrap: Callable[[Autoencoder], Autoencoder] | None = None
    """What is put around the network, such as a Variational."""
    named: Mapping[str, Any] = field(default_factory=dict)
    """The other fields of the plan that were named, such as the optimiser."""

    def model(self, shape: Shape) -> Autoencoder:
        """The network for images of this shape, which may have another size than was measured."""
        return _built(self.architecture, self.wrap, shape, Rung(simple(shape[1:]), self.width, self.depth))

    @property
    def plan(self) -> dict[str, Any]:
        """What `fit` is given: the steps, the minutes that guard them, the batch, threads, what was named."""
        found = {"steps": self.steps, "minutes": self.minutes, "batch": self.batch, **self.named}
        return found if self.threads is None else found | {"threads": self.threads}


def suggest(
    photos: Photos | Stream | Given = None,
    minutes: float = MINUTES,
    architecture: Callable[..., Autoencoder] = UNet,
    objective: Objective | None = None,
    **plan: Any,
) -> Suggestion:
    """Measure this machine, and suggest a network and a plan for some minutes.

        s = cf.suggest("my/photos", minutes=3)
        photos = cf.Photos("my/photos", size=s.size)
        run = cf.fit(s.model(photos.shape), photos=photos, **s.plan)

    Suggested is the largest size and width for which 50 steps per unit of width fit into the minutes, of a few
    that are tried for some twenty throw-away steps in all. Sizes above the images' own are not tried, and all have
    the aspect ratio of images that share one shape. The depth leaves a map of 8 pixels or more. What comes out
    differs from machine to machine, and with what else runs.

    Args:
        photos: A source of images, as `Photos` takes it, of which the size is looked up; or photos, of their size.
        minutes: Minutes of training.
        architecture: A class that has a width, or a functools.partial of one: what that names stays.
        objective: The loss: plain reconstruction unless given.
        **plan: Fields of `Plan` that make a step what it is, such as batch, optimizer and precision.

    Raises UsageError for an architecture without a width, and where it takes no size that was tried.
    """
    if "width" not in inspect.signature(architecture).parameters:
        raise UsageError(f"{_name(architecture)} has no width to choose: expected an architecture such as UNet")
    check_names("suggest", plan, inspect.signature(Plan).parameters)
    chosen = Plan(**plan, minutes=minutes)
    if chosen.world > 1:
        raise UsageError("suggest measures one device: leave out devices and nodes")
    if isinstance(photos, Photos | Stream):
        channels, *size = photos.shape
        own = (size[0], size[1])
        found = measured_plan(architecture, objective or Classical(), chosen, own, channels, own)
    else:
        found = measured_plan(architecture, objective or Classical(), chosen, natural_size(photos))
    if found is None:
        raise UsageError(f"{_name(architecture)} takes no size that was tried: give photos that it takes")
    return found


def measured_plan(
    architecture: Callable[..., Autoencoder],
    objective: Objective,
    plan: Plan,
    largest: Sides,
    channels: int = 3,
    size: Sides | None = None,
    wrap: Callable[[Autoencoder], Autoencoder] | None = None,
) -> Suggestion | None:
    """What `suggest` does with all that is named: `size`, the steps of the plan, what the architecture is given.

    `largest` is the images' own height and width. None where the architecture takes none of the sizes.
    """
    assert plan.minutes is not None
    minutes, threads = plan.minutes, plan.threads

    def built(rung: Rung) -> Autoencoder:
        return _built(architecture, wrap, (channels, *rung.sides), rung)

    def seconds(plan: Plan, rung: Rung, steps: int) -> float:
        return step_time(built(rung), objective, plan, steps)

    def buildable(rung: Rung) -> bool:
        try:
            built(rung)
        except UsageError:
            return False
        return True

    tried = filter(buildable, rungs(architecture, largest, size))
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        if (first := next(tried, None)) is None:
            return None
        plan = unhindered(plan, lambda plan: step_time(built(first), objective, plan, TRIED))
        rung = climbed(chain([first], tried), lambda rung: seconds(plan, rung, TRIED), minutes, plan.steps)
        took = seconds(plan, rung, CHOSEN)
    return suggestion(architecture, rung, took, plan, plan.threads != threads, wrap)


def unhindered(plan: Plan, seconds: Callable[[Plan], float]) -> Plan:
    """The plan with one thread, where several take three times as long: they wait for each other on busy cores."""
    if plan.threads is not None or torch.cuda.is_available() or torch.get_num_threads() == 1:
        return plan
    one = replace(plan, threads=1)
    return one if HINDERED * seconds(one) < seconds(plan) else plan


def rungs(architecture: Callable[..., Autoencoder], largest: Sides, size: Sides | None = None) -> list[Rung]:
    """The networks to try, the cheapest first; `size` stays where it is given, and what the architecture names."""
    named = getattr(architecture, "keywords", {})
    has_depth = "depth" in inspect.signature(architecture).parameters
    longer = max(largest)
    cap = max((side for side in SIDES if side <= longer), default=longer)
    found: list[Rung] = []
    for side, width in LADDER:
        chosen = size or scaled(largest, min(side, cap))
        depth = named.get("depth", min(DEEPEST, max(1, int(math.log2(max(1, min(chosen) / WAIST))))))
        rung = Rung(simple(chosen), named.get("width", width), depth if has_depth else None)
        if rung not in found:
            found.append(rung)
    return found


def climbed(
    tried: Iterable[Rung], seconds: Callable[[Rung], float], minutes: float, steps: int | None = None
) -> Rung:
    """The last network, from the cheapest on, that has time for its steps, or for those given; or the first."""
    chosen = None
    for rung in tried:
        try:
            fits = seconds(rung) * (steps or ENOUGH * rung.width) <= SHARE * 60 * minutes
        except torch.OutOfMemoryError:
            if chosen is None:
                raise
            break
        if chosen is None or fits:
            chosen = rung
        if not fits:
            break
    assert chosen is not None  # one network is given at least
    return chosen


def suggestion(
    architecture: Callable[..., Autoencoder],
    rung: Rung,
    seconds: float,
    plan: Plan,
    hindered: bool = False,
    wrap: Callable[[Autoencoder], Autoencoder] | None = None,
) -> Suggestion:
    """The plan for a network whose steps take so many seconds, and the reasons in words.

    `hindered` says that the plan has one thread because the cores are busy.
    """
    assert plan.minutes is not None
    steps = plan.steps or _rounded(SHARE * 60 * plan.minutes / seconds)
    said = list(_reasons(_name(architecture), rung, seconds, steps, plan))
    if hindered:
        said.append(
            "other programs are using the cores, where one thread is the "
            f"fastest: training has {option('threads', 1)}"
        )
    threads = 1 if hindered else None
    others = {f.name: getattr(plan, f.name) for f in fields(plan) if f.name not in OWN}
    named = {name: value for name, value in others.items() if value != getattr(Plan, name)}
    batch = plan.batch
    return Suggestion(architecture, *rung, steps, plan.minutes, batch, threads, seconds, tuple(said), wrap, named)


def _reasons(name: str, rung: Rung, seconds: float, steps: int, plan: Plan) -> Iterator[str]:
    assert plan.minutes is not None
    deep = "" if rung.depth is None else f" and depth {rung.depth}"
    article = "an" if name[0] in "AEIOaeio" else "a"  # "a UNet"
    size = rung.size if isinstance(rung.size, int) else written(rung.size)
    network = f"{article} {name} of width {rung.width}{deep} at {size} pixels"
    minutes = f"{plan.minutes:g} minute{'s' * (plan.minutes != 1)}"
    counted = f"{steps:,} step{'s' * (steps != 1)}"
    needed = steps * seconds / 60
    if plan.steps is None:
        yield f"{minutes} are about {counted} of {network} here, {_time(seconds)} each"
    else:
        yield f"{counted} of {network} take about {_time(60 * needed)} here"
        if needed > GRACE * plan.minutes:
            yield (
                f"that is more than the {minutes} of the plan, and training stops at {GRACE} times those: give "
                f"more {option('minutes')}, fewer {option('steps')}, or a smaller {option('size')} or width"
            )
    if steps < LEAST:
        least = _rounded_up(LEAST * seconds / SHARE / 60)
        other = f"{option('minutes', least)}, or a smaller {option('size')} or width"
        more = f"at least {LEAST} {option('steps')}" if plan.steps else other
        yield f"{counted} {'is' if steps == 1 else 'are'} too few to learn to copy: give {more}"


def step_time(model: Autoencoder, objective: Objective, plan: Plan, steps: int) -> float:
    """Seconds that a step of training takes: the mean of `steps` throw-away ones, of fewer where they are slow."""
    objective.check(model)
    minutes = plan.minutes or MINUTES
    # to compile would take longer than all else; steps that then are faster end before the minutes do
    plan = replace(plan, compile=False, steps=None, epochs=None).resolved(model)
    with launched(plan) as fabric:
        memory = layout(model, fabric.device)
        model.to(device=fabric.device, memory_format=memory).train()  # type: ignore[call-overload]
        state, loss = TrainState(model, optimizer_of(model, plan), Clock(None)), Loss(model, objective, memory)
        batch = torch.randint(256, (plan.batch, *model.shape), dtype=torch.uint8)
        taken: list[float] = []
        with switched(model, plan):
            while len(taken) < UNCOUNTED + steps and sum(taken) < SPENT * 60 * minutes:
                started = time.perf_counter()
                one_step(state, loss, loss, batch, plan, fabric)
                if fabric.device.type == "cuda":
                    torch.cuda.synchronize(fabric.device)
                taken.append(time.perf_counter() - started)
    counted = taken[UNCOUNTED:] or taken[-1:]
    return sum(counted) / len(counted)


def _built(
    architecture: Callable[..., Autoencoder],
    wrap: Callable[[Autoencoder], Autoencoder] | None,
    shape: Shape,
    rung: Rung,
) -> Autoencoder:
    """The network of a rung for images of a shape, with what is put around it."""
    sizes = {"width": rung.width} | ({} if rung.depth is None else {"depth": rung.depth})
    with bounded():
        model = architecture(shape, **sizes)
        return model if wrap is None else wrap(model)


def _name(architecture: Callable[..., Autoencoder]) -> str:
    return getattr(getattr(architecture, "func", architecture), "__name__", "the architecture")


def _time(seconds: float) -> str:
    """A time in the unit that fits: 178 ms, 2 s, 10 minutes."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.2g} s" if seconds < 99.5 else f"{_plain(seconds / 60)} minutes"


def _plain(value: float) -> str:
    """Two digits, and no exponent."""
    return f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"


def _rounded(steps: float) -> int:
    """Down to two digits, for more would say more than was measured; one step at least."""
    unit = 10 ** max(0, math.floor(math.log10(max(1.0, steps))) - 1)
    return max(1, int(steps // unit * unit))


def _rounded_up(minutes: float) -> float:
    """Up to two digits."""
    unit = 10.0 ** (math.floor(math.log10(minutes)) - 1)
    return math.ceil(minutes / unit) * unit
