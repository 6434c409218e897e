"""The plan of a training: duration, learning rate, precision, devices; and the best choices for this machine."""

import inspect
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias

import torch
from torch import nn

from copyfold.catalogue import nearest
from copyfold.data import Photos
from copyfold.errors import UsageError, at_least, one_of, option, within
from copyfold.models.dense import Linear
from copyfold.training.optimizers import Adam, Muon, Optimizer
from copyfold.types import Precision

Schedule: TypeAlias = Literal["constant", "linear", "cosine"]

EPOCHS = 30  # where neither epochs nor minutes are given
GRACE = 1.15  # times its minutes, the clock ends a plan by steps: the machine may be busier than when measured
WARM_UP, SHARE = 100, 0.05  # steps to the full learning rate, or share of the plan, where it has a schedule
SOLVED = ("solve", "seed", "threads")  # what a plan without steps says


@dataclass(frozen=True)
class Plan:
    """How to train: every choice of `fit` beside the model, the objective and the photos.

    Args:
        epochs: Passes over the photos: 30 unless this, `steps` or `minutes` is given; whichever ends first.
        steps: Steps of training, a batch each.
        minutes: Minutes of training, the time before a resume counted in. Beside `steps` they are a guard alone:
            training is stopped at 1.15 times the minutes.
        batch: Images per step, over all devices and accumulated parts.
        optimizer: Muon for a model with convolutions and for Linear, Adam for others, unless given.
        solve: Compute the optimal weights in closed form, in one pass over the photos and without training steps:
            PCA, of a Linear only.
        lr: The learning rate: the optimiser's own, 0.02 of Muon and 0.001 of Adam, unless given.
        seed: Of everything random: held-out images, weights (on the command line), order, corruption.
        precision: 32, tf32, bf16, 16, or auto: bf16 where the device has it in hardware. tf32 and 16 are CUDA's.
        schedule: Of the learning rate: cosine and linear end at 0 with the plan; or constant.
        warm_up: Steps of a straight line up to the learning rate. Unless given, 100 or a twentieth of the plan,
            whichever is less; with a constant rate, none.
        accumulate: Parts that a batch is computed in, one after the other, where memory is too small for it.
        clip: The largest norm of the gradient of all weights together; a longer one is shortened to it.
        average: The decay of an exponential moving average of the weights, such as 0.999: saved and looked at
            in place of the weights themselves.
        patience: Epochs without a lower held-out loss after which training ends.
        save_minutes: Minutes from one checkpoint to the next.
        save_steps: Steps from one checkpoint to the next, beside those by the clock.
        keep: Checkpoints to keep: the last one, last.ckpt, and those before it in checkpoints/.
        compile: Compile the model, which takes a minute or so, for faster steps.
        recompute: Keep no activations within a stage of the model, and compute them again for the gradient: less
            memory, more time.
        threads: Threads of a CPU: as many as there are cores unless given. Another number gives other bits.
        devices: Devices to train on in each node: GPUs, or processes where there is none.
        nodes: Machines to train on, each with a process per device started by torchrun or SLURM.
        sync: Take batch norms' statistics over all devices, as if there were one.

    Raises UsageError for invalid values.
    """

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batch: int = 16
    optimizer: Optimizer | None = None
    solve: bool = False
    lr: float | None = None
    seed: int = 0
    precision: Precision = "auto"
    schedule: Schedule = "cosine"
    warm_up: int | None = None
    accumulate: int = 1
    clip: float | None = None
    average: float | None = None
    patience: int | None = None
    save_minutes: float = 1.0
    save_steps: int | None = None
    keep: int = 1
    compile: bool = False
    recompute: bool = False
    threads: int | None = None
    devices: int = 1
    nodes: int = 1
    sync: bool = False

    def __post_init__(self) -> None:
        at_least(1, batch=self.batch, accumulate=self.accumulate, keep=self.keep)
        at_least(1, devices=self.devices, nodes=self.nodes)
        at_least(0, seed=self.seed)
        one_of(Precision, "precision", self.precision)
        if self.optimizer is not None and not isinstance(self.optimizer, Optimizer):
            raise UsageError(
                f"optimizer={self.optimizer!r} is invalid: expected an instance of a subclass of Optimizer, as in "
                "optimizer=cf.Muon()"
            )
        one_of(Schedule, "schedule", self.schedule)
        for name in ("epochs", "steps", "patience", "save_steps", "threads"):
            if (count := getattr(self, name)) is not None:
                at_least(1, **{name: count})
        if self.warm_up is not None:
            at_least(0, warm_up=self.warm_up)
        within("[0, inf]", self, save_minutes=self.save_minutes)
        for name in ("minutes", "lr", "clip"):
            value = getattr(self, name)
            if value is not None:
                within("(0, inf)", **{name: value})
        if self.average is not None:
            within("(0, 1)", average=self.average)
        if self.batch % (self.world * self.accumulate):
            raise UsageError(
                f"a batch of {self.batch} images cannot be shared by {self.world} devices in {self.accumulate} "
                f"parts: give a {option('batch')} that is a multiple of {self.world * self.accumulate}"
            )
        if self.sync and self.world == 1:
            raise UsageError(
                f"sync takes statistics over all devices, and there is one: give {option('devices')} too"
            )
        stepped = [field.name for field in fields(self) if field.name not in SOLVED]
        given = [name for name in stepped if getattr(self, name) != getattr(type(self), name)]
        if self.solve and given:
            raise UsageError(f"solve takes no training steps, for which {given[0]} is: leave out one of the two")

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes

    @property
    def limit(self) -> float | None:
        """The minutes at which the clock ends training: those of the plan, or more where it goes by steps."""
        return self.minutes if self.minutes is None or self.steps is None else GRACE * self.minutes

    def last(self, length: int) -> int | None:
        """The number of steps after which it ends, with `length` an epoch; None where only the clock ends it."""
        ends = [self.steps, None if self.epochs is None else self.epochs * length]
        return min((end for end in ends if end is not None), default=None)

    def resolved(self, model: nn.Module) -> "Plan":
        """This plan with the defaults of this model and this machine filled in."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = max(1, min(cores, torch.get_num_threads()) // self.devices)
        plan = replace(self, threads=min(self.threads or share, cores))
        if plan.solve:
            return plan
        optimizer = plan.optimizer or (Muon() if _convolves(model) or isinstance(model, Linear) else Adam())
        return replace(
            plan,
            epochs=EPOCHS if (self.epochs, self.steps, self.minutes) == (None, None, None) else self.epochs,
            optimizer=optimizer,
            lr=optimizer.lr if self.lr is None else self.lr,
            precision=resolve(self.precision),
        )

    def pace(self, step: int, done: float) -> float:
        """What the learning rates are multiplied by at a step, when the share `done` of the plan is behind it.

        "cosine" is (1 + cos(pi done)) / 2, "linear" 1 - done; both rise in a straight line at first.
        """
        rise = (step + 1) / max(1, WARM_UP if self.warm_up is None else self.warm_up)
        if self.warm_up is None:
            rise = max(rise, done / SHARE, self.schedule == "constant")
        left = 1 - min(1.0, done)
        shape = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[self.schedule]
        return min(1.0, rise) * shape


def resolve(precision: Precision) -> Precision:
    """What "auto" means on this machine, from what its hardware can do."""
    one_of(Precision, "precision", precision)
    if precision in ("tf32", "16") and not torch.cuda.is_available():
        raise UsageError(f"precision {precision} needs a CUDA device, and there is none: give auto, 32 or bf16")
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities()
        fast = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return "bf16" if fast else "32"


def optimizer_of(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """The optimiser of a resolved plan; its groups remember their full learning rate."""
    assert plan.optimizer is not None
    assert plan.lr is not None
    optimizer = plan.optimizer.build(model, plan.lr, plan.precision)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def layout(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last where there are convolutions; not on a CPU with group norms, there 4 to 6 times slower."""
    grouped = any(isinstance(m, nn.GroupNorm | nn.InstanceNorm2d) for m in model.modules())
    if not _convolves(model) or (grouped and device.type == "cpu"):
        return torch.contiguous_format
    return torch.channels_last


def check_names(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """UsageError where a function that takes **plan is given what is no field of Plan; with the nearest name."""
    for name in sorted(set(given) - {field.name for field in fields(Plan)}):
        if name in inspect.signature(Photos).parameters:
            raise UsageError(
                f"{function} has no argument {name!r}, which says how images are read: give photos=Photos(source, "
                f"{name}=...)"
            )
        raise UsageError(f"{function} has no argument {name!r}: {nearest(name, known)}")


def _convolves(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in model.modules())
