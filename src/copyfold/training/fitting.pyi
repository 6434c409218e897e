# Written by scripts/stubs.py: run `make stubs` where public names or the arguments of fit have changed.

from collections.abc import Sequence
from pathlib import Path

from copyfold import runs
from copyfold.data import Photos, Stream
from copyfold.data.reading.opening import Given
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.training.callbacks import Callback
from copyfold.training.loggers import Log
from copyfold.training.optimizers import Optimizer
from copyfold.training.plan import Schedule
from copyfold.types import Precision, Progress

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
    epochs: int | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    batch: int = 16,
    optimizer: Optimizer | None = None,
    solve: bool = False,
    lr: float | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    schedule: Schedule = "cosine",
    warm_up: int | None = None,
    accumulate: int = 1,
    clip: float | None = None,
    average: float | None = None,
    patience: int | None = None,
    save_minutes: float = 1.0,
    save_steps: int | None = None,
    keep: int = 1,
    compile: bool = False,
    recompute: bool = False,
    threads: int | None = None,
    devices: int = 1,
    nodes: int = 1,
    sync: bool = False,
) -> runs.Run: ...
