"""Steps per second through `fit`, beside a bare bf16 loop and a plain float32 loop, alternated in one run.

    python benchmarks/training.py [--rounds 3] [--steps 60] [--width 64] [--side 64] [--batch 16]

Prints medians and ratios. "steady" is the time between steps after the first few, without checkpoint, held-out
loss and start-up; "whole" is a training from call to return, with all of them, against as many steps of a plain
float32 loop, whose DataLoader decodes PNG files again in every epoch, as the essay's scripts train. The share of
the peak is that of the bf16 matrix products of a bare step (counted by torch) in the best of several products of
2048x2048 here, measured after a warm-up.
"""

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from copyfold import UNet, fit
from copyfold.data import Batches, Photos, scenes
from copyfold.objectives.base import Classical
from copyfold.training.optimizers import Adam


def bare(photos: Photos, options: argparse.Namespace, fast: bool) -> list[float]:
    """Seconds of each step of a plain loop; `fast`: bf16, channels last, fused Adam."""
    model = make(options).train()
    if fast:
        model.to(memory_format=torch.channels_last)
    layout = torch.channels_last if fast else torch.contiguous_format
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fast)
    source, times = Batches(photos.train, options.batch), []
    while len(times) < options.steps:
        for batch in source:
            begin = time.perf_counter()
            x = batch.to(torch.float32, memory_format=layout) / 255
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                y = model(x)
            loss = F.mse_loss(y.float(), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            times.append(time.perf_counter() - begin)
            if len(times) == options.steps:
                break
    return times


class Files(torch.utils.data.Dataset[torch.Tensor]):
    """Images that are decoded at every access."""

    def __init__(self, folder: Path, pixels: np.ndarray) -> None:
        self.paths = [folder / f"{k}.png" for k in range(len(pixels))]
        for path, image in zip(self.paths, pixels, strict=True):
            Image.fromarray(image).save(path)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        pixels = np.asarray(Image.open(self.paths[index]).convert("RGB"))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def decoding(files: Files, options: argparse.Namespace) -> float:
    """Seconds of a plain float32 training, from the first batch to the last."""
    model, done = make(options).train(), 0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(files, options.batch, shuffle=True, drop_last=True)
    begin = time.perf_counter()
    while done < options.steps:
        for x in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            if done == options.steps:
                break
    return (time.perf_counter() - begin) / done


def peak() -> float:
    """FLOP/s of bf16 matrix products."""
    a, times = torch.randn(2048, 2048, dtype=torch.bfloat16), []
    for _ in range(12):
        begin = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begin)
    return 2 * 2048**3 / min(times[4:])


def work(options: argparse.Namespace) -> float:
    """FLOPs of the products and convolutions of a step."""
    model, x = make(options).train(), torch.rand(2, 3, options.side, options.side)
    with FlopCounterMode(display=False) as counter:
        F.mse_loss(model(x), x).backward()
    return counter.get_total_flops() * options.batch / 2


def ours(photos: Photos, options: argparse.Namespace) -> tuple[list[float], float]:
    """Seconds between the steps of `fit`, and of the whole call."""
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        fit(
            make(options),
            Classical(),
            photos,
            folder + "/run",
            epochs=max(1, options.steps // (len(photos) // options.batch)),
            batch=options.batch,
            precision="bf16",
            optimizer=Adam(),  # as the loops
            schedule="constant",
            progress=lambda *_: marks.append(time.perf_counter()),
        )
        whole = time.perf_counter() - begin
    per_epoch = len(photos) // options.batch
    gaps = [b - a for i, (a, b) in enumerate(pairwise(marks), 1) if i % per_epoch]
    return gaps, whole


def make(options: argparse.Namespace) -> UNet:
    torch.manual_seed(0)
    return UNet((3, options.side, options.side), width=options.width, skips="self")


def steady(times: list[float]) -> float:
    """The median step, the first few left out: they allocate."""
    return statistics.median(times[3:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 3), ("steps", 60), ("width", 64), ("side", 64), ("batch", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    photos = Photos(scenes(options.batch * options.steps * 10 // 9 + options.batch, options.side))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder), photos.train)
        for _ in range(options.rounds):
            gaps, whole = ours(photos, options)
            fast, plain = bare(photos, options, True), bare(photos, options, False)
            ratios = (steady(gaps), steady(fast), steady(plain), whole / (len(gaps) + 1), decoding(files, options))
            rows.append((*ratios, peak()))
            print("  ".join(f"{1000 * value:.0f} ms" for value in ratios), flush=True)
    fit_step, fast, plain, whole, essay, most = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"fit, steady        {1000 * fit_step:7.0f} ms a step")
    print(f"bare bf16 loop     {1000 * fast:7.0f} ms: fit runs at {fast / fit_step:.2f} of its speed")
    print(f"plain float32 loop {1000 * plain:7.0f} ms: fit is {plain / fit_step:.2f} times as fast")
    print(f"whole training     {1000 * whole:7.0f} ms a step")
    print(f"decoding, float32  {1000 * essay:7.0f} ms a step: whole is {essay / whole:.2f} times as fast")
    print(f"bf16 peak          {most / 1e9:7.0f} GFLOP/s: bare reaches {work(options) / fast / most:.2f} of it")


if __name__ == "__main__":
    main()
