"""What a copy leaves as error against the time of training, by three ways of training the same U-Net.

    python benchmarks/quality_in_time.py ROOT --pace [--out results/quality-in-time]
    python benchmarks/quality_in_time.py ROOT [--minutes 25] [--only NAME] [--out results/quality-in-time]

ROOT holds the parquet folders cifar10 and landscapes. The first command measures the seconds of a step, on a
machine where nothing else runs: every kind of training for 30 seconds in turn, three rounds, the median
(pace.json). The second one trains for as many steps as that pace makes in a row's minutes. Its results do not
depend on what else runs, so it may run beside other work, and with any number of threads; several may run at once.
A call works for at most --minutes and goes on where the last one stopped; at its end it writes the table
(quality.csv) and the figure (quality.png) of all that is measured.

The ways:
    essay   as the essay's scripts train: float32, NCHW, Adam at a constant 1e-4, images decoded by a DataLoader
    before  what `fit` did in 0.1.0: bfloat16, channels last, Adam at a constant 1e-3
    now     what `fit` does: the same with Muon and a cosine that ends with the minutes

The network is UNet(width=32, skips="none") of depth 2, so that its code is a map of 8x8 at 32 pixels, of 16x16 at
64 and of 32x32 at 128, batches are of 16 images. The weights of every minute are looked at afterwards: "left" is
the squared error of 512 test images over that of the mean training image, with running averages estimated again
from the same 1024 training images for all ways; "passed" is the share of the energy of added normal noise of std
0.1 and 0.2 that the copy keeps. A curve that ends with a cosine is a training of its own length: other lengths are
rows of their own, such as a quarter and an eighth of 15 minutes. Seconds are steps times the pace, which is that
of 30 seconds: no checkpoint falls into them, and of cifar10 no held-out row. (pace.json is of before up stages and
Muon were made faster, in November 2026: `now` has fewer steps in a row's minutes than it would have today.)
"""

import argparse
import contextlib
import copy
import csv
import io
import itertools
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from filelock import FileLock, Timeout
from PIL import Image
from torch import Tensor

from copyfold import Photos, UNet, fit
from copyfold.errors import CopyfoldError
from copyfold.files import write_text
from copyfold.models.blocks import BatchNorm
from copyfold.pictures import save_picture
from copyfold.pictures.figures import curves
from copyfold.training.optimizers import Adam
from copyfold.training.state import TrainState

BATCH, TESTED, ESTIMATED, SAVE_SECONDS = 16, 512, 1024, 60
NAMES = {
    "essay": "the essay's scripts: Adam 1e-4",
    "before": "copyfold 0.1: Adam 1e-3",
    "now": "now: Muon, a cosine over 15 minutes",
}
ENDS = "now, each trained for this time"
CHANNELS = {"cifar10": 3, "landscapes": 1}
WAYS = {
    "before": {"optimizer": Adam(), "lr": 1e-3, "schedule": "constant"},
    "now": {},
}


@dataclass(frozen=True)
class Row:
    """One training: its images, its way, its minutes and its seed."""

    data: str
    side: int
    way: str
    minutes: float
    seed: int

    @property
    def kind(self) -> str:
        """What its steps cost depends on."""
        return f"{self.side}-{self.way}-{self.data}"

    @property
    def name(self) -> str:
        return f"{self.data}-{self.side}-{self.way}-{self.minutes:g}min-seed{self.seed}"


def rows() -> list[Row]:
    """All trainings, so ordered that ways alternate."""
    found = [Row("cifar10", 32, "now", 5, seed) for seed in range(3)] + [Row("landscapes", 32, "now", 5, 0)]
    for seed in range(3):
        found += [Row("cifar10", 32, way, 15, seed) for way in ("now", "essay", "before")]
    found += [Row("cifar10", 32, "now", part * 15, seed) for seed in range(3) for part in (1 / 4, 1 / 8)]
    found += [Row("landscapes", 32, way, 15, 0) for way in ("now", "essay", "before")]
    found += [Row("landscapes", 64, "now", 5, 0)]
    found += [Row("landscapes", side, "now", 30, 0) for side in (64, 128)]
    return found + [Row(data, 32, "now", 60, 0) for data in ("cifar10", "landscapes")]


def read(root: Path, row: Row) -> tuple[Photos, Photos]:
    """Training images and test images."""
    parts = [next((root / row.data).glob(f"{part}*.parquet")) for part in ("train", "test")]
    return Photos(str(parts[0]), row.side), Photos(str(parts[1]), row.side, whole=True)


def make(row: Row) -> UNet:
    torch.manual_seed(row.seed)
    return UNet((CHANNELS[row.data], row.side, row.side), width=32, depth=2)


# ---------------------------------------------------------------- training


Marks: TypeAlias = Callable[[int, UNet], object]
"""Called after every step with its number and the model."""


class TimeOver(Exception):
    """A training has had its seconds."""


def by_fit(row: Row, photos: Photos, folder: Path, steps: int, mark: Marks) -> None:
    """Train by `fit` for so many steps, or until `mark` raises TimeOver; go on from the last checkpoint."""

    def stepped(_event: str, state: TrainState) -> None:
        mark(state.step, state.model)

    try:
        fit(
            make(row), None, photos, folder, resume=True, steps=steps, seed=row.seed, batch=BATCH,
            save_minutes=SAVE_SECONDS / 60, callbacks=[stepped], progress=False, **WAYS[row.way],
        )  # fmt: skip
    except CopyfoldError as error:
        if not isinstance(error.__cause__, TimeOver):
            raise
        raise TimeOver from error


class Encoded(torch.utils.data.Dataset[Tensor]):
    """Images of a parquet file that are decoded at every access, cut to a square and resized."""

    def __init__(self, root: Path, row: Row, count: int) -> None:
        table = pq.read_table(next((root / row.data).glob("train*.parquet")))
        column = next(name for name in table.column_names if name in ("img", "image"))
        self.bytes = [image["bytes"] for image in table[column][:count].to_pylist()]
        self.mode, self.side = "RGB" if CHANNELS[row.data] == 3 else "L", row.side

    def __len__(self) -> int:
        return len(self.bytes)

    def __getitem__(self, index: int) -> Tensor:
        image = Image.open(io.BytesIO(self.bytes[index])).convert(self.mode)
        short, (width, height) = min(image.size), image.size
        left, top = (width - short) // 2, (height - short) // 2
        box = (left, top, left + short, top + short)
        image = image.resize((self.side, self.side), Image.Resampling.BILINEAR, box=box)
        pixels = np.asarray(image).reshape(self.side, self.side, -1)
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def by_essay(row: Row, root: Path, photos: Photos, folder: Path, steps: int, mark: Marks) -> None:
    """Train by a plain loop for so many steps, or until `mark` raises TimeOver; go on from the last state."""
    folder.mkdir(parents=True, exist_ok=True)
    images = Encoded(root, row, len(photos))
    model, step, saved = make(row).train(), 0, time.monotonic()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    if (folder / "last.pt").is_file():
        state = torch.load(folder / "last.pt", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    while step < steps:
        order = torch.Generator().manual_seed(row.seed + step)
        loader = torch.utils.data.DataLoader(images, BATCH, shuffle=True, drop_last=True, generator=order)
        for x in itertools.islice(loader, steps - step):
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            mark(step, model)
            if time.monotonic() > saved + SAVE_SECONDS:
                state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save(state, folder / "new.pt")
                (folder / "new.pt").rename(folder / "last.pt")
                saved = time.monotonic()


def train(root: Path, row: Row, folder: Path, steps: int, mark: Marks) -> None:
    """One training, by its way."""
    photos, _ = read(root, row)
    if row.way == "essay":
        by_essay(row, root, photos, folder / "run", steps, mark)
    else:
        by_fit(row, photos, folder / "run", steps, mark)


def seconds_of_step(root: Path, row: Row, seconds: float) -> float:
    """The mean seconds of the steps that follow the first, measured for so long."""
    times: list[float] = []

    def mark(_step: int, _model: UNet) -> None:
        times.append(time.perf_counter())
        if times[-1] > times[0] + seconds:
            raise TimeOver

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(TimeOver):
        train(root, row, Path(folder), 10**6, mark)
    return (times[-1] - times[0]) / (len(times) - 1)


def measure_pace(root: Path, out: Path, rounds: int = 3, seconds: float = 30) -> None:
    """Write the seconds of a step of every kind of training."""
    kinds = {row.kind: row for row in rows()}
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, row in kinds.items():
            found[kind].append(seconds_of_step(root, row, seconds))
            print(f"{kind}: {1e3 * found[kind][-1]:.2f} ms a step", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    pace = {kind: {"median": statistics.median(times), "rounds": times} for kind, times in found.items()}
    write_text(out / "pace.json", json.dumps(pace, indent=1) + "\n")


def advance(root: Path, row: Row, folder: Path, pace: float, deadline: float) -> bool:
    """Go on with a training; True where it is finished. The weights of every minute are kept."""
    steps, minute = round(60 * row.minutes / pace), 60 / pace
    marks = {round(k * minute) for k in range(1, math.ceil(row.minutes))} | {steps}
    (folder / "weights").mkdir(parents=True, exist_ok=True)

    def mark(step: int, model: UNet) -> None:
        if step in marks:
            torch.save(model.state_dict(), folder / "weights" / f"{step:09d}.pt")
        if time.monotonic() > deadline and step < steps:
            raise TimeOver

    try:
        train(root, row, folder, steps, mark)
    except TimeOver:
        return False
    return True


# ---------------------------------------------------------------- looking


@torch.no_grad()
def look(model: UNet, train: Tensor, test: Tensor, mean: Tensor) -> dict[str, float]:
    """What a model leaves of the test images, and what it passes of noise, with running averages."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    model.train()
    for k, batch in enumerate(train.split(64)):
        for norm in norms:
            norm.momentum = 1 / (k + 1)  # so that the averages are means over the batches
        model(batch)
    model.eval()
    with model.using("running"):
        copied = torch.cat([model(x) for x in test.split(64)])
        found = {"left": ((copied - test).square().sum() / (test - mean).square().sum()).item()}
        for std in (0.1, 0.2):
            noise = std * torch.randn(test.shape, generator=torch.Generator().manual_seed(0))
            noisy = torch.cat([model(x) for x in (test + noise).split(64)])
            found[f"passed {std}"] = ((noisy - copied).square().sum() / noise.square().sum()).item()
    return found


def measure(root: Path, row: Row, folder: Path, pace: float) -> list[dict[str, float]]:
    """The curve of a training: what its weights of every minute leave."""
    photos, test = read(root, row)
    sampled = photos.sample("train", ESTIMATED).images
    seen = test.sample("train", TESTED).images
    mean = torch.from_numpy(photos.train.mean(0)).permute(2, 0, 1).float() / 255
    curve, model = [], make(row)
    for path in sorted((folder / "weights").glob("*.pt")):
        model.load_state_dict(torch.load(path, weights_only=True))
        steps = int(path.stem)
        found = look(copy.deepcopy(model), sampled, seen, mean)
        curve.append({"seconds": steps * pace, "steps": steps} | found)
    return curve


# ---------------------------------------------------------------- the table and the figure


def tell(out: Path, chosen: list[Row]) -> None:
    """Write what there is of the table and the figure."""
    found = {row: json.loads((out / f"{row.name}.json").read_text()) for row in chosen if _measured(out, row)}
    with (out / "quality.csv").open("w", newline="", encoding="utf-8") as file:
        names = ("data", "side", "way", "minutes", "seed", "seconds", "steps", "left", "passed 0.1", "passed 0.2")
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row, curve in found.items():
            last = {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in curve[-1].items()}
            writer.writerow(asdict(row) | last)
    print((out / "quality.csv").read_text())
    _draw(found, out / "quality.png")


def _draw(found: dict[Row, list[dict[str, float]]], path: Path) -> None:
    """Draw the error of CIFAR-10's test images against time: medians of the seeds, and all of them as bands."""
    series: dict[str, tuple[list[float], list[float]]] = {}
    bands = {}
    for way, name in NAMES.items():
        these = [curve for row, curve in found.items() if (row.data, row.way, row.minutes) == ("cifar10", way, 15)]
        if these:
            left = 100 * np.array([[point["left"] for point in curve] for curve in these])
            minutes = [point["seconds"] / 60 for point in these[0]]
            series[name] = minutes, np.median(left, 0).tolist()
            bands[name] = left.min(0).tolist(), left.max(0).tolist()
    ends = [(row, 100 * c[-1]["left"]) for row, c in found.items() if (row.data, row.way) == ("cifar10", "now")]
    lengths = sorted({row.minutes for row, _ in ends if row.minutes <= 15})
    if lengths:
        medians = [statistics.median(end for row, end in ends if row.minutes == length) for length in lengths]
        series[ENDS] = lengths, medians
    figure = curves(
        series, "minutes of training, two cores", "% of the variance left", logy=True, bands=bands, dots=(ENDS,),
        title="CIFAR-10 at 32 pixels: one U-Net without skips, trained in three ways",
    )  # fmt: skip
    save_picture(figure, path)


def _measured(out: Path, row: Row) -> bool:
    return (out / f"{row.name}.json").is_file()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--pace", action="store_true", help="Measure the seconds of a step, and nothing else.")
    parser.add_argument("--minutes", type=float, default=25, help="The most that this call works.")
    parser.add_argument("--only", default="", help="Rows whose names contain this.")
    parser.add_argument("--out", type=Path, default=Path("results/quality-in-time"))
    options = parser.parse_args()
    if options.pace:
        return measure_pace(options.root, options.out)
    paces = json.loads((options.out / "pace.json").read_text())
    deadline = time.monotonic() + 60 * options.minutes
    for row in rows():
        folder, pace = options.out / "runs" / row.name, paces[row.kind]["median"]
        if _measured(options.out, row) or options.only not in row.name or time.monotonic() > deadline:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / "lock", blocking=False):
                print(f"{row.name}: training", flush=True)
                if advance(options.root, row, folder, pace, deadline):
                    curve = measure(options.root, row, folder, pace)
                    write_text(options.out / f"{row.name}.json", json.dumps(curve, indent=1) + "\n")
                    print(f"{row.name}: {100 * curve[-1]['left']:.2f} % left", flush=True)
        except Timeout:
            continue  # another call is at it
    tell(options.out, rows())
    return None


if __name__ == "__main__":
    main()
