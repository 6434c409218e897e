"""What an autoencoder is here, how it is written to a folder, and how it is read back."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, cast

import torch
from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import Tensor, nn
from torch.distributions import Normal

from copyfold import catalogue
from copyfold.errors import UsageError, at_least, one_of
from copyfold.files import write_text, written
from copyfold.models.blocks import BatchNorm, receptive_field
from copyfold.types import Code, Images, Shape, Statistics

Output: TypeAlias = Literal["linear", "sigmoid"]

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_CONFIG_BYTES = 1_000_000  # a config is a few hundred bytes; a larger one is not ours


@dataclass(frozen=True)
class Summary:
    """What can be said of an autoencoder without training it."""

    parameters: int
    input_size: int
    """Numbers in an image, c·h·w."""
    code_size: int
    """Numbers in its code, over all maps."""
    code_field: int | None
    """Input pixels, along one axis, that one number of the code can depend on; None: the whole image."""
    output_field: int | None
    """The same for one pixel of the output."""

    @property
    def kind(self) -> str:
        """Overcomplete where the code has at least as many numbers as the image, else undercomplete."""
        return "overcomplete" if self.code_size >= self.input_size else "undercomplete"

    def __str__(self) -> str:
        """One sentence for a person."""
        fields = ["the whole image" if f is None else f"{f} px" for f in (self.code_field, self.output_field)]
        return (
            f"{self.parameters:,} parameters; {self.kind}: a code of {self.code_size:,} numbers for an image "
            f"of {self.input_size:,}; a number of the code sees {fields[0]}, a pixel of the output {fields[1]}"
        )


class Autoencoder(nn.Module, PyTorchModelHubMixin, ABC):
    """A map of images to images through a code: D(E(x)).

    A subclass stores every argument of its constructor under the argument's own name (they are its
    configuration), puts the layers before the code into `encoder` and those after it into `decoder`, and says
    what `encode` and `logits` do. `output` = "sigmoid" bounds the decoded image to (0, 1); "linear" does not.
    `statistics` says whose averages batch norm uses, "batch" or "running", and holds for every call.
    """

    multiple: int | None = None
    """Sides of other sizes that the model takes are multiples of this; None: only the size of `shape`."""

    encoder: Any
    """The modules before the code."""
    decoder: Any
    """The modules after it."""
    _statistics: Statistics = "batch"
    nested: ClassVar[dict[str, type]] = {}
    """Constructor arguments that are configurations or models themselves, with their base class."""
    stochastic: bool = False
    """Whether an image has a distribution over codes, its `posterior`, and not one code."""

    def __init__(self, shape: Shape, output: Output) -> None:
        super().__init__()
        if isinstance(shape, Autoencoder):
            raise UsageError(
                f"a {type(self).__name__} is not put around another model: leave out --core (or give "
                "--core null, where a recipe has one), or give --model Variational"
            )
        if len(shape) != 3:
            raise UsageError(f"shape={shape!r} cannot be: it must be (channels, height, width)")
        self.shape: Shape = cast(Shape, tuple(shape))
        at_least(1, channels=self.shape[0], height=self.shape[1], width=self.shape[2])
        one_of(Output, "output", output)
        self.output: Output = output

    @abstractmethod
    def encode(self, x: Images) -> Code:
        """E(x): the code of each image, b x code; the mean where the encoder is stochastic."""

    @abstractmethod
    def logits(self, z: Code) -> Images:
        """The decoder's output before the output function: b x c x h x w, unbounded."""

    @classmethod
    @abstractmethod
    def tiny(cls) -> "Autoencoder":
        """The smallest instance that is still typical, on which the laws are tested."""

    def decode(self, z: Code) -> Images:
        """D(z): the image of each code; the mean image where the decoder is a likelihood."""
        return torch.sigmoid(self.logits(z)) if self.output == "sigmoid" else self.logits(z)

    def posterior(self, x: Images) -> Normal | None:
        """q(z|x), where the encoder is stochastic; None where it is not."""
        del x
        return None

    def draw(self, x: Images) -> Code:
        """z ~ E(x), with gradients to the encoder; a deterministic one has only one code to give."""
        q = self.posterior(x)
        return self.encode(x) if q is None else q.rsample()

    def forward(self, x: Images) -> Images:
        """The reconstruction D(E(x))."""
        return self.decode(self.encode(x))

    @property
    def statistics(self) -> Statistics:
        """Whose averages every batch norm of the model uses: "batch" or "running"."""
        return self._statistics

    @statistics.setter
    def statistics(self, value: Statistics) -> None:
        one_of(Statistics, "statistics", value)
        self._statistics = value
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.statistics = value

    @property
    def has_statistics(self) -> bool:
        """Whether there is a batch norm in it, so that `statistics` makes a difference."""
        return any(isinstance(module, BatchNorm) for module in self.modules())

    @contextmanager
    def using(self, statistics: Statistics) -> Generator["Autoencoder"]:
        """Use these statistics within a with-block, then the former ones again."""
        former = self.statistics
        self.statistics = statistics
        try:
            yield self
        finally:
            self.statistics = former

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        arguments = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: _described(getattr(self, name)) for name in arguments}

    @torch.no_grad()
    def code_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of an image's code: of the one tensor, or of every map where it is a tuple of maps."""
        training, like = self.training, next(self.parameters(), torch.empty(0))
        self.eval()
        try:  # without computing: at 256x256 that takes a CPU ten seconds
            weights = {f"model.{n}": t.to("meta") for n, t in chain(self.named_parameters(), self.named_buffers())}
            x = torch.zeros(2, *self.shape, device="meta", dtype=like.dtype)
            code: Code = torch.func.functional_call(_Encoding(self), weights, (x,))
        except RuntimeError:  # it looks at its numbers
            code = self.encode(torch.zeros(2, *self.shape, device=like.device, dtype=like.dtype))
        finally:
            self.train(training)
        return tuple(tuple(m.shape[1:]) for m in (code if isinstance(code, tuple) else (code,)))

    def summary(self) -> Summary:
        """Count parameters and code, and say what can see what."""
        whole = 2 * max(self.shape[1:]) - 1  # a field as wide as this covers the image from any of its pixels
        fields = [receptive_field(part.modules()) for part in (self.encoder, self)]
        fields = [None if field is None or field >= whole else field for field in fields]
        return Summary(
            parameters=sum(p.numel() for p in self.parameters()),
            input_size=self.shape[0] * self.shape[1] * self.shape[2],
            code_size=sum(prod(shape) for shape in self.code_shapes()),
            code_field=fields[0],
            output_field=fields[1],
        )

    def save(self, folder: str | Path, state: Mapping[str, Tensor] | None = None) -> None:
        """Write config.json and model.safetensors (of the weights `state` if given); nothing that runs code."""
        folder, state = Path(folder), self.state_dict() if state is None else state
        tensors = {name: t.detach().cpu().contiguous() for name, t in state.items()}
        with written(folder / WEIGHTS) as path:
            path.write_bytes(serialized(tensors))  # not save_file, which hides what a full disk said
        config = {"architecture": type(self).__name__, **self.config}
        write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **_: Any,
    ) -> "Autoencoder":
        folder = model_id
        if not Path(model_id).is_dir():
            folder = snapshot_download(
                model_id,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
                allow_patterns=[CONFIG, WEIGHTS],
            )
        model = load(folder)
        if not isinstance(model, cls):
            raise UsageError(f"{model_id} holds a {type(model).__name__}, not a {cls.__name__}")
        return model


class Chain(Autoencoder):
    """An autoencoder that is its encoder followed by its decoder, and nothing else."""

    def encode(self, x: Images) -> Code:
        """What `encoder` makes of x."""
        return self.encoder(x)

    def logits(self, z: Code) -> Images:
        """What `decoder` makes of z."""
        return self.decoder(z)


class _Encoding(nn.Module):
    """E as a module of its own, so that it can be called with other weights."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Images) -> Code:
        return self.model.encode(x)


def flat(z: Code) -> Tensor:
    """The code of each image as one vector in float32 or better: b x all numbers of all maps."""
    maps = z if isinstance(z, tuple) else (z,)
    whole = torch.cat([m.flatten(1) for m in maps], dim=1)
    return whole.to(torch.promote_types(whole.dtype, torch.float32))


def load(folder: str | Path) -> Autoencoder:
    """Read a model back: float32, on the CPU, in eval mode. Takes a run's folder or its model folder.

    Runs no code of the folder's: config.json names one of copyfold's own classes, the weights are safetensors,
    and their names, sizes and type are compared with the configuration before anything is allocated. Raises
    UsageError that says what is wrong and where.
    """
    folder = Path(folder)
    if (folder / "model" / CONFIG).is_file():
        folder = folder / "model"
    with torch.device("meta"):
        model = _from_config(folder / CONFIG)
    weights = folder / WEIGHTS
    try:
        _compare(weights, model.state_dict())
        model.load_state_dict(load_file(weights), strict=True, assign=True)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{weights} cannot be read: {error}; copy the model again from where it was") from None
    return model.eval()


def _described(value: Any) -> Any:
    """An argument of a constructor as plain data: a model by its name and its own configuration."""
    if isinstance(value, Autoencoder):
        return {"class_path": type(value).__name__, "init_args": value.config}
    return catalogue.describe(value)


def _made(base: type, spec: Any) -> Any:
    """What `_described` wrote down."""
    if base is not Autoencoder:
        return catalogue.build(base, spec)
    described = cast(dict[str, Any], spec if isinstance(spec, dict) else {})
    if not isinstance(described.get("class_path"), str):
        raise UsageError(f"{spec!r} does not describe an autoencoder: it needs a class_path")
    chosen: Any = catalogue.find(Autoencoder, described["class_path"])
    arguments = dict(described.get("init_args", {}))
    for name, kind in chosen.nested.items():
        if arguments.get(name) is not None:
            arguments[name] = _made(kind, arguments[name])
    return chosen(**arguments)


def _from_config(path: Path) -> Autoencoder:
    """Make the model that a config.json describes, on whatever device is the default."""
    if not path.is_file():
        raise UsageError(f"{path.parent} holds no model: there is no {path.name} in it; give the folder of a run")
    if path.stat().st_size > _CONFIG_BYTES:
        raise UsageError(f"{path} is larger than any config of copyfold's; it was not read")
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({error}); copy the model again from where it was") from None
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise UsageError(f"{path} does not say which architecture it is of: it is not a config of copyfold's")
    arguments = cast(dict[str, Any], config)
    name = arguments.pop("architecture")
    try:
        return _made(Autoencoder, {"class_path": name, "init_args": arguments})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise UsageError(f"{path} does not describe a {name}: {error}") from None


def _compare(weights: Path, expected: dict[str, Tensor]) -> None:
    """Refuse weights whose names, sizes or types are not what the model has."""
    opened: Any = safe_open(weights, framework="pt")
    with opened as file:
        names: list[str] = list(file.keys())
        parts: list[Any] = [file.get_slice(name) for name in names]
        shapes = {n: (tuple(p.get_shape()), str(p.get_dtype())) for n, p in zip(names, parts, strict=True)}
    wanted = {name: (tuple(tensor.shape), "F32") for name, tensor in expected.items()}
    wrong = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
    if wrong:
        name = wrong[0]
        raise UsageError(
            f"{weights} does not fit its config.json: {len(wrong)} tensors differ, the first is {name}: "
            f"found {shapes.get(name, 'nothing')}, expected {wanted.get(name, 'nothing')}"
        )
