"""What an autoencoder is here, how it is written to a folder, and how it is read back."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from html import escape
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import torch
from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import Tensor, nn
from torch.distributions import Normal

from copyfold import catalogue
from copyfold.catalogue import Recorded
from copyfold.errors import UsageError, at_least, one_of
from copyfold.files import write_text, written
from copyfold.models.blocks import BatchNorm, receptive_field
from copyfold.types import Code, Images, Shape, Statistics

__all__ = ["Autoencoder", "load"]

Output: TypeAlias = Literal["linear", "sigmoid"]

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_CONFIG_BYTES = 1_000_000  # a config is a few hundred bytes; a larger one is not ours
_EPS = 1e-6  # how near to 0 and 1 a decoded image may come before its logit is taken
_KINDS = {
    torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.bool: "BOOL",
    torch.complex64: "C64",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
}  # fmt: skip
"""What safetensors calls the types that a model's tensors can have."""


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


class Autoencoder(nn.Module, PyTorchModelHubMixin, Recorded, ABC):
    """A map of images to images through a code: D(E(x)).

    A subclass of your own defines `encode`, and `logits` or `decode`. Its constructor calls
    `super().__init__(shape)` and stores every argument under the argument's own name: they are its
    configuration, and must be numbers, words, lists of them, or classes of copyfold's families. Then `fit`,
    `load`, and every sampler and probe take it. On the command line the first argument must be `shape`, or
    `core` where it is made of another model.

    With `logits`, `output` = "sigmoid" bounds the decoded image to (0, 1); "linear" does not. The layers before
    the code are best put into `encoder` and those after it into `decoder`: what asks for them takes the whole
    model where it has none. `statistics` says whose averages copyfold's batch norms use, "batch" or "running".

    In eval mode both ways are functions, which change neither what they are given nor the model, and with running
    statistics an image's result does not depend on the others of its batch. Images come in either memory layout.
    `copyfold.testing.check_architecture(model)` tries these and whatever else is relied upon.
    """

    multiple: int | None = None
    """Sides of other sizes that the model takes are multiples of this; None: only the size of `shape`."""

    encoder: Any
    """The modules before the code; the whole model where it is not divided so."""
    decoder: Any
    """The modules after it; the whole model where it is not divided so."""
    _statistics: Statistics = "batch"
    stochastic: bool = False
    """Whether an image has a distribution over codes, its `posterior`, and not one code."""

    if TYPE_CHECKING:

        def __call__(self, x: Images) -> Images:
            """The reconstruction D(E(x))."""
            ...

    def __init__(self, shape: Shape, output: Output = "linear") -> None:
        super().__init__()
        cls = type(self)
        if cls.logits is Autoencoder.logits and cls.decode is Autoencoder.decode:
            raise UsageError(
                f"{cls.__name__} has neither logits nor decode: define one of them, from codes to images"
            )
        if isinstance(shape, Autoencoder):
            raise UsageError(
                f"a {type(self).__name__} is not put around another model: leave out --core (or give "
                "--core null, where a recipe has one), or give --model Variational"
            )
        if len(shape) != 3:
            raise UsageError(f"shape={shape!r} is invalid: expected (channels, height, width)")
        self.shape: Shape = cast(Shape, tuple(shape))
        at_least(1, channels=self.shape[0], height=self.shape[1], width=self.shape[2])
        one_of(Output, "output", output)
        self.output: Output = output

    @abstractmethod
    def encode(self, x: Images) -> Code:
        """E(x): the code of each image, b x code; the mean where the encoder is stochastic."""

    def logits(self, z: Code) -> Images:
        """The decoder's output before the output function: b x c x h x w, unbounded."""
        image = self.decode(z)
        return torch.logit(image, eps=_EPS) if self.output == "sigmoid" else image

    @classmethod
    def tiny(cls) -> "Autoencoder":
        """The smallest instance that is still typical: our own classes have one, for the laws to be tested on."""
        raise UsageError(f"{cls.__name__} has no tiny instance: make one with its constructor")

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
        """The constructor's arguments as plain data. UsageError where they cannot be written down."""
        return catalogue.describe(self).get("init_args", {})

    @property
    def described(self) -> dict[str, Any]:
        """What config.json says: the architecture's name, its module if it is not copyfold's, and `config`."""
        cls, config = type(self), self.config
        catalogue.path(cls)  # refuses a name that is taken
        if taken := {"architecture", "module"} & config.keys():
            raise UsageError(f"{cls.__name__} has an argument called {min(taken)}, which means something else in "
                             f"{CONFIG}: give it another name")  # fmt: skip
        place = {} if catalogue.own(cls) else {"module": cls.__module__}
        return {"architecture": cls.__qualname__, **place, **config}

    def __getattr__(self, name: str) -> Any:
        """The parts of a model that is not divided into encoder and decoder are the model itself."""
        if name in ("encoder", "decoder") and name not in self.__dict__.get("_modules", {}):
            return self
        return super().__getattr__(name)

    def _repr_html_(self) -> str:
        """For a notebook: what it is in a sentence, and its layers, folded away."""
        said = escape(f"{type(self).__name__} of {self.shape}: {self.summary()}")
        return f"<details><summary>{said}</summary><pre>{escape(repr(self))}</pre></details>"

    @torch.no_grad()
    def code_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of an image's code: of the one tensor, or of every map where it is a tuple of maps."""
        training, like = self.training, next(self.parameters(), torch.empty(0))
        self.eval()
        try:  # without computing: at 256x256 that takes a CPU ten seconds
            # a copy without the numbers; not functional_call, which leaves layers that two names share on "meta"
            empty: dict[int, Any] = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in self.parameters()}
            empty |= {id(b): b.to("meta") for b in self.buffers()}
            x = torch.zeros(2, *self.shape, device="meta", dtype=like.dtype)
            code = deepcopy(self, empty).encode(x)
        except Exception:  # it looks at its numbers, in whatever way
            code = self.encode(torch.zeros(2, *self.shape, device=like.device, dtype=like.dtype))
        finally:
            self.train(training)
        return tuple(tuple(m.shape[1:]) for m in maps(code))

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
        tensors, kept = {name: t.detach().cpu().contiguous() for name, t in state.items()}, set[int]()
        for name, tensor in tensors.items():  # safetensors refuses weights that share memory: each gets its own
            if (place := tensor.untyped_storage().data_ptr()) in kept:
                tensors[name] = tensor.clone()
            kept.add(place)
        with written(folder / WEIGHTS) as path:
            path.write_bytes(serialized(tensors))  # not save_file, which hides what a full disk said
        write_text(folder / CONFIG, json.dumps(self.described, indent=2) + "\n")

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

    @abstractmethod
    def __init__(self, shape: Shape, output: Output = "linear") -> None:
        super().__init__(shape, output)

    def encode(self, x: Images) -> Code:
        """What `encoder` makes of x."""
        return self.encoder(x)

    def logits(self, z: Code) -> Images:
        """What `decoder` makes of z."""
        return self.decoder(z)


def flat(z: Code) -> Tensor:
    """The code of each image as one vector in float32 or better: b x all numbers of all maps."""
    whole = torch.cat([m.flatten(1) for m in maps(z)], dim=1)
    return whole.to(torch.promote_types(whole.dtype, torch.float32))


def maps(z: Code) -> tuple[Tensor, ...]:
    """The maps of a code: those of a tuple, or the one tensor."""
    return z if isinstance(z, tuple) else (z,)


def load(folder: str | Path) -> Autoencoder:
    """Read a model back: on the CPU, in eval mode, in float32. Takes a run's folder or its model folder.

    Runs no code of the folder's: config.json names a class that is known already, one of copyfold's own or one
    that was defined or imported before (whose weights keep their type), and the weights are safetensors. Their
    names, sizes and types are compared with the configuration, for copyfold's own classes before anything is
    allocated. Raises UsageError that says what is wrong and where; of a class that is not known, the module it
    came from, which is never imported for it.
    """
    folder = Path(folder)
    if (folder / "model" / CONFIG).is_file():
        folder = folder / "model"
    path, weights = folder / CONFIG, folder / WEIGHTS
    spec = _spec(path)
    try:
        model = _rebuilt(spec)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except Exception as error:  # whatever the constructor of a person's own class may raise
        raise UsageError(f"{path} does not describe a {spec['class_path']}: {error}") from None
    try:
        _compare(weights, model.state_dict())
        model.load_state_dict(load_file(weights), strict=True, assign=not catalogue.foreign(spec))
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{weights} cannot be read: {error}; copy the model again from where it was") from None
    return model.eval()


def check_citizen(model: Autoencoder) -> None:
    """Refuse a model that cannot be trained and read back by `load`: called before anything is written.

    Of a person's own class: UsageError where an argument of its constructor cannot be written down or is stored
    under another name, where its name is taken, where what is made again from its arguments is another model, and
    where two images do not go through `encode` and `decode`.
    """
    name = type(model).__name__
    model.described  # noqa: B018 - refuses names that are taken
    spec = catalogue.describe(model)
    if not catalogue.foreign(spec):
        return
    try:
        again = _rebuilt(spec)
    except Exception as error:
        raise UsageError(f"{name} cannot be made again from what it stores, {model.config}: {error}") from None
    for argument, value in again.config.items():
        if value != model.config[argument]:
            raise UsageError(
                f"{name} stores {argument}={model.config[argument]!r}, and made again from that {value!r}: store "
                f"the argument as it was given, self.{argument} = {argument}"
            )
    before, after = ({k: tuple(v.shape) for k, v in m.state_dict().items()} for m in (model, again))
    if different := sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k)):
        raise UsageError(
            f"{name} made again from its arguments has other weights, the first of {len(different)} is "
            f"{different[0]}: give its constructor everything that decides about its layers"
        )
    x = torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0))
    tried(again.eval(), x, f"{name}.")


@torch.no_grad()
def tried(model: Autoencoder, x: Images, name: str = "", advice: str = "", real: bool = False) -> Code:
    """The code of x, decoded too; UsageError where `encode` and `decode` return no code and images.

    `name` stands before theirs in the message, and `advice` at its end; with `real` a code is of real numbers.
    """
    given = x.clone()
    z: Any = called(f"{name}encode", model.encode, x)
    parts: Any = maps(z)
    rows = all(isinstance(m, Tensor) and m.shape[:1] == x.shape[:1] for m in parts)
    if not rows or (real and not all(m.is_floating_point() for m in parts)):
        raise UsageError(
            f"{name}encode returned {shown(z)} for {shown(x)}: expected a tensor{' of real numbers' * real} with "
            f"a row per image, or a tuple of such tensors{advice}"
        )
    if not torch.equal(x, given):
        raise UsageError(
            f"{name}encode changes its input images in place: use no inplace=True in the first layer, or work on "
            "a copy"
        )
    y: Any = called(f"{name}decode", model.decode, z)
    if not isinstance(y, Tensor) or y.shape != x.shape or not y.is_floating_point():
        raise UsageError(
            f"{name}decode returned {shown(y)} for the code of {shown(x)}: expected images of that shape{advice}"
        )
    return z


def called(name: str, function: Callable[[Any], Any], value: Any) -> Any:
    """What a user's function returns; UsageError in one line where it fails."""
    try:
        return function(value)
    except UsageError:
        raise
    except Exception as error:  # it may raise anything
        reason = (str(error).splitlines() or [""])[0]
        raise UsageError(f"{name} failed on {shown(value)}: {type(error).__name__}: {reason}") from error


def shown(value: Any) -> str:
    """Type and shape of a value, for a message."""
    if isinstance(value, Tensor):
        kind = "" if value.is_floating_point() else f" {str(value.dtype).removeprefix('torch.')}"
        return f"a tensor of {'x'.join(map(str, value.shape)) or 'no dimensions'}{kind}"
    if isinstance(value, tuple):
        return f"a tuple of ({', '.join(map(shown, cast(tuple[Any, ...], value)))})"
    return "None" if value is None else f"a {type(value).__name__}"


def _rebuilt(spec: dict[str, Any]) -> Autoencoder:
    """The model that `describe` wrote down, with whatever weights.

    Of copyfold's own classes on the meta device, where it takes no memory. A person's own class is made in
    memory: it may compute what is not saved, share weights, or look at its numbers.
    """
    with torch.device("cpu" if catalogue.foreign(spec) else "meta"), torch.random.fork_rng(devices=[]):
        return catalogue.build(Autoencoder, spec)


def _spec(path: Path) -> dict[str, Any]:
    """What a config.json describes, as `catalogue.describe` would."""
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
    name, module = arguments.pop("architecture"), arguments.pop("module", "")
    return {"class_path": f"{module}.{name}" if module else name, "init_args": arguments}


def _compare(weights: Path, expected: dict[str, Tensor]) -> None:
    """Refuse weights whose names, sizes or types are not what the model has."""
    opened: Any = safe_open(weights, framework="pt")
    with opened as file:
        names: list[str] = list(file.keys())
        parts: list[Any] = [file.get_slice(name) for name in names]
        shapes = {n: (tuple(p.get_shape()), str(p.get_dtype())) for n, p in zip(names, parts, strict=True)}
    wanted = {name: (tuple(t.shape), _KINDS.get(t.dtype, str(t.dtype))) for name, t in expected.items()}
    wrong = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
    if wrong:
        name = wrong[0]
        raise UsageError(
            f"{weights} does not fit its config.json: {len(wrong)} tensors differ, the first is {name}: "
            f"found {shapes.get(name, 'nothing')}, expected {wanted.get(name, 'nothing')}"
        )
