"""What a model learned, put together from probes and samplers: pictures of a run, and the diagnosis."""

from copyfold.public import lazy

__getattr__, __dir__ = lazy(__name__)
