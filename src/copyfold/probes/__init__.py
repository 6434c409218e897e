"""Probes: what an autoencoder learned, as numbers and images. One file each, see `probes.base`."""

from copyfold.public import lazy

__getattr__, __dir__ = lazy(__name__)
