"""What a step of Muon costs beside the gradient: small matrices by their squares, or all by products.

    python benchmarks/muon.py [--threads 1] [--rounds 60]

UNet(depth=2) of three widths in bf16, channels_last, 16 images of 3x32x32: milliseconds of the gradient, of a
step of Adam, of Muon, and of Muon where every matrix is iterated as in torch.optim.Muon, in products of bf16.
Medians of alternating calls.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
import torch.nn.functional as F

import copyfold as cf
from copyfold.training import optimizers


def timed(parts: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of every part, one after the other, round by round."""
    spent: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            begun = time.perf_counter()
            part()
            spent[name].append(1e3 * (time.perf_counter() - begun))
    return {name: statistics.median(times) for name, times in spent.items()}


def measure(width: int, rounds: int) -> dict[str, float]:
    """The milliseconds of a U-Net of this width."""
    model = cf.UNet((3, 32, 32), width=width, depth=2).to(memory_format=torch.channels_last).train()  # pyright: ignore
    x = torch.rand(16, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    adam, muon = (kind.build(model, 1e-6, "bf16") for kind in (cf.Adam(), cf.Muon()))

    def gradient() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            y = model(x)
        F.mse_loss(y.float(), x).backward()

    def products() -> None:
        with patch.object(optimizers, "SMALL", 0):
            muon.step()

    return timed({"gradient": gradient, "Adam": adam.step, "Muon": muon.step, "by products": products}, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| width | gradient, ms | Adam | Muon | Muon by products |\n|---|---:|---:|---:|---:|")
    for width in (16, 32, 64):
        found = measure(width, options.rounds)
        print(f"| {width} | " + " | ".join(f"{value:.1f}" for value in found.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
