"""Export a model to ONNX or to torch.export, and compare the file with the model at once."""

import importlib
import logging
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from copyfold.errors import CopyfoldError, UsageError, one_of, option
from copyfold.files import regular, write_text, written
from copyfold.models.base import Autoencoder, class_name, maps
from copyfold.types import Images

__all__ = ["export"]

Part: TypeAlias = Literal["whole", "encoder", "decoder"]
Format: TypeAlias = Literal["onnx", "torch"]

SUFFIXES: dict[str, str] = {"onnx": ".onnx", "torch": ".pt2"}
NEEDED = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18
"""The version of ONNX's operators: the one that torch's exporter is written in, and old enough for runtimes."""
CLOSE = 1e-4
"""The largest difference between the model and a file that is kept."""
LARGEST = 2**31
"""Bytes of an ONNX file: protobuf has no larger message."""
MARK = "Written by copyfold's export."
"""What a runner begins with, so that no other file is overwritten."""

RUNNER = '''"""{mark} Run {name} with onnxruntime and numpy: python {runner} IN.npy ... OUT.npy

In, float32: {inputs}. Out: {outputs}.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime


def run(*arrays: np.ndarray) -> list[np.ndarray]:
    """The outputs for these inputs."""
    session = onnxruntime.InferenceSession(Path(__file__).with_name("{name}"))
    names = [given.name for given in session.get_inputs()]
    return session.run(None, {{name: x.astype(np.float32) for name, x in zip(names, arrays, strict=True)}})


if __name__ == "__main__":
    *given, out = sys.argv[1:]
    for number, made in enumerate(run(*map(np.load, given))):
        np.save(out if number == 0 else Path(out).with_suffix(f".{{number}}.npy"), made)
'''


@dataclass(frozen=True)
class Exported:
    """A file that was exported, and how far it is from the model."""

    path: Path
    runner: Path | None
    """The script beside an ONNX file that runs it."""
    inputs: tuple[str, ...]
    """Name and shape of every input, as in "x: batch x 3 x height x width"."""
    outputs: tuple[str, ...]
    difference: float
    """The largest difference between the file's numbers and the model's, over the largest of these where that is
    above 1, on random images of several sizes and batches."""
    opset: int | None
    """The version of ONNX's operators; None of a file of torch.export."""


def export(model: Autoencoder, out: str | Path, part: Part = "whole", format: Format = "onnx") -> Exported:
    """Write a model to a file that runs without copyfold, compare the two, and keep it where they agree.

    The batch is of any size. So are height and width, where the model takes other sizes (`multiple`): an ONNX file
    pads images inside, as the model does, and crops its output; one of torch.export takes multiples of `multiple`
    alone. Batch norms use their running averages, and all is float32.

    Args:
        model: What to export; it is not changed.
        out: The file: .onnx, beside which a script is written that runs it (model_onnx.py beside model.onnx); or
            .pt2.
        part: The whole, D(E(x)); the encoder, E(x), of a stochastic one the mean; or the decoder, D(z). A code of
            several maps is as many outputs, or inputs, the first that of the deepest.
        format: "onnx", which needs `pip install copyfold[onnx]`; or "torch", a program of torch.export.

    Raises UsageError for a model that cannot be exported, and CopyfoldError where a package is missing or the file
    differs from the model by more than 1e-4; a file that was there is then unchanged.
    """
    one_of(Part, "part", part)
    one_of(Format, "format", format)
    out = Path(out)
    if out.suffix != SUFFIXES[format]:
        raise UsageError(f"{option('out')} {out} is invalid: expected a {SUFFIXES[format]} file for this format")
    runner = out.with_name(f"{out.stem}_onnx.py") if format == "onnx" else None
    if format == "onnx":
        _check_packages()
        _check_size(model)
    if runner is not None and runner.exists() and not _is_runner(runner):
        raise UsageError(f"{runner} is another file, and would be overwritten: give another {option('out')}")
    task = _Task(model, part, pads=format == "onnx")
    with written(out) as path, _quiet():
        try:
            (_write_onnx if format == "onnx" else _write_torch)(task, path)
        except Exception as error:  # torch's exporters raise anything
            raise UsageError(
                f"{class_name(model)} cannot be exported: torch does not follow its {part} ({_reason(error)})"
            ) from error
        difference = _difference(task, _session(path) if format == "onnx" else _program(path))
        if not difference <= CLOSE:
            raise CopyfoldError(
                f"{out} is not written: it differs from the model by {difference:.2g}, more than {CLOSE:g}; see "
                "that no part of the model is random or depends on the values of an image"
            )
        made = Exported(out, runner, task.inputs, task.outputs, difference, OPSET if format == "onnx" else None)
        if runner is not None:  # the file follows at once, where the block ends
            said = {"inputs": "; ".join(made.inputs), "outputs": "; ".join(made.outputs)}
            write_text(runner, RUNNER.format(mark=MARK, name=out.name, runner=runner.name, **said))
    return made


# ---------------------------------------------------------------- what is exported


class _Part(nn.Module):
    """A part of a model whose layers see what they are given; images are padded and cropped here, if at all."""

    def __init__(self, model: Autoencoder, step: int) -> None:
        super().__init__()
        self.model, self.step = model, step


class _Whole(_Part):
    """D(E(x))."""

    def forward(self, x: Images) -> Any:
        y = self.model.decode(self.model.encode(_padded(x, self.step)))
        return y if self.step == 1 else y[..., : x.shape[2], : x.shape[3]]


class _Encoder(_Part):
    """E(x)."""

    def forward(self, x: Images) -> Any:
        return self.model.encode(_padded(x, self.step))


class _Decoder(_Part):
    """D(z), the maps of a code one by one."""

    def forward(self, *z: Tensor) -> Any:
        return self.model.decode(_code(z))


PARTS: dict[Part, type[_Part]] = {"whole": _Whole, "encoder": _Encoder, "decoder": _Decoder}


def _code(z: tuple[Tensor, ...]) -> Any:
    """A code of its maps: a tensor where there is one alone."""
    return z[0] if len(z) == 1 else z


def _padded(x: Images, step: int) -> Images:
    """Images with their last row and column repeated up to sides that are multiples, without a question asked."""
    return F.pad(x, (0, -x.shape[3] % step, 0, -x.shape[2] % step), mode="replicate") if step > 1 else x


class _Task:
    """A part of a copy of a model, with running averages; what goes in, and what should come out."""

    def __init__(self, model: Autoencoder, part: Part, pads: bool) -> None:
        self.model, self.part = deepcopy(model).cpu().float().eval().requires_grad_(False), part
        self.model.statistics = "running"
        self.codes, self.step = self.model.code_shapes(), self.model.multiple or 1
        exact = self.model.inner_shape == self.model.shape
        # A decoder does not know what was padded, and torch.export takes no map that may have a single row
        takes = (exact or part != "decoder") if pads else (exact and min(model.shape[1:]) >= 2 * self.step)
        self.sized = self.model.multiple is not None and takes
        """Whether the file takes other heights and widths than those of the model."""
        self.pads = pads and self.sized and part != "decoder"
        inner = deepcopy(self.model)
        for inside in inner.modules() if self.sized else ():
            if isinstance(inside, Autoencoder):
                vars(inside).update(padded=_unchanged, cropped=_unchanged)
        self.module = PARTS[part](inner, self.step if self.pads else 1).eval()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Name and shape of every input."""
        return self._codes if self.part == "decoder" else (f"x: {self._images}",)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name and shape of every output."""
        return self._codes if self.part == "encoder" else (f"y: {self._images}",)

    @property
    def _images(self) -> str:
        channels, *sides = self.model.shape
        sizes = ("height", "width") if self.sized else sides
        multiples = f", multiples of {self.step}" if self.sized and not self.pads and self.step > 1 else ""
        return f"batch x {channels} x {sizes[0]} x {sizes[1]}{multiples}, values in [0, 1]"

    @property
    def _codes(self) -> tuple[str, ...]:
        def said(shape: tuple[int, ...]) -> str:
            sizes: Sequence[Any] = shape
            if self.sized:
                shares = [side // rows for side, rows in zip(self.model.inner_shape[1:], shape[1:], strict=True)]
                sides = zip(("height", "width"), shares, strict=True)
                sizes = shape[0], *(name if share == 1 else f"{name}/{share}" for name, share in sides)
            return " x ".join(map(str, ("batch", *sizes)))

        names = ["z"] if len(self.codes) == 1 else [f"z{number}" for number in range(len(self.codes))]
        return tuple(f"{name}: {said(shape)}" for name, shape in zip(names, self.codes, strict=True))

    @property
    def free(self) -> tuple[dict[int, str], ...]:
        """The dimensions of every input that are free, and what an ONNX file calls them."""
        count = len(self.codes) if self.part == "decoder" else 1
        names = [str(number) if count > 1 else "" for number in range(count)]
        sizes = ("rows", "columns") if self.part == "decoder" else ("height", "width")
        return tuple(
            {0: "batch"} | ({2: sizes[0] + name, 3: sizes[1] + name} if self.sized else {}) for name in names
        )

    @torch.no_grad()
    def given(self, batch: int, larger: int = 0) -> tuple[Tensor, ...]:
        """Inputs from random images, larger ones longer by steps; where the file pads, a bit less."""
        rng = torch.Generator().manual_seed(batch + 10 * larger)
        more = [larger * self.step - (self.pads and larger > 0), 2 * larger * self.step] if self.sized else [0, 0]
        sides = [side + longer for side, longer in zip(self.model.shape[1:], more, strict=True)]
        x = torch.rand(batch, self.model.shape[0], *sides, generator=rng)
        return maps(self.model.encode(x)) if self.part == "decoder" else (x,)

    @torch.no_grad()
    def wanted(self, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What the model makes of inputs."""
        return maps(self.model(given[0]) if self.part == "whole" else self.module(*given))

    @property
    def tried(self) -> list[tuple[Tensor, ...]]:
        """Inputs of several batches and sizes, to compare on."""
        return [self.given(1), self.given(3), *([self.given(2, 1), self.given(1, 4)] if self.sized else [])]


def _unchanged(x: Tensor) -> Tensor:
    """In place of a model's own padding and cropping."""
    return x


# ---------------------------------------------------------------- files


def _write_onnx(task: _Task, path: Path) -> None:
    """By the exporter that refuses what depends on an image's values; a trace would keep that of one image."""
    inputs, outputs = ([said.partition(":")[0] for said in both] for both in (task.inputs, task.outputs))
    program: Any = torch.onnx.export(
        task.module,
        task.given(2, 3),
        input_names=inputs,
        output_names=outputs,
        opset_version=OPSET,
        dynamo=True,
        dynamic_shapes=_of_arguments(task, task.free),
        external_data=False,
        verbose=False,
    )
    program.save(path, external_data=False)


def _write_torch(task: _Task, path: Path) -> None:
    """The program of torch.export, which torch.export.load reads."""
    free = [dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in task.free]
    program = torch.export.export(task.module, task.given(2, 3), dynamic_shapes=_of_arguments(task, free))
    torch.export.save(program, path)


def _of_arguments(task: _Task, free: Sequence[dict[int, Any]]) -> tuple[Any, ...]:
    """The free dimensions as torch takes them: those of *z in one tuple."""
    return (tuple(free),) if task.part == "decoder" else tuple(free)


def _session(path: Path) -> Callable[..., tuple[Tensor, ...]]:
    """What an ONNX file computes."""
    onnxruntime: Any = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(path)
    names = [given.name for given in session.get_inputs()]

    def run(*given: Tensor) -> tuple[Tensor, ...]:
        found = session.run(None, {name: x.numpy() for name, x in zip(names, given, strict=True)})
        return tuple(map(torch.from_numpy, found))

    return run


def _program(path: Path) -> Callable[..., tuple[Tensor, ...]]:
    """What a file of torch.export computes."""
    module = torch.export.load(path).module()
    return lambda *given: maps(module(*given))


def _difference(task: _Task, run: Callable[..., tuple[Tensor, ...]]) -> float:
    """The largest difference between a file and the model, over the largest number where that is above 1."""
    found = 0.0
    for given in task.tried:
        for made, wanted in zip(run(*given), task.wanted(given), strict=True):
            if made.shape != wanted.shape:
                return float("inf")
            found = max(found, ((made - wanted).abs().max() / wanted.abs().max().clamp(min=1)).item())
    return found


# ---------------------------------------------------------------- what is refused, and what is not said


def _check_packages() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise CopyfoldError(
            f"ONNX needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            f"pip install copyfold[onnx], or give {option('format', 'torch')}"
        )


def _check_size(model: Autoencoder) -> None:
    size = 4 * sum(tensor.numel() for tensor in model.state_dict().values())
    if size >= LARGEST:
        raise UsageError(
            f"the model is invalid for ONNX, one file of which holds 2 GB and not {size / 1e9:.1f}: give "
            f"{option('format', 'torch')}"
        )


def _is_runner(path: Path) -> bool:
    """Whether a file begins as a runner does; a pipe or a device is not read."""
    try:
        regular(path)
    except OSError:
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(2 * len(MARK))


def _reason(error: BaseException) -> str:
    """The first line of the error that was the cause of others."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".removesuffix(": ")


@contextmanager
def _quiet() -> Generator[None]:
    """Hide what torch's exporters log and warn of: they are raised, or seen in the comparison."""
    chatty = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")
    ]
    levels = [logger.level for logger in chatty]
    for logger in chatty:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(chatty, levels, strict=True):
            logger.setLevel(level)
