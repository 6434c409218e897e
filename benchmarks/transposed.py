"""The speed of a transposed convolution of disjoint blocks as one matrix product, beside torch's own.

    python benchmarks/transposed.py [--threads 1] [--rounds 15]

Forward and backward of `DisjointTranspose(c, c, 2)` and of nn.ConvTranspose2d(c, c, 2, stride=2), alternating;
then the same of UNet(width=32, depth=2) with either, 16 images. Medians, and their ratio.
"""

import argparse
import functools
import statistics
import time

import torch
from torch import nn

import copyfold as cf
from copyfold.models.blocks import DisjointTranspose

SHAPES = [(16, 64, 16), (16, 128, 8), (16, 64, 32), (16, 128, 16), (16, 512, 4), (128, 256, 8)]
KINDS = {
    "bf16, channels_last": (True, torch.channels_last),
    "float32, channels_last": (False, torch.channels_last),
    "float32, NCHW": (False, torch.contiguous_format),
}


def layers(channels: int) -> tuple[nn.Module, nn.Module]:
    """Ours and torch's, with the same weights."""
    ours, theirs = DisjointTranspose(channels, channels, 2), nn.ConvTranspose2d(channels, channels, 2, stride=2)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def networks() -> tuple[nn.Module, nn.Module]:
    """A U-Net with ours and one with torch's, with the same weights."""
    ours, theirs = (cf.UNet((3, 32, 32), width=32, depth=2) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    for module in theirs.modules():
        if isinstance(module, DisjointTranspose):
            module.forward = functools.partial(nn.ConvTranspose2d.forward, module)
    return ours, theirs


def compare(pair: tuple[nn.Module, nn.Module], shape: tuple[int, ...], kind: str, rounds: int) -> str:
    """Milliseconds of both and their ratio, as cells of a table."""
    bf16, layout = KINDS[kind]
    x = torch.rand(shape).contiguous(memory_format=layout).requires_grad_()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for model, spent in zip(pair, times, strict=True):
            model.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
            begun = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                y = model(x)
            torch.autograd.grad(y, [x, *model.parameters()], torch.ones_like(y))
            spent.append(time.perf_counter() - begun)
    ours, theirs = (1e3 * statistics.median(spent) for spent in times)
    return f"{kind} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| images, channels, side | kind | ours, ms | torch's, ms | times as fast |\n|---|---|---:|---:|---:|")
    for count, channels, side in SHAPES:
        for kind in KINDS:
            row = compare(layers(channels), (count, channels, side, side), kind, options.rounds)
            print(f"| {count}, {channels}, {side}x{side} | {row} |", flush=True)
    for kind in KINDS:
        print(
            f"| U-Net, 16, 3, 32x32 | {compare(networks(), (16, 3, 32, 32), kind, options.rounds)} |", flush=True
        )


if __name__ == "__main__":
    main()
