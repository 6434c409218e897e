"""How time and memory grow with size, width and batch: every architecture and every sampler.

    python benchmarks/scaling.py [--out scaling.json] [--only UNet Walk] [--quick] [--device cuda] [--figure FILE]

Three series start from images of 64x64, width 16 and a batch of 2 (samplers, on a U-Net: size and batch). Every
point is a process of its own, with one thread. Time is the processor's, the median of at least three runs, of
inference and of a step (forward and backward; an optimiser's share depends on no image). Memory is what the
first run adds to the peak of a process that has libraries, weights and input in place, without the gradients of
the weights. Operations are counted by torch as it runs (matrix products and convolutions).

--keep has glibc keep freed memory instead of handing it back to the system, whose zeroing of new pages for every
tensor above 32 MiB is most of what grows faster than the mathematics without it.

What is in --out is not measured again. A series ends where a run takes longer than --most seconds. Prints the
table of docs/performance.md and draws its figure, as scaling_shown.py says.
"""

import argparse
import ctypes
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import torch
from scaling_shown import Point, figure, table

import copyfold as cf
from copyfold import catalogue
from copyfold.samplers.base import Sampler

Place: TypeAlias = dict[str, int]
"""Size, width and batch of a point."""

MODELS: dict[str, Callable[[tuple[int, int, int], int], Any]] = {
    "AttentionUNet": lambda shape, width: cf.AttentionUNet(shape, width=width, prenorm=True, residual=True),
    "Conv": lambda shape, width: cf.Conv(shape, channels=(width, 2 * width, 4 * width)),
    "DiffusionUNet": lambda shape, width: cf.DiffusionUNet(shape, width=width),
    "Linear": lambda shape, width: cf.Linear(shape, latent_dim=2 * width),
    "MLP": lambda shape, width: cf.MLP(shape, hidden=[8 * width], latent_dim=2 * width),
    "SingleAttention": lambda shape, width: cf.SingleAttention(shape, channels=width),
    "SingleAttention dot": lambda shape, width: cf.SingleAttention(shape, "dot", channels=width),
    "UNet": lambda shape, width: cf.UNet(shape, width=width, skips="concat"),
    "Variational": lambda shape, width: cf.Variational(cf.Conv(shape, channels=(width, 2 * width, 4 * width))),
}
"""What `width` means for each; a class that is not here is made with its defaults, and has no series of widths."""
SERIES = {
    "size": [32, 48, 64, 96, 128, 192, 256],
    "width": [8, 12, 16, 24, 32, 48, 64],
    "batch": [2, 4, 8, 16, 32],
}
QUICK = {"size": [16, 32, 48], "width": [8, 12, 16], "batch": [2, 4]}
START = {"size": 64, "width": 16, "batch": 2}
STEPS = 3  # of a sampler
ONES = {"steps": STEPS, "components": 2}  # fields of samplers that are not at their defaults


def models() -> dict[str, Callable[[tuple[int, int, int], int], Any]]:
    """Every architecture: as above, or with its defaults."""
    unknown = {
        name: lambda shape, width, made=made: made(shape)
        for name, made in catalogue.classes(cf.Autoencoder).items()
        if name not in MODELS
    }
    return MODELS | unknown


def sampler(name: str) -> Sampler:
    """A sampler with few steps."""
    made: Any = catalogue.classes(Sampler)[name]
    return made(**{field: value for field, value in ONES.items() if field in made.__dataclass_fields__})


def work(name: str, size: int, width: int, batch: int, device: str) -> tuple[Any, dict[str, Callable[[], Any]]]:
    """The model, and what is measured of it by name."""
    torch.manual_seed(0)
    make = models()[name] if name in models() else MODELS["UNet"]
    model = make((3, size, size), width).to(device)
    x = torch.rand(batch, 3, size, size, device=device)

    def infer() -> None:
        with torch.no_grad():
            model.eval()(x)

    def step() -> None:
        (model.train()(x) - x).square().mean().backward()
        model.zero_grad()

    def film() -> None:
        for _ in sampler(name)(model, x, torch.Generator(device).manual_seed(0)):
            pass

    return model, {"infer": infer, "step": step} if name in models() else {"film": film}


def measure(name: str, size: int, width: int, batch: int, options: argparse.Namespace) -> Point:
    """Seconds, MiB and operations of each kind of work, for the whole batch."""
    torch.set_num_threads(1)
    if options.keep:
        keep_memory()
    cuda = options.device == "cuda"
    for run in work("UNet", 16, 8, 2, options.device)[1].values():
        run()  # libraries and their buffers
    model, kinds = work(name, size, width, batch, options.device)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    found: Point = {"parameters": weights / 4}
    before = torch.cuda.memory_allocated() / 2**20 if cuda else peak()
    for kind, run in kinds.items():
        run()
        reached = torch.cuda.max_memory_allocated() / 2**20 if cuda else peak()
        found[f"{kind} MiB"] = reached - before - (weights / 2**20 if kind == "step" else 0)
    for kind, run in kinds.items():
        times = [seconds(run, cuda)]
        while len(times) < 3 or (sum(times) < options.seconds and len(times) < 50):
            times.append(seconds(run, cuda))
        found[f"{kind} s"] = statistics.median(times)
    for kind, run in kinds.items():
        found[f"{kind} operations"] = operations(run)
    return found


def keep_memory() -> None:
    """No part of the heap is given back, and none of up to 1 GiB is taken from outside it; glibc only."""
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    for what in (trim, mmap):
        ctypes.CDLL(None).mallopt(what, 2**30)


def peak() -> float:
    """The peak memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def seconds(run: Callable[[], Any], cuda: bool) -> float:
    """Processor seconds, to which other processes do not add; wall-clock seconds on a GPU."""
    clock = time.perf_counter if cuda else time.process_time
    begin = clock()
    run()
    if cuda:
        torch.cuda.synchronize()
    return clock() - begin


def operations(run: Callable[[], Any]) -> float:
    """What torch counts, and the fused attention of a CPU, which it leaves out."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

    aten = torch.ops.aten
    also = {
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda g, q, k, v, *_, **__: (
            sdpa_backward_flop_count(g, q, k, v)
        ),
    }
    with FlopCounterMode(display=False, custom_mapping=also) as counter:
        run()
    return counter.get_total_flops()


def apart(*arguments: Any) -> Point:
    """Measure in a process of its own, forked before any thread was started; it has its own peak of memory."""
    context: Any = multiprocessing.get_context("spawn" if arguments[-1].device == "cuda" else "fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(there, *arguments))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        sys.exit(f"{arguments[:-1]} ended without a result: see above")
    finally:
        process.join()


def _send(pipe: Any, *arguments: Any) -> None:
    pipe.send(measure(*arguments))


def series(name: str, quick: bool) -> dict[str, list[Place]]:
    """The points of each series, by what grows; the width only where it is an argument here."""
    start = START | ({"size": 32} if quick else {})
    return {
        axis: [start | {axis: value} for value in values]
        for axis, values in (QUICK if quick else SERIES).items()
        if axis != "width" or name in MODELS
    }


def key(name: str, place: Place) -> str:
    return " ".join([name, *(f"{axis}={value}" for axis, value in place.items())])


def measured(names: list[str], options: argparse.Namespace) -> dict[str, dict[str, list[tuple[int, Point]]]]:
    """The points of every series by name and axis; each is written to the file as soon as it is measured."""
    known: dict[str, Point] = json.loads(options.out.read_text()) if options.out.exists() else {}
    found: dict[str, dict[str, list[tuple[int, Point]]]] = {}
    for name in names:
        for axis, places in series(name, options.quick).items():
            line = found.setdefault(name, {}).setdefault(axis, [])
            for place in places:
                at = key(name, place)
                if at not in known:
                    known[at] = apart(name, *place.values(), options)
                    options.out.write_text(json.dumps(known, indent=1) + "\n")
                    print(at, {k: float(f"{v:.3g}") for k, v in known[at].items()}, file=sys.stderr)
                line.append((place[axis], known[at]))
                if max(value for what, value in known[at].items() if what.endswith(" s")) > options.most:
                    break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*models(), *catalogue.classes(Sampler)]
    parser.add_argument("--out", type=Path, default=Path("scaling.json"), help="what is measured is kept here")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a trial")
    parser.add_argument("--keep", action="store_true", help="keep freed memory (glibc)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=0.5, help="to spend on a median of more than 3 runs")
    parser.add_argument("--most", type=float, default=3.0, help="seconds of a run after which a series ends")
    parser.add_argument("--figure", type=Path, help="a file for the figure")
    options = parser.parse_args()
    found = measured([name for name in names if name in options.only], options)
    table(found, START["batch"])
    if options.figure:
        figure(found).savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main()
