"""Training: the only file that knows Lightning. `fit` takes a model, an objective and photos; a run comes out."""

import hashlib
import json
import logging
import math

import platform
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeAlias, get_args

import lightning
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from copyfold import __version__, catalogue, runs
from copyfold.data import Batches, Photos
from copyfold.errors import CopyfoldError, Diverged, UsageError
from copyfold.files import write_text, written
from copyfold.models.base import Autoencoder
from copyfold.models.blocks import at_least, one_of
from copyfold.objectives.base import Classical, Objective
from copyfold.types import Diagnostics, Images, Progress

log = logging.getLogger("copyfold")

Precision: TypeAlias = Literal["auto", "32", "bf16"]

SAVE_SECONDS = 60.0  # what a crash can cost at the most
HELD_OUT_IMAGES = 512  # enough for two digits of a mean, and cheap
ROW_STEPS = 100  # a row of the log at least this often
WATCH_STEPS = 10  # diagnostics are taken of every tenth step


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
        resume: Go on from the run's last checkpoint, or start anew where there is none.
        overwrite: Delete the run that is in the folder, if there is one.
        progress: Called as progress(what, done, total) after every step.

    Raises UsageError for what cannot be meant, CopyfoldError where the run's folder is in use or the disk is
    full, Diverged when the loss stops being a number (the last good checkpoint is kept), and Stopped, after
    saving, when SIGINT or SIGTERM came.
    """
    objective, photos = objective or Classical(), photos or Photos()
    epochs = 30 if epochs is None and minutes is None else epochs
    plan = _Plan(epochs, minutes, batch, lr, seed, _resolve(precision), torch.get_num_threads())
    _check(model, objective, photos)
    name = f"{type(model).__name__.lower()}-{time.strftime('%Y%m%d-%H%M%S')}"
    target = runs.prepare(run or Path("runs") / name, resume, overwrite)
    with target.locked():
        if overwrite and not resume:
            target.clear()
        resume = resume and target.checkpoint.is_file()
        _describe(target, model, objective, photos, plan)
        keeper = Keeper(target, model, objective, photos, plan, progress)
        _train(model, objective, photos, plan, keeper, resume)
    model.cpu().eval()
    if keeper.signum:
        raise Stopped(keeper.signum, target)
    return target


@dataclass(frozen=True)
class _Plan:
    """How long, how fast, and with what arithmetic."""

    epochs: int | None
    minutes: float | None
    batch: int
    lr: float
    seed: int
    precision: str
    threads: int

    def __post_init__(self) -> None:
        at_least(1, batch=self.batch)
        at_least(0, seed=self.seed)
        if self.epochs is not None:
            at_least(1, epochs=self.epochs)
        for name, value in (("minutes", self.minutes), ("lr", self.lr)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name}={value} cannot be: it must be above 0")


class Copying(lightning.LightningModule):
    """A courier between an objective and Lightning: it adds terms up and keeps a tally of them."""

    def __init__(self, model: Autoencoder, objective: Objective, lr: float, layout: torch.memory_format) -> None:
        super().__init__()
        self.model, self.objective, self.lr, self.layout = model, objective, lr, layout
        self.tally = Tally()

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Images:
        """From bytes to [0, 1], in the memory layout that the model is trained in."""
        return to_images(batch, self.layout)

    def training_step(self, x: Images, index: int) -> Tensor:
        """The sum of the objective's terms; Diverged where it is not a number."""
        watch: Diagnostics | None = {} if self.global_step % WATCH_STEPS == 0 else None
        terms = self.objective(self.model, x, watch)
        loss = torch.stack(list(terms.values())).sum()
        if not math.isfinite(value := loss.item()):
            raise Diverged(f"the loss became {value} at step {self.global_step}")
        self.tally.add({"loss": loss} | terms)
        self.tally.add(watch or {})
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, in its fused form: 2.2 times as fast as the loop over parameters on 31 million of them."""
        return torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)


@dataclass
class Tally:
    """Sums of named numbers since they were last taken."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, numbers: dict[str, Tensor], weight: float = 1.0) -> None:
        """Add numbers, detached, without waiting for a device."""
        for name, value in numbers.items():
            self.sums[name] = self.sums.get(name, 0) + weight * value.detach()
            self.counts[name] = self.counts.get(name, 0) + weight

    def take(self) -> runs.Row:
        """The means, and begin anew."""
        row = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return row


class Keeper(Callback):
    """Keeps what a run must not lose: rows of the log, checkpoints, the model; and stops when it is time.

    Randomness is a function of (seed, step): every step seeds torch anew, so a resumed run draws what it would
    have drawn. Checkpoints are written within an epoch and at its end, never on its last batch: there, Lightning
    would count the epoch as unfinished.
    """

    def __init__(
        self,
        run: runs.Run,
        model: Autoencoder,
        objective: Objective,
        photos: Photos,
        plan: _Plan,
        progress: Progress | None,
    ) -> None:
        self.run, self.model, self.objective, self.plan, self.progress = run, model, objective, plan, progress
        self.source = Batches(photos.train, plan.batch, plan.seed, photos.flip)
        self.held_out = photos.held_out[:HELD_OUT_IMAGES]
        self.signum = 0
        self.rows: list[runs.Row] = []
        self.before = 0.0  # seconds of training before this start
        self.started = self.saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a resume counted in."""
        return self.before + time.monotonic() - self.started

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must know beside the weights."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting from there."""
        self.before = float(state_dict["seconds"])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Go on from the step of the checkpoint, or save the very first state so that there is one."""
        self.source.n = trainer.global_step
        self.rows = [row for row in self.run.history if row["step"] <= trainer.global_step]
        self.started = time.monotonic()
        if trainer.global_step == 0:
            self.save(trainer)

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Make this step's randomness a function of the seed and the step."""
        torch.manual_seed(_hash(self.plan.seed, trainer.global_step))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a row and save now and then; stop where a signal or the clock says so."""
        self.show(trainer)
        if batch_idx + 1 >= len(self.source):
            return  # the epoch's end does it
        if self.over():
            self.row(trainer, pl_module, held_out=True)
            self.save(trainer)
            trainer.should_stop = True
            return
        if (batch_idx + 1) % ROW_STEPS == 0 and len(self.source) - batch_idx > ROW_STEPS // 2:
            self.row(trainer, pl_module)
        if time.monotonic() - self.saved > SAVE_SECONDS:
            self.save(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """A row with the held-out loss; save if it is time or the last chance."""
        if trainer.should_stop:
            return  # stopped within the epoch, and saved there
        self.row(trainer, pl_module, held_out=True)
        last = trainer.current_epoch + 1 == self.plan.epochs or self.over()
        if last or time.monotonic() - self.saved > SAVE_SECONDS:
            self.save(trainer)
        trainer.should_stop = last

    def over(self) -> bool:
        """Whether a signal came or the minutes are spent."""
        return bool(self.signum) or (self.plan.minutes is not None and self.seconds >= 60 * self.plan.minutes)

    def show(self, trainer: lightning.Trainer) -> None:
        """Tell whoever watches how far training is."""
        if self.progress is None:
            return
        what = f"training, loss {self.rows[-1]['loss']:.4g}" if self.rows else "training"
        if self.plan.epochs is None:
            assert self.plan.minutes is not None
            self.progress(what, round(self.seconds), round(60 * self.plan.minutes))
        else:
            self.progress(what, trainer.global_step, self.plan.epochs * len(self.source))

    def row(self, trainer: lightning.Trainer, module: Any, held_out: bool = False) -> None:
        """Write a row of the log: means since the last one."""
        begin = {"epoch": trainer.global_step / len(self.source), "step": trainer.global_step}
        row = begin | {"seconds": self.seconds} | module.tally.take()
        if held_out and len(self.held_out):
            row |= {f"held_out_{name}": value for name, value in self.evaluate(trainer, module).items()}
        self.rows.append(row)
        self.run.write_history(self.rows)

    @torch.no_grad()
    def evaluate(self, trainer: lightning.Trainer, module: Any) -> runs.Row:
        """The objective on held-out images, as the model is trained but recording nothing."""
        tally, size = Tally(), min(self.plan.batch, len(self.held_out))
        torch.manual_seed(_hash(self.plan.seed, -1))  # the same corruption every time
        self.model.eval()
        for start in range(0, len(self.held_out) - size + 1, size):
            batch = torch.from_numpy(self.held_out[start : start + size].copy()).permute(0, 3, 1, 2)
            x = to_images(batch.to(trainer.strategy.root_device), module.layout)
            watch: Diagnostics = {}
            with trainer.precision_plugin.forward_context():
                terms = self.objective(self.model, x, watch)
            tally.add({"loss": torch.stack(list(terms.values())).sum()} | terms | watch)
        self.model.train()
        return tally.take()

    def save(self, trainer: lightning.Trainer) -> None:
        """Write last.ckpt and model/: each is whole or stays as it was."""
        trainer.save_checkpoint(self.run.checkpoint)
        self.model.save(self.run.folder / "model")
        self.saved = time.monotonic()


class WholeFiles(CheckpointIO):
    """Checkpoints that are whole or not there, and that are read without running code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside the target, flush, rename."""
        try:
            with written(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:  # torch hides what the disk said
            raise CopyfoldError(
                f"cannot write {path}: {error}; the checkpoint before it is untouched; free some space and "
                "go on with --resume"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> Any:
        """Read plain types and tensors only."""
        try:
            return torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:
            raise UsageError(f"{path} cannot be read ({error}); start anew with --overwrite") from error

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def to_images(batch: Tensor, layout: torch.memory_format) -> Images:
    """Bytes to [0, 1] in the given memory layout."""
    return batch.to(torch.float32, memory_format=layout).div_(255)


def _train(
    model: Autoencoder, objective: Objective, photos: Photos, plan: _Plan, keeper: Keeper, resume: bool
) -> None:
    """Hand everything to Lightning's Trainer, and say what went wrong in our own words."""
    if resume and _finished(keeper, plan):
        log.info("%s is finished already; give more --epochs or --minutes to go on", keeper.run.folder)
        return
    with _quiet():
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=1,
            precision="bf16-mixed" if plan.precision == "bf16" else "32-true",
            min_epochs=0,
            max_epochs=plan.epochs or -1,
            plugins=[WholeFiles()],
            callbacks=[keeper],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(keeper.run.folder),
        )
        layout = _layout(model, trainer.strategy.root_device)
        model.to(memory_format=layout).train()  # type: ignore[call-overload]
        courier = Copying(model, objective, plan.lr, layout)
        checkpoint = str(keeper.run.checkpoint) if resume else None
        with _signals(keeper):
            try:
                trainer.fit(courier, keeper.source, ckpt_path=checkpoint, weights_only=True)
            except Diverged as error:
                raise Diverged(
                    f"{error}: {keeper.run.folder} keeps the last good state; try a lower --lr than {plan.lr:g}"
                    + (", or --precision 32" if plan.precision == "bf16" else "")
                ) from None


def _finished(keeper: Keeper, plan: _Plan) -> bool:
    """Whether the last checkpoint is already where the plan ends."""
    state = WholeFiles().load_checkpoint(keeper.run.checkpoint, map_location="cpu")
    steps = (plan.epochs or math.inf) * len(keeper.source)
    seconds = next(iter(s["seconds"] for s in state["callbacks"].values() if "seconds" in s), 0.0)
    return state["global_step"] >= steps or seconds >= 60 * (plan.minutes or math.inf)


def _check(model: Autoencoder, objective: Objective, photos: Photos) -> None:
    """Refuse what would fail, or mean nothing, after minutes."""
    if model.shape != tuple(photos.shape):
        raise UsageError(f"the model is for images of {model.shape}, the photos are {tuple(photos.shape)}")
    if isinstance(objective, Classical):
        objective.fidelity.check(model)


def _resolve(precision: str) -> str:
    """What "auto" means on this machine, from what its hardware can do."""
    one_of(Precision, "precision", precision)
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities()
        fast = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    log.info("precision: %s", "bf16, which this machine has in hardware" if fast else "32, no bf16 in hardware")
    return "bf16" if fast else "32"


def _layout(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last where there are convolutions; not on a CPU with group norms, there 4 to 6 times slower."""
    convolutions = any(isinstance(m, nn.Conv2d) for m in model.modules())
    grouped = any(isinstance(m, nn.GroupNorm | nn.InstanceNorm2d) for m in model.modules())
    if not convolutions or (grouped and device.type == "cpu"):
        return torch.contiguous_format
    log.info("memory layout: channels last, the faster one for this model on this device")
    return torch.channels_last


def _hash(seed: int, step: int) -> int:
    """A seed for one step that has nothing to do with that of the next."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=8).digest(), "little") >> 1


@contextmanager
def _signals(keeper: Keeper) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end training after this step; a second one is not held back."""

    def note(signum: int, frame: FrameType | None) -> None:
        keeper.signum = signum
        signal.signal(signum, former[signum])

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    former = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    for signum in former:
        signal.signal(signum, note)
    try:
        yield
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)


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


def _describe(run: runs.Run, model: Autoencoder, objective: Objective, photos: Photos, plan: _Plan) -> None:
    """Write recipe.yaml, data.json, env.json and the model's README before the first step."""
    settings = {k: v for k, v in catalogue.describe(plan)["init_args"].items() if k != "threads"}
    arguments = {k: v for k, v in model.config.items() if k != "shape"}
    recipe = {"model": {"class_path": type(model).__name__, "init_args": arguments}}
    data = photos.recipe()
    run.write_recipe({**data, **recipe, "objective": catalogue.describe(objective), **settings, "seed": plan.seed})
    told = {"shape": list(photos.shape), "train": len(photos.train), "held_out": len(photos.held_out)}
    told |= {"fingerprint": photos.fingerprint, "notes": list(photos.notes), "classes": photos.classes}
    write_text(run.folder / "data.json", json.dumps(told, indent=2) + "\n")
    packages = {name: version(name) for name in ("torch", "lightning", "numpy", "pillow")}
    machine = {"python": platform.python_version(), "system": platform.platform(), "threads": plan.threads}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    write_text(run.folder / "env.json", json.dumps({"copyfold": __version__, **machine, "device": device, **packages}, indent=2) + "\n")
    write_text(run.folder / "model" / "README.md", _card(model, objective, photos))


def _card(model: Autoencoder, objective: Objective, photos: Photos) -> str:
    """What the model is, what was made smaller, and how to load it."""
    return f"""# {type(model).__name__}

{model.summary()}.

Trained by copyfold on {len(photos.train):,} images of {"x".join(map(str, photos.shape))} (channels x height x
width), pixels in [0, 1]. {"; ".join(photos.notes).capitalize()}.

## What was made smaller

    {objective}

{type(objective).__doc__}
Every term is a sum over pixels (a fidelity) or over the numbers of the code (a penalty), in nats, averaged over
the images of a batch, and has its weight in it already; their sum is the loss. `mse` in log.csv is per pixel,
`psnr` in dB and averaged over images; the columns that begin with `held_out_` are the same on images that were
not trained on.

## How to use it

    import copyfold
    model = copyfold.load("<the run's folder>")
"""
