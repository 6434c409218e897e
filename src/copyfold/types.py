"""The types that copyfold's parts pass to each other."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float as Float
    from jaxtyping import Int as Int
else:
    try:
        from jaxtyping import Float, Int
    except ModuleNotFoundError:  # shapes are for readers and tests: training does not need jaxtyping

        class Float:
            """A substitute for jaxtyping's Float: Float[Tensor, "b c h w"] is Tensor."""

            def __class_getitem__(cls, of: tuple[Any, str]) -> Any:
                return of[0]

        Int = Float

__all__ = ["Code", "Film", "Images", "Shape", "Terms"]

Shape: TypeAlias = tuple[int, int, int]
"""The shape of one image: channels, height, width."""

Images: TypeAlias = Float[Tensor, "b c h w"]
"""A batch of images, values nominally in [0, 1]."""

Code: TypeAlias = Float[Tensor, "b *code"] | tuple[Float[Tensor, "b ..."], ...]
"""The output of an encoder for a batch: one tensor, or a tuple of feature maps where a U-Net has skips."""

Terms: TypeAlias = dict[str, Float[Tensor, ""]]
"""The weighted terms of a loss by name, in nats per image; their sum is the loss."""

Diagnostics: TypeAlias = dict[str, Float[Tensor, ""]]
"""Numbers to log that are not part of the loss, by name."""

Film: TypeAlias = Iterator[Images]
"""Frames, made one at a time: memory does not grow with their number."""

Statistics: TypeAlias = Literal["batch", "running"]
"""Which means and variances batch norm uses: those of the current batch, or those recorded in training."""

Precision: TypeAlias = Literal["auto", "32", "tf32", "bf16", "16"]
"""The arithmetic of training; auto is bf16 where a device has it in hardware."""

Progress: TypeAlias = Callable[[str, int, int, Mapping[str, float]], object]
"""Called as progress(what, done, total, numbers) during long work; `screen` draws a bar.

`numbers` are by name: `epoch`, `loss` and `held_out_mse` of training, as far as they are known, else none.
"""
