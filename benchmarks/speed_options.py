"""The speed and memory of each training option on a CPU (bf16, channels_last, fused Adam, ...), in bare loops.

    python benchmarks/speed_options.py [--only unet mlp] [--rounds 8] [--steps 10] [--no-compile]

Two trainings: a U-Net (width 32, 64x64, batches of 16) and the perceptron 784-512-30-512-784 (batches of 128). The
loops alternate: each makes --steps steps in its turn, --rounds times. Its time is the median of its rounds, and
the ratios are to the plain loop: float32, NCHW, Adam one tensor after another. "memory" is what two steps add to
the peak of a process of their own, gradients and Adam's averages included. The same for a GPU: benchmarks/gpu.sh.
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

import copyfold as cf


@dataclass(frozen=True)
class Options:
    """How a loop trains."""

    bf16: bool = False
    last: bool = False  # channels_last
    adam: str = "loop"  # or foreach, or fused
    compile: bool = False
    recompute: bool = False  # gradient checkpointing: encoder and decoder are run again in the backward pass


@dataclass(frozen=True)
class Training:
    """What is trained, on images of what shape."""

    name: str
    shape: tuple[int, int, int, int]
    make: Callable[[], Any]


def steps(training: Training, on: Options) -> Iterator[None]:
    """Train without end, one step for each `next`."""
    layout: Any = torch.channels_last if on.last else torch.contiguous_format
    torch.manual_seed(0)
    model = training.make().to(memory_format=layout).train()
    forward = recomputed(model) if on.recompute else model
    if on.compile:
        forward = torch.compile(forward)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=1e-3, fused=on.adam == "fused", foreach=on.adam == "foreach"
    )
    pixels = torch.randint(256, training.shape, dtype=torch.uint8).contiguous(memory_format=layout)
    while True:
        images = pixels.to(torch.float32, memory_format=layout).div_(255)
        with torch.autocast("cpu", torch.bfloat16, enabled=on.bf16):
            y = forward(images)
        optimizer.zero_grad()
        F.mse_loss(y.float(), images).backward()
        optimizer.step()
        yield


def recomputed(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model, with the activations inside encoder and decoder recomputed in the backward pass."""

    def forward(x: torch.Tensor) -> Any:
        z = checkpoint(model.encode, x, use_reentrant=False)
        return checkpoint(model.decode, z, use_reentrant=False)

    return forward


def cases(training: Training, options: argparse.Namespace) -> dict[str, Options]:
    """The plain loop, each option alone, and those that `fit` sets together."""
    plain, maps = Options(), training.shape[1] > 1
    best, together = Options(bf16=True, last=maps, adam="fused"), "bf16, channels_last, fused Adam"
    found = {
        "plain: float32, NCHW, Adam in a loop": plain,
        "foreach Adam": replace(plain, adam="foreach"),
        "fused Adam": replace(plain, adam="fused"),
        "bf16": replace(plain, bf16=True),
    }
    if maps:
        found |= {"channels_last": replace(plain, last=True), "bf16, channels_last": replace(best, adam="loop")}
    found |= {
        together if maps else "bf16, fused Adam": best,
        "the same, recomputing activations": replace(best, recompute=True),
    }
    if options.compile:
        found["the same, compiled"] = replace(best, compile=True)
    return found


def block(loop: Iterator[None], count: int) -> float:
    """Milliseconds a step."""
    begin = time.perf_counter()
    for _ in range(count):
        next(loop)
    return 1000 * (time.perf_counter() - begin) / count


def measure(training: Training, memory: dict[str, float], options: argparse.Namespace) -> None:
    """Print a line for every option."""
    kinds = cases(training, options)
    loops = {name: steps(training, on) for name, on in kinds.items()}
    first = {name: block(loop, 1) / 1000 for name, loop in loops.items()}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(options.rounds):
        for name in loops if turn % 2 else reversed(loops):
            times[name].append(block(loops[name], options.steps))
    medians = {name: statistics.median(found) for name, found in times.items()}
    plain = next(iter(medians.values()))
    print(f"\n{training.name}\n\n| | ms a step | times the plain loop | first step, s | memory, MiB |")
    print("|---|---:|---:|---:|---:|")
    for name, ms in medians.items():
        mib = f"{memory[name]:.0f}" if name in memory else ""
        print(f"| {name} | {ms:.2f} | {plain / ms:.2f} | {first[name]:.1f} | {mib} |", flush=True)


def apart(training: Training, on: Options) -> float:
    """MiB that two steps add, in a separate process, forked before any thread was started."""
    context: Any = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=lambda: there.send(added(training, on)))
    process.start()
    there.close()
    try:
        return here.recv()
    finally:
        process.join()


def added(training: Training, on: Options) -> float:
    small = Training("", (2, 3, 16, 16), lambda: cf.UNet((3, 16, 16), width=4))
    for loop in (steps(small, on), steps(training, on)):
        before = peak()  # of the second: with all libraries in place
        for _ in range(2):
            next(loop)
    return peak() - before


def peak() -> float:
    """The peak memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 8), ("steps", 10), ("width", 32), ("side", 64), ("batch", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", nargs="+", choices=("unet", "mlp"), default=("unet", "mlp"))
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    side = options.side
    trainings = {
        "unet": Training(
            f"UNet, width {options.width}, {side}x{side}, batch {options.batch}",
            (options.batch, 3, side, side),
            lambda: cf.UNet((3, side, side), width=options.width, skips="self"),
        ),
        "mlp": Training(
            "MLP 784-512-30-512-784, batch 128",
            (128, 1, 28, 28),
            lambda: cf.MLP((1, 28, 28), hidden=[512], latent_dim=30, activation="relu"),
        ),
    }
    chosen = [trainings[name] for name in options.only]
    memory = [{n: apart(t, on) for n, on in cases(t, options).items() if not on.compile} for t in chosen]
    for training, found in zip(chosen, memory, strict=True):
        measure(training, found, options)


if __name__ == "__main__":
    main()
