"""Time and memory of attention over a map, by its side: the quadratic kinds beside the linear ones.

    python benchmarks/attention.py [--sides 16 32 64 128] [--channels 64] [--seconds 5] [--gib 8]

Forward and backward of one map, batch 1, float32, four heads of 32 features, one thread; every case in a process
of its own. Time: the processor's, the median of at least 3 runs, as many as fit into --seconds. Memory: what the
first run adds to the peak of the process, whose input, weights and libraries are in place by then. A case whose
matrices of pairs would need more than --gib is counted, not run. Prints a table and the ratios of the time of
linear to that of dot-product attention.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from copyfold.models.attention import DotProduct, LinearElu, LinearSoftmax

HEADS, DIM_HEAD = 4, 32


class WrittenOut(DotProduct):
    """The same attention, with the matrix of all pairs in memory."""

    def mix(self, q, k, v):
        pairs = (q.transpose(-1, -2) @ k * q.shape[-2] ** -0.5).softmax(-1)
        return v @ pairs.transpose(-1, -2)


CASES = {
    "dot, fused": DotProduct,
    "dot, written out": WrittenOut,
    "linear, softmax": LinearSoftmax,
    "linear, elu": LinearElu,
}


def pairs(side: int) -> float:
    """GiB of the four n x n matrices that the written-out kind holds at once in every head, with gradients."""
    return 4 * HEADS * side**4 * 4 / 2**30


def peak() -> float:
    """The peak memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(case: str, side: int, channels: int, budget: float) -> tuple[float, float]:
    """Milliseconds of a run, and MiB that it adds."""
    torch.set_num_threads(1)
    module = CASES[case](channels, HEADS, DIM_HEAD)
    x = torch.rand(1, channels, side, side, requires_grad=True)
    run(module, torch.rand(1, channels, 4, 4, requires_grad=True))  # libraries and their buffers
    before = peak()
    times = [run(module, x)]
    added = peak() - before
    while len(times) < 3 or sum(times) < budget:
        times.append(run(module, x))
    return 1000 * statistics.median(times), added


def run(module: torch.nn.Module, x: torch.Tensor) -> float:
    """Processor seconds for a forward and a backward pass; other processes do not add to them."""
    begin = time.process_time()
    module(x).sum().backward()
    return time.process_time() - begin


def apart(case: str, options: argparse.Namespace, side: int) -> tuple[float, float]:
    """The same in a new process."""
    arguments = ["--case", case, "--sides", side, "--channels", options.channels, "--seconds", options.seconds]
    done = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return tuple(json.loads(done.stdout))


def table(options: argparse.Namespace) -> None:
    """Measure every case at every side, and print."""
    print("| side | positions | " + " | ".join(CASES) + " | softmax / fused | elu / fused |")
    print("|---:|---:|" + "---:|" * (len(CASES) + 2))
    for side in options.sides:
        found = {}
        for case in CASES:
            if case != "dot, written out" or pairs(side) <= options.gib:
                found[case] = apart(case, options, side)
        cells = [
            f"{found[case][0]:.1f} ms, {found[case][1]:.0f} MiB"
            if case in found
            else f"not run: {pairs(side):.1f} GiB of pairs"
            for case in CASES
        ]
        for case in ("linear, softmax", "linear, elu"):
            cells.append(f"{found[case][0] / found['dot, fused'][0]:.3f}")
        print(f"| {side} | {side**2} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--gib", type=float, default=8.0)
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case, options.sides[0], options.channels, options.seconds)))
    else:
        table(options)


if __name__ == "__main__":
    main()
