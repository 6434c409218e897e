"""Samplers: images from an autoencoder, frame by frame. One file each, see `samplers.base`."""

from copyfold.public import lazy

__getattr__, __dir__ = lazy(__name__)
