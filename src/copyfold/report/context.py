"""What the sections of a report look at: a model, images, and the run that the model comes from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator

from copyfold.data import Photos, Sample, Stream
from copyfold.data.sampling import MEASURED, REFERENCE, stratified
from copyfold.measures import filled
from copyfold.models.base import Autoencoder
from copyfold.runs import Run
from copyfold.samplers.base import Sampler
from copyfold.types import Images, Statistics

HELD = 4  # images to measure, of which several are compared as a set
SOME = 32  # images for what takes long


@dataclass(frozen=True)
class Context:
    """A model, the photos it is looked at with, and the run it comes from where it has one."""

    model: Autoencoder
    measured: Sample
    """Images that numbers are over, where the model is: held-out ones, of photos that hold some out."""
    reference: Sample
    """Images to fit baselines on and look for neighbours among: training images, of photos that hold some out."""
    photos: Photos | Stream
    run: Run | None = None
    seed: int = 0

    @classmethod
    def of(cls, model: Autoencoder, photos: Photos | Stream, run: Run | None, seed: int) -> "Context":
        """The same images for every section, where the model is."""
        device = next(model.parameters(), torch.empty(0)).device
        measured, reference = _chosen(photos, seed)
        return cls(model, measured.to(device), reference.to(device), photos, run, seed)

    @property
    def x(self) -> Images:
        """The images measured; NaN where pixels are missing."""
        return self.measured.images

    def few(self, count: int) -> Images:
        """So many images to measure, spread evenly over all: those that `copyfold probe --count` takes of a run.

        Of photos that hold nothing out, of those measured: the others are the reference.
        """
        if _whole(self.photos):
            return self.measured.some(count, self.seed).images
        return self.photos.sample("held_out", count, self.seed).images.to(self.x.device)

    @property
    def rng(self) -> Generator:
        """A new generator in the same state: no section depends on another."""
        return torch.Generator().manual_seed(self.seed)

    @property
    def measured_word(self) -> str:
        """What to call the images measured: nothing is held out of photos that nothing trained on."""
        return "measured" if _whole(self.photos) else "held-out"

    @property
    def reference_word(self) -> str:
        """What to call the images of the reference."""
        return "reference" if _whole(self.photos) else "training"

    def frames(
        self, sampler: Sampler, x: Images, steps: Iterable[int], statistics: Statistics | None = None
    ) -> dict[str, Images]:
        """The frames of a film after these numbers of steps; with the model's own `statistics` unless given."""
        wanted = set(steps)
        with self.model.using(statistics or self.model.statistics):
            film = enumerate(sampler(self.model, filled(x), self.rng), 1)
            return {f"{n} steps" if n > 1 else "1 step": frame for n, frame in film if n in wanted}


def _whole(photos: Photos | Stream) -> bool:
    """Whether photos are only looked at, with nothing held out."""
    return isinstance(photos, Photos) and photos.whole


def _chosen(photos: Photos | Stream, seed: int) -> tuple[Sample, Sample]:
    """The images to measure and the reference; of photos that hold nothing out, a quarter is measured."""
    if not _whole(photos):
        return photos.sample("held_out", MEASURED, seed), photos.sample("train", REFERENCE, seed)
    both = photos.sample("train", MEASURED + REFERENCE, seed)
    rows = stratified(len(both), min(MEASURED, max(HELD, len(both) // 4)), seed)
    return both.at(rows), both.at(np.setdiff1d(np.arange(len(both)), rows))
