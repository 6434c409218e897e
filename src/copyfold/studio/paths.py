"""Paths that a visitor gives: only below the root, and over no link that leads out of it."""

import os
from collections.abc import Iterator
from pathlib import Path

from copyfold.errors import UsageError
from copyfold.files import readable

DEEP = 5  # folders below the root in which runs are looked for
ENTRIES = 200_000  # of a folder of photographs, that are looked at for links


class Root:
    """The folder that the studio works in."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder: Path = Path(os.path.realpath(folder))
        if not self.folder.is_dir():
            raise UsageError(f"--root {folder} is invalid: expected a folder that exists")

    @property
    def shown(self) -> str:
        """Where it is, as a person writes it: below the home folder with ~."""
        home = Path.home()
        inside = self.folder != home and self.folder.is_relative_to(home)
        return readable(f"~/{self.folder.relative_to(home)}" if inside else str(self.folder))

    def inside(self, given: str) -> Path:
        """The path that a text means; UsageError where it is not below the root once links are followed."""
        text = given.strip()
        if "://" in text:
            raise UsageError(f"{text} is an address, and the studio opens none: give a folder below {self.shown}")
        if "\0" in text or len(text) > os.pathconf(self.folder, "PC_PATH_MAX"):
            raise UsageError("this is not a path: give a folder below the root")
        path = Path(os.path.realpath(self.folder / text))
        if not path.is_relative_to(self.folder):
            raise UsageError(f"{text} is not below the root, {self.shown}: give a folder in it")
        if any(part.startswith(".") for part in path.relative_to(self.folder).parts):
            raise UsageError(f"{text} is hidden: give a folder whose name begins with no dot")
        return path

    def images(self, given: str) -> Path:
        """A folder or file of images below the root; UsageError where a link in it leads out."""
        path = self.inside(given)
        if not path.exists():
            raise UsageError(f"{given} does not exist below {self.shown}: give a folder or a .zip in it")
        for count, (entry, link) in enumerate(_below(path), 1):
            if count > ENTRIES:
                raise UsageError(f"{given} has more than {ENTRIES:,} files: use the command line for it")
            if link and not Path(os.path.realpath(entry)).is_relative_to(self.folder):
                raise UsageError(f"{given} has a link that leads out of the root, {readable(entry)}: remove it")
        return path

    def name(self, path: str | os.PathLike[str]) -> str:
        """A path as it is shown, and as a command takes it in the root."""
        found = Path(path)
        return str(found.relative_to(self.folder)) if found.is_relative_to(self.folder) else str(found)

    def run(self, given: str | None) -> Path:
        """The folder of a run below the root; UsageError where there is none, and where a link in it leads out."""
        if not given:
            raise UsageError("no run is chosen: choose one above, or train one")
        path = self.images(given) if self.inside(given).exists() else self.inside(given)
        if not (path / "recipe.yaml").is_file():
            raise UsageError(f"{given} is not a run yet: there is no recipe.yaml in it")
        return path

    def new(self, given: str) -> Path:
        """A folder to be made; UsageError where it is the root, or there already."""
        path = self.inside(given)
        if path == self.folder or not given.strip():
            raise UsageError("the new run has no name: give one, as in runs/first")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{given} is there already: give another name, or resume it")
        return path

    def found(self, name: str) -> list[Path]:
        """The folders below the root that hold a file of this name, the newest first; links are not followed."""
        walk = os.walk(self.folder)
        found: list[Path] = []
        for folder, below, files in walk:
            depth = len(Path(folder).relative_to(self.folder).parts)
            below[:] = [] if depth >= DEEP else [part for part in below if not part.startswith(".")]
            if name in files:
                below.clear()
                found.append(Path(folder))
        return sorted(found, key=lambda path: -path.joinpath(name).stat().st_mtime)

    def runs(self) -> list[str]:
        """The names of the runs below the root, the newest first."""
        return [self.name(folder) for folder in self.found("recipe.yaml")]


def _below(path: Path) -> Iterator[tuple[str, bool]]:
    """Everything in a folder, and whether it is a link; folders behind links are looked at too."""
    waiting, seen = [str(path)] if path.is_dir() else [], set[str]()
    while waiting:
        folder = waiting.pop()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.path, entry.is_symlink()
                if entry.is_dir():
                    waiting.append(entry.path)
