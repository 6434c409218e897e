"""`fit`: a model, an objective and photos in; a run out."""

import inspect
import logging
import math
import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import torch

from copyfold import catalogue, runs, screen
from copyfold.corruptions import Clean
from copyfold.data import Photos, Stream
from copyfold.data.sampling import EVALUATED
from copyfold.errors import CopyfoldError, Diverged, UsageError
from copyfold.models.base import Autoencoder, check_reloadable, load
from copyfold.objectives.base import Classical, Objective
from copyfold.probes.latent import code_warnings
from copyfold.training import loggers
from copyfold.training.callbacks import Callback, Callbacks
from copyfold.training.checkpointing import Checkpoints, finished, read
from copyfold.training.distributed import launched, rank
from copyfold.training.early_stopping import EarlyStopping
from copyfold.training.ema import MovingAverage
from copyfold.training.loggers import Log, Sent
from copyfold.training.loop import train
from copyfold.training.loss import Loss
from copyfold.training.metrics_log import MetricsLog
from copyfold.training.plan import GRACE, Plan, layout, optimizer_of
from copyfold.training.run_metadata import describe
from copyfold.training.running_averages import RunningAverages
from copyfold.training.runtime import switched
from copyfold.training.state import TrainState
from copyfold.training.stopping import Clock, Signals, Stopped
from copyfold.training.symptoms import COMPONENTS, jumps, not_learned, overfitting, pca_left, relapse
from copyfold.types import Progress

log = logging.getLogger("copyfold")

PEER = re.compile("peer|gloo|nccl", re.IGNORECASE)  # in the error where another process does not answer
_AS = {Autoencoder: "UNet(photos.shape)", Objective: "Classical()"}


def _with_plan_fields(function: Callable[..., runs.Run]) -> Callable[..., runs.Run]:
    """Let help() and completion show the fields of Plan where a function takes **plan; fitting.pyi is the same."""
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()
    plan = [field.replace(kind=field.KEYWORD_ONLY) for field in inspect.signature(Plan).parameters.values()]
    vars(function)["__signature__"] = signature.replace(parameters=[*own, *plan])
    return function


@_with_plan_fields
def fit(
    model: Autoencoder,
    objective: Objective | None = None,
    photos: Photos | Stream | None = None,
    run: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | bool | None = None,
    callbacks: Sequence[Callback] = (),
    log: Log | None = None,
    **plan: Any,
) -> runs.Run:
    """Train a model with Adam and return its run, with the results `run.model` and `run.history`.

    Every step is a batch of images; an incomplete last batch of an epoch is dropped. The held-out loss is computed
    after every epoch on up to 512 held-out images. `model` itself is trained, and is in eval mode afterwards.
    The fields of `Plan` say how to train, as in fit(model, epochs=10, batch=64, lr=1e-3).

    The same seed, threads and machine give bit-identical results, also where training was stopped and resumed; not
    where `minutes` with a cosine schedule makes the learning rate depend on the clock, nor on a GPU in general,
    some of whose sums have no fixed order (torch.use_deterministic_algorithms gives them one).

    Args:
        model: What to train; its shape must be that of the photos.
        objective: The loss to minimise: plain reconstruction unless given.
        photos: What to train on: the digits unless given.
        run: The run's folder; runs/ARCHITECTURE-TIME unless given.
        resume: Continue from the run's last checkpoint, or start from scratch where there is none.
        overwrite: Delete the run that is in the folder, if there is one.
        progress: By default a bar where there is a terminal or a notebook, and nothing elsewhere. True prints at
            most one line a minute elsewhere; False shows nothing. A function is called after every step as
            progress(what, done, total, numbers), with epoch, loss and held_out_mse as far as they are known.
        callbacks: Functions called as callback(event, state) in the first process, where event is "step",
            "epoch", "save" or "end": after every step, after an epoch and its row of the log, after a checkpoint,
            and at the end. `state` has model, step, epoch, loss and history; `state.stop()` ends training after
            the step. The model is in eval mode. An exception in a callback ends training without saving.
        log: Where rows of the log and pictures of held-out images with their reconstructions are sent as well:
            "tensorboard", which writes to the run's folder, or a logger with log_metrics(metrics, step), such as
            Lightning's.
        **plan: Fields of `Plan`: epochs, minutes, batch, lr, seed, precision, devices and so on.

    Raises UsageError for invalid arguments, CopyfoldError where the run's folder is in use or the disk is full,
    Diverged when the loss becomes NaN or infinite (the last good checkpoint is kept), and Stopped, after saving,
    when SIGINT or SIGTERM came.
    """
    for name in plan.keys() - {field.name for field in fields(Plan)}:
        near = catalogue.nearest(name, inspect.signature(fit).parameters)
        raise UsageError(f"fit has no argument {name!r}: {near}")
    objective, photos = objective or Classical(), photos or Photos()
    chosen = Plan(**plan).resolved(model)
    loggers.check(log)
    for callback in callbacks:
        if not callable(callback):
            raise UsageError(f"callbacks has {callback!r}: expected functions, called as callback(event, state)")
    if plan.get("precision", "auto") == "auto":
        why = "which this machine has in hardware" if chosen.precision == "bf16" else "no bf16 in hardware"
        _tell(f"precision: {chosen.precision}, {why}")
    _check(model, objective, photos, chosen)
    name = f"{type(model).__name__.lower()}-{time.strftime('%Y%m%d-%H%M%S')}"
    target = runs.Run(run or Path("runs") / name)
    first = rank(chosen) == 0
    with ExitStack() as stack:
        if first:
            runs.prepare(target.folder, resume, overwrite)
            stack.enter_context(target.locked())
            if overwrite and not resume:
                target.clear()
        shown = stack.enter_context(screen.told(progress, stays=True))
        signum = _train(target, model, objective, photos, chosen, resume, shown, callbacks if first else (), log)
    model.cpu().eval()
    if signum and first:  # one process says it; a second would be taken for one that failed
        raise Stopped(signum, target)
    return target


def _train(
    run: runs.Run,
    model: Autoencoder,
    objective: Objective,
    photos: Photos | Stream,
    plan: Plan,
    resume: bool,
    progress: Progress | None,
    functions: Sequence[Callback],
    log: Log | None,
) -> int:
    """Move everything to the device, and train. Returns the signal that ended training, or 0.

    The model ends as model/ has it: with the average of its weights, and running averages estimated again.
    """
    source, first = photos.batches(plan.batch, plan.seed, rank(plan), plan.world), rank(plan) == 0
    kept = read(run, model, plan, len(source)) if resume and run.checkpoint.is_file() else None
    if kept is not None and finished(run, kept, plan, len(source)):
        model.load_state_dict(load(run.folder).state_dict())
        return 0
    if first:
        describe(run, model, objective, photos, plan, log)
    with Signals(clock := Clock(plan.limit)), _explained(run, plan), launched(plan) as fabric:
        memory = layout(model, fabric.device)
        if memory == torch.channels_last:
            _tell("memory layout: channels last, the faster one for this model on this device")
        model.to(device=fabric.device, memory_format=memory).train()  # type: ignore[call-overload]
        average = MovingAverage(model, plan.average) if plan.average is not None else None
        stopping = EarlyStopping(plan.patience) if plan.patience is not None else None
        state = TrainState(model, optimizer_of(model, plan), clock, average, stopping)
        if kept is not None:
            state.load_state_dict(kept, fabric.device)
            fabric.strategy.precision.load_state_dict(kept["precision"])
        loss = Loss(model, objective, memory)
        averages = RunningAverages(objective, photos, plan, fabric, memory)
        sent = Sent(log if first else None, state, run)
        metrics = MetricsLog(run, state, loss, averages, photos.held_out, plan, fabric, len(source), sent)
        checkpoints = Checkpoints(run, state, averages, plan, fabric, metrics, len(source))
        with switched(model, plan), sent.finalized():
            if first:
                sent.recipe(run.recipe)
            callbacks = Callbacks(functions, state, run)
            train(state, loss, source, plan, fabric, metrics, checkpoints, callbacks, progress)
    model.load_state_dict(load(run.folder).state_dict())
    if first:
        _say(run, plan, objective, photos, state, metrics, plan.last(len(source)))
    return clock.signum


@contextmanager
def _explained(run: runs.Run, plan: Plan) -> Generator[None]:
    """Raise errors of training again with a message that says what to do."""
    try:
        yield
    except Diverged as error:
        raise Diverged(
            f"{error}: {run.folder} keeps the last good state; continue with --resume and a lower "
            f"--lr than {plan.lr:g}" + (", or --precision 32" if plan.precision in ("bf16", "16") else "")
        ) from None
    except RuntimeError as error:
        if plan.world == 1 or not PEER.search(str(error)):
            raise
        raise CopyfoldError(
            "another process of this training has ended, and says why itself unless it was killed: "
            f"{run.folder} keeps the last checkpoint, continue with --resume"
        ) from error


def _say(
    run: runs.Run,
    plan: Plan,
    objective: Objective,
    photos: Photos | Stream,
    state: TrainState,
    metrics: MetricsLog,
    last: int | None,
) -> None:
    """Log warnings about the code and the output; write the statistics of each unit to findings/codes.json."""
    penalties = objective.penalties if isinstance(objective, Classical) else ()
    rows, codes = metrics.rows, metrics.codes
    outside = rows[-1].get("held_out_outside", 0.0) if rows else 0.0
    if codes:
        run.write_finding("codes.json", {name: value.tolist() for name, value in codes.items()})
    _tell(_ended(rows[-1]) if rows else "no step was trained")
    lost = relapse(rows, plan.lr) or jumps(rows, plan.lr)
    said = lost or overfitting(rows) or _not_learned(rows, objective, photos, state)
    for sentence in [
        *_guarded(plan, state, last),
        *said,
        *code_warnings(codes, any(penalty.sparse for penalty in penalties), outside),
    ]:
        _tell(sentence)


def _ended(row: runs.Row) -> str:
    """Steps, epochs, seconds, loss and held-out error at the end, in one line."""
    step, epoch, seconds = row["step"], row["epoch"], row["seconds"]
    numbers = {"loss": row.get("loss"), "held-out error per pixel": row.get("held_out_mse")}
    said = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items() if value is not None)
    return f"trained {step:,.0f} steps, {epoch:.4g} epochs, in {seconds:,.1f} seconds" + (said and f": {said}")


def _tell(sentence: str) -> None:
    """Log a sentence; where `log` is an argument, this is the logger."""
    log.info("%s", sentence)


def _guarded(plan: Plan, state: TrainState, last: int | None) -> list[str]:
    """A warning where the clock ended a plan of steps before its end."""
    if plan.steps is None or plan.limit is None or last is None or state.step >= last:
        return []
    if state.clock.seconds < 60 * plan.limit:
        return []
    return [
        f"{GRACE} times the {plan.minutes:g} minutes were over at step {state.step:,} of {last:,}: the machine "
        "was slower than the plan expects; go on with --resume and more --minutes"
    ]


def _not_learned(
    rows: list[runs.Row], objective: Objective, photos: Photos | Stream, state: TrainState
) -> list[str]:
    """A warning where it does not copy yet, if it is trained for nothing else and no signal stopped it."""
    plain = (
        isinstance(objective, Classical) and isinstance(objective.corruption, Clean) and not objective.penalties
    )
    held_out = photos.sample("held_out", EVALUATED).images
    if not plain or state.clock.signum or len(held_out) < 2:
        return []
    training = photos.sample("train", EVALUATED).images
    numbers = sum(math.prod(shape) for shape in state.model.code_shapes())
    few = numbers < min(len(training), math.prod(photos.shape))
    components = numbers if few else min(COMPONENTS, len(training) - 1)
    variance, linear = pca_left(training, held_out, components)
    return not_learned(rows, variance, components, linear, few)


def _check(model: Autoencoder, objective: Objective, photos: Photos | Stream, plan: Plan) -> None:
    """UsageError, before training, for what would fail later or could not be read back."""
    for thing, base in ((model, Autoencoder), (objective, Objective)):
        if not isinstance(thing, base):
            raise UsageError(f"{thing!r} is invalid: expected an instance of {base.__name__}, as in {_AS[base]}")
    if not hasattr(photos, "batches"):
        raise UsageError(f"photos={photos!r} is invalid: expected Photos, as in Photos({photos!r})")
    if model.shape != tuple(photos.shape):
        raise UsageError(f"the model is for images of {model.shape}, the photos are {tuple(photos.shape)}")
    check_reloadable(model)
    if not any(p.requires_grad for p in model.parameters()):
        raise UsageError(f"{type(model).__name__} has no weights that can be trained")
    if isinstance(photos, Photos) and photos.whole:
        raise UsageError("photos read with whole=True hold nothing out: train on Photos(...) without it")
    objective.check(model)
    _check_objective(objective, model)
    if plan.recompute and model.has_statistics and model.statistics == "running":
        raise UsageError("recompute is invalid with running averages, which change: give statistics='batch'")
    if plan.compile and any(penalty.differentiates for penalty in getattr(objective, "penalties", ())):
        raise UsageError(
            "compile is invalid with a penalty on a gradient, which needs second derivatives: leave out compile"
        )
    if plan.patience is not None and not len(photos.held_out):
        raise UsageError("patience needs held-out images, and there are none: give more images")
    count = min(plan.batch, len(photos))
    if count % (plan.world * plan.accumulate):
        raise UsageError(
            f"{count} images are fewer than a batch and cannot be shared: give a --batch of fewer images"
        )


def _check_objective(objective: Objective, model: Autoencoder) -> None:
    """UsageError where recipe.yaml could not describe an objective correctly, or where it fails on two images.

    Only an objective with a user's own class in it is tried on images.
    """
    described = catalogue.describe(objective)
    again = catalogue.describe(catalogue.build(Objective, described))
    if again != described:
        raise UsageError(
            f"{type(objective).__name__} rebuilt from its stored arguments, {described}, is {again}: store every "
            "argument of the constructor unchanged, under its name"
        )
    if not catalogue.foreign(described):
        return
    x = torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0)).to(next(model.parameters()))
    training, name = model.training, type(objective).__name__
    try:
        with torch.random.fork_rng(devices=[]), model.using("running"):
            terms = objective(model.eval(), x)
    except UsageError:
        raise
    except Exception as error:  # a user's own class may raise anything
        raise UsageError(f"{name} failed on 2 images: {type(error).__name__}: {error}") from error
    finally:
        model.train(training)
    found: Any = terms
    if not isinstance(found, dict):
        raise UsageError(f"{name} returned {found!r}: expected its terms by name, scalar tensors")
    for term, value in cast(dict[str, Any], found).items():
        if not isinstance(value, torch.Tensor) or value.shape:
            said = f"a tensor of {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"{value!r}"
            raise UsageError(f"{term} returned {said}: expected a scalar tensor, averaged over the batch")
