"""Where studies get images and trained models from, at what budget."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Generator as Yields
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Generator, Tensor

from copyfold import catalogue
from copyfold.data import Photos
from copyfold.data.sampling import as_images
from copyfold.errors import CopyfoldError, DataError, Diverged, UsageError, option
from copyfold.files import write_text
from copyfold.models.base import Autoencoder
from copyfold.models.storing import load
from copyfold.objectives.base import Classical, Objective
from copyfold.probes.base import Reading
from copyfold.runs import Run
from copyfold.studies.budget import Budget
from copyfold.studies.datasets import SETS
from copyfold.studies.kept import Cost, Kept, packed, unpacked
from copyfold.studies.provenance import code_digest, module_digest
from copyfold.training import fit
from copyfold.training.callbacks import Callback, Event
from copyfold.training.optimizers import Adam
from copyfold.training.plan import resolve
from copyfold.training.state import TrainState
from copyfold.types import Images, Progress, Shape

log = logging.getLogger("copyfold")

Make: TypeAlias = Callable[[Shape], Autoencoder]
Which: TypeAlias = Literal["held_out", "train"]
T = TypeVar("T")

PLAN: dict[str, Any] = {"optimizer": Adam(), "schedule": "constant"}
"""How studies train unless they say otherwise: as when their thresholds were fixed."""

QUALITY: dict[str, Any] = {"optimizer": None, "schedule": "cosine", "lr": None}
"""How studies train that ask for quality: by the defaults of `fit`, Muon where a network has convolutions."""


class Paused(CopyfoldError):
    """The minutes of a piece are over; what is done is kept."""

    exit_code = 75  # EX_TEMPFAIL: try again

    def __init__(self) -> None:
        super().__init__(
            f"paused, as the {option('minutes')} are over; what is done is kept: run the same command again, "
            f"without {option('again')}"
        )


class Busy(CopyfoldError):
    """Another process is making what is asked for, and this one has something else to do."""


@dataclass(frozen=True)
class Training:
    """What a network of the lab has been trained for."""

    steps: int
    epochs: float
    seconds: float


@dataclass
class Lab:
    """Images and trained models for studies.

    A model is trained once: `cache` keeps it by its architecture, objective, images, plan, precision and seed, and
    by the version of torch and the code of copyfold that made it (`code_digest`), so that studies share models and
    a suite that was stopped continues. If another process is training the same model into the same cache, this one
    waits for it, until its own minutes are over; or raises Busy, where it is not `patient`.

    Args:
        budget: How much to spend.
        data: Sources by the name of a set, see `sources`; digits replace a set that is missing.
        cache: The folder of the trained models.
        progress: Called as models are trained.
        minutes: Of this piece of work. When they are over, trainings stop where they are, and no seed is begun of
            studies that keep them.
        readings: The folder of what several studies share (`shared`); in the cache unless given.
    """

    budget: Budget
    data: Mapping[str, str] = field(default_factory=dict[str, str])
    cache: Path = Path("results/.models")
    progress: Progress | None = None
    minutes: float | None = None
    readings: Path | None = None
    patient: bool = True
    notes: list[str] = field(default_factory=list[str])
    """What a reader of the next finding must know: replaced data sets, seeds that failed."""

    def __post_init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._end = None if self.minutes is None else time.monotonic() + 60 * self.minutes
        self.trainings: WeakKeyDictionary[Autoencoder, Training] = WeakKeyDictionary()
        """What each network that the lab gave has been trained for; untrained ones are missing."""
        self._known: dict[tuple[str, int], Any] = {}
        self._photos: dict[tuple[str, int, int | None], Photos] = {}
        self.begin()
        others = [p.name for p in self.cache.glob("*") if p.is_dir() and p.name != self._torch]
        if others:
            log.warning(
                "%s: the models of %s are not used by %s: delete them for the space",
                self.cache, ", ".join(sorted(others)), self._torch,
            )  # fmt: skip

    def begin(self, seeds: Sequence[int] | None = None, kept: Kept | None = None) -> None:
        """Clear the notes, times and models of the last study; the next is of these seeds, kept here."""
        self.seeds: Sequence[int] = range(self.budget.seeds) if seeds is None else seeds
        self.kept, self.left_out = kept, set[int]()
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
        lr: float | None = 1e-3,
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
        lr: float | None = 1e-3,
        **plan: Any,
    ) -> list[Autoencoder]:
        """One training, and the model after each of these increasing numbers of batches, in whole epochs."""
        batch = min(batch, len(photos))
        each = len(photos) // batch
        epochs = [self.whole(photos, count, batch) // each for count in steps]
        objective = objective or Classical()
        model = self.untrained(make, photos, seed)
        plan = PLAN | {"batch": batch, "lr": lr, "seed": seed, **plan}
        folder, what = self.place(model, objective, photos, plan)
        looks = {count: folder / f"after-{count}" for count in epochs}
        run = Run(folder / ("training-" + "-".join(map(str, epochs))))  # resumed only with the same epochs
        start = time.monotonic()
        with self.alone(folder):
            missing = {count: look for count, look in looks.items() if not (look / "made.json").is_file()}
            if missing:
                log.info("training %s: %d images, %d epochs, seed %d", folder.name, len(photos), epochs[-1], seed)
            for count, look in missing.items():
                self.train(model, objective, photos, run, count * each, epochs=count, **plan)
                model.save(look)
                cost = {"seconds": round(run.history[-1]["seconds"], 1)}
                write_text(look / "made.json", json.dumps(what | cost, indent=1) + "\n")
            tidy(run, folder)
        self.waited += time.monotonic() - start
        made = [json.loads((looks[count] / "made.json").read_text(encoding="utf-8")) for count in epochs]
        self.spent += made[-1]["seconds"]
        models = [load(looks[count]).to(self.device) for count in epochs]
        for model, count, of in zip(models, epochs, made, strict=True):
            self.trainings[model] = Training(count * each, count, of["seconds"])
        return models

    def place(
        self, model: Autoencoder, objective: Objective, photos: Photos, plan: dict[str, Any]
    ) -> tuple[Path, dict[str, Any]]:
        """The folder of the cache for a training, and all that determines it; the plan gets its precision."""
        with _quiet():
            precision = resolve(plan.get("precision", "auto"))
        self.precisions.add(precision)
        plan["precision"] = precision
        what = _recipe(model, objective, photos, plan)
        key = hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=8).hexdigest()
        return self.shelf(f"{type(model).__name__}-{key}"), what

    def train(
        self,
        model: Autoencoder,
        objective: Objective,
        photos: Photos,
        run: Run,
        last: int,
        callbacks: Sequence[Callback] = (),
        **plan: Any,
    ) -> None:
        """Train, or go on with it, until step `last`; Paused where the lab's minutes end first."""

        def stop(event: Event, state: TrainState) -> None:
            if event == "step" and self.over:
                state.stop()

        with _quiet():
            fit(
                model, objective, photos, run.folder, resume=True, progress=self.progress,
                callbacks=[*callbacks, *([] if self._end is None else [stop])], **plan,
            )  # fmt: skip
        if run.history[-1]["step"] < last:
            raise Paused

    @property
    def over(self) -> bool:
        """Whether the minutes of this piece are."""
        return self._end is not None and time.monotonic() >= self._end

    def shelf(self, what: str) -> Path:
        """A folder of the cache, of this version of torch."""
        return self.cache / self._torch / what

    @property
    def first(self) -> int:
        """The first seed of this study that is not left out, whose images are shown; the last where all are."""
        return next((seed for seed in self.seeds if seed not in self.left_out), self.seeds[-1])

    @contextmanager
    def alone(self, folder: Path) -> Yields[None]:
        """Let no other process write into a folder of the cache; Paused where the minutes end while one does.

        Busy at once where one does and this is not `patient`.
        """
        patience = self.patient and (True if self._end is None else max(0.0, self._end - time.monotonic()))
        with ExitStack() as stack:
            try:
                stack.enter_context(Run(folder).locked(patience))
            except CopyfoldError as held:  # by another process, which may take hours
                raise (Paused() if self.patient else Busy(f"{held}")) from None
            yield

    def once(self, what: str, photos: Photos, make: Callable[[], T]) -> T:
        """What `make` gives, for these photos: made once."""
        key = (what, id(photos))
        if key not in self._known:
            self._known[key] = (photos, make())  # with the photos, so that no others get their id
        return self._known[key][1]

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
                self.left_out.add(seed)
                self.note(f"seed {seed} is left out: {error}")
        if not found:
            raise Diverged("no seed could be trained: see the messages above")
        return found

    def by_seed(self, measure: Callable[[int], Reading], part: str = "") -> list[Reading]:
        """The same for readings, which are kept beside the finding: a seed that is there is not measured again.

        So seeds can be added to a finding, and a study that was stopped goes on. Paused before a seed is begun,
        where the lab's minutes are over. Numbers are per image, or one for the seed; images, in 8 bits, are of the
        first seed only. `part` names one of several measurements.
        """
        drawn: list[int] = []  # the seed that has images

        def look(seed: int) -> Reading:
            reading = self._made_once(self.kept, seed, part, measure, images=not drawn)
            drawn.extend([seed] * bool(reading.images))
            return reading

        return self.each(look)

    def shared(self, what: str, seed: int, photos: Sequence[Photos], measure: Callable[[int], Reading]) -> Reading:
        """A measurement of one seed that several studies use: made once, and kept in `readings`.

        It is made again where the images, the budget or the code have changed: that of the module that defines
        `measure`, and of all that it imports. Its seconds count for every study that uses it. Images are kept of
        the first seed only, as findings show no others.
        """
        budget = {name: value for name, value in asdict(self.budget).items() if name != "seeds"}
        made = {
            "code": module_digest(measure.__module__),
            "budget": budget,
            "images": [_pixels(p) for p in photos],
        }
        with self.alone(self.shelf(f"{what}-{seed}")):
            kept = Kept(self.readings or self.shelf("readings"), made)
            return self._made_once(kept, seed, what, measure, images=seed <= self.first)

    def _made_once(
        self, kept: Kept | None, seed: int, part: str, measure: Callable[[int], Reading], images: bool = True
    ) -> Reading:
        """What is kept of a seed, whose cost is counted again; else what `measure` gives, which is then kept."""
        if kept is not None and (found := kept.read(seed, part)) is not None:
            reading, cost = found
            self.spent, self.waited = self.spent + cost.training, self.waited - cost.measuring
            self.precisions |= set(cost.precisions)
            return reading
        if self.over:
            raise Paused
        spent, waited, start = self.spent, self.waited, time.monotonic()
        reading = measure(seed)
        reading = unpacked(packed(Reading(reading.numbers, reading.images if images else {})))  # as when read
        seconds = time.monotonic() - start - (self.waited - waited)
        if kept is not None:
            kept.write(seed, part, reading, Cost(self.spent - spent, seconds, sorted(self.precisions)))
        return reading

    def note(self, sentence: str) -> None:
        """Add a note to the next finding, once."""
        if sentence not in self.notes:
            log.warning("%s", sentence)
            self.notes.append(sentence)

    @property
    def _torch(self) -> str:
        return f"torch-{torch.__version__.split('+')[0]}"


def tidy(run: Run, folder: Path) -> None:
    """Keep the log of a finished training beside its models, and nothing else: checkpoints take most space."""
    if run.folder.is_dir():
        with suppress(FileNotFoundError):  # one that was killed here has moved it
            (run.folder / "log.csv").replace(folder / f"{run.folder.name}.csv")
        shutil.rmtree(run.folder)


def _recipe(model: Autoencoder, objective: Objective, photos: Photos, plan: dict[str, Any]) -> dict[str, Any]:
    """All that determines a trained model, as plain data: its key in the cache."""
    return {
        "model": type(model).__name__,
        "config": model.config,
        "objective": catalogue.describe(objective),
        "images": _pixels(photos),
        "flip": photos.flip,
        **({"turn": True} if photos.turn else {}),
        **({} if photos.crop is None else {"crop": photos.crop}),
        "plan": catalogue.describe(plan),
        "code": code_digest(model, objective),
    }


def _pixels(photos: Photos) -> str:
    """A digest of the training images."""
    return hashlib.blake2b(photos.train.tobytes(), digest_size=8).hexdigest()


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
