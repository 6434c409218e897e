"""Networks that others have trained: those of the package copyfold-weights."""

from importlib.util import find_spec
from pathlib import Path

from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.models.storing import CONFIG, load

__all__ = ["pretrained"]

PACKAGE = "copyfold_weights"


def pretrained(name: str = "denoiser") -> Autoencoder:
    """A trained network of the package copyfold-weights: on the CPU, in eval mode, in float32.

    `name` is that of a folder in the package. No code of the package is run: its files are read by `load`.
    UsageError where the package is not installed, and where it has no network of this name.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            "the package copyfold-weights, which has trained networks, is not installed: install it with pip "
            "install ./weights in copyfold's source folder, or train a network with copyfold train PHOTOS "
            "--config denoiser, and give its run"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    found = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    if name not in found:
        raise UsageError(f"copyfold-weights has no network {name!r}: expected {' or '.join(found) or 'none'}")
    return load(folder / name)
