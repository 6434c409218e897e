"""The training loop: one function that reads like the algorithm."""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch

from copyfold.data.batches import Source
from copyfold.errors import Diverged
from copyfold.training.callbacks import Callbacks
from copyfold.training.checkpointing import Checkpoints
from copyfold.training.loss import Loss
from copyfold.training.metrics_log import MetricsLog
from copyfold.training.plan import Plan
from copyfold.training.randomness import hashed, seeded
from copyfold.training.state import TrainState
from copyfold.training.stopping import agree
from copyfold.types import Progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

DIAGNOSED = 10  # diagnostics are computed in every tenth step
AGREED = 10  # steps from one agreement of several processes to the next, which also synchronises with a GPU


def train(
    state: TrainState,
    loss: Loss,
    source: Source,
    plan: Plan,
    fabric: "Fabric",
    log: MetricsLog,
    checkpoints: Checkpoints,
    callbacks: Callbacks,
    progress: Progress | None = None,
) -> None:
    """Train until the plan, the clock, a signal or early stopping ends it.

        for every batch x:   g = mean over its parts of grad L(x);   w <- optimizer(w, g);   average <- w

    Randomness is a function of (seed, step, part, rank): torch is seeded before every part of a step, so that a
    resumed training draws the same numbers. Diverged, in all processes, if a loss became NaN or infinite in one.
    """
    shared: Any = fabric.strategy.setup_module(loss) if plan.world > 1 else loss
    length, over = len(source), False
    last = plan.last(length)
    source.n, state.epoch = state.step, state.step / length
    state.clock.start()  # the time before does not count
    if state.step == 0:
        checkpoints.save()  # so that there is one from the start
        callbacks("save")
    while not over:
        for batch in source:  # what remains of an epoch
            done = state.clock.done(state.step, plan, length)
            for group in state.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * plan.pace(state.step, done)
            one_step(state, loss, shared, batch, plan, fabric)
            state.epoch = state.step / length

            # What is written and decided after it
            ended, final = state.step % length == 0, state.step == last  # an epoch, the plan
            numbered = plan.save_steps is not None and state.step % plan.save_steps == 0
            single = plan.world == 1 and fabric.device.type == "cpu"  # agreement costs nothing
            agreed = ended or final or numbered or single or state.step % AGREED == 0
            if agreed:
                state.loss = state.tally.loss
            log.stepped(ended)
            if progress is not None:
                progress(*log.progress())
            callbacks.stepped(ended)
            if not agreed and not (state.clock.stopped and plan.world == 1):
                continue
            finite = state.loss is None or math.isfinite(state.loss)
            over, due, diverged, signum = agree(fabric, state.clock, checkpoints.due, finite)
            if diverged:
                raise Diverged(f"the loss became NaN or infinite by step {state.step}")
            if ended:
                over |= log.stopped_early
            elif over or final:
                log.row(held_out=True, aside=bool(signum))
            over |= final
            if over or due or numbered:
                checkpoints.save(final=over and not signum)
                callbacks("save")
            if over:
                break
    callbacks("end")


def one_step(
    state: TrainState, loss: Loss, shared: Any, batch: torch.Tensor, plan: Plan, fabric: "Fabric"
) -> None:
    """The gradient of a batch, and the optimiser's step along it; `shared` is the loss of all processes."""
    _gradient(state, shared, batch, plan, fabric)
    _step(state, loss, plan, fabric)


def _gradient(state: TrainState, shared: Any, batch: torch.Tensor, plan: Plan, fabric: "Fabric") -> None:
    """The gradient of a batch, part by part; several processes share it with the last one."""
    watched = state.step % DIAGNOSED == 0 or not state.tally.counts
    for part, pixels in enumerate(batch.chunk(plan.accumulate)):
        seeded(hashed(plan.seed, state.step * plan.accumulate + part, fabric.global_rank), fabric.device)
        with _shared_after(part, shared, plan):
            with fabric.autocast():
                terms, watch = shared(pixels.to(fabric.device, non_blocking=True), watched, state.step)
            total = reduce(add, terms.values())
            fabric.backward(total if plan.accumulate == 1 else total / plan.accumulate)
        state.tally.add({"loss": total} | terms | watch)


def _step(state: TrainState, loss: Loss, plan: Plan, fabric: "Fabric") -> None:
    """A step of the optimiser along the gradient, and of the average after the weights."""
    if plan.clip is not None:
        norm: Any = fabric.clip_gradients(loss, state.optimizer, max_norm=plan.clip, error_if_nonfinite=False)
        state.tally.add({"gradient_norm": norm})
    fabric.strategy.optimizer_step(state.optimizer)
    state.optimizer.zero_grad()
    if state.average is not None:
        state.average.update(state.model)
    state.step += 1


def _shared_after(part: int, shared: Any, plan: Plan) -> AbstractContextManager[Any]:
    """Processes average the gradient with the last part only."""
    return nullcontext() if plan.world == 1 or part + 1 == plan.accumulate else shared.no_sync()
