"""Requirements of the middle of a U-Net."""

from torch import Tensor, nn

from copyfold.models.unet import Middle, UNet
from copyfold.testing.architectures import check_architecture
from copyfold.testing.demands import (
    attempt,
    can_be_saved,
    class_name,
    images,
    require,
    seeded,
    shown,
    size,
    stores_arguments,
)


def check_middle(middle: Middle, channels: int = 8, height: int = 8, width: int = 8) -> None:
    """Check that the middle of a U-Net behaves as copyfold requires.

    `squeeze` returns a module from maps of channels x height x width to codes with a row per image; `expand`
    returns one from codes to maps of that size. Its arguments are stored, and a UNet with it passes
    `check_architecture`. `channels` must be even. AssertionError says in one line what is wrong.
    """
    name = class_name(middle, Middle)
    stores_arguments(middle)
    can_be_saved(middle)
    x = images((channels, height, width))
    with seeded(), attempt(f"{name}: squeeze and expand of {channels}x{height}x{width}"):
        squeeze, expand = (make(channels, height, width) for make in (middle.squeeze, middle.expand))
        for what, module in (("squeeze", squeeze), ("expand", expand)):
            require(
                isinstance(module, nn.Module), f"{name}: {what} returns {shown(module)}: expected a torch module"
            )
        z = squeeze(x)
        batched = isinstance(z, Tensor) and z.shape[:1] == x.shape[:1]
        require(batched, f"{name}: squeeze maps {size(x)} to {shown(z)}: expected a tensor with a row per image")
        y = expand(z)
    require(y.shape == x.shape, f"{name}: expand maps the code of {size(x)} to {size(y)}: expected {size(x)}")
    with seeded():
        unet = UNet((1, 2 * height, 2 * width), width=channels // 2, depth=1, middle=middle)
    try:
        check_architecture(unet)
    except AssertionError as error:
        raise AssertionError(f"{name}: in a {error}") from error
