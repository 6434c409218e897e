"""What people do with a folder of images: find odd ones, alike ones, and those that are there twice."""

from copyfold.public import lazy

__getattr__, __dir__ = lazy(__name__)
