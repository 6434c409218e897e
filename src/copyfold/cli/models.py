"""List the architectures, describe one, or draw it.

`copyfold models` lists them. `copyfold models UNet` describes the UNet: its options, and its stages for one image
size. Its options are those of train, as in `copyfold models UNet --model.width 64 --picture unet.png`. Of a
Variational, --graph draws what its bound is computed from, and where the gradient goes.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from copyfold import catalogue
from copyfold.cli import _classes, _imports, _parsing
from copyfold.cli._classes import columns, written
from copyfold.cli.train import Architecture, empty, wraps
from copyfold.data.reading.sizes import Size, sides
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.models.checks import check_reloadable
from copyfold.models.conv import Conv
from copyfold.models.outline import Stage, outline
from copyfold.models.variational import Variational

LARGEST = 65_536  # above it the sizes of some weights exceed 64 bits


def command(arguments: Sequence[str]) -> int:
    """List, describe, or draw; copyfold's own models are built without allocating their weights."""
    given = list(arguments)
    name = given.pop(0) if given and not given[0].startswith("-") else None
    chosen = catalogue.find(Autoencoder, name, _imports.offered(Autoencoder)) if name else None
    if any(word.split("=")[0] == "--model" for word in given):
        raise UsageError("--model is for train: name the architecture first, as in copyfold models UNet")
    options = _parsing.parse(_parser(), [f"--model={name}", *given] if name else given)
    if chosen is None:
        if given:
            raise UsageError(f"{given[0]} applies to one architecture: name it first, as in copyfold models UNet")
        print("\n".join(_listing()))
        return 0
    model = _made(chosen, options)
    stages = outline(model)
    if options.picture:
        from copyfold import pictures

        pictures.save_picture(pictures.diagram(stages, _title(model), str(model.summary())), options.picture)
    if options.graph:
        _draw_graph(model, options.graph)
    print("\n".join(_description(chosen, model, stages)))
    for drawn in filter(None, (options.picture, options.graph)):
        print(Path(drawn))
    return 0


def _draw_graph(model: Autoencoder, path: str) -> None:
    """Draw the computation of a VAE's bound; UsageError for another model."""
    from copyfold import pictures

    if not isinstance(model, Variational):
        raise UsageError(f"--graph is invalid for {type(model).__name__}: expected Variational, which has a bound")
    pictures.save_picture(pictures.elbo_graph(model.latent_dim, _title(model)), path)


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("models", __doc__)
    parser.usage = (
        "copyfold models [NAME] [--model.OPTION VALUE ...] [--size N] [--channels N] [--picture FILE] "
        "[--graph FILE]"
    )
    parser.add_choice("--model", Architecture, "The architecture, given by NAME")
    parser.add_choice(
        "--core", Architecture | None, "The autoencoder inside a model that wraps one, a Conv by default"
    )
    parser.add_argument(
        "--size", type=Size, default=64, help="The images in pixels: a side, or height x width, as in 48x64."
    )
    parser.add_argument("--channels", type=int, default=3, help="3 for colour, 1 for greyscale.")
    parser.add_argument("--picture", type=str | None, help="Draw the architecture into this .png file.")
    parser.add_argument("--graph", type=str | None, help="Draw a VAE's computation into this .png file.")
    return parser


def _made(chosen: type[Autoencoder], options: Namespace) -> Autoencoder:
    """The model for images of the given size, without memory for its weights.

    A model that wraps another is built around --core, or a Conv. A user's own model is checked as before training.
    """
    size = sides(options.size, "--size")
    for name, value in (("size", max(size)), ("channels", options.channels)):
        if not 1 <= value <= LARGEST:
            raise UsageError(f"--{name} {value} is invalid: expected a number from 1 to {LARGEST}")
    core = options.core or Conv
    shape = (options.channels, *size)
    model = empty(lambda shape: options.model(core(shape) if wraps(chosen) else shape), shape)
    check_reloadable(model)
    return model


def _listing() -> list[str]:
    """Every architecture with the first line of its docstring; a user's own also with its module and file."""
    ours = [(name, _head(cls)) for name, cls in catalogue.classes(Autoencoder).items()]
    names = _classes.names(Autoencoder)[len(ours) :]
    known = zip(names, _imports.offered(Autoencoder), strict=True)
    offered = [(name, f"{_head(cls)} ({_imports.origin(cls)})".lstrip()) for name, cls in known]
    width = max(len(name) for name, _ in (*ours, *offered))
    return [f"{name:<{width}}  {said}" for name, said in (*ours, *offered)]


def _head(cls: type) -> str:
    """The first line of a class's docstring."""
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


def _description(chosen: type[Autoencoder], model: Autoencoder, stages: list[Stage]) -> list[str]:
    """The help of the class, its options with their defaults, and the stages of this model."""
    rows = [(stage.name, _shape(stage.shape), stage.what, _share(stage)) for stage in stages]
    return [
        *_classes.described(chosen, "--model", skip=1),
        "",
        f"{_title(model)}:",
        *columns(rows),
        "",
        str(model.summary()),
    ]


def _title(model: Autoencoder) -> str:
    """The model with its arguments that differ from the defaults, and the size of its images."""
    first, *others = catalogue.parameters(type(model))
    values = catalogue.arguments(model)
    said = [type(values[first.name]).__name__] if first.name == "core" else []
    for p in others:
        if p.default is p.empty or catalogue.describe(values[p.name]) != catalogue.describe(p.default):
            said.append(f"{p.name}={written(values[p.name])}")
    return f"{type(model).__name__}({', '.join(said)}) for images of {_shape(model.shape)}"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _share(stage: Stage) -> str:
    """The number of parameters of a stage, whether it is the code, and its skip connections."""
    count = f"{stage.parameters:,} parameters" if stage.parameters else ""
    code = "the code" if stage.part == "code" else ""
    return ", ".join(filter(None, (count, code, *(f"takes {skip}" for skip in stage.skips))))
