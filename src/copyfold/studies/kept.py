"""What a study measured of each seed, kept beside its finding: seeds can be added, and a stopped study goes on."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from copyfold.files import written
from copyfold.probes.base import Reading

log = logging.getLogger("copyfold")

FOLDER = "seeds"
SHARED = "shared"
"""The folder of what several studies of a budget read, beside theirs."""


@dataclass(frozen=True)
class Cost:
    """Seconds that a seed's networks took to train, whenever, and its measurement; the precisions of training."""

    training: float = 0.0
    measuring: float = 0.0
    precisions: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Kept:
    """The readings of every seed in a folder: FOLDER/SEED.safetensors, or PART-SEED where a study has parts.

    Numbers are kept exactly, images as 8 bits. `made` is what they follow from beside the seed: a reading of other
    code or settings is none.
    """

    folder: Path
    made: Mapping[str, Any]

    def read(self, seed: int, part: str = "") -> tuple[Reading, Cost] | None:
        """What was measured of a seed; None where there is nothing, or something else."""
        path = self._path(seed, part)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            if json.loads(about["made"]) != self.made:
                log.info("%s is of other code or settings: it is measured again", path)
                return None
            order: list[str] = json.loads(about["order"])
            return unpacked({name: tensors[name] for name in order}), Cost(**json.loads(about["cost"]))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            log.warning("%s cannot be read (%s): it is measured again", path, error)
            return None

    def write(self, seed: int, part: str, reading: Reading, cost: Cost) -> None:
        """Keep a reading, completely or not at all."""
        path, tensors = self._path(seed, part), packed(reading)
        about = {"made": json.dumps(self.made), "order": json.dumps(list(tensors)), "cost": json.dumps(vars(cost))}
        path.parent.mkdir(parents=True, exist_ok=True)
        with written(path) as whole:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, whole, about)

    def clear(self) -> None:
        """Forget all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, seed: int, part: str) -> Path:
        return self.folder / f"{part}{'-' if part else ''}{seed}.safetensors"


def packed(reading: Reading) -> dict[str, Tensor]:
    """A reading as named tensors on the CPU: its images in bytes."""
    numbers = {f"number {name}": value.detach().cpu() for name, value in reading.numbers.items()}
    images = {f"image {name}": _bytes(x) for name, x in reading.images.items()}
    return numbers | images


def unpacked(tensors: Mapping[str, Tensor]) -> Reading:
    """The reading again."""
    found: dict[str, dict[str, Tensor]] = {"number": {}, "image": {}}
    for name, tensor in tensors.items():
        kind, _, called = name.partition(" ")
        found[kind][called] = tensor.float() / 255 if kind == "image" else tensor
    return Reading(found["number"], found["image"])


def _bytes(x: Tensor) -> Tensor:
    return (x.detach().cpu().float().nan_to_num(0.5).clamp(0, 1) * 255).round().to(torch.uint8)
