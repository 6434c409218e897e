"""`fit`: a model, an objective and photos in; a run out."""

import inspect
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from copyfold import catalogue, runs
from copyfold.data import Photos, Stream
from copyfold.data.batches import Parts
from copyfold.errors import CopyfoldError, Diverged, UsageError
from copyfold.models.base import Autoencoder, check_citizen
from copyfold.objectives.base import Classical, Objective
from copyfold.probes.latent import symptoms
from copyfold.training.ending import Clock, Stopped
from copyfold.training.plan import Plan, layout
from copyfold.training.ranks import rank
from copyfold.training.record import describe
from copyfold.training.switches import switched
from copyfold.types import Progress

if TYPE_CHECKING:
    from copyfold.training.keeper import Keeper

log = logging.getLogger("copyfold")

PRECISIONS = {"32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
GONE = re.compile("peer|gloo|nccl", re.IGNORECASE)  # what is said where a process does not answer
_OWN = ("model", "objective", "photos", "run", "resume", "overwrite", "progress")
_AS = {Autoencoder: "UNet(photos.shape)", Objective: "Classical()"}
RELAPSE = 3  # times the lowest held-out error: learning that was undone, and not its noise


def _spelled(function: Callable[..., runs.Run]) -> Callable[..., runs.Run]:
    """Let help() and completion show the fields of Plan where a function takes **plan; fitting.pyi is the same."""
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()
    plan = [field.replace(kind=field.KEYWORD_ONLY) for field in inspect.signature(Plan).parameters.values()]
    vars(function)["__signature__"] = signature.replace(parameters=[*own, *plan])
    return function


@_spelled
def fit(
    model: Autoencoder,
    objective: Objective | None = None,
    photos: Photos | Stream | None = None,
    run: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    **plan: Any,
) -> runs.Run:
    """Train a model with Adam and return its run; `run.model` and `run.history` are what came of it.

    Every step is a batch of images; an incomplete last batch of an epoch is dropped. The held-out loss is taken
    after every epoch on up to 512 held-out images. `model` itself is trained, and is in eval mode afterwards.
    How to train is said by the fields of `Plan`, as in fit(model, epochs=10, batch=64, lr=1e-3).

    With the same seed, threads and machine, the same bits come out, whether or not training was stopped and
    resumed between; not where `minutes` and a cosine make the learning rate a matter of the clock, nor on a GPU
    in general, some of whose sums have no fixed order (torch.use_deterministic_algorithms gives them one).

    Args:
        model: What to train; its shape must be that of the photos.
        objective: What to make smaller: plain reconstruction unless given.
        photos: What to train on: the digits unless given.
        run: The run's folder; runs/ARCHITECTURE-TIME unless given.
        resume: Go on from the run's last checkpoint, or start anew where there is none.
        overwrite: Delete the run that is in the folder, if there is one.
        progress: Called as progress(what, done, total) after every step.
        **plan: Fields of `Plan`: epochs, minutes, batch, lr, seed, precision, devices and so on.

    Raises UsageError for what cannot be meant, CopyfoldError where the run's folder is in use or the disk is
    full, Diverged when the loss stops being a number (the last good checkpoint is kept), and Stopped, after
    saving, when SIGINT or SIGTERM came.
    """
    for name in plan.keys() - (known := {field.name for field in fields(Plan)}):
        raise UsageError(f"fit has no argument {name!r}: {catalogue.nearest(name, {*known, *_OWN})}")
    objective, photos = objective or Classical(), photos or Photos()
    chosen = Plan(**plan).resolved()
    _check(model, objective, photos, chosen)
    # what knows Lightning, which takes longer to import than all else together
    from copyfold.training.keeper import Keeper
    from copyfold.training.logbook import Logbook
    from copyfold.training.resuming import finished

    name = f"{type(model).__name__.lower()}-{time.strftime('%Y%m%d-%H%M%S')}"
    target = runs.Run(run or Path("runs") / name)
    first = rank(chosen) == 0
    with ExitStack() as stack:
        if first:
            runs.prepare(target.folder, resume, overwrite)
            stack.enter_context(target.locked())
            if overwrite and not resume:
                target.clear()
        source = photos.batches(chosen.batch, chosen.seed, rank(chosen), chosen.world)
        logbook = Logbook(target, model, objective, photos.held_out, len(source), clock := Clock(chosen))
        keeper = Keeper(logbook, source, progress)
        resume = resume and target.checkpoint.is_file()
        if not (resume and finished(keeper)):
            if first:
                describe(target, model, objective, photos, chosen)
            with switched(model, chosen):
                _train(keeper, objective, resume)
            if first:
                _say(keeper, objective)
    model.cpu().eval()
    if clock.signum and first:  # one process says it; a second would be taken for one that failed
        raise Stopped(clock.signum, target)
    return target


def _train(keeper: "Keeper", objective: Objective, resume: bool) -> None:
    """Hand everything to Lightning's Trainer, and say what went wrong in our own words."""
    import lightning
    from lightning.pytorch.strategies import DDPStrategy

    from copyfold.training.courier import Copying
    from copyfold.training.keeper import WholeFiles

    model, plan, logbook = keeper.model, keeper.plan, keeper.logbook
    callbacks = [logbook.average, logbook.patience, keeper]
    with _quiet():
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=plan.devices,
            num_nodes=plan.nodes,
            strategy=DDPStrategy(gradient_as_bucket_view=True) if plan.world > 1 else "auto",
            precision=PRECISIONS[plan.precision],  # type: ignore[arg-type]
            min_epochs=0,
            max_epochs=plan.epochs or -1,
            accumulate_grad_batches=plan.accumulate,
            plugins=[WholeFiles()],
            callbacks=[callback for callback in callbacks if callback is not None],
            logger=False,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(keeper.run.folder),
        )
        memory = layout(model, trainer.strategy.root_device)
        model.to(memory_format=memory).train()  # type: ignore[call-overload]
        courier = Copying(model, objective, plan, memory)
        checkpoint = str(keeper.run.checkpoint) if resume else None
        parts = keeper.source if plan.accumulate == 1 else Parts(keeper.source, plan.accumulate)
        with keeper.signals:
            try:
                trainer.fit(courier, parts, ckpt_path=checkpoint, weights_only=True)
            except Diverged as error:
                raise Diverged(
                    f"{error}: {keeper.run.folder} keeps the last good state; go on with --resume and a lower "
                    f"--lr than {plan.lr:g}" + (", or --precision 32" if plan.precision in ("bf16", "16") else "")
                ) from None
            except RuntimeError as error:
                if plan.world == 1 or not GONE.search(str(error)):
                    raise
                raise CopyfoldError(
                    "another process of this training has ended, and says why itself unless it was killed: "
                    f"{keeper.run.folder} keeps the last checkpoint, go on with --resume"
                ) from error
            except SystemExit:  # Lightning's, after a signal that came before or after training itself
                if not keeper.clock.signum:
                    raise
            finally:
                if torch.distributed.is_available() and torch.distributed.is_initialized() and plan.world > 1:
                    torch.distributed.destroy_process_group()


def _say(keeper: "Keeper", objective: Objective) -> None:
    """Say in plain words what is wrong with code and output, if anything; write down what each unit does."""
    penalties = objective.penalties if isinstance(objective, Classical) else ()
    rows, codes = keeper.logbook.rows, keeper.logbook.codes
    outside = rows[-1].get("held_out_outside", 0.0) if rows else 0.0
    if codes:
        keeper.run.write_finding("codes.json", {name: value.tolist() for name, value in codes.items()})
    said = symptoms(codes, any(penalty.sparse for penalty in penalties), outside)
    for sentence in [*_relapse(*keeper.run.series("held_out_mse"), keeper.plan.lr), *said]:
        log.info("%s", sentence)


def _relapse(steps: list[float], errors: list[float], lr: float) -> list[str]:
    """Whether what was learned was lost again, as where all units of a layer have died."""
    best = min(range(len(errors)), key=errors.__getitem__, default=0)
    if not errors or errors[-1] <= RELAPSE * errors[best]:
        return []
    return [
        f"what was learned was lost again: the held-out error per pixel is {errors[-1]:.4f}, and was "
        f"{errors[best]:.4f} at step {steps[best]:.0f}: train anew with a smaller --lr than {lr:g}, or with a norm"
    ]


def _check(model: Autoencoder, objective: Objective, photos: Photos | Stream, plan: Plan) -> None:
    """Refuse what would fail, or mean nothing, after minutes; and what could not be read back."""
    for thing, base in ((model, Autoencoder), (objective, Objective)):
        if not isinstance(thing, base):
            raise UsageError(f"{thing!r} is no {base.__name__}: give an instance of one, as in {_AS[base]}")
    if model.shape != tuple(photos.shape):
        raise UsageError(f"the model is for images of {model.shape}, the photos are {tuple(photos.shape)}")
    check_citizen(model)
    if not any(p.requires_grad for p in model.parameters()):
        raise UsageError(f"{type(model).__name__} has no weights that can be trained")
    _check_written(objective)
    if isinstance(photos, Photos) and photos.whole:
        raise UsageError("photos read with whole=True hold nothing out: train on Photos(...) without it")
    objective.check(model)
    if plan.recompute and model.has_statistics and model.statistics == "running":
        raise UsageError("recompute would see other running averages the second time: give statistics='batch'")
    if plan.compile and any(penalty.differentiates for penalty in getattr(objective, "penalties", ())):
        raise UsageError(
            "a penalty on a gradient is differentiated twice, which no compiled model is: leave out compile"
        )
    if plan.patience is not None and not len(photos.held_out):
        raise UsageError("patience needs held-out images, and there are none: give more images")
    count = min(plan.batch, len(photos))
    if count % (plan.world * plan.accumulate):
        raise UsageError(
            f"{count} images are fewer than a batch and cannot be shared: give a --batch of fewer images"
        )


def _check_written(objective: Objective) -> None:
    """Refuse an objective that recipe.yaml could not say, or would say wrong."""
    described = catalogue.describe(objective)
    again = catalogue.describe(catalogue.build(Objective, described))
    if again != described:
        raise UsageError(
            f"{type(objective).__name__} made again from what it stores, {described}, is {again}: store every "
            "argument of a constructor as it was given, under its name"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's own advice off the screen; what matters is said by copyfold."""
    chatty = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in chatty]
    for logger in chatty:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            yield
    finally:
        for logger, level in zip(chatty, levels, strict=True):
            logger.setLevel(level)
