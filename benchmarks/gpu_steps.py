"""Steps, rates and sizes on one device: what the sections of gpu.py are made of."""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Numbers = dict[str, Any]
Item = tuple[str, Callable[[], Numbers]]
"""A measurement: its name, and what makes it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Bench:
    """Where to measure, and how thoroughly."""

    device: torch.device
    quick: bool

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def pick(self, whole: T, small: T) -> T:
        return small if self.quick else whole

    def sync(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def group(self, work: Callable[[], object], count: int) -> float:
        """Seconds of `count` calls, synchronised once at the end."""
        self.sync()
        begin = time.perf_counter()
        for _ in range(count):
            work()
        self.sync()
        return time.perf_counter() - begin

    def seconds(self, work: Callable[[], object], best: bool = False) -> float:
        """Seconds of a call after warm-up: the median of three groups, or the best of them."""
        self.group(work, self.pick(3, 1))
        if self.quick:
            return self.group(work, 1)
        count = min(1000, max(3, math.ceil(0.25 / self.group(work, 1))))
        times = [self.group(work, count) / count for _ in range(3)]
        return min(times) if best else statistics.median(times)

    def memory(self, work: Callable[[], object]) -> tuple[float, float]:
        """GiB in use at the highest point of a call, and how much of it is not there before."""
        if not self.cuda:
            return math.nan, math.nan
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        self.group(work, 1)
        highest = torch.cuda.max_memory_allocated(self.device)
        return highest / 2**30, (highest - before) / 2**30


@dataclass(frozen=True)
class Way:
    """How a step is computed."""

    precision: str = "bf16"  # fp32, tf32, bf16, fp16
    channels_last: bool = True
    fused: bool = True
    compile: str = ""  # a mode of torch.compile
    tuned: bool = False  # cuDNN tries its algorithms
    graph: bool = False  # a CUDA graph of the whole step
    recompute: bool = False

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


def arithmetic(precision: str) -> None:
    """Whether products of float32 may be taken in tf32; by the older flags, which torch.compile reads too."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def stepper(bench: Bench, model: nn.Module, batch: int, way: Way) -> Callable[[Tensor], Tensor]:
    """One training step as a function of a batch; the model goes to the device."""
    arithmetic(way.precision)
    torch.backends.cudnn.benchmark = way.tuned
    model = model.to(bench.device, memory_format=way.layout).train()  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), fused=way.fused or None, capturable=way.graph)
    scaler = torch.amp.GradScaler(bench.device.type, enabled=way.precision == "fp16")
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(way.precision)
    forward = compiled(bench, model, way.compile) if way.compile else model

    def step(x: Tensor) -> Tensor:
        with torch.autocast(bench.device.type, half, half is not None, cache_enabled=not way.graph):
            y = forward(x)
        loss = (x - y.float()).square().sum() / (2 * batch)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        return loss

    return step


def compiled(bench: Bench, model: nn.Module, mode: str) -> Any:
    """The model compiled; where there is no CUDA device, only as far as needs no compiler."""
    torch.compiler.reset()
    return torch.compile(model, mode=mode) if bench.cuda else torch.compile(model, backend="aot_eager")


def graphed(step: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """The step on this batch as one CUDA graph, after a warm-up beside the main stream, as capturing asks for."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step(x)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(x)
    return graph.replay


def stepped(bench: Bench, make: Callable[[], Any], batch: int, way: Way) -> Numbers:
    """The rate of a step on a batch that lies on the device, and its memory."""
    with ExitStack() as stack:
        with bench.device:
            model = make()
        if way.recompute:
            from copyfold.training.plan import Plan
            from copyfold.training.runtime import switched

            stack.enter_context(switched(model, Plan(recompute=True)))
        step = stepper(bench, model, batch, way)
        x = torch.rand(batch, *model.shape, device=bench.device).to(memory_format=way.layout)
        begin = time.perf_counter()
        work = graphed(step, x) if way.graph else partial(step, x)
        bench.group(work, 1)
        first = time.perf_counter() - begin
        seconds = bench.seconds(work)
        highest, more = (math.nan, math.nan) if way.graph else bench.memory(work)  # a graph's own is not counted
    return {
        "images/s": batch / seconds,
        "ms a step": 1e3 * seconds,
        "GiB": highest,
        "MiB an image": 1024 * more / batch,
        "first step, s": first,
    }


def flops(make: Callable[[], Any]) -> float:
    """Floating-point operations of a training step per image, counted without computing anything."""
    with torch.device("meta"):
        model = make().train()
        x = torch.empty(2, *model.shape)
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return counter.get_total_flops() / 2


def photos(count: int, side: int, channels: int = 3) -> Any:
    """So many photos to train on, and a few held out: scenes that come again and again, each in its own memory."""
    from copyfold.data import Photos, scenes

    painted = scenes(min(count, 256), side, channels)
    whole = math.ceil(count / 0.9) + 1  # a tenth is held out
    return Photos(np.resize(painted, (whole, *painted.shape[1:])), size=side, layout="NHWC")


def bare(bench: Bench, model: nn.Module, data: Any, batch: int, way: Way) -> float:
    """Seconds of a step in a plain loop: batches from the host, through pinned memory."""
    from copyfold.data import Batches

    step, source = stepper(bench, model, batch, way), Batches(data.train, batch)
    warm = len(source) // 4

    def run(batches: Iterator[Tensor]) -> None:
        for x in batches:
            x = (x.pin_memory() if bench.cuda else x).to(bench.device, non_blocking=True)
            step(x.to(torch.float32, memory_format=way.layout).div_(255))

    batches = iter(source)
    run(islice(batches, warm))
    return bench.group(lambda: run(batches), 1) / (len(source) - warm)


def through_fit(bench: Bench, model: Any, data: Any, batch: int, **plan: Any) -> float:
    """Seconds of a step of `fit` in one epoch, after its first quarter; start-up and the end left out."""
    from copyfold import fit

    marks: list[tuple[int, float]] = []
    warm = max(1, len(data) // batch // 4)

    def progress(what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        if done in (warm, total):
            bench.sync()
        if done >= warm:
            marks.append((done, time.perf_counter()))

    with tempfile.TemporaryDirectory() as folder:
        fit(model, None, data, f"{folder}/run", epochs=1, batch=batch, progress=progress, **plan)
    (first, begin), (last, end) = marks[0], marks[-1]
    return (end - begin) / (last - first)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> Numbers:
    """p of value ~ size^p: of all by least squares, and of the last two alone."""
    x, y = np.log(sizes), np.log(values)
    return {"exponent": float(np.polyfit(x, y, 1)[0]), "of the last two": float((y[-1] - y[-2]) / (x[-1] - x[-2]))}


# The sections
