"""What holds while a training runs: one at a time, and settings that save time or memory; all are undone after."""

import logging
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from copyfold.models.base import Autoencoder
from copyfold.models.blocks import BatchNorm
from copyfold.training.plan import Plan

log = logging.getLogger("copyfold")

_TRAINING = threading.RLock()  # one that a callback of a training can train within


@contextmanager
def one_at_a_time() -> Generator[None]:
    """Wait for a training in another thread: both would seed torch's random numbers, and draw from them."""
    if not _TRAINING.acquire(blocking=False):
        log.info("another thread of this process is training: this training begins after it")
        _TRAINING.acquire()
    try:
        yield
    finally:
        _TRAINING.release()


@contextmanager
def switched(model: Autoencoder, plan: Plan) -> Generator[None]:
    """Apply the plan's threads, tf32, recompute, compile and synchronised norms within a with-block."""
    threads, precise = torch.get_num_threads(), torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32  # True unless told otherwise, so that 32 would not be 32
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        stack.callback(torch.set_float32_matmul_precision, precise)
        torch.set_num_threads(plan.threads or threads)
        torch.set_float32_matmul_precision("high" if plan.precision == "tf32" else precise)
        stack.callback(setattr, torch.backends.cudnn, "allow_tf32", convolutions)
        torch.backends.cudnn.allow_tf32 = plan.precision == "tf32"
        for module in norms:
            module.synchronised = plan.sync
            stack.callback(setattr, module, "synchronised", False)
        for part in stages(model) if plan.recompute else ():
            _recompute(part, norms)
            stack.callback(delattr, part, "forward")
        for name in ("encode", "logits") if plan.compile else ():
            core = [part for part in model.modules() if isinstance(part, Autoencoder)][-1]  # of a Variational
            setattr(core, name, torch.compile(getattr(core, name)))
            stack.callback(delattr, core, name)
        yield


def stages(model: Autoencoder) -> list[nn.Module]:
    """The parts of encoder and decoder that are called one after the other; one of plain layers is one part."""
    found: list[nn.Module] = []
    for coder in (model.encoder, model.decoder):
        parts = list(coder.children())
        found += parts if any(True for part in parts for _ in part.children()) else [coder]
    return found


def _recompute(part: nn.Module, norms: list[BatchNorm]) -> None:
    """Activation checkpointing: a part stores only its input, and is computed again in the backward pass."""

    @contextmanager
    def again() -> Generator[None]:
        former = [norm.recording for norm in norms]
        for norm in norms:
            norm.recording = False  # what came through was recorded the first time
        try:
            yield
        finally:
            for norm, recording in zip(norms, former, strict=True):
                norm.recording = recording

    contexts = lambda: (nullcontext(), again())  # noqa: E731
    part.forward = partial(checkpoint, part.forward, use_reentrant=False, context_fn=contexts)
