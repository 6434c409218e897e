"""`fit`: a model, an objective and photos in; a run out."""

import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import lightning
from lightning.pytorch.callbacks import Callback

from copyfold import runs
from copyfold.data import Photos
from copyfold.errors import Diverged, UsageError
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Classical, Objective
from copyfold.probes.latent import symptoms
from copyfold.training.courier import Copying
from copyfold.training.keeper import Keeper, WholeFiles
from copyfold.training.plan import Plan, Precision, Schedule, layout, resolve
from copyfold.training.record import describe
from copyfold.types import Progress

log = logging.getLogger("copyfold")

RELAPSE = 3  # times the lowest held-out error: learning that was undone, and not its noise


class Stopped(KeyboardInterrupt):
    """A signal asked training to stop, and everything was saved first. `exit_code` is 128 + the signal."""

    def __init__(self, signum: int, run: runs.Run) -> None:
        self.exit_code = 128 + signum
        super().__init__(f"stopped by {signal.Signals(signum).name}; {run.folder} is saved, go on with --resume")


def fit(
    model: Autoencoder,
    objective: Objective | None = None,
    photos: Photos | None = None,
    run: str | Path | None = None,
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    batch: int = 16,
    lr: float = 1e-3,
    seed: int = 0,
    precision: Precision = "auto",
    schedule: Schedule = "constant",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> runs.Run:
    """Train a model with Adam and return its run; `run.model` and `run.history` are what came of it.

    Every step is a batch of images; an incomplete last batch of an epoch is dropped. The held-out loss is taken
    after every epoch on up to 512 held-out images. `model` itself is trained, and is in eval mode afterwards.

    Args:
        model: What to train; its shape must be that of the photos.
        objective: What to make smaller: plain reconstruction unless given.
        photos: What to train on: the digits unless given.
        run: The run's folder; runs/ARCHITECTURE-TIME unless given.
        epochs: Passes over the photos: 30 unless this or `minutes` is given.
        minutes: Minutes of training, the time before a resume counted in; whichever ends first.
        batch: Images per step.
        lr: Adam's learning rate.
        seed: Of everything random: held-out images, weights (on the command line), order, corruption.
        precision: 32, bf16, or auto: bf16 where the device has it in hardware.
        schedule: Of the learning rate: constant, or cosine, which ends at 0 with the plan.
        resume: Go on from the run's last checkpoint, or start anew where there is none.
        overwrite: Delete the run that is in the folder, if there is one.
        progress: Called as progress(what, done, total) after every step.

    Raises UsageError for what cannot be meant, CopyfoldError where the run's folder is in use or the disk is
    full, Diverged when the loss stops being a number (the last good checkpoint is kept), and Stopped, after
    saving, when SIGINT or SIGTERM came.
    """
    objective, photos = objective or Classical(), photos or Photos()
    epochs = 30 if epochs is None and minutes is None else epochs
    plan = Plan(epochs, minutes, batch, lr, seed, resolve(precision), schedule)
    _check(model, objective, photos)
    name = f"{type(model).__name__.lower()}-{time.strftime('%Y%m%d-%H%M%S')}"
    target = runs.prepare(run or Path("runs") / name, resume, overwrite)
    with target.locked():
        if overwrite and not resume:
            target.clear()
        keeper = Keeper(target, model, objective, photos, plan, progress)
        resume = resume and target.checkpoint.is_file()
        if not (resume and _finished(keeper)):
            describe(target, model, objective, photos, plan)
            _train(keeper, objective, resume)
            _say(keeper, objective)
    model.cpu().eval()
    if keeper.signum:
        raise Stopped(keeper.signum, target)
    return target


def _train(keeper: Keeper, objective: Objective, resume: bool) -> None:
    """Hand everything to Lightning's Trainer, and say what went wrong in our own words."""
    model, plan = keeper.model, keeper.plan
    with _quiet():
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=1,
            precision="bf16-mixed" if plan.precision == "bf16" else "32-true",
            min_epochs=0,
            max_epochs=plan.epochs or -1,
            plugins=[WholeFiles()],
            callbacks=[signals := _Signals(keeper), keeper],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(keeper.run.folder),
        )
        memory = layout(model, trainer.strategy.root_device)
        model.to(memory_format=memory).train()  # type: ignore[call-overload]
        courier = Copying(model, objective, plan.lr, memory)
        checkpoint = str(keeper.run.checkpoint) if resume else None
        with signals:
            try:
                trainer.fit(courier, keeper.source, ckpt_path=checkpoint, weights_only=True)
            except Diverged as error:
                raise Diverged(
                    f"{error}: {keeper.run.folder} keeps the last good state; go on with --resume and a lower "
                    f"--lr than {plan.lr:g}" + (", or --precision 32" if plan.precision == "bf16" else "")
                ) from None
            except SystemExit:  # Lightning's, after a signal that came before or after training itself
                if not keeper.signum:
                    raise


def _say(keeper: Keeper, objective: Objective) -> None:
    """Say in plain words what is wrong with code and output, if anything; write down what each unit does."""
    penalties = objective.penalties if isinstance(objective, Classical) else ()
    outside = keeper.rows[-1].get("held_out_outside", 0.0) if keeper.rows else 0.0
    if keeper.codes:
        keeper.run.write_finding("codes.json", {name: value.tolist() for name, value in keeper.codes.items()})
    said = symptoms(keeper.codes, any(penalty.sparse for penalty in penalties), outside)
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


def _finished(keeper: Keeper) -> bool:
    """Whether the last checkpoint, which the model takes on, is already where the plan ends."""
    path, plan = keeper.run.checkpoint, keeper.plan
    state = WholeFiles().load_checkpoint(path, map_location="cpu")
    try:
        keeper.model.load_state_dict({k.removeprefix("model."): v for k, v in state["state_dict"].items()})
        kept = state["callbacks"][keeper.state_key]
        step, seconds, batches = state["global_step"], kept["seconds"], kept["batches"]
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is no checkpoint of copyfold's: start anew with --overwrite") from None
    except RuntimeError:
        raise UsageError(
            f"{path} is of another model: leave out --model to go on with it, or start anew with --overwrite"
        ) from None
    if batches != len(keeper.source):
        raise UsageError(
            f"{path} is of epochs of {batches} batches, and these images make {len(keeper.source)}: go on "
            "with the same images, --limit and --batch, or start anew with --overwrite"
        )
    ends = {"epochs": (step / len(keeper.source), plan.epochs), "minutes": (seconds / 60, plan.minutes)}
    for name, (done, planned) in ends.items():
        if planned is not None and done >= planned:
            log.info("%s is finished already: give more --%s than %g to go on", keeper.run.folder, name, planned)
            return True
    return False


def _check(model: Autoencoder, objective: Objective, photos: Photos) -> None:
    """Refuse what would fail, or mean nothing, after minutes."""
    if model.shape != tuple(photos.shape):
        raise UsageError(f"the model is for images of {model.shape}, the photos are {tuple(photos.shape)}")
    objective.check(model)


class _Signals(Callback):
    """Lets the first SIGINT or SIGTERM end training after this step; a second one is not held back."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.former = keeper, {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self.former = {int(s): signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        self.listen()

    def __exit__(self, *_: object) -> None:
        for signum, handler in self.former.items():
            signal.signal(signum, handler)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take the handlers back from Lightning, whose own way with SIGTERM is to leave, unsaved and with 0."""
        self.listen()

    def listen(self) -> None:
        """Let both signals be noted."""
        for signum in self.former:
            signal.signal(signum, self.note)

    def note(self, signum: int, frame: FrameType | None) -> None:
        """Remember the signal, for training to end by it."""
        self.keeper.signum = signum
        signal.signal(signum, self.former[signum])


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
