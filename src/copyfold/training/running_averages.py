"""Running averages of batch norms, estimated again for what is saved and looked at."""

import math
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from copyfold.data import Photos, Stream
from copyfold.models.base import Autoencoder
from copyfold.models.blocks import BatchNorm
from copyfold.objectives.base import Objective
from copyfold.training.loss import to_images
from copyfold.training.plan import Plan
from copyfold.training.randomness import hashed, seeded

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SHARE = 64  # an image forward costs a third of one trained on: one of 64 is half a percent of the time
FEWEST, LEAST, MOST = 8, 32, 1024  # images: in all cases, in the end, and at most
BATCH = 64  # images at a time, or as many as a step has, where VALUES are fewer
HELD, VALUES = 2**26, 2**22  # values of pixels, of all images that are kept and of a batch
NORMS = (BatchNorm, nn.BatchNorm1d, nn.BatchNorm2d)


class RunningAverages:
    """Estimates a model's running averages again, from training images and the weights as they are.

        m = mean over batches of the batch's mean;   v = mean over batches of its unbiased variance

    What training records lags behind the weights by some ten steps, and early in a training that shows. These are
    taken through the objective's own corruption, on a fixed sample of the training images, with batch statistics
    in every layer. They are in the model within a with-block only: training goes on from what it recorded.

    Rows of the log and checkpoints take them: 2 % of the time of training at most, of sets of 300 images or more.
    Smaller ones have a row so often that the fewest images that averages can be taken of are more than that.
    """

    def __init__(
        self,
        objective: Objective,
        photos: Photos | Stream,
        plan: Plan,
        fabric: "Fabric",
        layout: torch.memory_format,
    ) -> None:
        self._objective, self._photos, self._plan, self._fabric = objective, photos, plan, fabric
        self._layout, self._device = layout, fabric.device
        fitting = min(BATCH, VALUES // math.prod(photos.shape))
        self._batch = max(plan.batch // (plan.world * plan.accumulate), fitting, 2)

    @cached_property
    def _pixels(self) -> Tensor:
        """The sample, as bytes where pixels are, in an order of its own; read where it is used, if it is."""
        count = min(MOST, HELD // math.prod(self._photos.shape))
        images = self._photos.sample("train", count, self._plan.seed).images
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self._plan.seed))
        if self._photos.held_out.dtype != np.uint8:
            return images[order]
        return images.mul_(255).round_().to(torch.uint8)[order]

    @contextmanager
    def estimated(self, model: Autoencoder, trained: int, final: bool = False) -> Generator[None]:
        """Have them in the model, from as many images as `trained` ones pay for by .5 % of their time, and 8 more.

        Where it is `final`, 32 more. The model stays as it is where it has no batch norm.
        """
        if not any(isinstance(module, NORMS) for module in model.modules()):
            yield
            return
        kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
        training, count = model.training, trained // SHARE + (LEAST if final else FEWEST)
        try:
            with torch.no_grad(), torch.compiler.set_stance("force_eager"):
                self._estimate(model.train(), self._pixels[:count])
            model.train(training)
            yield
        finally:
            model.train(training)
            for name, buffer in model.named_buffers():
                buffer.copy_(kept[name])

    def _estimate(self, model: Autoencoder, pixels: Tensor) -> None:
        """Let every norm record the mean over the batches that reach it; one that none reaches stays as it is."""
        batches = [batch for batch in pixels.split(self._batch) if len(batch) > 1]
        seeded(hashed(self._plan.seed, -2), self._device)  # the same corruption every time
        with ExitStack() as stack:
            for norm in model.modules():
                if isinstance(norm, NORMS) and _records(norm):
                    _average(norm, stack)
            for batch in batches:
                with self._fabric.autocast(), model.using("batch"):
                    self._objective(model, to_images(batch.to(self._device), self._layout))


def _average(norm: Any, stack: ExitStack) -> None:
    """Let a norm record a mean of what reaches it, rather than a moving average, until the stack is closed."""
    seen = 0

    def weigh(*_: Any) -> None:
        nonlocal seen
        seen += 1
        norm.momentum = 1 / seen

    stack.callback(setattr, norm, "momentum", norm.momentum)
    stack.callback(norm.register_forward_pre_hook(weigh).remove)
    if isinstance(norm, BatchNorm):
        stack.callback(setattr, norm, "synchronised", norm.synchronised)
        norm.synchronised = False  # one process may be alone in this


def _records(norm: Any) -> bool:
    """Whether a norm records averages, as it is; one that is frozen does not."""
    return norm.training and norm.running_var is not None and norm.momentum != 0
