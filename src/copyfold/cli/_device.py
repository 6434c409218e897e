"""The device that a command computes on."""

from typing import TYPE_CHECKING, Literal, TypeAlias

from copyfold.errors import UsageError

if TYPE_CHECKING:
    import torch
    from jsonargparse import ArgumentParser

Device: TypeAlias = Literal["auto", "cpu", "cuda"]


def flag(parser: "ArgumentParser") -> None:
    """Add --device."""
    parser.add_argument(
        "--device",
        type=Device,
        default="auto",
        help="The device to compute on; auto is CUDA where available.",
    )


def chosen(device: Device) -> "torch.device":
    """The device of --device, with float32 products in full precision. UsageError where it is missing."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda is invalid: torch finds no CUDA device here; use cpu, or omit --device")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False  # true by default; results should agree with those of a CPU
    return torch.device("cuda")
