"""The stages of an architecture as plain data, for a table or a diagram."""

import re
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from copyfold.models.base import Autoencoder
from copyfold.models.blocks import SeesAll

Part: TypeAlias = Literal["encoder", "code", "decoder"]


@dataclass(frozen=True)
class Stage:
    """One stage of an autoencoder: its operations and the shape of its output."""

    name: str
    """The layer's name, as a probe takes it; "image" for the input image."""
    what: str
    """The operations in words: "2×2 max pooling, two 3×3 convolutions + batch norm, ReLU"."""
    shape: tuple[int, ...]
    """The shape of the output for one image: (c, h, w) or (n,)."""
    parameters: int
    part: Part
    skips: tuple[str, ...] = ()
    """The encoder's stages whose maps, also parts of the code, are further inputs of this stage."""


@torch.no_grad()
def outline(model: Autoencoder) -> list[Stage]:
    """The stages of a model in the order of the forward pass, the input image first.

    A stage is a direct child of the model's `encoder` or `decoder` (of the inner model's, where one model wraps
    another); norms, activations and changes of shape belong to the stage before them. The stage whose output is
    the code (the first map where the code is a tuple) has the part "code". Found by a forward pass of two zero
    images, on the model's own device, which costs nothing on "meta". The parameters of all stages sum to the
    model's: those in no stage are counted with the code.
    """
    x = torch.zeros(2, *model.shape, device=next(model.parameters(), torch.empty(0)).device)
    with _recorded(model) as calls:
        z = model.encode(x)
        encoding, calls[:] = list(calls), []
        model.decode(z)
    names = dict(_units(model, encoding + calls))
    maps = z if isinstance(z, tuple) else (z,)
    before, after = (_drafts(found, names) for found in (encoding, calls))
    code = next(
        (k for k, draft in enumerate(before) if draft.calls[-1].output is maps[0]), max(len(before) - 1, 0)
    )
    stages = [Stage("image", "what goes in", model.shape, 0, "encoder")]
    stages += [draft.stage("encoder") for draft in before] or [Stage("code", "the image itself", (), 0, "code")]
    what = stages[code + 1].what + (", to the mean of a normal distribution" if model.stochastic else "")
    stages[code + 1] = replace(stages[code + 1], part="code", shape=tuple(maps[0].shape[1:]), what=what)
    skips = _skips(maps[1:], before, after)
    stages += [replace(draft.stage("decoder"), skips=skips.get(draft.name, ())) for draft in after] or [
        Stage("decoder", "the code itself", model.shape, 0, "decoder")
    ]
    rest = sum(p.numel() for p in model.parameters()) - sum(stage.parameters for stage in stages)
    stages[code + 1] = replace(stages[code + 1], parameters=stages[code + 1].parameters + rest)
    return stages


class _Call(NamedTuple):
    """One call of a module: its inputs and its output."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    output: Tensor


@dataclass
class _Draft:
    """A stage while it is collected: the calls of a layer and of the layers that belong to it."""

    name: str
    calls: list[_Call]

    def stage(self, part: Part) -> Stage:
        modules = [call.module for call in self.calls]
        parameters = {id(p): p.numel() for module in modules for p in module.parameters()}
        shape = tuple(self.calls[-1].output.shape[1:])
        return Stage(self.name, _operations(modules), shape, sum(parameters.values()), part)


@contextmanager
def _recorded(model: Autoencoder) -> Generator[list[_Call]]:
    """Record the calls of every module, in eval mode, in which calls do not change the model."""
    calls: list[_Call] = []

    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor):
            inputs = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
            calls.append(_Call(module, tuple(inputs), first))

    training = model.training
    hooks = [m.register_forward_hook(record, with_kwargs=True) for m in model.modules()]
    try:
        model.eval()
        yield calls
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()


def _units(model: Autoencoder, calls: list[_Call]) -> Iterator[tuple[nn.Module, str]]:
    """The modules that are a stage or belong to one, with their names; none is inside another."""
    wholes = [part for m in model.modules() if isinstance(m, Autoencoder) for part in (m.encoder, m.decoder)]
    called = {call.module for call in calls}
    names = {module: name for name, module in model.named_modules()}

    def below(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
        for child in module.children():
            if child in called and (not any(child is whole for whole in wholes) or not list(child.children())):
                yield child, names[child]
            else:
                yield from below(child)

    return below(model)


def _drafts(calls: list[_Call], names: dict[nn.Module, str]) -> list[_Draft]:
    """Group calls into stages: a transformation begins one; norms, activations and reshapes continue it."""
    drafts: list[_Draft] = []
    for call in calls:
        if call.module not in names:
            continue
        work, finish = _words(call.module)
        if work or (finish and not drafts):
            drafts.append(_Draft(names[call.module], [call]))
        elif drafts:
            drafts[-1].calls.append(call)
    return drafts


def _skips(maps: tuple[Tensor, ...], before: list[_Draft], after: list[_Draft]) -> dict[str, tuple[str, ...]]:
    """For each stage that takes maps of the encoder, by name, the stages that produced them.

    A stage takes a map that is one of its inputs; otherwise the first stage with an input of the map's sides takes
    it, since the two may have been concatenated outside of any stage.
    """
    found: dict[str, tuple[str, ...]] = {}
    for m in maps:
        maker = next((draft for draft in before if any(call.output is m for call in draft.calls)), None)
        inputs = [(draft, x) for draft in after for x in draft.calls[0].inputs]
        taker = next((draft for draft, x in inputs if x is m), None)
        taker = taker or next((draft for draft, x in inputs if x.shape[2:] == m.shape[2:]), None)
        if maker and taker:
            found[taker.name] = (*found.get(taker.name, ()), maker.name)
    return found


# ---------------------------------------------------------------- in words


def _operations(modules: list[nn.Module]) -> str:
    """The operations of modules in words: transformations with their number, then norms and activations."""
    parts = [_words(module) for module in modules]
    work = ", ".join(_times(word, n) for word, n in Counter(w for found, _ in parts for w in found).items())
    finish = ", ".join(dict.fromkeys(w for _, found in parts for w in found))
    return " + ".join(filter(None, (work, finish)))


def _words(module: nn.Module) -> tuple[list[str], list[str]]:
    """The transformations in a module, and its norms and activations, each in a word or two."""
    match module:
        case nn.Identity() | nn.Flatten() | nn.Unflatten() | nn.Dropout() | nn.Dropout2d():
            return [], []
        case nn.Conv2d():
            return [f"{_kernel(module, 'strided ')} convolution"], []
        case nn.ConvTranspose2d():
            return [f"{_kernel(module)} transposed convolution"], []
        case nn.MaxPool2d() | nn.AvgPool2d():
            return [f"{_kernel(module)} {_split(module).removesuffix(' pool')} pooling"], []
        case nn.Upsample():
            return [f"{module.mode} upsampling"], []
        case nn.Linear():
            return ["linear layer"], []
        case SeesAll() | nn.MultiheadAttention():
            return [f"{_split(module).removesuffix(' attention')} attention"], []
        case _:
            pass
    if children := list(module.children()):
        found = [_words(child) for child in children]
        return [w for work, _ in found for w in work], [w for _, finish in found for w in finish]
    if type(module).__module__ == "torch.nn.modules.activation":
        return [], [type(module).__name__]
    return ([], [_split(module)]) if "Norm" in type(module).__name__ else ([_split(module)], [])


def _kernel(module: Any, strided: str = "") -> str:
    """The size of a kernel, "3×3"."""
    size, stride = (v if isinstance(v, tuple) else (v, v) for v in (module.kernel_size, module.stride))
    return f"{strided if max(stride) > 1 else ''}{size[0]}×{size[1]}"


def _split(module: nn.Module) -> str:
    """The name of a class as words: BatchNorm is "batch norm"."""
    name = re.sub(r"\d+d$", "", type(module).__name__.lstrip("_"))
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()


def _times(word: str, n: int) -> str:
    """The word with its number: "two 3×3 convolutions"."""
    number = ("", "", "two ", "three ", "four ", "five ", "six ")[n] if n <= 6 else f"{n} "
    return f"{number}{word}{'s' if n > 1 else ''}"
