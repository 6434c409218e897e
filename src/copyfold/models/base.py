"""The base class of all autoencoders."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from html import escape
from math import prod
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from huggingface_hub import ModelCard, PyTorchModelHubMixin, snapshot_download
from torch import Tensor, nn
from torch.distributions import Normal

from copyfold import catalogue
from copyfold.catalogue import Recorded
from copyfold.errors import UsageError, at_least, image_numbers, one_of
from copyfold.models.blocks import BatchNorm, receptive_field
from copyfold.types import Code, Images, Shape, Statistics

__all__ = ["Autoencoder"]

Output: TypeAlias = Literal["linear", "sigmoid"]

SMALL = 64 * 64  # pixels of an image that a real pass is cheap for
_PADDED = 64  # pixels that a side may be padded by, or by as many as it has
_EPS = 1e-6  # a decoded image is clamped to [eps, 1 - eps] before its logit is taken


@dataclass(frozen=True)
class Summary:
    """Sizes and receptive fields of an autoencoder, known without training."""

    parameters: int
    input_size: int
    """Numbers in an image, c·h·w."""
    code_size: int
    """Numbers in the code, over all maps."""
    code_field: int | None
    """Input pixels, along one axis, that one number of the code can depend on; None: the whole image."""
    output_field: int | None
    """The same for one pixel of the output."""
    padding: str = ""
    """Where images are padded inside the model: a sentence on it."""

    @property
    def kind(self) -> str:
        """Overcomplete where the code has at least as many numbers as the image, else undercomplete."""
        return "overcomplete" if self.code_size >= self.input_size else "undercomplete"

    def __str__(self) -> str:
        """The summary as one sentence."""
        fields = ["the whole image" if f is None else f"{f} px" for f in (self.code_field, self.output_field)]
        return (
            f"{self.parameters:,} parameters; {self.kind}: a code of {self.code_size:,} numbers for an image "
            f"of {self.input_size:,}; a number of the code sees {fields[0]}, a pixel of the output {fields[1]}"
            + (f"; {self.padding}" if self.padding else "")
        )


class Autoencoder(nn.Module, PyTorchModelHubMixin, Recorded, ABC):
    """A map of images to images through a code: D(E(x)).

    A subclass of your own defines `encode`, and `logits` or `decode`. Its constructor calls
    `super().__init__(shape)` and stores every argument under the argument's own name: they are its
    configuration, and must be numbers, strings, lists of them, or classes of copyfold's families. Then `fit`,
    `load`, and every sampler and probe take it. On the command line the first argument must be `shape`, or
    `core` for a model that wraps another one.

    With `logits`, `output` = "sigmoid" bounds the decoded image to (0, 1); "linear" does not. It is best to put
    the layers before the code into `encoder` and those after it into `decoder`: without them, both names mean
    the whole model. `statistics` says which statistics copyfold's batch norms use, "batch" or "running".
    print(*model.children()) prints the layers; `models.outline` gives them as plain data.

    In eval mode `encode` and `decode` are functions: they change neither their input nor the model, and with
    running statistics the result for an image does not depend on the rest of its batch. Images come in either
    memory format. A model that halves images takes any height and width where its constructor builds the layers
    for `self.multiples_of(step)`, `encode` begins with `self.padded(x)` and `logits` ends with `self.cropped(y)`.
    `copyfold.testing.check_architecture(model)` checks these rules and the others.
    """

    multiple: int | None = None
    """The model takes images of other sizes, and works at sides that are multiples of this; None: only the size of
    `shape`. Called on other images, it pads them to multiples and crops its output back."""

    encoder: Any
    """The modules before the code; the whole model where there is no such part."""
    decoder: Any
    """The modules after the code; the whole model where there is no such part."""
    _statistics: Statistics = "batch"
    stochastic: bool = False
    """Whether the encoder gives a distribution over codes, the `posterior`, instead of one code."""

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
                f"a {type(self).__name__} does not wrap another model: leave out --core (or give --core null, "
                "where a recipe has one), or give --model Variational"
            )
        self.shape: Shape = checked_shape(shape)
        self._inner: tuple[int, int] = self.shape[1:]
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
        """A small typical instance for the tests; copyfold's own classes have one."""
        raise UsageError(f"{cls.__name__} has no tiny instance: make one with its constructor")

    def decode(self, z: Code) -> Images:
        """D(z): the image of each code; the mean image where the decoder is a likelihood."""
        return torch.sigmoid(self.logits(z)) if self.output == "sigmoid" else self.logits(z)

    def posterior(self, x: Images) -> Normal | None:
        """q(z|x) of a stochastic encoder; None for a deterministic one."""
        del x
        return None

    def draw(self, x: Images) -> Code:
        """z ~ E(x), with gradients to the encoder; for a deterministic encoder the same as `encode`."""
        q = self.posterior(x)
        return self.encode(x) if q is None else q.rsample()

    def forward(self, x: Images) -> Images:
        """The reconstruction D(E(x)); of images of another size than `shape`, padded to sides that it takes."""
        size = x.shape[2:]
        y = self.decode(self.encode(x if size == self.shape[1:] else self.padded(x)))
        return y if y.shape[2:] == size else y[..., : size[0], : size[1]]

    @property
    def inner_shape(self) -> Shape:
        """The shape that the layers see: `shape`, or a larger one that images are padded to."""
        return self.shape[0], *self._inner

    def multiples_of(self, step: int) -> Shape:
        """Have the layers work at the next multiples of `step`: the shape to build them for; see `works_at`."""
        height, width = (-(-side // step) * step for side in self.shape[1:])
        return self.works_at(height, width)

    def works_at(self, height: int, width: int) -> Shape:
        """Have the layers work at a height and width of at least those of `shape`; returns the shape of that size.

        For a constructor. `padded` and `cropped` then go from the one to the other. UsageError where most of what
        the layers see would be padding.
        """
        sides, name = self.shape[1:], type(self).__name__
        if any(more - side > max(_PADDED, side) for more, side in zip((height, width), sides, strict=True)):
            raise UsageError(
                f"images of {sides[0]}x{sides[1]} are invalid for this {name}, which would pad them to "
                f"{height}x{width}: give larger images, or fewer levels"
            )
        image_numbers(height, width, self.shape[0], f"shape={self.shape}, padded to {height}x{width} by {name},")
        self._inner = height, width
        return self.inner_shape

    def padded(self, x: Images) -> Images:
        """Images with their last row and column repeated up to sides that the layers take; first in `encode`.

        Repeated, because that is possible for any side and any padding (a mirror image must be shorter than the
        image itself), and has a deterministic gradient on every device. At right and bottom, so that poolings fall
        on the same pixels as without.
        """
        height, width = x.shape[2:]
        if (height, width) == self.shape[1:]:
            high, wide = self._inner
        elif self.multiple is None:
            return x
        else:
            high, wide = (-(-side // self.multiple) * self.multiple for side in (height, width))
            if (high, wide) == self._inner != self.shape[1:]:  # whose codes are decoded to the size of `shape`
                wide += self.multiple
        if (high, wide) == (height, width):
            return x
        return F.pad(x, (0, wide - width, 0, high - height), mode="replicate")

    def cropped(self, y: Images) -> Images:
        """Images as the layers make them, without what `padded` added to those of `shape`; last in `logits`."""
        if self._inner == self.shape[1:] or y.shape[2:] != self._inner:
            return y
        return y[..., : self.shape[1], : self.shape[2]]

    @property
    def statistics(self) -> Statistics:
        """Which statistics every batch norm of the model uses: "batch" or "running"."""
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
        """Whether the model has a batch norm, so that `statistics` makes a difference."""
        return any(isinstance(module, BatchNorm) for module in self.modules())

    @contextmanager
    def using(self, statistics: Statistics) -> Generator["Autoencoder"]:
        """Use these statistics within a with-block, and restore the former ones after it."""
        former = self.statistics
        self.statistics = statistics
        try:
            yield self
        finally:
            self.statistics = former

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data. UsageError where one cannot be serialised."""
        return catalogue.describe(self).get("init_args", {})

    @property
    def described(self) -> dict[str, Any]:
        """The content of config.json: the architecture's name, its module if not copyfold's own, and `config`."""
        cls, config = type(self), self.config
        catalogue.path(cls)  # raises where the name is taken
        if taken := {"architecture", "module"} & config.keys():
            raise UsageError(f"{cls.__name__} has an argument called {min(taken)}, a name that config.json "
                             "uses for something else: rename the argument")  # fmt: skip
        place = {} if catalogue.own(cls) else {"module": cls.__module__}
        return {"architecture": cls.__qualname__, **place, **config}

    def __getattr__(self, name: str) -> Any:
        """`encoder` and `decoder` of a model that does not define them: the model itself."""
        if name in ("encoder", "decoder") and name not in self.__dict__.get("_modules", {}):
            return self
        return super().__getattr__(name)

    def __repr__(self) -> str:
        """The class, the shape and the arguments that are not its defaults: UNet((1, 32, 32), width=8, ...)."""
        given: dict[str, Any] = {}
        with suppress(UsageError, RuntimeError, ValueError):  # a user's own class may store others, or none
            usual = {p.name: p.default for p in catalogue.parameters(type(self))}
            given = {k: v for k, v in catalogue.arguments(self).items() if k != "shape" and v != usual[k]}
        said = [f"{k}={type(v).__name__ if _is_long(v) else repr(v)}" for k, v in given.items()]
        count = sum(p.numel() for p in self.parameters())
        return f"{self._get_name()}({', '.join([str(self.shape), *said, f'{count:,} parameters'])})"

    def _repr_html_(self) -> str:
        """For a notebook: what it is in a sentence, and its layers, folded away."""
        said = escape(f"{self._get_name()} of {self.shape}: {self.summary()}")
        return f"<details><summary>{said}</summary><pre>{escape(nn.Module.__repr__(self))}</pre></details>"

    @torch.no_grad()
    def code_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of one image's code: of the tensor, or of each map where the code is a tuple of maps."""
        training, like = self.training, next(self.parameters(), torch.empty(0))
        self.eval()
        try:  # a real pass takes a CPU ten seconds at 256x256; the meta device takes one to import, at any size
            meta = prod(self.shape[1:]) > SMALL
            x = torch.zeros(2, *self.shape, device="meta" if meta else like.device, dtype=like.dtype)
            code = (self._without_values() if meta else self).encode(x)
        except Exception:  # the model reads values of a tensor, which "meta" does not have
            code = self.encode(torch.zeros(2, *self.shape, device=like.device, dtype=like.dtype))
        finally:
            self.train(training)
        return tuple(tuple(m.shape[1:]) for m in maps(code))

    def _without_values(self) -> "Autoencoder":
        """A copy on the meta device; not functional_call, which leaves layers that two names share there."""
        empty: dict[int, Any] = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in self.parameters()}
        return deepcopy(self, empty | {id(b): b.to("meta") for b in self.buffers()})

    def summary(self) -> Summary:
        """Count parameters and numbers of the code, and work out the receptive fields."""
        whole = 2 * max(self.shape[1:]) - 1  # a field of this width covers the image from any of its pixels
        fields = [receptive_field(part.modules()) for part in (self.encoder, self)]
        fields = [None if field is None or field >= whole else field for field in fields]
        return Summary(
            parameters=sum(p.numel() for p in self.parameters()),
            input_size=self.shape[0] * self.shape[1] * self.shape[2],
            code_size=sum(prod(shape) for shape in self.code_shapes()),
            code_field=fields[0],
            output_field=fields[1],
            padding=self._padding(),
        )

    def _padding(self) -> str:
        """How images are padded, in words; "" where they are not."""
        (height, width), (high, wide) = self.shape[1:], self.inner_shape[1:]
        if (height, width) == (high, wide):
            return ""
        return f"{height}x{width} is padded to {high}x{wide} inside the model, and cropped back"

    def save(self, folder: str | Path, state: Mapping[str, Tensor] | None = None) -> None:
        """Write config.json and model.safetensors (with the weights `state` if given); no code is stored."""
        from copyfold.models.storing import write  # which builds on this file

        write(self, Path(folder), self.state_dict() if state is None else state)

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)

    def generate_model_card(self, *_: Any, **__: Any) -> ModelCard:
        """The card of `push_to_hub` and `save_pretrained`; `copyfold push` says more, of a run."""
        return ModelCard(
            f"---\nlibrary_name: copyfold\ntags: [autoencoder, copyfold]\n---\n\n# {type(self).__name__}\n\n"
            f"An autoencoder of images. {self.summary()}.\n\n    import copyfold as cf\n"
            '    model = cf.load("hf://owner/name")\n'
        )

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
        from copyfold.models.storing import CONFIG, WEIGHTS, load  # which builds on this file

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


def _is_long(value: object) -> bool:
    """Whether a value prints layers, or what it belongs to: a module but an autoencoder, a tensor, a method."""
    return isinstance(value, nn.Module | Tensor | MethodType) and not isinstance(value, Autoencoder)


class Chain(Autoencoder):
    """An autoencoder that is one encoder module followed by one decoder module."""

    @abstractmethod
    def __init__(self, shape: Shape, output: Output = "linear") -> None:
        super().__init__(shape, output)

    def encode(self, x: Images) -> Code:
        """encoder(x)."""
        return self.encoder(x)

    def logits(self, z: Code) -> Images:
        """decoder(z)."""
        return self.decoder(z)


def checked_shape(shape: object) -> Shape:
    """A shape as (channels, height, width); UsageError for anything else, and for height x width x channels."""
    found = tuple(shape) if isinstance(shape, list | tuple | torch.Size) else ()
    if len(found) != 3:
        raise UsageError(f"shape={shape!r} is invalid: expected (channels, height, width)")
    at_least(1, channels=found[0], height=found[1], width=found[2])
    channels, height, width = found
    if min(channels, height) > 4 and (width in (3, 4) or (width == 1 and channels == height)):
        raise UsageError(
            f"shape={shape!r} looks like (height, width, channels): expected (channels, height, width), as in "
            f"{(width, channels, height)}"
        )
    image_numbers(height, width, channels, f"shape={shape!r}")
    return channels, height, width


def flat(z: Code) -> Tensor:
    """The code of each image as one vector in float32 or better: b x all numbers of all maps."""
    whole = torch.cat([m.flatten(1) for m in maps(z)], dim=1)
    return whole.to(torch.promote_types(whole.dtype, torch.float32))


def maps(z: Code) -> tuple[Tensor, ...]:
    """The maps of a code as a tuple, also where the code is one tensor."""
    return z if isinstance(z, tuple) else (z,)


def class_name(model: nn.Module) -> str:
    """What a page or a message calls a model: its class; where a module was adopted, the class of that."""
    return model._get_name()  # pyright: ignore[reportPrivateUsage]
