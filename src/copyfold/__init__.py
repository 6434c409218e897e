"""copyfold: train an autoencoder on your images, then see what it learned.

    import copyfold as cf
    photos = cf.Photos("my/photos")
    run = cf.fit(cf.UNet(photos.shape), cf.Classical(), photos, run="runs/first")
    restored = cf.restore(run.model, photos.sample("held_out", 8).images)

Names are found in the families when they are first asked for; importing this module executes nothing else.
"""

from typing import Any

__version__ = "0.1.0"

_FAMILIES = (
    *("types", "errors", "corruptions", "measures", "models", "objectives", "samplers", "probes", "pictures"),
    *("data", "restoration", "report", "training"),  # what is slow to import comes last
)


def __getattr__(name: str) -> Any:
    """Resolve a public name from the families, or a family itself."""
    import importlib

    if name in (*_FAMILIES, "runs", "catalogue"):
        return importlib.import_module(f"copyfold.{name}")
    if not name.startswith("_"):
        from copyfold.catalogue import members

        for family in _FAMILIES:
            root = importlib.import_module(f"copyfold.{family}")
            named = name in getattr(root, "__all__", ())  # by the family itself: no need to import all of it
            found = vars(root) if named else members(root.__name__)
            if name in found:
                globals()[name] = found[name]
                return found[name]
    raise AttributeError(f"copyfold has no {name!r}")


def __dir__() -> list[str]:
    """Every public name, so that completion works."""
    from copyfold.catalogue import members

    return sorted({name for family in _FAMILIES for name in members(f"copyfold.{family}")} | {"runs"})
