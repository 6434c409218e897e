"""`fit`: a model, an objective and photos in; a run out."""

import inspect
import logging
import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from copyfold import runs, screen
from copyfold.data import Photos, Stream
from copyfold.data.beside import as_photos
from copyfold.data.reading.opening import Given
from copyfold.data.reading.remembered import remember
from copyfold.errors import CopyfoldError, Diverged, UsageError, option, options
from copyfold.models.base import Autoencoder
from copyfold.models.dense import Linear
from copyfold.models.storing import load
from copyfold.objectives.base import Classical, Objective
from copyfold.training.callbacks import Callback, Callbacks
from copyfold.training.callbacks import check as check_callbacks
from copyfold.training.checkpointing import Checkpoints, check_state, finished, read
from copyfold.training.checks import check, check_kinds, check_resumed, warn
from copyfold.training.closing import close
from copyfold.training.distributed import compare_steps, launched, rank
from copyfold.training.early_stopping import EarlyStopping
from copyfold.training.ema import MovingAverage
from copyfold.training.loggers import Log, Sent
from copyfold.training.loggers import check as check_logger
from copyfold.training.loop import train
from copyfold.training.loss import Loss
from copyfold.training.metrics_log import MetricsLog
from copyfold.training.plan import Plan, check_names, layout, optimizer_of
from copyfold.training.run_metadata import describe
from copyfold.training.running_averages import RunningAverages
from copyfold.training.runtime import one_at_a_time, switched
from copyfold.training.same_images import compare, measured, warn_of_copies
from copyfold.training.solving import solve
from copyfold.training.state import TrainState
from copyfold.training.stopping import Clock, Signals, Stopped
from copyfold.types import Progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger("copyfold")

PEER = re.compile("peer|gloo|nccl", re.IGNORECASE)  # in the error where another process does not answer


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
    photos: Photos | Stream | Given = None,
    run: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | bool | None = None,
    callbacks: Sequence[Callback] = (),
    log: Log | None = None,
    **plan: Any,
) -> runs.Run:
    """Train a model and return its run, with the results `run.model` and `run.history`.

    Every step is a batch of images; an incomplete last batch of an epoch is dropped. The held-out loss is computed
    after every epoch on up to 512 held-out images. `model` itself is trained, and is in eval mode afterwards.
    The fields of `Plan` say how to train, as in fit(model, epochs=10, batch=64, lr=1e-3). A Linear can be solved
    exactly instead: fit(model, solve=True) sets its weights to PCA.

    The same seed, threads and machine give bit-identical results, also where training was stopped and resumed;
    not where `minutes` with a cosine schedule makes the learning rate depend on the clock, nor on a GPU in
    general, some of whose sums have no fixed order (torch.use_deterministic_algorithms gives them one). Trainings
    in several threads of a process run one after the other, since torch's random numbers are the process's: start
    a process each for several at once.

    Args:
        model: What to train; its shape must be that of the photos.
        objective: The loss to minimise: plain reconstruction unless given.
        photos: What to train on: the digits unless given. Any other source of images that `Photos` takes, such as
            an array, a tensor or a folder, is read at the model's own height, width and channels.
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
    when SIGINT, SIGTERM or SIGHUP came.
    """
    check_names("fit", plan, inspect.signature(fit).parameters)
    objective = objective or Classical()
    check_kinds(model, objective)
    chosen = Plan(**plan).resolved(model)
    check_logger(log)
    check_callbacks(callbacks)
    if chosen.solve and (callbacks or log is not None):
        raise UsageError("solve takes no training steps, for which callbacks and log are: leave them out")
    if plan.get("precision", "auto") == "auto" and not chosen.solve:
        why = "which this machine has in hardware" if chosen.precision == "bf16" else "no bf16 in hardware"
        _tell(f"precision: {chosen.precision}, {why}")
    # after all that is refused without them
    photos = as_photos(photos, model, seed=chosen.seed, progress=progress)
    check(model, objective, photos, chosen)
    name = f"{type(model).__name__.lower()}-{time.strftime('%Y%m%d-%H%M%S')}"
    target = runs.Run(run or Path("runs") / name)
    first = rank(chosen) == 0
    with ExitStack() as stack:
        if first:
            runs.prepare(target.folder, resume, overwrite)
            if resume:
                check_resumed(target, chosen)
            stack.enter_context(target.locked())
        stack.enter_context(one_at_a_time())
        overwrite = overwrite and first and not resume
        shown = stack.enter_context(screen.told(progress, stays=True))
        if chosen.solve:
            if overwrite:
                target.clear()
            solve(target, cast(Linear, model), objective, photos, chosen, resume, shown)
            signum = 0
        else:
            functions = callbacks if first else ()
            signum = _train(target, model, objective, photos, chosen, resume, overwrite, shown, functions, log)
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
    overwrite: bool,
    progress: Progress | None,
    functions: Sequence[Callback],
    log: Log | None,
) -> int:
    """Move everything to the device, and train. Returns the signal that ended training, or 0.

    The model ends as model/ has it: with the average of its weights, and running averages estimated again.
    """
    source, first = photos.batches(plan.batch, plan.seed, rank(plan), plan.world), rank(plan) == 0
    images, kept = measured(photos), None
    if resume and run.checkpoint.is_file():
        compare(run, images)
        kept = read(run, model, plan, len(source))
        if finished(run, kept, plan, len(source)):
            remember(run.folder, photos.recipe())  # as of a run that was moved
            model.load_state_dict(load(run.folder).state_dict())
            return 0
    with Signals(clock := Clock(plan.limit)), _explained(run, plan), launched(plan) as fabric:
        run.folder = Path(fabric.broadcast(str(run.folder)))  # each process has named it by its own clock
        memory = layout(model, fabric.device)
        if memory == torch.channels_last:
            _tell("memory layout: channels last, the faster one for this model on this device")
        model.to(device=fabric.device, memory_format=memory).train()  # type: ignore[call-overload]
        if overwrite:  # not before all processes have started
            run.clear()
        state = _begun(run, model, plan, clock, fabric, kept)
        kept = None  # as large as three models
        loss = Loss(model, objective, memory)
        averages = RunningAverages(objective, photos, plan, fabric, memory)
        sent = Sent(log if first else None, state, run)
        metrics = MetricsLog(run, state, loss, averages, photos.held_out, plan, fabric, len(source), sent)
        checkpoints = Checkpoints(run, state, averages, plan, fabric, metrics, len(source))
        compare_steps(run, state.step, fabric)
        if first:  # nothing of a run is overwritten before all that it is resumed from has been read and checked
            describe(run, model, objective, photos, images, plan, log)
            if not state.step:
                warn(objective, photos, plan.seed)
                warn_of_copies(photos)
        remember(run.folder, photos.recipe())
        with switched(model, plan), sent.finalized():
            if first:
                sent.recipe(run.recipe)
            callbacks = Callbacks(functions, state, run)
            train(state, loss, source, plan, fabric, metrics, checkpoints, callbacks, progress)
    model.load_state_dict(load(run.folder).state_dict())
    if first:
        close(run, plan, objective, photos, state, metrics)
    return clock.signum


def _begun(
    run: runs.Run, model: Autoencoder, plan: Plan, clock: Clock, fabric: "Fabric", kept: dict[str, Any] | None
) -> TrainState:
    """The state that training begins with: a new one, or that of the checkpoint `kept`."""
    average = MovingAverage(model, plan.average) if plan.average is not None else None
    stopping = EarlyStopping(plan.patience) if plan.patience is not None else None
    state = TrainState(model, optimizer_of(model, plan), clock, average, stopping)
    if kept is not None:
        check_state(run, kept, model, plan)
        state.load_state_dict(kept, fabric)
        if kept["precision"]:  # the scale of the loss, of a training in float16
            fabric.strategy.precision.load_state_dict(kept["precision"])
    return state


@contextmanager
def _explained(run: runs.Run, plan: Plan) -> Generator[None]:
    """Raise errors of training again with a message that says what to do."""
    further = options(run=str(run.folder), resume=True)
    try:
        yield
    except Diverged as error:
        raise Diverged(
            f"{error}: {run.folder} keeps the last good state; continue with {further} and a "
            f"lower {option('lr')} than {plan.lr:g}"
            + (f", or {option('precision', '32')}" if plan.precision in ("bf16", "16") else "")
        ) from None
    except RuntimeError as error:
        if plan.world == 1 or not PEER.search(str(error)):
            raise
        raise CopyfoldError(
            "another process of this training has ended, and says why itself unless it was killed: "
            f"{run.folder} keeps the last checkpoint, continue with {further}"
        ) from error


def _tell(sentence: str) -> None:
    """Log a sentence; where `log` is an argument, this is the logger."""
    log.info("%s", sentence)
