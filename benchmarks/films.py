"""The cost of a sampler over a loop written by hand, and whether a long film fills the memory.

    python benchmarks/films.py [--width 32] [--size 64] [--batch 16] [--steps 3] [--rounds 9] [--frames 2000]

Each round makes a film of every sampler and runs the same loop over the model, written out, in turns and in an
order that changes, so that a noisy machine disturbs both; the ratio of their frame rates is that of the medians of
the processor's time (1 is as fast). Then a walk of --frames frames with a tiny model, by itself and into a .mp4, a
.gif and a .png: what the process grows by after the first tenth of it.
"""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import copyfold as cf
from copyfold.types import Images


@torch.no_grad()
def renoising(model: cf.Autoencoder, x: Images, steps: int) -> None:
    """Diffusion with no diffusion, by hand."""
    for n in range(1, steps + 1):
        clean = model(x)
        c = n / steps
        x = c * clean + (1 - c) * (0.7 + 0.2 * torch.randn_like(x))


@torch.no_grad()
def walk(model: cf.Autoencoder, x: Images, steps: int) -> None:
    """A walk on the manifold, by hand."""
    for _ in range(steps):
        z = model.encode(x)
        x = model.decode(z + 0.2 * torch.randn_like(z))


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds; other processes do not add to them."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def rates(options: argparse.Namespace) -> None:
    """Print frames per second of both, and the ratio."""
    model = cf.UNet((3, options.size, options.size), width=options.width).eval()
    x, rng = torch.rand(options.batch, *model.shape), torch.Generator().manual_seed(0)
    print("| | by hand, frames/s | sampler, frames/s | ratio |\n|---|---:|---:|---:|")
    for sampler, loop in ((cf.Renoising(options.steps), renoising), (cf.Walk(options.steps), walk)):
        pair = (
            lambda loop=loop: loop(model, x, options.steps),
            lambda sampler=sampler: [None for _ in sampler(model, x, rng)],
        )
        times = [[seconds(pair[0])], [seconds(pair[1])]]
        for turn in range(options.rounds):
            for which in (0, 1) if turn % 2 else (1, 0):
                times[which].append(seconds(pair[which]))
        hand, ours = (options.steps / statistics.median(t[1:]) for t in times)
        print(f"| {type(sampler).__name__} | {hand:.2f} | {ours:.2f} | {ours / hand:.3f} |", flush=True)


def resident() -> float:
    """MiB that the process has in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def memory(frames: int) -> None:
    """Print by how much a film of so many frames makes the process larger, after its first tenth."""
    model = cf.Conv((1, 32, 32), channels=(4,)).eval()
    x, rng = torch.rand(16, 1, 32, 32), torch.Generator().manual_seed(0)
    seen: list[float] = []

    def watched() -> Iterator[Images]:
        for n, frame in enumerate(cf.Walk(frames)(model, x, rng)):
            if n == frames // 10:
                seen.append(resident())
            yield frame
        seen.append(resident())

    print(f"\n| a film of {frames} frames, 16 of 32x32 | grows by, MiB |\n|---|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("frames alone", "film.mp4", "film.gif", "film.png"):
            if "." in kind:
                cf.film(watched(), Path(folder) / kind, scale=1)
            else:
                for _ in watched():
                    pass
            print(f"| {kind} | {seen[-1] - seen[-2]:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"width": 32, "size": 64, "batch": 16, "steps": 3, "rounds": 9, "frames": 2000}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    rates(options)
    memory(options.frames)


if __name__ == "__main__":
    main()
