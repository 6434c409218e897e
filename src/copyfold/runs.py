"""A run is a folder: the model, the recipe that made it, its log, its last checkpoint and its pictures."""

import csv
import json
import math
import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, cast, overload

from copyfold.catalogue import nearest
from copyfold.errors import CopyfoldError, UsageError, option
from copyfold.files import (
    RECIPE,
    check_folder,
    locked,
    reason,
    recipe_from,
    recipe_text,
    small_json,
    small_text,
    sweep,
    write_text,
    written,
)
from copyfold.hub import Address, fetched, is_address
from copyfold.models.base import Autoencoder
from copyfold.models.storing import load

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Run"]

Row = dict[str, float]

ENDS = 3  # numbers of a column that are shown of its beginning, and of its end
LAST = 10  # rows of a log that a notebook shows

DATA, LOG = 16_000_000, 256_000_000
"""Bytes of data.json and env.json, and of log.csv, above which they are not read."""

_OURS = (
    "model", "best", "checkpoints", "films", "findings", "log.csv", "data.json", "env.json", "last.ckpt",
    "report.html", "report.json", "tensorboard", "recipe.yaml",
)  # fmt: skip
"""What a run's folder has; recipe.yaml last, without which what a killed process leaves would be no run's."""


class Column(list[float]):
    """One column of a log, and the `steps` that its numbers are of: not every row has every number."""

    def __init__(self, values: Iterable[float], steps: Iterable[float]) -> None:
        super().__init__(values)
        self.steps: list[float] = list(steps)

    def __repr__(self) -> str:
        if len(self) <= 2 * ENDS:
            return f"Column({super().__repr__()})"
        first, last = (", ".join(f"{value:.4g}" for value in part) for part in (self[:ENDS], self[-ENDS:]))
        return f"Column({len(self):,} numbers: {first}, ..., {last})"


class History(list[Row]):
    """The rows of a log, a list of dicts; a name gives a column: `history["loss"]`, `history["loss"].steps`."""

    def __repr__(self) -> str:
        return f"History({len(self)} rows: {', '.join(self._names)})" if self else "History(0 rows)"

    def _repr_html_(self) -> str:
        """For a notebook: the last rows."""
        from copyfold.pictures import sheet, shown

        rows = [[f"{row[name]:.4g}" if name in row else "" for name in self._names] for row in self[-LAST:]]
        return shown(
            f"{self!r}, the last {len(rows)}" if len(self) > LAST else repr(self), sheet(self._names, rows)
        )

    @property
    def _names(self) -> list[str]:
        """The names of its columns, as they come."""
        return list(dict.fromkeys(name for row in self for name in row))

    @overload
    def __getitem__(self, key: SupportsIndex) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> "History": ...
    @overload
    def __getitem__(self, key: str) -> Column: ...
    def __getitem__(self, key: SupportsIndex | slice | str) -> "Row | History | Column":
        """A row, some rows, or a column; UsageError where there is no such column."""
        if isinstance(key, str):
            rows = [row for row in self if key in row]
            if not rows:
                hint = nearest(key, self._names) if self else "it is empty"
                raise UsageError(f"the log has no column {key!r}: {hint}")
            return Column((row[key] for row in rows), (row["step"] for row in rows))
        return History(super().__getitem__(key)) if isinstance(key, slice) else super().__getitem__(key)

    def to_pandas(self) -> "DataFrame":
        """The log as a table of pandas', a row a row; CopyfoldError where pandas is not installed."""
        try:
            from pandas import DataFrame
        except ModuleNotFoundError:
            raise CopyfoldError("to_pandas needs pandas: pip install pandas") from None
        return DataFrame(list(self))


class Run:
    """A run's folder and what is in it.

    model/ holds config.json, model.safetensors and README.md; best/ the same of the lowest held-out loss;
    recipe.yaml every choice that made it; log.csv the history; last.ckpt what training goes on from, and
    checkpoints/ those before it; findings/ and films/ its pictures.
    """

    def __init__(self, folder: str | Path, address: str | None = None) -> None:
        self.folder: Path = Path(folder)
        self.address = address
        """hf://owner/name, where the folder is huggingface_hub's copy of a run on the Hub."""

    def __repr__(self) -> str:
        return f"Run({self.where!r})"

    @property
    def where(self) -> str:
        """Its folder, or its address on the Hub, as a command takes it."""
        return str(self.folder) if self.address is None else self.address

    @property
    def results(self) -> Path:
        """Where commands put what they make of it: its folder; of a run on the Hub one of its name, here."""
        return self.folder if self.address is None else Path(Address.of(self.address).name.partition("/")[2])

    def _repr_html_(self) -> str:
        """For a notebook: its last numbers, and its losses against the step."""
        from copyfold.pictures import curves, embedded, shown, table

        history = self.history
        lines = {"training": self.series("loss"), "held out": self.series("held_out_loss")}
        if not any(steps for steps, _ in lines.values()):
            return shown(repr(self))
        figure = curves({name: line for name, line in lines.items() if line[0]}, "step", "loss, nats per image")
        numbers = {name: f"{value:.4g}" for name, value in history[-1].items()}
        return shown(repr(self), embedded(figure, "the losses"), table(numbers))

    @cached_property
    def model(self) -> Autoencoder:
        """The model as last saved: float32, on the CPU, in eval mode."""
        return load(self.folder)

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint, from which training resumes; it need not exist."""
        return self.folder / "last.ckpt"

    @property
    def recipe(self) -> dict[str, Any]:
        """Every choice that made the run, as recipe.yaml has it."""
        path = self.folder / "recipe.yaml"
        try:
            return recipe_from(small_text(path, RECIPE))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read ({reason(error)}); give the folder of a run") from None

    @property
    def history(self) -> History:
        """The rows of log.csv: epoch, step, seconds, loss, its terms, mse, psnr, and held_out_... of each.

        `history["loss"]` is one column, `history.to_pandas()` a table.
        """
        path = self.folder / "log.csv"
        if not path.is_file():
            return History()
        try:
            text = small_text(path, LOG)
            whole = text[: text.rfind("\n") + 1]  # a row that a crash cut off is none
            read = csv.DictReader(whole.splitlines())
            rows = History({k: float(v) for k, v in row.items() if v} for row in read)
            if not all(
                map(math.isfinite, (n for row in rows for n in (row.get("step", math.nan), row.get("epoch", 0))))
            ):
                raise ValueError("a row has no step")
            return rows
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {reason(error)}") from None
        except (ValueError, TypeError, csv.Error) as error:
            raise UsageError(
                f"{path} is not the log of a run: {error}; start again with {option('overwrite', True)}"
            ) from None

    @property
    def data(self) -> dict[str, Any]:
        """What data.json says of the images it was trained on; nothing where there is none."""
        return self._json("data.json")

    @property
    def mean_error(self) -> float | None:
        """The squared error of the mean training image, by data.json; None where it does not say it."""
        found = self.data.get("mean_error")
        return found if isinstance(found, int | float) and 0 < found < math.inf else None

    @property
    def machine(self) -> dict[str, Any]:
        """What env.json says of the machine it was trained on; nothing where there is none."""
        return self._json("env.json")

    @property
    def step(self) -> int | None:
        """The step of the last row of its log; None where there is none."""
        history = self.history
        return round(history[-1]["step"]) if history else None

    @property
    def reported(self) -> int | None:
        """The step that its report.json is of; None where there is none, or it does not say it."""
        step = self.report("facts").get("step")
        return step if isinstance(step, int) else None

    def report(self, part: str) -> dict[str, Any]:
        """A part of report.json, its facts or sentences by name; nothing where there is none, or it is damaged."""
        try:
            found = self._json("report.json").get(part)
        except UsageError:
            return {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            return small_json(path, DATA)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read ({reason(error)}); delete it, or train again") from None

    def series(self, name: str, against: str = "step") -> tuple[list[float], list[float]]:
        """One column of the history against another, where both have a value."""
        rows = [row for row in self.history if name in row and against in row]
        return [row[against] for row in rows], [row[name] for row in rows]

    def write_recipe(self, recipe: Mapping[str, Any]) -> None:
        """Write recipe.yaml, which `copyfold train --config` takes."""
        write_text(self.folder / "recipe.yaml", recipe_text(recipe))

    def write_history(self, rows: list[Row]) -> list[str]:
        """Rewrite log.csv, and return its columns; a resume drops the rows after its checkpoint."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        with written(self.folder / "log.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows({k: f"{v:.8g}" for k, v in row.items()} for row in rows)
        return names

    def append_history(self, row: Row, names: Sequence[str]) -> None:
        """Append one row to log.csv, whose columns are `names`, in one write."""
        path = self.folder / "log.csv"
        line = ",".join(f"{row[name]:.8g}" if name in row else "" for name in names) + "\r\n"
        try:
            with path.open("ab", buffering=0) as file:
                file.write(line.encode())
        except OSError as error:
            raise CopyfoldError(
                f"cannot write {path}: {error.strerror or error}; free some "
                f"space and continue with {option('resume', True)}"
            ) from error

    def write_finding(self, name: str, numbers: Mapping[str, Any]) -> None:
        """Write numbers into findings/ as JSON."""
        write_text(self.folder / "findings" / name, json.dumps(dict(numbers)) + "\n")

    @contextmanager
    def locked(self, wait: bool | float = False) -> Generator[None]:
        """Lock the run for one writer; the lock ends with its process.

        Where another process holds it, CopyfoldError, or with `wait` wait for it; a number is the seconds at most.
        """
        with locked(self.folder / ".lock", wait):
            for folder in (self.folder, self.folder / "model", self.folder / "best"):
                sweep(folder)
            yield

    def clear(self) -> None:
        """Delete what a former run left here, and nothing that is not a run's."""
        for name in _OURS:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @property
    def leftovers(self) -> list[str]:
        """The names of what is already in the folder, without hidden files."""
        if not self.folder.is_dir():
            return []
        return sorted(p.name for p in self.folder.iterdir() if not p.name.startswith("."))


def open(folder: str | Path) -> Run:
    """The run in a folder, or of an address on the Hub, hf://owner/name; UsageError where there is none."""
    run = Run(fetched(str(folder)), str(folder)) if is_address(folder) else Run(folder)
    if not (run.folder / "recipe.yaml").is_file():
        raise UsageError(f"{folder} is not a run: there is no recipe.yaml in it; make one with copyfold train")
    return run


def prepare(folder: str | Path, resume: bool = False, overwrite: bool = False) -> Run:
    """A run to write to: a new folder, or with `resume` or `overwrite` one that has a run in it."""
    run = Run(folder)
    check_folder(run.folder, option("run"))
    if run.leftovers and not resume:
        if not overwrite:
            raise UsageError(
                f"{folder} is not empty: give {option('resume', True)} to continue, "
                f"{option('overwrite', True)}, or another {option('run')}"
            )
        if not (run.folder / "recipe.yaml").is_file():
            raise UsageError(
                f"{folder} holds {run.leftovers[0]} and no run, so it is "
                f"not overwritten: give another {option('run')}"
            )
    return run
