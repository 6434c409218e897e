"""Architectures: one file each. `models.base.Autoencoder` says what an architecture is."""

from copyfold.public import lazy

__getattr__, __dir__ = lazy(__name__)
