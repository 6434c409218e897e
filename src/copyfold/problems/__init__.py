"""Problems: linear measurements to restore images from. One file an idea, see `problems.base`."""

from copyfold.public import lazy

__getattr__, __dir__ = lazy(__name__)
