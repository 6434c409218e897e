"""How long, how fast, and with what arithmetic; and what this machine does best."""

import logging
import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import nn

from copyfold.errors import UsageError, at_least, one_of

log = logging.getLogger("copyfold")

Precision: TypeAlias = Literal["auto", "32", "bf16"]
Schedule: TypeAlias = Literal["constant", "cosine"]

WARM_UP = 100  # steps to the full learning rate, where there is a schedule


@dataclass(frozen=True)
class Plan:
    """How long, how fast, and with what arithmetic: arguments of `fit`, checked."""

    epochs: int | None
    minutes: float | None
    batch: int
    lr: float
    seed: int
    precision: str
    schedule: Schedule = "constant"
    threads: int = field(default_factory=torch.get_num_threads)

    def __post_init__(self) -> None:
        at_least(1, batch=self.batch)
        at_least(0, seed=self.seed)
        one_of(Schedule, "schedule", self.schedule)
        if self.epochs is not None:
            at_least(1, epochs=self.epochs)
        for name, value in (("minutes", self.minutes), ("lr", self.lr)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name}={value} cannot be: it must be above 0")

    def rate(self, step: int, done: float) -> float:
        """The learning rate at a step, when the share `done` of the plan is behind it.

        "cosine" is lr (1 + cos(pi done)) / 2, after 100 steps of a straight line up to it.
        """
        if self.schedule == "constant":
            return self.lr
        return self.lr * min(1.0, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * min(1.0, done))) / 2


def resolve(precision: str) -> str:
    """What "auto" means on this machine, from what its hardware can do."""
    one_of(Precision, "precision", precision)
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities()
        fast = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    log.info("precision: %s", "bf16, which this machine has in hardware" if fast else "32, no bf16 in hardware")
    return "bf16" if fast else "32"


def layout(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last where there are convolutions; not on a CPU with group norms, there 4 to 6 times slower."""
    convolutions = any(isinstance(m, nn.Conv2d) for m in model.modules())
    grouped = any(isinstance(m, nn.GroupNorm | nn.InstanceNorm2d) for m in model.modules())
    if not convolutions or (grouped and device.type == "cpu"):
        return torch.contiguous_format
    log.info("memory layout: channels last, the faster one for this model on this device")
    return torch.channels_last
