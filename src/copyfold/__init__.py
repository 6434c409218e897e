"""copyfold: train an autoencoder on your images, then see what it learned.

    import copyfold as cf
    photos = cf.Photos("my/photos")
    run = cf.fit(cf.UNet(photos.shape), cf.Classical(), photos, run="runs/first")
    restored = cf.restore(run.model, photos.sample("held_out", 8).images)

Names are found when they are first asked for, see `copyfold.public`; importing this module executes nothing else.
"""

from typing import Any

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """A public name, or a module."""
    from copyfold.public import resolve

    return resolve(__name__, name)


def __dir__() -> list[str]:
    """Every public name, so that completion works."""
    from copyfold.public import listed

    return listed(__name__)
