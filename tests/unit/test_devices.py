"""No part mixes devices, tested without a GPU: tensors of a simulated device refuse to be mixed."""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

import copyfold as cf
from copyfold import catalogue, pictures, restoration
from copyfold.cli import _device, main
from copyfold.objectives.fidelities import Fidelity
from copyfold.probes import baselines, quality
from copyfold.report import context
from copyfold.report.sections import layers

THERE = torch.device("lazy")  # a name that torch has, and nothing behind it
aten: Any = torch.ops.aten


class There(Tensor):
    """A tensor that says it is elsewhere; its numbers are here."""

    held: Tensor

    def __new__(cls, held: Tensor) -> "There":
        made: Any = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=THERE
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.held.tolist()

    def __format__(self, spec: str) -> str:
        return format(self.held, spec)

    def __repr__(self) -> str:
        return f"There({self.held})"


class Elsewhere(TorchDispatchMode):
    """Makes and moves tensors there within a with-block, and notes what is done there."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Any] = []

    def __enter__(self) -> "Elsewhere":
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=) is made here, then moved
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.done += [func] if There in types else []
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What the operation gives here, marked as there; refused where a GPU would refuse, or wait for a copy."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = any(isinstance(t, There) for t in tensors)
    here = any(not isinstance(t, There) and t.dim() for t in tensors)  # a single number of the CPU goes anywhere
    device, rng = kwargs.get("device"), kwargs.get("generator")
    away = there if device is None else torch.device(device).type == THERE.type
    if there and here and func is not aten.copy_.default:
        raise RuntimeError(f"{func} mixes devices")
    if rng is not None and away:
        raise RuntimeError(f"{func} draws there from a generator that is here")
    given = kwargs if device is None else kwargs | {"device": torch.device("cpu")}
    found = func(*held(args), **held(given))
    if func is aten.copy_.default:
        return args[0]
    return return_and_correct_aliasing(func, args, kwargs, tree_map_only(Tensor, There, found)) if away else found


held = partial(tree_map_only, There, lambda t: t.held)


SMALLER: tuple[tuple[Any, dict[str, Any]], ...] = (
    (baselines, {"_MEANS": ((0.8,), (5,), (3,)), "_WAVELETS": (("db1",), (1.0,))}),
    (quality, {"PATCHES": 64}),
    (restoration, {"WHOLE": 1000, "TILE": 16, "MARGIN": 8}),
    (layers, {"Inversion": partial(cf.Inversion, steps=2)}),
    (context, {"MEASURED": 8, "REFERENCE": 16}),
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as shows where things are, and no more."""
    for module, values in SMALLER:
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as mode:
        yield mode


def away(x: Any) -> Any:
    return x.to(THERE)


# ---------------------------------------------------------------- that it would be seen


MIXED: dict[str, Callable[[Tensor, Tensor], object]] = {
    "a sum": lambda x, here: x + here,
    "a concatenation": lambda x, here: torch.cat((x, here)),
    "a convolution": lambda x, here: F.conv2d(x, here[..., :2, :2]),
    "a mask, for which a GPU waits": lambda x, here: x[here > 0],
    "a draw": lambda x, here: torch.randn(3, generator=Generator(), device=x.device),
    "a draw in place": lambda x, here: x.normal_(generator=Generator()),
    "numpy": lambda x, here: x.numpy(),
    "an array": lambda x, here: np.asarray(x),
    "a gradient": lambda x, here: torch.autograd.grad(x.requires_grad_().sum(), x)[0] + here,
}


@pytest.mark.parametrize("what", MIXED)
def test_mixing_devices_is_an_error(what: str, elsewhere: Elsewhere) -> None:
    here = torch.rand(2, 3, 4, 4)
    MIXED[what](here.clone(), here)
    with pytest.raises((RuntimeError, TypeError)):
        MIXED[what](away(here), here)


def test_the_simulated_device_supports_what_a_gpu_does(elsewhere: Elsewhere) -> None:
    here = torch.rand(2, 3)
    x = away(here)
    for one in (x.new_tensor([1.0, 2.0]), torch.tensor([1, 2], device=x.device), torch.zeros(2, device=x.device)):
        assert isinstance(one, There)
        assert one.device.type == THERE.type
    assert torch.equal((2 * x + torch.tensor(1.0)).cpu(), 2 * here + 1)
    assert x.sum().item() == here.sum().item()
    x[0] = 0
    assert x.cpu()[0].eq(0).all()


# ---------------------------------------------------------------- models, objectives


def images(model: Any, count: int = 4) -> Tensor:
    return torch.rand(count, *model.shape, generator=Generator().manual_seed(1))


@pytest.mark.parametrize("name", catalogue.classes(cf.Autoencoder))
def test_a_model_trains_on_the_other_device(name: str, elsewhere: Elsewhere) -> None:
    model = away(catalogue.find(cf.Autoencoder, name).tiny())
    sum(cf.Classical()(model, away(images(model))).values()).backward()
    assert all(isinstance(p.grad, There) for p in model.parameters())


OBJECTIVES = (
    *(cf.Classical(corruption=c()) for c in catalogue.classes(cf.Corruption).values()),
    *(cf.Classical(fidelity=f()) for f in catalogue.classes(Fidelity).values()),
    *(cf.Classical(penalties=(p(),)) for p in catalogue.classes(cf.Penalty).values()),
    *(cf.Classical(penalties=(cf.Contraction(estimator=e),)) for e in ("exact", "closed")),
)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_an_objective_mixes_no_devices_and_never_synchronises(objective: Any, elsewhere: Elsewhere) -> None:
    """A step that reads a number of the device stands still until the device has it."""
    logistic = cf.MLP((3, 8, 8), hidden=(), latent_dim=4, code_activation="sigmoid", output="sigmoid")
    variational = cf.Variational(cf.MLP((3, 8, 8), hidden=(8,), latent_dim=4), latent_dim=4)
    model = away(variational if "Divergence" in str(objective) else logistic)
    objective.check(model)
    x, watch = away(images(model)), {}
    elsewhere.done.clear()
    sum(objective(model, x, watch).values()).backward()
    assert not {aten._local_scalar_dense.default, aten.nonzero.default} & set(elsewhere.done)
    assert all(isinstance(value, There) for value in watch.values())


def test_kl_sparsity_refuses_the_same_codes_on_the_other_device(elsewhere: Elsewhere) -> None:
    with pytest.raises(cf.UsageError, match="code_activation"):
        cf.KLSparsity().check(away(cf.MLP((1, 4, 4))))
    model = cf.Linear.tiny()
    for code, refused in ((0.5, False), (1.5, True)):  # it is not waited for: the loss says so
        penalty = cf.KLSparsity()(model, away(images(model, 2)), away(torch.full((2, 4), code)))
        assert penalty.isnan().item() == refused


# ---------------------------------------------------------------- samplers, probes


def looked_at(kind: str) -> Any:
    """A model that every sampler and probe takes; or one whose code is a tuple of maps."""
    torch.manual_seed(0)
    if kind == "variational":
        return cf.Variational(cf.Conv((3, 16, 16), channels=(4, 8)), latent_dim=8).eval()
    return cf.UNet((3, 16, 16), width=4, depth=2, skips="concat").eval()


def made(cls: Any, **given: Any) -> Any:
    """With those of these fields that it has."""
    return cls(**{name: value for name, value in given.items() if name in cls.__dataclass_fields__})


@pytest.mark.parametrize("kind", ["variational", "tuple"])
@pytest.mark.parametrize("cls", catalogue.classes(cf.Sampler).values())
def test_a_sampler_yields_the_same_film_on_the_other_device(cls: Any, kind: str) -> None:
    """With the same generator of the CPU; from noise that it makes, where it makes some."""
    model = looked_at(kind)
    sampler = made(cls, steps=3, reference=images(model, 16))

    def film(model: Any, device: torch.device) -> list[Tensor]:
        rng = Generator().manual_seed(0)
        noise = sampler.noise(3, model.shape, rng)
        start = images(model, 3) if noise is None else noise
        return list(sampler(model, start.to(device), rng))

    here = film(model, torch.device("cpu"))
    with Elsewhere():
        there = film(away(model), THERE)
        assert all(isinstance(frame, There) for frame in there)
        there = [frame.cpu() for frame in there]
    for a, b in zip(there, here, strict=True):
        torch.testing.assert_close(a, b)


REFERENCE = torch.rand(24, 3, 16, 16, generator=Generator().manual_seed(2))
PROBES = [
    *(made(cls, reference=REFERENCE, steps=3, iterations=2) for cls in catalogue.classes(cf.Probe).values()),
    *(cf.Denoising(cls(), REFERENCE) for cls in (cf.Mix, cf.Masking, cf.Blur)),
    *(cf.Inversion(steps=3, start=start, corruption=cf.Mix()) for start in ("constant", "uniform", "zero")),
    cf.Inversion(steps=3, optimizer="adam", blur=(1.0, 0.5), jitter=1, size=0.5, first=REFERENCE[:1]),
    cf.Nearest(count=2),
    cf.Latent(labels=torch.arange(8) % 2),
]


@pytest.mark.parametrize("kind", ["variational", "tuple"])
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: type(probe).__name__)
def test_a_probe_gives_the_same_reading_on_the_other_device(probe: Any, kind: str) -> None:
    model = looked_at(kind)
    x = images(model, 8)
    if isinstance(probe, cf.Evidence):
        probe = dataclasses.replace(probe, std=0.1)
        if not model.stochastic:
            with Elsewhere(), pytest.raises(cf.UsageError, match="needs a posterior"):
                probe(away(model), away(x), Generator().manual_seed(0))
            return
    here = probe(model, x, Generator().manual_seed(0))
    with Elsewhere():
        there = probe(away(model), away(x), Generator().manual_seed(0))
        found = there.numbers | there.images
        assert all(isinstance(value, There) for value in found.values())
        found = {name: value.cpu() for name, value in found.items()}
    for name, value in (here.numbers | here.images).items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("kind", ["variational", "tuple"])
@pytest.mark.parametrize("cls", catalogue.classes(cf.Score).values())
def test_a_score_is_the_same_on_the_other_device(cls: Any, kind: str) -> None:
    model = looked_at(kind)
    model.statistics = "running"
    normal, x = images(model, 24), REFERENCE[:5]
    with torch.no_grad():
        here = cls()(model, normal)(x)
        with Elsewhere():
            there = cls()(away(model), away(normal))(away(x))
            assert isinstance(there.scores, There)
            scores, maps = there.scores.cpu(), None if there.maps is None else there.maps.cpu()
    torch.testing.assert_close(scores, here.scores, rtol=1e-3, atol=1e-4)
    if here.maps is not None:
        torch.testing.assert_close(maps, here.maps, rtol=1e-3, atol=1e-3)


# ---------------------------------------------------------------- photographs, pictures, commands


@pytest.mark.parametrize("side", [16, 13, 40])
def test_photographs_are_restored_on_the_other_device(side: int, elsewhere: Elsewhere) -> None:
    model = cf.UNet((1, 16, 16), width=2, depth=1, norm="none").eval()
    x = torch.rand(1, 3, side, side)
    here = cf.restore(model, x)
    there = cf.restore(away(model), away(x))
    torch.testing.assert_close(there.cpu(), here)


@pytest.mark.parametrize("cls", catalogue.classes(cf.Problem).values())
def test_a_problem_is_solved_on_the_other_device(cls: Any, elsewhere: Elsewhere) -> None:
    """With the same noise, which is drawn on the CPU."""
    model, x = cf.UNet((1, 16, 16), width=2, depth=1, norm="none").eval(), torch.rand(1, 3, 16, 16)
    problem, ascent = made(cls, mask=torch.rand(16, 16) < 0.5), cf.Ascent(steps=3)
    here = cf.solve(model, problem, problem.measure(x), ascent=ascent)
    there = cf.solve(away(model), problem, problem.measure(away(x)), ascent=ascent)
    assert isinstance(there, There)
    torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-5)


def test_pictures_are_drawn_from_tensors_on_the_other_device(elsewhere: Elsewhere, tmp_path: Path) -> None:
    x = away(torch.rand(3, 3, 8, 8))
    pictures.grid(x)
    pictures.comparison({"image": x}).clear()
    pictures.curves({"curve": (x[0, 0, 0], x[0, 0, 1])}, "x", "y").clear()
    pictures.scatter(x[0, 0, :, :2], x[0, 0, 0]).clear()
    assert pictures.film([x, F.interpolate(x, (16, 16))], tmp_path / "film.gif") == 2


COMMANDS = {
    "sample": ("--sampler.steps=2", "--count=2"),
    "sample from photographs": ("--sampler=FittedGaussian", "--count=2"),
    "probe": ("--probe=Inversion", "--probe.steps=2", "--count=2"),
    "probe its codes": ("--probe=Latent", "--count=8"),
    "embed": (),
    "denoise": (),
    "restore": ("--problem=Deblur", "--ascent.steps=2", "--out=restored.png"),
    "report": (),
    "outliers": ("--rate=0.9", "--marks=marks"),
    "similar": ("--count=2",),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    photos = cf.Photos(limit=32)
    model = cf.Conv(photos.shape, channels=(4,))
    return cf.fit(model, None, photos, tmp_path_factory.mktemp("run") / "run", epochs=1, batch=8).folder


@pytest.mark.parametrize("what", COMMANDS)
def test_a_command_computes_on_the_other_device(
    what: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_device, "chosen", lambda device: THERE)
    monkeypatch.chdir(tmp_path)
    command = what.split()[0]
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save("photo.png")
    given = [str(run), *(("photo.png",) if command in ("denoise", "restore") else ()), *COMMANDS[what]]
    with Elsewhere() as mode:
        assert main([command, *given]) == 0, capsys.readouterr().err
    assert aten.convolution.default in mode.done
