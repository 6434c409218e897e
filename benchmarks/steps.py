"""The overhead of `fit` for each step: a small network with short steps, in `fit` and in a bare loop, alternated.

    python benchmarks/steps.py [--rounds 7] [--steps 400] [--threads 1]

The 784-512-30-512-784 perceptron at a batch of 128, on bytes of noise of 28x28. The bare loop takes ready batches
of float32 from memory; `fit` has its own source of batches, which counts. Prints the median step of each, in
microseconds, and the median over rounds of their difference.
"""

import argparse
import statistics
import tempfile
import time
from itertools import cycle, islice, pairwise

import numpy as np
import torch

from copyfold import MLP, Classical, Photos, fit

SHAPE, BATCH = (1, 28, 28), 128


def make() -> MLP:
    torch.manual_seed(0)
    return MLP(SHAPE, hidden=(512,), latent_dim=30)


def bare(photos: Photos, options: argparse.Namespace) -> float:
    """Seconds of the median step of a plain loop, in the given precision."""
    model = make().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    ready = [photos.images("train", BATCH, start) for start in range(0, len(photos) - BATCH + 1, BATCH)]
    marks = []
    for x in islice(cycle(ready), options.steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            y = model(x)
        loss = (x - y.float()).square().sum() / (2 * len(x))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        marks.append(time.perf_counter())
    return statistics.median(b - a for a, b in pairwise(marks))


def ours(photos: Photos, options: argparse.Namespace) -> float:
    """Seconds of the median step of `fit`."""
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        fit(
            make(),
            Classical(),
            photos,
            f"{folder}/run",
            epochs=max(1, options.steps // (len(photos) // BATCH)),
            batch=BATCH,
            precision=options.precision,
            threads=options.threads,
            progress=lambda *_: marks.append(time.perf_counter()),
        )
    return statistics.median(b - a for a, b in pairwise(marks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 7), ("steps", 400), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH * 110, *SHAPE[1:]), np.uint8)
    photos = Photos(pixels, 28, layout="NHW")
    rows = []
    for _ in range(options.rounds):
        rows.append((1e6 * ours(photos, options), 1e6 * bare(photos, options)))
        print("  ".join(f"{value:.0f}" for value in rows[-1]), flush=True)
    fit_step, bare_step = (statistics.median(column) for column in zip(*rows, strict=True))
    added = statistics.median(a - b for a, b in rows)
    print(f"fit {fit_step:.0f} us a step, bare loop {bare_step:.0f}: {added:.0f} us more")


if __name__ == "__main__":
    main()
