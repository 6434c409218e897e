"""A model in a folder: config.json says what it is, model.safetensors holds its weights, and no code is stored."""

import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import Tensor

from copyfold import catalogue
from copyfold.errors import UsageError
from copyfold.files import plain, reason, regular, small_json, write_text, written
from copyfold.hub import fetched, is_address
from copyfold.models.base import Autoencoder
from copyfold.models.building import rebuilt

__all__ = ["load"]

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_CONFIG_BYTES = 1_000_000  # a config has a few hundred bytes; a larger file is not copyfold's
_DTYPES = {
    torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.bool: "BOOL",
    torch.complex64: "C64",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
}  # fmt: skip
"""The names that safetensors has for the dtypes of a model's tensors."""


def write(model: Autoencoder, folder: Path, state: Mapping[str, Tensor]) -> None:
    """Write config.json and model.safetensors, with the weights `state`."""
    tensors, kept = {name: t.detach().cpu().contiguous() for name, t in state.items()}, set[int]()
    for name, tensor in tensors.items():  # safetensors rejects weights that share memory: copy them
        if (place := tensor.untyped_storage().data_ptr()) in kept:
            tensors[name] = tensor.clone()
        kept.add(place)
    with written(folder / WEIGHTS) as path:
        path.write_bytes(serialized(tensors))  # not save_file, which hides the error of a full disk
    write_text(folder / CONFIG, json.dumps(model.described, indent=2) + "\n")


def load(folder: str | Path) -> Autoencoder:
    """Load a model: on the CPU, in eval mode, in float32. Takes a run's folder, its model folder, or its address.

    An address is hf://owner/name[@revision], of a model on the Hub, which is fetched once and kept.

    Runs no code from the folder: config.json names a class that is already known, one of copyfold's own or one
    that was defined or imported before (whose weights keep their dtype), and the weights are safetensors. Their
    names, shapes and dtypes are compared with the configuration, for copyfold's own classes before any memory is
    allocated. UsageError says what is wrong and where; for an unknown class it names the module of the class,
    which is never imported.
    """
    folder = fetched(str(folder)) if is_address(folder) else Path(folder)
    if (folder / "model" / CONFIG).is_file():
        folder = folder / "model"
    path, weights = folder / CONFIG, folder / WEIGHTS
    spec = _spec(path)
    try:
        model = rebuilt(spec)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except Exception as error:  # the constructor of a user's own class may raise anything
        raise UsageError(f"{path} does not describe a {spec['class_path']}: {error}") from None
    try:
        with plain(weights) as found:
            regular(found)
            _compare(found, weights, model.state_dict())
            tensors = load_file(found)
            _check_finite(tensors, weights, {name for name, _ in model.named_parameters()})
            model.load_state_dict(tensors, strict=True, assign=not catalogue.foreign(spec))
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"{weights} cannot be read: {reason(error)}; copy the model from its source again"
        ) from None
    return model.eval()


def _spec(path: Path) -> dict[str, Any]:
    """The content of a config.json in the form that `catalogue.describe` gives."""
    if not path.is_file():
        raise UsageError(f"{path.parent} has no model: there is no {path.name} in it; give the folder of a run")
    try:
        arguments = small_json(path, _CONFIG_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}; copy the model again") from None
    except ValueError as error:
        raise UsageError(f"{path} cannot be read as JSON ({error}): copy the model again") from None
    if not isinstance(arguments.get("architecture"), str):
        raise UsageError(f'{path} is not a config of copyfold: it names no "architecture"')
    name, module = arguments.pop("architecture"), arguments.pop("module", "")
    return {"class_path": f"{module}.{name}" if module else name, "init_args": arguments}


def _compare(found: Path, weights: Path, expected: dict[str, Tensor]) -> None:
    """UsageError where the names, shapes or dtypes in the file `found`, called `weights`, are not the model's."""
    opened: Any = safe_open(found, framework="pt")
    with opened as file:
        names: list[str] = list(file.keys())
        parts: list[Any] = [file.get_slice(name) for name in names]
        shapes = {n: (tuple(p.get_shape()), str(p.get_dtype())) for n, p in zip(names, parts, strict=True)}
    wanted = {name: (tuple(t.shape), _DTYPES.get(t.dtype, str(t.dtype))) for name, t in expected.items()}
    wrong = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
    if wrong:
        name = wrong[0]
        raise UsageError(
            f"{weights} does not fit its config.json: {len(wrong)} tensors differ, the first is {name}: "
            f"found {shapes.get(name, 'nothing')}, expected {wanted.get(name, 'nothing')}"
        )


def _check_finite(found: dict[str, Tensor], weights: Path, parameters: Set[str]) -> None:
    """UsageError where a number in a file is NaN, or a parameter is infinite: all that follows would be NaN.

    Only a buffer may be infinite, as the least loss so far of a user's own class.
    """
    for name, tensor in found.items():
        if tensor.is_floating_point() and not (tensor.isfinite() if name in parameters else ~tensor.isnan()).all():
            raise UsageError(
                f"{weights} has numbers in {name} that are not finite: the training that wrote it diverged, or "
                "the file is damaged; train again, or copy the model from its source again"
            )
