"""The time of training on many devices: a model of the step's time, checked on two processes, then extrapolated.

    python benchmarks/scale.py check [--widths 8 16 32] [--size 64] [--part 8] [--steps 30] [--rounds 3]
    python benchmarks/scale.py plan  [--flops 788e12] [--share 0.34] [--inside 350e9] [--between 40e9] ...

The model, for W devices that each compute a part of b images:

    step(W) = compute(b) + max(0, exchange(W) - hidden * backward(b))        backward = 2/3 compute
    exchange(W) = latency * hops + 2 (W - 1) / W * gradient / bandwidth       a ring; gradient: 4 bytes a weight

`check` measures compute (two independent processes, one thread each, which still share caches and the
clock rate), exchange (both average a tensor of the size of the gradient, gloo, in DDP's buckets) and the
step of both under DDP; it prints the time measured beside what the model says with as much of the exchange hidden
behind the backward pass as there is room for, and with nothing of it. Medians of rounds.

`plan` counts FLOPs (torch.utils.flop_counter, on meta tensors: 2 a multiply-add) and weights of some architectures
at 256x256 and prints, for 8 and for 512 devices, what ten million images take: time, cost, bytes to be read and
cores to decode them, and the largest W that runs at .9 of the ideal. Its constants are options; docs/scale.md says
where they come from.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

import copyfold as cf

BUCKET = 25 * 2**20  # bytes: DDP's default
IMAGES = 10_000_000
NODE = 8  # devices that share a fast link
ARCHITECTURES: dict[str, Callable[[tuple[int, int, int]], cf.Autoencoder]] = {
    "UNet 64, self": lambda shape: cf.UNet(shape, width=64, skips="self"),
    "UNet 32, none": lambda shape: cf.UNet(shape, width=32),
    "UNet 64, concat": lambda shape: cf.UNet(shape, width=64, skips="concat"),
    "Conv": lambda shape: cf.Conv(shape),
    "MLP 4000": lambda shape: cf.MLP(shape, hidden=(4000,), latent_dim=300),
}


def step(model: torch.nn.Module, x: torch.Tensor, optimizer: torch.optim.Optimizer) -> float:
    """Seconds of a step."""
    begin = time.perf_counter()
    loss = (model(x) - x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return time.perf_counter() - begin


def made(width: int, size: int, part: int) -> tuple[cf.UNet, torch.Tensor]:
    torch.manual_seed(0)
    return cf.UNet((3, size, size), width=width, depth=3, norm="none").train(), torch.rand(part, 3, size, size)


def work(rank: int, options: argparse.Namespace, width: int, found: list[float]) -> None:
    """One of two processes: exchange alone, then steps under DDP; the first writes down both medians."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{options.port}", rank=rank, world_size=2)
    model, x = made(width, options.size, options.part)
    size = sum(p.numel() for p in model.parameters())
    tensors = torch.zeros(size).split(BUCKET // 4)
    exchange, steps = [], []
    for _ in range(options.steps):
        dist.barrier()
        begin = time.perf_counter()
        for tensor in tensors:
            dist.all_reduce(tensor)
        exchange.append(time.perf_counter() - begin)
    together = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for _ in range(options.steps):
        steps.append(step(together, x, optimizer))
    if rank == 0:
        found[:] = [statistics.median(exchange[3:]), statistics.median(steps[3:])]
    dist.destroy_process_group()


def check(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    heads = [
        "UNet, width",
        "weights",
        "compute, ms",
        "exchange, ms",
        "two, measured",
        "model, hidden",
        "not hidden",
    ]
    print(f"| {' | '.join(heads)} |\n|{'---:|' * len(heads)}")
    for width in options.widths:
        rows = []
        for _ in range(options.rounds):
            alone = statistics.median(_pair(options, width))
            with mp.Manager() as manager:
                found = manager.list([0.0, 0.0])
                mp.spawn(work, (options, width, found), nprocs=2)  # type: ignore[attr-defined]
                exchange, two = found
            rows.append((alone, exchange, two))
            options.port += 1
        compute, exchange, two = (statistics.median(column) for column in zip(*rows, strict=True))
        hidden = compute + max(0.0, exchange - 2 / 3 * compute)
        weights = sum(p.numel() for p in made(width, options.size, 1)[0].parameters())
        cells = [f"{1000 * t:.1f}" for t in (compute, exchange, two, hidden, compute + exchange)]
        print(f"| {width} | {weights:,} | {' | '.join(cells)} |", flush=True)


def _single(rank: int, options: argparse.Namespace, width: int, found: list[float]) -> None:
    torch.set_num_threads(1)
    model, x = made(width, options.size, options.part)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    found[rank] = statistics.median([step(model, x, optimizer) for _ in range(options.steps)][3:])


def _pair(options: argparse.Namespace, width: int) -> list[float]:
    """Median steps of two independent processes."""
    with mp.Manager() as manager:
        found = manager.list([0.0, 0.0])
        mp.spawn(_single, (options, width, found), nprocs=2)  # type: ignore[attr-defined]
        return list(found)


@dataclass
class Cost:
    """What an image costs in one architecture."""

    weights: int
    flops: float  # of a training step, per image

    @classmethod
    def of(cls, make: Callable[[tuple[int, int, int]], cf.Autoencoder], side: int) -> "Cost":
        with torch.device("meta"):
            model = make((3, side, side)).train()
            x = torch.empty(2, 3, side, side)
            with FlopCounterMode(display=False) as counter:
                (model(x) - x).square().sum().backward()
        return cls(sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 2)


def plan(options: argparse.Namespace) -> None:
    for devices in options.devices:
        heads = ["", "weights", "GFLOP/image", "images/s", "part", "compute, ms", "exchange, ms", "of ideal"]
        heads += ["hours", "device hours", "cost", "GB/s read", "cores decoding", "largest W at .9"]
        print(f"\n{devices} devices, ten million images of {options.side}x{options.side}, an epoch\n")
        print(f"| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}")
        for name, make in ARCHITECTURES.items():
            cost = Cost.of(make, options.side)
            compute = options.part * cost.flops / (options.share * options.flops)
            exchange = exchanged(cost, devices, options)
            step_time = stepped(compute, exchange, options)
            rate = devices * options.part / step_time
            hours = IMAGES / rate / 3600
            most = max(w for w in (2**k for k in range(21)) if efficiency(cost, w, compute, options) >= 0.9)
            cells = [f"{cost.weights:,}", f"{cost.flops / 1e9:.1f}", f"{rate:,.0f}", str(options.part)]
            cells += [f"{1000 * compute:.2f}", f"{1000 * exchange:.2f}", f"{compute / step_time:.2f}"]
            cells += [f"{hours:.2f}", f"{hours * devices:.1f}", f"{hours * devices * options.price:.0f}"]
            cells += [f"{rate * options.bytes / 1e9:.2f}", f"{rate / options.decoded:,.0f}"]
            print(f"| {name} | {' | '.join(cells)} | {most if most < 2**20 else 'any'} |")


def exchanged(cost: Cost, devices: int, options: argparse.Namespace) -> float:
    """Seconds of averaging the gradient over all devices: within a node, then between the nodes."""
    if devices == 1:
        return 0.0
    size, nodes, inside = 4 * cost.weights, -(-devices // NODE), min(devices, NODE)
    time_inside = 2 * (inside - 1) / inside * size / options.inside
    time_between = 2 * (nodes - 1) / nodes * size / inside / options.between
    return time_inside + time_between + options.latency * (inside + nodes) * -(-size // BUCKET)


def stepped(compute: float, exchange: float, options: argparse.Namespace) -> float:
    return compute + max(0.0, exchange - options.hidden * 2 / 3 * compute)


def efficiency(cost: Cost, devices: int, compute: float, options: argparse.Namespace) -> float:
    return compute / stepped(compute, exchanged(cost, devices, options), options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    checks = commands.add_parser("check")
    checks.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32])
    for name, default in (("size", 64), ("part", 8), ("steps", 30), ("rounds", 3), ("port", 29650)):
        checks.add_argument(f"--{name}", type=int, default=default)
    checks.set_defaults(run=check)
    plans = commands.add_parser("plan")
    plans.add_argument("--devices", type=int, nargs="+", default=[8, 512])
    plans.add_argument("--side", type=int, default=256)
    plans.add_argument("--part", type=int, default=32, help="images of a device per step")
    plans.add_argument("--flops", type=float, default=788e12, help="bf16 matrix products measured on an H200")
    plans.add_argument("--share", type=float, default=0.34, help="of that, in a training step")
    plans.add_argument("--inside", type=float, default=350e9, help="bytes/s of an all-reduce within a node")
    plans.add_argument("--between", type=float, default=40e9, help="bytes/s of a device to another node")
    plans.add_argument("--latency", type=float, default=2e-6, help="seconds a hop")
    plans.add_argument(
        "--hidden", type=float, default=0.8, help="of the backward pass, that can hide the exchange"
    )
    plans.add_argument("--bytes", type=float, default=25e3, help="of an encoded image")
    plans.add_argument("--decoded", type=float, default=1000, help="images/s that one core decodes")
    plans.add_argument("--price", type=float, default=3.0, help="of a device for an hour")
    plans.set_defaults(run=plan)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
