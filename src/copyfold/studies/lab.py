"""Where studies get images and trained models from, at what budget."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Generator as Yields
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Generator, Tensor

from copyfold import catalogue
from copyfold.data import Photos
from copyfold.data.sampling import as_images
from copyfold.errors import DataError, Diverged, UsageError
from copyfold.files import write_text
from copyfold.models.base import Autoencoder, load
from copyfold.objectives.base import Classical, Objective
from copyfold.runs import Run
from copyfold.studies.budget import Budget
from copyfold.studies.datasets import SETS
from copyfold.studies.provenance import code_digest
from copyfold.training import fit
from copyfold.training.optimizers import Adam
from copyfold.training.plan import resolve
from copyfold.types import Images, Progress, Shape

log = logging.getLogger("copyfold")

Make: TypeAlias = Callable[[Shape], Autoencoder]
Which: TypeAlias = Literal["held_out", "train"]
T = TypeVar("T")

PLAN: dict[str, Any] = {"optimizer": Adam(), "schedule": "constant"}
"""How studies train unless they say otherwise: as when their thresholds were fixed."""


@dataclass
class Lab:
    """Images and trained models for studies.

    A model is trained once: `cache` keeps it by its architecture, objective, images, plan, precision and seed, and
    by the version of torch and the code of copyfold that made it (`code_digest`), so that studies share models and
    a suite that was stopped continues. If another process is training the same model into the same cache, this one
    waits for it.

    Args:
        budget: How much to spend.
        data: Sources by the name of a set, see `sources`; digits replace a set that is missing.
        cache: The folder of the trained models.
        progress: Called as models are trained.
    """

    budget: Budget
    data: Mapping[str, str] = field(default_factory=dict[str, str])
    cache: Path = Path("results/.models")
    progress: Progress | None = None
    notes: list[str] = field(default_factory=list[str])
    """What a reader of the next finding must know: replaced data sets, seeds that failed."""

    def __post_init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.seeds = range(self.budget.seeds)
        self._photos: dict[tuple[str, int, int | None], Photos] = {}
        self.begin()
        others = [p.name for p in self.cache.glob("*") if p.is_dir() and p.name != self._torch]
        if others:
            log.warning(
                "%s: the models of %s are not used by %s: delete them for the space",
                self.cache, ", ".join(sorted(others)), self._torch,
            )  # fmt: skip

    def begin(self) -> None:
        """Clear the notes, times and models of the last study."""
        self.notes.clear()
        self.spent = self.waited = 0.0  # seconds that its models took to train, whenever; and those of now
        self.precisions: set[str] = set()  # in which they were trained

    def photos(self, name: str, side: int | None = None, limit: int | None = None) -> Photos:
        """A set of images at a side (the budget's own unless given), with at most `limit` to train on.

        Digits in place of a set without a source, which the finding then says. A limit applies to the held-out
        images too: measure on those of the set without a limit.
        """
        if name not in SETS:
            raise UsageError(f"no set of images is called {name!r}: {catalogue.nearest(name, SETS)}")
        if name not in self.data:
            self.note(f"{name} was not given: scikit-learn's digits stand in for it")
        key = (name, side or self.budget.side, limit or self.budget.limit)
        if key not in self._photos:
            with _quiet():
                self._photos[key] = Photos(self.data.get(name), key[1], limit=key[2], progress=self.progress)
        return self._photos[key]

    def labelled(self, name: str, side: int | None = None) -> Photos:
        """The same, where every image has a class; DataError where they have none."""
        photos = self.photos(name, side)
        if photos.labels is None or photos.held_out_labels is None:
            raise DataError(
                f"{self.data.get(name)} has no labels, and this study needs them: give --data another set"
            )
        return photos

    def images(self, photos: Photos, which: Which = "held_out", count: int | None = None) -> Images:
        """The images to measure: `count`, or as many as the budget says, spread evenly over the set."""
        pixels = photos.held_out if which == "held_out" else photos.train
        chosen = _evenly(len(pixels), count or self.budget.measured)
        return as_images(pixels[chosen.numpy()]).to(self.device)

    def labels(self, photos: Photos, count: int | None = None) -> Tensor:
        """The classes of the held-out images that `images` gives, for photos that are `labelled`."""
        labels = torch.as_tensor(photos.held_out_labels)
        return labels[_evenly(len(labels), count or self.budget.measured)].to(self.device)

    def trained(
        self,
        make: Make,
        photos: Photos,
        seed: int,
        *,
        objective: Objective | None = None,
        steps: int | None = None,
        batch: int = 16,
        lr: float = 1e-3,
        **plan: Any,
    ) -> Autoencoder:
        """The model that `make` builds for these photos, trained for so many batches, in whole epochs.

        Its initial weights, the order of the images and all noise follow from the seed.
        """
        return self.course(make, photos, seed, (steps or self.budget.steps,), objective, batch, lr, **plan)[0]

    def course(
        self,
        make: Make,
        photos: Photos,
        seed: int,
        steps: Sequence[int],
        objective: Objective | None = None,
        batch: int = 16,
        lr: float = 1e-3,
        **plan: Any,
    ) -> list[Autoencoder]:
        """One training, and the model after each of these increasing numbers of batches, in whole epochs."""
        batch = min(batch, len(photos))
        epochs = [self.whole(photos, count, batch) // (len(photos) // batch) for count in steps]
        objective = objective or Classical()
        model = self.untrained(make, photos, seed)
        with _quiet():
            precision = resolve(plan.get("precision", "auto"))
        self.precisions.add(precision)
        plan = PLAN | {"batch": batch, "lr": lr, "seed": seed, **plan, "precision": precision}
        what = _recipe(model, objective, photos, plan)
        key = hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=8).hexdigest()
        folder = self.cache / self._torch / f"{type(model).__name__}-{key}"
        looks = {count: folder / f"after-{count}" for count in epochs}
        run = Run(folder / ("training-" + "-".join(map(str, epochs))))  # resumed only with the same epochs
        start = time.monotonic()
        with Run(folder).locked(wait=True):
            missing = {count: look for count, look in looks.items() if not (look / "made.json").is_file()}
            if missing:
                log.info("training %s: %d images, %d epochs, seed %d", folder.name, len(photos), epochs[-1], seed)
            for count, look in missing.items():
                with _quiet():
                    fit(
                        model, objective, photos, run.folder,
                        resume=True, progress=self.progress, epochs=count, **plan,
                    )  # fmt: skip
                model.save(look)
                cost = {"seconds": round(run.history[-1]["seconds"], 1)}
                write_text(look / "made.json", json.dumps(what | cost, indent=1) + "\n")
            if run.folder.is_dir():
                (run.folder / "log.csv").replace(folder / f"{run.folder.name}.csv")
                shutil.rmtree(run.folder)  # its checkpoints take most of the space
        self.waited += time.monotonic() - start
        self.spent += json.loads((looks[epochs[-1]] / "made.json").read_text(encoding="utf-8"))["seconds"]
        return [load(looks[count]).to(self.device) for count in epochs]

    def whole(self, photos: Photos, steps: int, batch: int = 16) -> int:
        """This many batches rounded to whole epochs, at least one, as `course` trains."""
        each = len(photos) // min(batch, len(photos))
        return max(1, round(steps / each)) * each

    def untrained(self, make: Make, photos: Photos, seed: int) -> Autoencoder:
        """The same model before training, with the initial weights of this seed."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return make(photos.shape).to(self.device).eval()

    def rng(self, seed: int, what: str = "") -> Generator:
        """A generator for one purpose of one seed."""
        hashed = hashlib.blake2b(f"{seed}/{what}".encode(), digest_size=8).digest()
        return Generator().manual_seed(int.from_bytes(hashed, "big") >> 1)

    def each(self, measure: Callable[[int], T]) -> list[T]:
        """The results of `measure` for every seed; a seed whose training diverges is left out, with a note."""
        found: list[T] = []
        for seed in self.seeds:
            try:
                found.append(measure(seed))
            except Diverged as error:
                self.note(f"seed {seed} is left out: {error}")
        if not found:
            raise Diverged("no seed could be trained: see the messages above")
        return found

    def note(self, sentence: str) -> None:
        """Add a note to the next finding, once."""
        if sentence not in self.notes:
            log.warning("%s", sentence)
            self.notes.append(sentence)

    @property
    def _torch(self) -> str:
        return f"torch-{torch.__version__.split('+')[0]}"


def _recipe(model: Autoencoder, objective: Objective, photos: Photos, plan: dict[str, Any]) -> dict[str, Any]:
    """All that determines a trained model, as plain data: its key in the cache."""
    return {
        "model": type(model).__name__,
        "config": model.config,
        "objective": catalogue.describe(objective),
        "images": hashlib.blake2b(photos.train.tobytes(), digest_size=8).hexdigest(),
        "flip": photos.flip,
        **({"turn": True} if photos.turn else {}),
        **({} if photos.crop is None else {"crop": photos.crop}),
        "plan": catalogue.describe(plan),
        "code": code_digest(model, objective),
    }


def _evenly(length: int, count: int) -> Tensor:
    """At most `count` of the numbers below a length, evenly spread."""
    return torch.linspace(0, length - 1, min(count, length), dtype=torch.float64).long()


@contextmanager
def _quiet() -> Yields[None]:
    """Log only the warnings of each training."""
    former = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(former)
