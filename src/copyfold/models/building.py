"""Building a model from its description: from a file, a recipe or flags, which are not trusted."""

from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from copyfold import catalogue
from copyfold.errors import UsageError, overflowed
from copyfold.models.base import Autoencoder

PARTS = 20_000  # modules and weights of a model that is built from a config, a recipe or flags


def rebuilt(spec: dict[str, Any]) -> Autoencoder:
    """Build the model that `catalogue.describe` described; its weights are arbitrary.

    One of copyfold's own classes is on the meta device and takes no memory. A user's own class is built in
    memory: its constructor may compute what is not saved, share weights, or read values of tensors.
    """
    with (
        torch.device("cpu" if catalogue.foreign(spec) else "meta"),
        torch.random.fork_rng(devices=[]),
        bounded(),
    ):
        return catalogue.build(Autoencoder, spec)


@contextmanager
def bounded() -> Generator[None]:
    """UsageError where more than `PARTS` modules and weights are made, or one of a size that overflows.

    For the building of a model that a file or a command line describes: a few words can ask for millions.
    """
    left = count(PARTS, -1)

    def counted(*_: object) -> None:
        if not next(left):
            raise UsageError(f"the model has more than {PARTS:,} layers and weights: give smaller numbers")

    with (
        register_module_module_registration_hook(counted),
        register_module_parameter_registration_hook(counted),
    ):
        try:
            yield
        except Exception as error:  # torch has several types and texts for it
            if isinstance(error, UsageError) or not overflowed(error):
                raise
            raise UsageError(
                "the model is too large: a weight would have 2^63 bytes or more: give smaller numbers"
            ) from error
