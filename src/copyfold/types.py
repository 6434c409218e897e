"""The vocabulary: what flows between the parts of copyfold."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float as Float
    from jaxtyping import Int as Int
else:
    try:
        from jaxtyping import Float, Int
    except ModuleNotFoundError:  # it says shapes, which only readers and tests look at: training can do without

        class Float:
            """In place of jaxtyping's: Float[Tensor, "b c h w"] is Tensor."""

            def __class_getitem__(cls, of: tuple[Any, str]) -> Any:
                return of[0]

        Int = Float

__all__ = ["Code", "Film", "Images", "Shape", "Terms"]

Shape: TypeAlias = tuple[int, int, int]
"""The shape of one image: channels, height, width."""

Images: TypeAlias = Float[Tensor, "b c h w"]
"""A batch of images, values nominally in [0, 1]."""

Code: TypeAlias = Float[Tensor, "b *code"] | tuple[Float[Tensor, "b ..."], ...]
"""What an encoder says of a batch: one tensor, or a tuple of maps where a U-Net has skips."""

Terms: TypeAlias = dict[str, Float[Tensor, ""]]
"""The weighted addends of a loss by name, in nats per image; their sum is the loss."""

Diagnostics: TypeAlias = dict[str, Float[Tensor, ""]]
"""Numbers worth watching that are not part of the loss, by name."""

Film: TypeAlias = Iterator[Images]
"""Frames, made one at a time: memory does not grow with their number."""

Statistics: TypeAlias = Literal["batch", "running"]
"""Which averages batch norm divides by: those of the batch at hand, or those recorded in training."""

Precision: TypeAlias = Literal["auto", "32", "tf32", "bf16", "16"]
"""The arithmetic of training; auto is bf16 where a device has it in hardware."""

Progress: TypeAlias = Callable[[str, int, int, Mapping[str, float]], object]
"""Called as progress(what, done, total, numbers) by whatever takes long; `screen` draws it.

`numbers` are what is worth showing, by name: of training its `epoch`, `loss` and `held_out_mse`, else none.
"""
