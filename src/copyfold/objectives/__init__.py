"""Objectives: the losses of training. One equation with three parts, see `objectives.base`."""

from copyfold.public import lazy

__getattr__, __dir__ = lazy(__name__)
