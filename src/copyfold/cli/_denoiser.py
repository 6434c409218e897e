"""The denoiser of a command: a run's model, or that of the package copyfold-weights."""

from dataclasses import dataclass
from pathlib import Path

from copyfold import runs
from copyfold.cli import _screen
from copyfold.errors import UsageError
from copyfold.hub import fetched, is_address
from copyfold.models.base import Autoencoder
from copyfold.models.packaged import pretrained
from copyfold.types import Statistics


@dataclass(frozen=True)
class Denoiser:
    """A model, and the run that it is of; None of copyfold-weights."""

    model: Autoencoder
    run: runs.Run | None

    @property
    def range(self) -> tuple[float, float] | None:
        """The numbers that were 0 and 1 in its training, where the run names some."""
        found = None if self.run is None else self.run.recipe.get("range")
        return (float(found[0]), float(found[1])) if found else None

    @property
    def from_noisy(self) -> bool:
        """Whether it was trained by BlindSpot, on noisy images alone."""
        objective = None if self.run is None else self.run.recipe.get("objective")
        return isinstance(objective, dict) and objective.get("class_path") == "BlindSpot"

    @property
    def turned(self) -> bool:
        """Whether it learned from images turned by quarters, as that of copyfold-weights did."""
        return self.run is None or bool(self.run.recipe.get("turn"))


def warn(denoiser: Denoiser, statistics: Statistics) -> None:
    """Warn of batch statistics: photographs are restored one by one, so that those are of one image."""
    if statistics == "batch" and denoiser.model.has_statistics:
        _screen.log.warning(
            "--statistics batch: each photograph is restored by itself, so batch statistics are its own alone, "
            "and not those of several images as in training: compare with --statistics running"
        )


def given(words: list[str], command: str) -> tuple[Denoiser, list[Path]]:
    """The denoiser, and the photographs: the first word may be a run or an address, the others are files.

    UsageError where there is no photograph, and where the first of several words is nothing at all.
    """
    first, *others = map(Path, words)
    remote = is_address(words[0])
    if remote or any((first / name).is_file() for name in ("recipe.yaml", "log.csv", "model/config.json")):
        if not others:
            raise UsageError(f"{command} needs photographs: give image files or folders of them after {words[0]}")
        if not remote:
            run = runs.open(first)
            return Denoiser(run.model, run), others
        run = runs.Run(fetched(words[0]), words[0])
        # a model may have been pushed without its run
        return Denoiser(run.model, run if (run.folder / "recipe.yaml").is_file() else None), others
    if others and not first.exists():
        raise UsageError(f"{first} does not exist: expected the folder of a run, or an image")
    model = pretrained()
    _screen.log.info("the denoiser is that of the package copyfold-weights")
    return Denoiser(model, None), [first, *others]
