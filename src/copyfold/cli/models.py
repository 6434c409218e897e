"""List the architectures, describe one, or draw it.

`copyfold models` lists them. `copyfold models UNet` says what a UNet is, its options, and its stages for images
of a size; the options are those of train, as in `copyfold models UNet --model.width 64 --picture unet.png`.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
import yaml
from jsonargparse import Namespace

from copyfold import catalogue
from copyfold.cli import _parsing
from copyfold.cli.train import Architecture
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.models.outline import Stage, outline

LARGEST = 65_536  # beyond it the sizes of some weights are no 64 bit numbers


def command(arguments: Sequence[str]) -> int:
    """List, describe, or draw; nothing is allocated, however large the model."""
    given = list(arguments)
    name = given.pop(0) if given and not given[0].startswith("-") else None
    chosen = catalogue.find(Autoencoder, name) if name else None
    if any(word.split("=")[0] == "--model" for word in given):
        raise UsageError("--model is for train: name the architecture first, as in copyfold models UNet")
    options = _parsing.parse(_parser(), [f"--model={name}", *given] if name else given)
    if chosen is None:
        if given:
            raise UsageError(f"{given[0]} is of one architecture: name it first, as in copyfold models UNet")
        print("\n".join(_listing()))
        return 0
    model = _made(chosen, options)
    stages = outline(model)
    if options.picture:
        from copyfold import pictures

        pictures.save_picture(pictures.diagram(stages, _title(model), str(model.summary())), options.picture)
    print("\n".join(_description(chosen, model, stages)))
    if options.picture:
        print(Path(options.picture))
    return 0


def _parser():
    parser = _parsing.parser("models", __doc__)
    parser.usage = "copyfold models [NAME] [--model.OPTION VALUE ...] [--size N] [--channels N] [--picture FILE]"
    parser.add_argument("--model", type=Architecture, help="NAME; --model.width and so on set its options.")
    parser.add_argument("--core", type=Architecture | None, default=None, help="What Variational is put around.")
    parser.add_argument("--size", type=int, default=64, help="The side of the images.")
    parser.add_argument("--channels", type=int, default=3, help="3 for colour, 1 for grey.")
    parser.add_argument("--picture", type=str | None, help="A .png file: the architecture, drawn.")
    return parser


def _made(chosen: type[Autoencoder], options: Namespace) -> Autoencoder:
    """The model for images of the size asked for, without memory for its weights.

    One that is made of another is put around --core, or what its smallest instance has, with its defaults.
    """
    for name in ("size", "channels"):
        if not 1 <= options[name] <= LARGEST:
            raise UsageError(f"--{name} {options[name]} cannot be: it must be from 1 to {LARGEST}")
    shape = (options.channels, options.size, options.size)
    first = next(iter(inspect.signature(chosen).parameters))
    with torch.device("meta"):
        if first == "shape":
            return options.model(shape)
        core = options.core or type(getattr(chosen.tiny(), first))
        return options.model(core(shape))


def _listing() -> list[str]:
    """Every architecture with the first line of what it says of itself."""
    known = catalogue.classes(Autoencoder)
    width = max(map(len, known))
    return [f"{name:<{width}}  {(inspect.getdoc(cls) or '').splitlines()[0]}" for name, cls in known.items()]


def _description(chosen: type[Autoencoder], model: Autoencoder, stages: list[Stage]) -> list[str]:
    """What it is, its options with their defaults, and this one's stages."""
    rows = [(stage.name, _shape(stage.shape), stage.what, _share(stage)) for stage in stages]
    return [
        f"{chosen.__name__}: {inspect.getdoc(chosen)}",
        "",
        "options and their defaults:",
        *_columns(_options(chosen)),
        "",
        f"{_title(model)}:",
        *_columns(rows),
        "",
        str(model.summary()),
    ]


def _options(chosen: type[Autoencoder]) -> list[tuple[str, str, str]]:
    """Flag, default and choices of every argument but the first, the shape of the images or a model."""
    _, *parameters = inspect.signature(chosen).parameters.values()
    return [(f"--model.{p.name}", _written(p.default), _choices(p.annotation)) for p in parameters]


def _written(value: Any) -> str:
    """A value as on the command line, without the arguments of a class."""
    plain = catalogue.describe(value)
    plain = plain["class_path"] if isinstance(plain, dict) else plain
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _choices(annotation: Any) -> str:
    """The words, or the classes of ours, that an argument can be."""
    words: list[str] = []
    for hint in (annotation, *get_args(annotation)):
        words += [word for word in get_args(hint) if isinstance(word, str)]
        if inspect.isclass(hint) and inspect.isabstract(hint):
            words += catalogue.classes(hint)
    return ", ".join(dict.fromkeys(words))


def _title(model: Autoencoder) -> str:
    """The model and the size of its images, with what differs from the defaults."""
    first, *others = inspect.signature(type(model)).parameters.values()
    said = [type(getattr(model, first.name)).__name__] if first.name != "shape" else []
    for p in others:
        value = getattr(model, p.name)
        said += (
            [f"{p.name}={_written(value)}"] if catalogue.describe(value) != catalogue.describe(p.default) else []
        )
    return f"{type(model).__name__}({', '.join(said)}) for images of {_shape(model.shape)}"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _share(stage: Stage) -> str:
    """How many parameters are in a stage, whether it is the code, and what else it takes."""
    count = f"{stage.parameters:,} parameters" if stage.parameters else ""
    code = "the code" if stage.part == "code" else ""
    return ", ".join(filter(None, (count, code, *(f"takes {skip}" for skip in stage.skips))))


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as aligned text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(f"{w:<{n}}" for w, n in zip(row, widths, strict=True)).rstrip() for row in rows]
