"""Where a command computes."""

from typing import TYPE_CHECKING, Literal, TypeAlias

from copyfold.errors import UsageError

if TYPE_CHECKING:
    import torch
    from jsonargparse import ArgumentParser

Device: TypeAlias = Literal["auto", "cpu", "cuda"]


def flag(parser: "ArgumentParser") -> None:
    """Add --device."""
    parser.add_argument(
        "--device", type=Device, default="auto", help="Where to compute; auto is a CUDA device where there is one."
    )


def chosen(device: Device) -> "torch.device":
    """What --device means, with products of float32 in float32. UsageError where it is not there."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda is invalid: torch finds no CUDA device here; give cpu, or leave it out")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False  # which is otherwise true: numbers are to be those of a CPU
    return torch.device("cuda")
