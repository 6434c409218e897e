"""What one CUDA device gives: its peak, training with and without `fit`, each switch, growth; and is it right?

    bash benchmarks/gpu.sh                                       everything, in under 8 minutes
    python benchmarks/gpu.py SECTION ... [--device cpu --quick]  some of it; tiny sizes, to try the script itself

A section is a list of measurements: each is skipped by its name once the section's --seconds are spent, and
reported by its name where it fails; they are added to the file --rows as they come. --table prints that file, with
the shares of the device's own peak in matrix products, and writes --out, a JSON file with date and device.

"step" is forward, backward and Adam on a batch that lies on the device; "bare" the same in a loop that draws its
batches as `fit` does. FLOPs are those of matrix products and convolutions, forward and backward, as torch counts
them. It needs torch >= 2.11, lightning, numpy, safetensors and huggingface_hub, and makes its own data.
"""

import argparse
import dataclasses
import gc
import inspect
import json
import math
import os
import platform
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import copyfold as cf

Numbers = dict[str, Any]
Item = tuple[str, Callable[[], Numbers]]
"""A measurement: its name, and what makes it."""
T = TypeVar("T")

QUOTED = 788.0  # TFLOP/s, a bf16 matrix product of 8192 on one H200 with random data
AIM, STRETCH = 15_000, 0.45  # images/s of UNet 64 at 64x64 in bf16 on an H200; share of QUOTED
WRONG = ("error", "skipped", "wrong")  # what an item that did not do its work says


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
        """Seconds of so many calls, waited for once at the end."""
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
            from copyfold.training.switches import switched

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
    """Seconds of a step in a loop that anyone would write: batches from the host, through pinned memory."""
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

    def progress(what: str, done: int, total: int) -> None:
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


def peak(bench: Bench) -> Iterator[Item]:
    """What matrix products and convolutions can give at the most, and how fast memory is."""

    def product(precision: str, n: int) -> Numbers:
        arithmetic(precision)
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(n, n, device=bench.device).to(kind) for _ in range(2))
        c = torch.empty_like(a)
        return {"TFLOP/s": 2e-12 * n**3 / bench.seconds(lambda: torch.mm(a, b, out=c), best=True)}

    def convolution(channels: int, side: int, batch: int) -> Numbers:
        torch.backends.cudnn.benchmark = True
        options: Numbers = {"device": bench.device, "dtype": torch.bfloat16}
        x = torch.randn(batch, channels, side, side, **options).to(memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3, **options).to(memory_format=torch.channels_last)
        seconds = bench.seconds(lambda: F.conv2d(x, w, padding=1), best=True)
        return {"TFLOP/s": 18e-12 * batch * (side * channels) ** 2 / seconds}

    def copy(count: int) -> Numbers:
        a, b = (torch.rand(count, device=bench.device) for _ in range(2))
        return {"GB/s": 8e-9 * count / bench.seconds(lambda: b.copy_(a), best=True)}

    for precision in ("bf16", "tf32", "fp32"):
        for n in bench.pick((4096, 8192, 16384), (64,)):
            yield f"matrix product {precision}, {n}", partial(product, precision, n)
    for channels, side in bench.pick(((64, 64), (256, 32), (512, 16), (1024, 8)), ((8, 8),)):
        name = f"convolution bf16 3x3, {channels} maps of {side}x{side}"
        yield name, partial(convolution, channels, side, bench.pick(512, 2))
    yield "copy, read and written", partial(copy, bench.pick(2**28, 2**10))


def essay(bench: Bench) -> Callable[..., Any]:
    """How to make the U-Net that most sections are about."""
    side = bench.pick(64, 16)
    return partial(cf.UNet, (3, side, side), width=bench.pick(64, 4), skips="self")


def unet(bench: Bench) -> Iterator[Item]:
    """The U-Net of the essay in bf16, channels last, with fused Adam: a step, a bare loop and fit, in turns."""
    make = essay(bench)
    data, each = photos(bench.pick(20_480, 24), bench.pick(64, 16)), flops(make) * 1e-12

    def rates(batch: int) -> Numbers:
        turns = []
        for _ in range(bench.pick(2, 1)):
            loop = bare(bench, make(), data, batch, Way())
            turns.append((batch / loop, batch / through_fit(bench, make(), data, batch, precision="bf16")))
        loop, fit = (statistics.median(column) for column in zip(*turns, strict=True))
        step = stepped(bench, make, batch, Way())
        found = {"step": step["images/s"], "bare": loop, "fit": fit}
        return {
            **{f"{name} images/s": rate for name, rate in found.items()},
            **{f"{name} TFLOP/s": rate * each for name, rate in found.items()},
            "fit / bare": fit / loop,
            "GiB": step["GiB"],
        }

    for batch in bench.pick((64, 128, 256, 512, 1024), (4, 8)):
        yield f"{make().summary().parameters:,} parameters, batch {batch}", partial(rates, batch)


def switches(bench: Bench) -> Iterator[Item]:
    """Each switch alone, from plain float32 and then from the way that fit trains."""
    make, batch, found = essay(bench), bench.pick(256, 4), dict[str, float]()
    plain, each = Way("fp32", channels_last=False, fused=False), flops(make) * 1e-12

    def measure(name: str, way: Way, base: str, **options: Any) -> Numbers:
        numbers = stepped(bench, partial(make, **options), batch, way)
        found[name] = numbers["images/s"]
        times = {f"times {base}": found[name] / found[base]} if base in found else {}
        return numbers | {"TFLOP/s": found[name] * each} | times

    ways = {
        "float32": plain,
        "tf32": replace(plain, precision="tf32"),
        "bf16": replace(plain, precision="bf16"),
        "fp16": replace(plain, precision="fp16"),
        "float32, channels last": replace(plain, channels_last=True),
        "float32, fused Adam": replace(plain, fused=True),
        "bf16, channels last": Way(fused=False),
        "fp16, channels last": Way("fp16", fused=False),
        "as fit: bf16, channels last, fused": Way(),
        "as fit, cuDNN tuned": Way(tuned=True),
        "as fit, recompute": Way(recompute=True),
    }
    if bench.cuda:
        ways["as fit, a CUDA graph of the step"] = Way(graph=True)
    for name, way in ways.items():
        yield name, partial(measure, name, way, "float32")
    for name, way in {"contiguous": Way(channels_last=False), "channels last": Way()}.items():
        yield f"group norm, {name}", partial(measure, f"group {name}", way, "group contiguous", norm="group")


def compiling(bench: Bench) -> Iterator[Item]:
    """torch.compile of the U-Net: plain, with CUDA graphs, and as fit does it."""
    make, batch = essay(bench), bench.pick(256, 4)
    each = flops(make) * 1e-12

    def measure(way: Way) -> Numbers:
        numbers = stepped(bench, make, batch, way)
        return numbers | {"TFLOP/s": numbers["images/s"] * each}

    def fit() -> Numbers:
        data = photos(20 * batch, bench.pick(64, 16))
        rate = batch / through_fit(bench, make(), data, batch, precision="bf16", compile=True)
        return {"images/s": rate, "TFLOP/s": rate * each}

    yield "as fit, not compiled", partial(measure, Way())
    for mode in ("default", "reduce-overhead"):
        yield f"as fit, compiled ({mode})", partial(measure, Way(compile=mode))
    if bench.cuda:  # elsewhere it needs a compiler and a minute
        yield "fit(compile=True)", fit


def mlp(bench: Bench) -> Iterator[Item]:
    """784-512-30-512-784, batch 128: kernels so small that launching them is the work."""
    make, batch = partial(cf.MLP, (1, 28, 28), hidden=(512,), latent_dim=30), bench.pick(128, 4)
    data = photos(bench.pick(400, 8) * batch, 28, 1)
    best = Way(channels_last=False)
    ways = {name: replace(best, precision=name) for name in ("fp32", "tf32", "bf16")}
    if bench.cuda:
        ways["bf16, a CUDA graph of the step"] = replace(best, graph=True)
    ways |= {f"bf16, compiled ({mode})": replace(best, compile=mode) for mode in ("default", "reduce-overhead")}
    for name, way in ways.items():
        yield f"step, {name}", partial(stepped, bench, make, batch, way)

    def loop() -> Numbers:
        return {"images/s": batch / bare(bench, make(), data, batch, best)}

    def fit(precision: str) -> Numbers:
        return {"images/s": batch / through_fit(bench, make(), data, batch, precision=precision)}

    yield "bare loop, bf16", loop
    for precision in bench.pick(("bf16", "tf32"), ("32",)):
        yield f"fit, {precision}", partial(fit, precision)


def data(bench: Bench) -> Iterator[Item]:
    """Ways to bring bytes to the device, 64x64 photos in batches: images a second of that alone."""
    side, batch = bench.pick((64, 1024), (8, 4))
    pixels, rng = photos(bench.pick(20_480, 16), side).train, np.random.default_rng(0)
    to = partial(torch.Tensor.to, device=bench.device, non_blocking=True)

    def rate(work: Callable[[], object]) -> Numbers:
        seconds = bench.seconds(work)
        return {"images/s": batch / seconds, "ms a batch": 1e3 * seconds}

    def rows() -> np.ndarray:
        return rng.integers(0, len(pixels), batch)

    def gathered() -> Tensor:
        return torch.from_numpy(pixels[rows()])

    def pinned() -> Tensor:
        held = torch.empty(batch, *pixels.shape[1:], dtype=torch.uint8, pin_memory=True)
        np.take(pixels, rows(), axis=0, out=held.numpy(), mode="clip")
        return held

    def resident() -> Numbers:
        there = to(torch.from_numpy(pixels))
        return rate(lambda: there[to(torch.from_numpy(rows()))])

    yield "gathered on the host", lambda: rate(gathered)
    yield "gathered, copied, as fit does", lambda: rate(lambda: to(gathered()))
    if bench.cuda:
        yield "gathered, pinned, copied", lambda: rate(lambda: to(gathered().pin_memory()))
        yield "gathered into pinned memory, copied", lambda: rate(lambda: to(pinned()))
    yield "gathered on the device", resident


def series(bench: Bench, name: str, sizes: Sequence[int], work: Callable[[int], Numbers]) -> Iterator[Item]:
    """A measurement at every size, and the exponents with which the time and the memory of a step grow."""
    found: dict[int, Numbers] = {}

    def one(size: int) -> Numbers:
        found[size] = work(size)
        return found[size]

    for size in sizes:
        yield f"{name} {size}", partial(one, size)
    for what in ("ms a step", "MiB an image") if bench.cuda else ("ms a step",):
        yield f"{name}: {what}", lambda what=what: exponent(list(found), [n[what] for n in found.values()])


def growth(bench: Bench) -> Iterator[Item]:
    """How time and memory of the U-Net grow with its width, and with the batch."""
    make = essay(bench)

    def wide(width: int) -> Numbers:
        return stepped(bench, partial(make, width=width), bench.pick(64, 4), Way())

    def many(batch: int) -> Numbers:
        return stepped(bench, make, batch, Way())

    yield from series(bench, "width", bench.pick((16, 32, 64, 128, 256), (4, 8)), wide)
    yield from series(bench, "batch", bench.pick((1, 4, 16, 64, 256, 1024), (2, 4)), many)


def architectures(bench: Bench) -> Iterator[Item]:
    """Every architecture as it comes, from 32x32 to 256x256 in bf16: time and memory of a step of 16 images."""

    def made(kind: Any, side: int) -> Any:
        if kind is cf.Variational:
            return kind(cf.Conv((3, side, side)))
        small = {"width": 4} if bench.quick and "width" in inspect.signature(kind).parameters else {}
        return kind((3, side, side), **small)

    def at(kind: Any, side: int) -> Numbers:
        return stepped(bench, partial(made, kind, side), bench.pick(16, 2), Way())

    for name, kind in cf.catalogue.classes(cf.Autoencoder).items():
        yield from series(bench, f"{name}, side", bench.pick((32, 64, 128, 256), (16, 32)), partial(at, kind))


def shortened(kind: Any, steps: int) -> Any:
    """A sampler with its defaults, of so many steps where it has steps."""
    return (
        replace(kind(), steps=steps) if "steps" in {field.name for field in dataclasses.fields(kind)} else kind()
    )


def samplers(bench: Bench) -> Iterator[Item]:
    """Frames a second of every sampler, its noise drawn on the device or on the host, beside a bare loop."""
    side, count = bench.pick((64, 64), (16, 12))
    arithmetic("tf32")
    model = cf.UNet((3, side, side), width=bench.pick(32, 4)).to(bench.device).eval()
    x = torch.rand(count, *model.shape, device=bench.device)

    @torch.no_grad()
    def forward() -> Tensor:
        return model(x)

    def film(kind: Any) -> Numbers:
        numbers: Numbers = {}
        for where in dict.fromkeys((bench.device.type, "cpu")):
            rng, sampler = torch.Generator(where).manual_seed(0), shortened(kind, bench.pick(30, 2))
            frames = sum(1 for _ in sampler(model, x, rng))  # warms up, too
            seconds = bench.group(lambda s=sampler, rng=rng: [None for _ in s(model, x, rng)], 1)
            numbers |= {"frames": frames, f"frames/s, noise from {where}": frames / seconds}
        return numbers

    def restored(images: Tensor) -> Numbers:
        seconds = bench.seconds(lambda: cf.restore(model, images))
        return {"images/s": len(images) / seconds, "megapixels/s": images[:, 0].numel() / seconds / 1e6}

    yield f"bare loop, {count} images of {side}x{side}", lambda: {"frames/s": 1 / bench.seconds(forward)}
    for name, kind in cf.catalogue.classes(cf.Sampler).items():
        yield name, partial(film, kind)
    yield f"restore, {count} images of {side}x{side}", partial(restored, x)
    large = torch.rand(1, 3, *[bench.pick(2048, 48)] * 2, device=bench.device)
    yield f"restore, an image of {large.shape[2]}x{large.shape[3]}", partial(restored, large)


def correct(bench: Bench) -> Iterator[Item]:
    """Whether what holds on a CPU holds here: learning, resuming, loading, samplers, probes."""
    arithmetic("fp32")
    images = photos(bench.pick(320, 40), bench.pick(32, 16))
    with tempfile.TemporaryDirectory() as folder:

        def trained(name: str, epochs: int, resume: bool = False) -> Any:
            torch.manual_seed(0)
            model = cf.UNet(images.shape, width=bench.pick(16, 4), depth=2)
            return cf.fit(model, None, images, f"{folder}/{name}", epochs=epochs, batch=8, resume=resume)

        def learns() -> Numbers:
            first, *_, last = (row["loss"] for row in trained("learns", 3).history)
            return verdict(last < 0.9 * first, {"loss of the first epoch": first, "of the last": last})

        def resumes(strict: bool) -> Numbers:
            with deterministic(strict):
                whole = trained(f"whole {strict}", 3).model.state_dict()
                trained(f"parts {strict}", 2)
                parts = trained(f"parts {strict}", 3, resume=True).model.state_dict()
            apart = max(difference(whole[name], parts[name]) for name in whole)
            return verdict(apart == 0 or not strict, {"largest difference of a weight": apart})

        @torch.no_grad()
        def loads() -> Numbers:
            x, folder_of = images.images("held_out", 8), f"{folder}/learns"
            there, here = cf.load(folder_of)(x), cf.load(folder_of).to(bench.device)(x.to(bench.device))
            return verdict((apart := difference(there, here)) < 1e-4, {"largest difference, of 1": apart})

        yield "fit learns", learns
        yield "how far a resumed run ends from the whole one", partial(resumes, False)
        yield "with deterministic algorithms on the same bits", partial(resumes, True)
        yield "a model that was saved is the same on the CPU", loads
    for name, kind in cf.catalogue.classes(cf.Sampler).items():
        yield f"{name}, as on the CPU", partial(same_film, bench, kind, images)
    for name, kind in cf.catalogue.classes(cf.Probe).items():
        yield f"{name}, as on the CPU", partial(same_reading, bench, kind, images)


def same_film(bench: Bench, kind: Any, images: Any) -> Numbers:
    """A sampler with a generator of the CPU, with the model there and here; and with one of the device."""
    sampler, model, x = shortened(kind, 3), probed(images), images.images("train", 12)
    there = list(sampler(model, x, torch.Generator().manual_seed(0)))
    model, x = model.to(bench.device), x.to(bench.device)
    here = list(sampler(model, x, torch.Generator().manual_seed(0)))
    own = list(sampler(model, x, torch.Generator(bench.device).manual_seed(0)))
    apart = max(map(difference, there, here))
    loose = kind is cf.FittedMixture  # its axes have signs, which each library chooses
    finite = all(bool(frame.isfinite().all()) and frame.device == x.device for frame in (*here, *own))
    return verdict(finite and (loose or apart < 1e-2), {"largest difference, of 1": apart})


def same_reading(bench: Bench, kind: Any, images: Any) -> Numbers:
    """The means of a probe's numbers here and on the CPU, with the same generator of the CPU."""
    fields = {field.name for field in dataclasses.fields(kind)}

    def read(device: torch.device) -> dict[str, Tensor]:
        given: Numbers = {"reference": images.images("train", 24, 12).to(device), "steps": 5}
        given |= {} if kind is cf.Inversion else {"std": 0.1}
        probe = kind(**{name: value for name, value in given.items() if name in fields})
        x, rng = images.images("train", 12), torch.Generator().manual_seed(0)
        found = probe(probed(images).to(device), x.to(device), rng).numbers
        return {k: v.double().mean().cpu() for k, v in found.items() if k not in ("pca", "map", "index")}

    there, here = read(torch.device("cpu")), read(bench.device)
    apart = {name: float((there[name] - here[name]).abs() / (there[name].abs() + 0.01)) for name in there}
    worst = max(apart, key=apart.__getitem__)
    return verdict(apart[worst] < 0.2, {"largest difference, of 1": apart[worst], "in": worst})


def probed(images: Any) -> Any:
    """A model that every sampler and probe takes, the same every time."""
    torch.manual_seed(0)
    return cf.Variational(cf.Conv(images.shape, channels=(8, 16)), latent_dim=8).eval()


def verdict(right: bool, numbers: Numbers) -> Numbers:
    return numbers if right else numbers | {"wrong": "not as it must be"}


def difference(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    a, b = a.double().cpu(), b.double().cpu()
    return float((a - b).abs().max() / a.abs().max().clamp(min=1e-12))


@contextmanager
def deterministic(strict: bool) -> Iterator[None]:
    """Within, sums have a fixed order on a GPU too, where there is a way to give them one."""
    torch.use_deterministic_algorithms(strict, warn_only=True)
    torch.backends.cudnn.deterministic = strict
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False


SECTIONS: dict[str, Callable[[Bench], Iterator[Item]]] = {
    section.__name__: section
    for section in (peak, unet, switches, correct, mlp, data, growth, samplers, architectures, compiling)
}

# Running them, and the table


def run(name: str, bench: Bench, seconds: float, rows: Path) -> None:
    """Make a section's measurements in turn and add each to the file; none keeps the others from it."""
    begin = time.monotonic()

    def note(what: str, numbers: Numbers) -> None:
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"section": name, "what": what, "numbers": numbers}) + "\n")
        print(line(name, what, numbers), flush=True)

    try:
        for what, work in SECTIONS[name](bench):
            note(
                what,
                measured(work) if time.monotonic() - begin < seconds else {"skipped": f"{seconds:.0f} s spent"},
            )
            gc.collect()
            if bench.cuda:
                torch.cuda.empty_cache()
    except Exception as error:
        traceback.print_exc()
        note("the rest", {"error": said(error)})


def measured(work: Callable[[], Numbers]) -> Numbers:
    """The numbers, or what kept them from us."""
    try:
        return {name: value for name, value in work().items() if value == value}
    except torch.OutOfMemoryError:
        return {"out of memory": 1}
    except ModuleNotFoundError as error:
        return {"needs": error.name}
    except Exception as error:
        traceback.print_exc()
        return {"error": said(error)}


def said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def line(section: str, what: str, numbers: Numbers) -> str:
    shown = (f"{k} {v:,.4g}" if isinstance(v, float | int) else f"{k}: {v}" for k, v in numbers.items())
    return f"{section:<13} {what:<48} {'   '.join(shown)}"


def table(rows: list[dict[str, Any]], out: Path | None, device: torch.device, quick: bool) -> int:
    """Print everything with its share of the peak, write it down, and say whether all of it was done and right."""
    products = [row["numbers"] for row in rows if row["what"].startswith("matrix product bf16")]
    highest = max((numbers.get("TFLOP/s", 0.0) for numbers in products), default=0.0)
    for row in rows:
        numbers = row["numbers"]
        for name in [name for name in numbers if name.endswith("TFLOP/s") and row["section"] != "peak"]:
            if highest:
                numbers[name.replace("TFLOP/s", "of peak")] = numbers[name] / highest
            numbers[name.replace("TFLOP/s", f"of {QUOTED:.0f}")] = numbers[name] / QUOTED
    machine = described(device)
    print("\n" + "  ".join(f"{name} {value}" for name, value in machine.items()))
    for row in rows:
        print(line(row["section"], row["what"], row["numbers"]))
    failed = [row for row in rows if any(name in row["numbers"] for name in WRONG)]
    if best := max((r for r in rows if "fit images/s" in r["numbers"]), key=fit_rate, default=None):
        share = best["numbers"]["fit TFLOP/s"] / QUOTED
        print(
            f"\nbest through fit: {fit_rate(best):,.0f} images/s ({best['what']}), {share:.1%} of {QUOTED:.0f} "
            f"TFLOP/s; the aim on an H200 is {AIM:,}, the stretch {STRETCH:.0%}"
        )
    print(f"{len(rows)} measurements, {len(failed)} failed, skipped or wrong")
    if out is None:
        name = "-".join(machine["device"].lower().split())
        out = Path("results") / "gpu" / f"{name}-{machine['date']}{'-quick' if quick else ''}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    found = {**machine, "quick": quick, "peak TFLOP/s": highest, "rows": rows}
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(out)
    return 1 if failed or not rows else 0


def fit_rate(row: dict[str, Any]) -> float:
    return row["numbers"].get("fit images/s", 0.0)


def described(device: torch.device) -> dict[str, str]:
    """The date, the device and what runs on it."""
    cuda = device.type == "cuda"
    found = {"date": date.today().isoformat(), "device": torch.cuda.get_device_name() if cuda else "cpu"}
    if cuda:
        found["GiB"] = f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.1f}"
        found["cuda"], found["cudnn"] = str(torch.version.cuda), str(torch.backends.cudnn.version())
    found |= {"torch": torch.__version__, "lightning": version("lightning"), "copyfold": cf.__version__}
    return found | {"python": platform.python_version()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"Of {', '.join(SECTIONS)}; nothing: all.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="Tiny sizes, each measured once.")
    parser.add_argument("--seconds", type=float, default=120.0, help="For each section.")
    parser.add_argument("--rows", type=Path, help="The file that measurements are added to.")
    parser.add_argument("--table", action="store_true", help="Print and write what --rows holds.")
    parser.add_argument("--out", type=Path, help="results/gpu/DEVICE-DATE.json unless given.")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section is called {', '.join(unknown)}: choose of {', '.join(SECTIONS)}")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic products need
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else fit would find what is there
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here: give --device cpu --quick to try the script")
    with tempfile.TemporaryDirectory() as folder:
        rows: Path = options.rows or Path(folder) / "rows"
        if not options.table:
            for name in options.sections or SECTIONS:
                run(name, Bench(device, options.quick), options.seconds, rows)
        if options.rows and not options.table:
            return 0
        found = [json.loads(text) for text in rows.read_text(encoding="utf-8").splitlines()]
        return table(found, options.out, device, options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
