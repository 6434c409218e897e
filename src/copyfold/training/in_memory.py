"""Training on an array in memory: nothing is written, nothing is held out."""

import math

import numpy as np
import torch

from copyfold.data.batches import Batches
from copyfold.errors import Diverged
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.training.checks import check_kinds
from copyfold.training.distributed import launched
from copyfold.training.loop import one_step
from copyfold.training.loss import Loss
from copyfold.training.plan import Plan, layout, optimizer_of
from copyfold.training.runtime import one_at_a_time, switched
from copyfold.training.state import TrainState
from copyfold.training.stopping import Clock


def fit_array(model: Autoencoder, objective: Objective, images: np.ndarray, plan: Plan) -> list[float]:
    """Train a model in place on images N·H·W·C, and return the mean loss of every epoch, in nats per image.

    The steps are those of `fit`, of the same plan; but there is no run, no log and no checkpoint, and all images
    are trained on. Of floats 0 and 1 are black and white, as they are; integers are stored pixels. The model is on
    the CPU and in eval mode afterwards, and torch's generator as it was before.

    Raises UsageError where model, objective and plan do not fit, Diverged when the loss becomes NaN or infinite.
    """
    check_kinds(model, objective)
    objective.check(model)
    plan = plan.resolved(model)
    source = Batches(images, plan.batch, plan.seed)
    last, losses = plan.last(len(source)), list[float]()
    assert last is not None  # of a resolved plan without minutes
    with one_at_a_time(), torch.random.fork_rng(devices=[]), launched(plan) as fabric, switched(model, plan):
        memory = layout(model, fabric.device)
        model.to(device=fabric.device, memory_format=memory).train()  # type: ignore[call-overload]
        state = TrainState(model, optimizer_of(model, plan), Clock(None))
        loss = Loss(model, objective, memory)
        while state.step < last:
            for batch in source:
                for group in state.optimizer.param_groups:
                    group["lr"] = group["initial_lr"] * plan.pace(state.step, state.step / last)
                one_step(state, loss, loss, batch, plan, fabric)
                if state.step == last:
                    break
            losses.append(state.tally.take()["loss"])
            if not math.isfinite(losses[-1]) or not state.finite:
                raise Diverged(
                    f"the loss or a weight became NaN or infinite by step {state.step}: train again, with lr "
                    f"below {plan.lr:g}"
                )
    model.to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return losses
