"""What the middle of a U-Net owes."""

from torch import Tensor, nn

from copyfold.models.unet import Middle, UNet
from copyfold.testing.architectures import check_architecture
from copyfold.testing.demands import asked, images, instance, require, seeded, shown, size, stored, written


def check_middle(middle: Middle, channels: int = 8, height: int = 8, width: int = 8) -> None:
    """Demand of the middle of a U-Net what copyfold relies on.

    `squeeze` gives a module from maps of channels x height x width to codes with a row per image, `expand` one
    from these to maps of that size. Its arguments are stored, and a UNet with it does what `check_architecture`
    demands. `channels` is even. AssertionError says in one line what is wrong.
    """
    name = instance(middle, Middle)
    stored(middle)
    written(middle)
    x = images((channels, height, width))
    with seeded(), asked(f"{name}: squeeze and expand of {channels}x{height}x{width}"):
        squeeze, expand = (make(channels, height, width) for make in (middle.squeeze, middle.expand))
        for what, module in (("squeeze", squeeze), ("expand", expand)):
            require(
                isinstance(module, nn.Module), f"{name}: {what} gives {shown(module)}: expected a torch module"
            )
        z = squeeze(x)
        batched = isinstance(z, Tensor) and z.shape[:1] == x.shape[:1]
        require(batched, f"{name}: squeeze makes {shown(z)} of {size(x)}: expected a tensor with a row per image")
        y = expand(z)
    require(y.shape == x.shape, f"{name}: expand makes {size(y)} of the code of {size(x)}: expected that size")
    with seeded():
        unet = UNet((1, 2 * height, 2 * width), width=channels // 2, depth=1, middle=middle)
    try:
        check_architecture(unet)
    except AssertionError as error:
        raise AssertionError(f"{name}: in a {error}") from error
