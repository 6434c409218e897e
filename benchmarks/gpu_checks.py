"""The section of gpu.py that checks whether results on a device are right."""

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from gpu_rates import shortened
from gpu_steps import Bench, Item, Numbers, arithmetic, photos
from torch import Tensor

import copyfold as cf


def correct(bench: Bench) -> Iterator[Item]:
    """Whether results agree with a CPU's: learning, resuming, loading, restoring, samplers, probes."""
    arithmetic("fp32")
    images = photos(bench.pick(320, 40), bench.pick(32, 16))
    with tempfile.TemporaryDirectory() as folder:

        def trained(name: str, epochs: int, resume: bool = False) -> Any:
            torch.manual_seed(0)
            model = cf.UNet(images.shape, width=bench.pick(16, 4), depth=2)
            plan = {"epochs": epochs, "batch": 8, "resume": resume, "schedule": "constant"}
            return cf.fit(model, None, images, f"{folder}/{name}", **plan)

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
    yield "a photograph restored in tiles", partial(same_restoration, bench, images)
    for name, kind in cf.catalogue.classes(cf.Sampler).items():
        yield f"{name}, as on the CPU", partial(same_film, bench, kind, images)
    for name, kind in cf.catalogue.classes(cf.Probe).items():
        yield f"{name}, as on the CPU", partial(same_reading, bench, kind, images)


def same_restoration(bench: Bench, images: Any) -> Numbers:
    """A photograph of more than a megapixel, by a model that was never trained."""
    torch.manual_seed(0)
    model, x = cf.UNet(images.shape, width=4, depth=1).eval(), torch.rand(1, 3, 1001, 1003)
    there = cf.restore(model, x)
    here = cf.restore(model.to(bench.device), x.to(bench.device))
    return verdict((apart := difference(there, here)) < 1e-3, {"largest difference, of 1": apart})


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
    """Within this context, sums have a fixed order on a GPU too, where torch offers one."""
    torch.use_deterministic_algorithms(strict, warn_only=True)
    torch.backends.cudnn.deterministic = strict
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
