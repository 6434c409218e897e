"""Objectives: what training makes smaller. One equation with three slots, see `objectives.base`."""

from copyfold.public import lazy

__getattr__, __dir__ = lazy(__name__)
