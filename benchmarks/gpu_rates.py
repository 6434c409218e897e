"""The sections of gpu.py that measure: rates, memory, growth."""

import dataclasses
import inspect
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gpu_steps import Bench, Item, Numbers, Way, arithmetic, bare, exponent, flops, photos, stepped, through_fit
from torch import Tensor

import copyfold as cf


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
    """The essay's U-Net in bf16, channels last, with fused Adam: a step, a bare loop and fit, in turns."""
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


def speed_options(bench: Bench) -> Iterator[Item]:
    """Each option alone: first added to plain float32, then to the way that fit trains."""
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
