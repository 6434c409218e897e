"""The plain U-Net with each norm, and the name of each."""

from copyfold.data import Photos
from copyfold.models.base import Autoencoder
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.networks import unet

NORMS = ("batch", "none", "group")


def by_norm(lab: Lab, photos: Photos) -> list[tuple[int, dict[str, Autoencoder]]]:
    """Every seed with the plain U-Net, trained alike, for each of NORMS."""
    return lab.each(lambda seed: (seed, {kind: lab.trained(unet(lab, norm=kind), photos, seed) for kind in NORMS}))


def norm_label(kind: str) -> str:
    """The name of a network with this norm in numbers and figures."""
    return {"none": "without norm", "untrained": "untrained"}.get(kind, f"{kind} norm")
