"""What a copy leaves as error against the time of training, by three ways of training the same U-Net.

    python benchmarks/quality_in_time.py ROOT [--minutes 25] [--only NAME] [--out results/quality-in-time]

ROOT holds the parquet folders cifar10 and landscapes. Nothing else may run on the machine meanwhile. A call works
for at most --minutes and goes on where the last one stopped; at its end it writes the table (quality.csv) and the
figure (quality.png) of all that is measured.

The ways:
    essay   as the essay's scripts train: float32, NCHW, Adam at a constant 1e-4, images decoded by a DataLoader
    before  what `fit` did in 0.1.0: bfloat16, channels last, Adam at a constant 1e-3
    now     what `fit` does: the same with Muon and a cosine that ends with the minutes

The network is UNet(width=32, skips="none") of depth 2, so that its code is a map of 8x8 at 32 pixels, of 16x16 at
64 and of 32x32 at 128, batches are of 16 images. A checkpoint a minute is looked at afterwards: "left" is the
squared error of 512 test images over that of the mean training image, with running averages estimated again from
the same 1024 training images for all ways; "passed" is the share of the energy of added normal noise of std 0.1
and 0.2 that the copy keeps. A curve that ends with a cosine is a training of its own length: other lengths are
rows of their own. Seconds are those of training; those of `fit` include
its checkpoints, held-out rows and running averages, those of `essay` nothing but its steps.
"""

import argparse
import copy
import csv
import io
import json
import os
import signal
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from copyfold import Photos, UNet, fit
from copyfold.models.blocks import BatchNorm
from copyfold.pictures import save_picture
from copyfold.pictures.figures import curves
from copyfold.training import Stopped
from copyfold.training.optimizers import Adam

BATCH, TESTED, ESTIMATED = 16, 512, 1024
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
    def name(self) -> str:
        return f"{self.data}-{self.side}-{self.way}-{self.minutes:g}min-seed{self.seed}"


def rows() -> list[Row]:
    """All trainings, so ordered that ways alternate."""
    found = [Row("cifar10", 32, "now", 5, seed) for seed in range(3)] + [Row("landscapes", 32, "now", 5, 0)]
    for seed in range(3):
        found += [Row("cifar10", 32, way, 15, seed) for way in ("now", "essay", "before")]
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
    return UNet((3, row.side, row.side), width=32, depth=2)


# ---------------------------------------------------------------- training


def by_fit(row: Row, photos: Photos, folder: Path, seconds: float) -> None:
    """Train by `fit` for so long, or until its minutes are over."""
    deadline = time.monotonic() + seconds

    def watch(*_: object) -> None:
        if time.monotonic() > deadline:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        fit(
            make(row), None, photos, folder, resume=True, minutes=row.minutes, seed=row.seed, batch=BATCH,
            save_minutes=min(1.0, row.minutes / 10), keep=1000, progress=watch, **WAYS[row.way],
        )  # fmt: skip
    except Stopped:
        return
    (folder / "finished").touch()


class Encoded(torch.utils.data.Dataset[Tensor]):
    """Images of a parquet file that are decoded at every access, cut to a square and resized."""

    def __init__(self, root: Path, row: Row, count: int) -> None:
        table = pq.read_table(next((root / row.data).glob("train*.parquet")))
        column = next(name for name in table.column_names if name in ("img", "image"))
        self.bytes = [image["bytes"] for image in table[column][:count].to_pylist()]
        self.side = row.side

    def __len__(self) -> int:
        return len(self.bytes)

    def __getitem__(self, index: int) -> Tensor:
        image = Image.open(io.BytesIO(self.bytes[index])).convert("RGB")
        short, (width, height) = min(image.size), image.size
        left, top = (width - short) // 2, (height - short) // 2
        box = (left, top, left + short, top + short)
        image = image.resize((self.side, self.side), Image.Resampling.BILINEAR, box=box)
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def by_essay(row: Row, root: Path, photos: Photos, folder: Path, seconds: float) -> None:
    """Train by a plain loop for so long, or until its minutes are over."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    images = Encoded(root, row, len(photos))
    model, step, spent = make(row).train(), 0, 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    if kept := sorted((folder / "checkpoints").glob("*.ckpt")):
        state = torch.load(kept[-1], weights_only=True)
        model.load_state_dict({name.removeprefix("model."): v for name, v in state["state_dict"].items()})
        optimizer.load_state_dict(state["optimizer_states"][0])
        step, spent = state["global_step"], state["seconds"]
    deadline, next_save = time.monotonic() + seconds, spent + 60
    while True:
        order = torch.Generator().manual_seed(row.seed + step)
        loader = torch.utils.data.DataLoader(images, BATCH, shuffle=True, drop_last=True, generator=order)
        mark = time.monotonic()
        for x in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            now = time.monotonic()
            spent, mark = spent + now - mark, now
            finished = spent > 60 * row.minutes
            if finished or spent > next_save or now > deadline:
                state = {
                    "global_step": step,
                    "seconds": spent,
                    "state_dict": {f"model.{name}": v for name, v in model.state_dict().items()},
                    "optimizer_states": [optimizer.state_dict()],
                }
                torch.save(state, folder / "checkpoints" / f"step-{step:09d}.ckpt")
                next_save, mark = spent + 60, time.monotonic()
            if finished:
                (folder / "finished").touch()
            if finished or now > deadline:
                return


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


def measure(root: Path, row: Row, folder: Path) -> list[dict[str, float]]:
    """The curve of a training: what each of its checkpoints leaves."""
    photos, test = read(root, row)
    train = photos.sample("train", ESTIMATED).images
    seen = test.sample("train", TESTED).images
    mean = torch.from_numpy(photos.train.mean(0)).permute(2, 0, 1).float() / 255
    curve, model = [], make(row)
    for path in sorted((folder / "checkpoints").glob("*.ckpt")):
        state = torch.load(path, weights_only=True)
        if state["global_step"]:
            model.load_state_dict({name.removeprefix("model."): v for name, v in state["state_dict"].items()})
            found = look(copy.deepcopy(model), train, seen, mean)
            curve.append({"seconds": state["seconds"], "steps": state["global_step"]} | found)
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
            writer.writerow(asdict(row) | {k: f"{v:.5g}" for k, v in curve[-1].items()})
    print((out / "quality.csv").read_text())
    series: dict[str, tuple[list[float], list[float]]] = {}
    for way in ("essay", "before", "now"):
        these = [curve for row, curve in found.items() if (row.data, row.way, row.minutes) == ("cifar10", way, 15)]
        for k, curve in enumerate(these):
            points = [point["seconds"] / 60 for point in curve], [100 * point["left"] for point in curve]
            series[f"{way}, seed {k}"] = points
    if series:
        figure = curves(series, "minutes of training, two cores", "% of the variance left", logy=True,
                        title="CIFAR-10 at 32 pixels, one U-Net, three ways to train it")  # fmt: skip
        save_picture(figure, out / "quality.png")


def _measured(out: Path, row: Row) -> bool:
    return (out / f"{row.name}.json").is_file()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--minutes", type=float, default=25, help="The most that this call works.")
    parser.add_argument("--only", default="", help="Rows whose names contain this.")
    parser.add_argument("--out", type=Path, default=Path("results/quality-in-time"))
    parser.add_argument("--shorten", type=float, default=1, help="Share of the minutes, for a try.")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    chosen = [replace(row, minutes=row.minutes * options.shorten) for row in rows() if options.only in row.name]
    for row in chosen:
        folder, rest = options.out / "runs" / row.name, end - time.monotonic()
        if _measured(options.out, row) or rest < 20 * options.shorten:
            continue
        if not (folder / "finished").is_file():
            print(f"{row.name}: training", flush=True)
            photos, _ = read(options.root, row)
            if row.way == "essay":
                by_essay(row, options.root, photos, folder, rest)
            else:
                by_fit(row, photos, folder, rest)
        if (folder / "finished").is_file():
            curve = measure(options.root, row, folder)
            (options.out / f"{row.name}.json").write_text(json.dumps(curve, indent=1) + "\n")
            print(f"{row.name}: {100 * curve[-1]['left']:.2f} % left after {curve[-1]['steps']} steps", flush=True)
    tell(options.out, [replace(row, minutes=row.minutes * options.shorten) for row in rows()])


if __name__ == "__main__":
    main()
