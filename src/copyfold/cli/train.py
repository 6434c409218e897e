"""Train an autoencoder on a folder of images, an array or a dataset.

DATA is a folder of images or a .zip of one, a TIFF of several pages, a .npy or .npz array, a local dataset
(parquet, arrow, save_to_disk), or hf://owner/name for one of the Hugging Face Hub. Without it, the digits of
scikit-learn are used. The run's folder gets the model, the recipe, the log and pictures;
`copyfold train --config RUN/recipe.yaml` repeats the training.

For an architecture with a width, such as UNet, a new run measures some twenty steps, and fits the size, width,
depth and steps that are not named to --minutes: 3 unless --minutes, --steps or --epochs is given.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from jsonargparse import Namespace

from copyfold import catalogue
from copyfold.cli import _device, _parsing, _screen, _values
from copyfold.cli import _photos as _photos_options
from copyfold.data import Photos, Stream
from copyfold.data.crops import alone
from copyfold.data.reading.remembered import is_remembered
from copyfold.data.reading.sizes import Suits, sides
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.models.building import bounded
from copyfold.objectives.base import Objective
from copyfold.types import Progress, Shape

if TYPE_CHECKING:
    from copyfold.runs import Run
    from copyfold.training import Plan

Architecture = Callable[[Shape], Autoencoder]

LARGE = 1000  # pixels; an architecture that takes no size up to LARGE takes none
ROUND = (64, 256, 1024)  # sizes of which one that is refused for another reason says the same
DATA = (
    "size",
    "crop",
    "fit",
    "limit",
    "flip",
    "turn",
    "layout",
    "skip_bad",
    "channels",
    "range",
    "bits",
    "column",
)
STREAM = ("buffer", "held_out")
FOLDER = ("run", "resume", "overwrite")


def command(arguments: Sequence[str]) -> int:
    """Parse the options, read the photos, build the model, train it, and save pictures."""
    from copyfold import runs
    from copyfold.training import fit, loggers, rank

    options, named = _options(arguments)
    first = rank(_plan(options)) == 0
    if options.run and first:  # before reading images, which may take an hour
        runs.prepare(options.run, options.resume, options.overwrite)
    loggers.check(options.log)
    with _screen.progress() as progress:
        make = _architecture(options.model, options.core)
        if named.isdisjoint(("--config", "--resume")):
            make = _fitted(options, progress) or make
        torch.manual_seed(options.seed)
        photos = _photos(options, make, progress)
        model = make(photos.shape)
        _screen.log.info("%s: %s", type(model).__name__, model.summary())
        folder = {name: options[name] for name in FOLDER}
        run = fit(
            model, options.objective, photos, **folder, **_fields(options), progress=progress, log=options.log
        )
    if first:
        print(run.folder)
        if run.reported not in (None, run.step):
            _screen.log.info(
                "%s is of step %s, and the run is at step %s: copyfold report %s writes it again",
                *(run.folder / "report.html", run.reported, run.step, run.folder),
            )
        if options.pictures:
            _draw(run, photos, options.threads)
    return 0


def _draw(run: "Run", photos: Photos | Stream, threads: int | None) -> None:
    """Draw what the run learned, unless its pictures are newer than what it learned last.

    With the threads of training: on busy cores several take three times as long as one here too.
    """
    from copyfold.report.illustration import drawn, illustrate

    if drawn(run):
        return
    _screen.log.info("drawing what it learned: the loss, and noise removed from held-out images (--no-pictures)")
    _photos_options.tell_missing(photos)
    run.model.to(_device.chosen("auto"))
    former = torch.get_num_threads()
    torch.set_num_threads(min(threads or former, former))
    try:
        for picture in illustrate(run, photos):
            print(picture)
    finally:
        torch.set_num_threads(former)


def _fields(options: Namespace) -> dict[str, Any]:
    from copyfold.training import Plan

    return {field.name: options[field.name] for field in fields(Plan)}


def _plan(options: Namespace) -> "Plan":
    from copyfold.training import Plan

    return Plan(**_fields(options))


def _fitted(options: Namespace, progress: Progress) -> Architecture | None:
    """Fit the size, width, depth and steps that are not named to the minutes on this machine, and say why.

    Returns the architecture; None where there is nothing to choose: no steps, no width, several devices, or a plan
    that ends by itself and has no minutes.
    """
    from copyfold.data.photos import natural_size
    from copyfold.training.suggestion import MINUTES, measured_plan

    inner, wrap = (options.core, options.model) if options.core else (options.model, None)
    ends = options.epochs is not None or options.steps is not None
    if options.solve or "width" not in inspect.signature(inner).parameters or _plan(options).world > 1:
        return None
    if options.minutes is None and ends:
        return None
    size = None if options.size is None else sides(options.size, channels=options.channels)
    if options.crop is not None:
        size = alone(options.crop, options.size, options.fit, options.channels)
    if options.stream and size is None:
        return None  # which is refused
    plan = replace(_plan(options), minutes=options.minutes or MINUTES)
    look = {name: options[name] for name in ("limit", "layout", "seed", "column")}
    largest = size or natural_size(options.data, **look, progress=progress)
    found = measured_plan(inner, options.objective, plan, largest, options.channels or 3, size, wrap)
    if found is None:
        return None
    for reason in found.why:
        _screen.log.info("%s", reason)
    options.size = found.size if options.crop is None else None
    options.steps, options.minutes = found.steps, found.minutes
    options.threads = found.threads or options.threads
    return found.model


def _photos(options: Namespace, make: Architecture, progress: Progress) -> Photos | Stream:
    """The training data: Photos, read once and cached, or a Stream, read again in every epoch."""
    taken = {name: options[name] for name in (*DATA, "masks")}
    if not options.stream:
        return Photos(options.data, **taken, seed=options.seed, suits=_suits(make), progress=progress)
    for name in ("limit", "layout", "masks"):
        if taken.pop(name) is not None:
            raise UsageError(
                f"--{name} is not available with --stream, which uses all images as they are stored: omit it"
            )
    if options.data is None:
        raise UsageError("--stream needs DATA: a folder, a parquet file or hf://owner/name")
    buffer = {name: options[name] for name in STREAM}
    return Stream(options.data, **taken, **buffer, seed=options.seed, progress=progress)


def _options(arguments: Sequence[str]) -> tuple[Namespace, set[str]]:
    """The options, and the flags given; a resumed run's own recipe gives those that are not on the command line.

    Steps that stand in a recipe beside minutes are those of the minutes: more minutes bring more steps. UsageError
    where only a recipe names the images, and no training of this user's wrote it.
    """
    parser = _parser()
    words, others = _parsing.split(parser, arguments)
    given = {word.flag: word.value for word in words}
    recipe = Path(given.get("--run") or "") / "recipe.yaml"
    if "--resume" not in given or "--config" in given or not given.get("--run") or not recipe.is_file():
        options = _parsing.parse(parser, arguments)
        _check_images(options, bool(others), "--masks" in given, arguments)
        _by_adam(options, given)
        _by_steps(options, given)
        return options, set(given)
    added = any(word.flag.endswith("+") for word in words)
    there = _parsing.loaded(recipe) if added else {}
    words = [word for word in words if not (word.flag.endswith("+") and _has(there, word))]
    flags = [word.flag if word.value is None else f"{word.flag}={word.value}" for word in words]
    options = _parsing.parse(parser, [f"--config={recipe}", *flags, *others])
    _check_images(options, bool(others), "--masks" in given, arguments)
    _by_adam(options, given)
    if "--minutes" in given and "--steps" not in given and options.steps and options.minutes:
        before = _parsing.loaded(recipe).get("minutes") or options.minutes
        options.steps = max(1, round(options.steps * options.minutes / before))
    return options, set(given)


def _by_steps(options: Namespace, given: Iterable[str]) -> None:
    """Have a training end by its steps or epochs alone where they are named: a recipe's minutes were another's.

    So too by the steps of a recipe that a training wrote, which is then repeated.
    """
    recipes: list[_parsing.Recipe] = options.config or []
    fitted = any(
        {"steps", "minutes"} <= {name for name, value in recipe.loaded().items() if value} for recipe in recipes
    )
    if (fitted or {"--steps", "--epochs"} & set(given)) and "--minutes" not in given:
        options.minutes = None


def _by_adam(options: Namespace, given: Iterable[str]) -> None:
    """Have a recipe with a learning rate and no optimiser mean what it meant when it was written, by version 0.1.

    There was only Adam then, at a constant rate; Muon, of today's U-Nets, takes rates twenty times as large.
    """
    recipes: list[_parsing.Recipe] = options.config or []
    recipe = {name: value for one in recipes for name, value in one.loaded().items()}
    flags = {flag.removeprefix("--").partition(".")[0] for flag in given}
    if recipe.get("lr") is None or "optimizer" in {*recipe, *flags}:
        return
    from copyfold.training.optimizers import Adam

    options.optimizer = Adam()
    kept = "schedule" in {*recipe, *flags}
    options.schedule = options.schedule if kept else "constant"
    _screen.log.info(
        "--config %s has lr and no optimizer, as recipes of version 0.1: it is trained by Adam%s, as it was then",
        next(one.said for one in reversed(recipes) if one.loaded().get("lr") is not None),
        "" if kept else " at a constant rate",
    )


def _check_images(options: Namespace, named: bool, masked: bool, arguments: Sequence[str]) -> None:
    """Refuse images and masks that only a recipe names, unless this user's own training wrote them there."""
    recipes: list[_parsing.Recipe] = options.config or []
    given: dict[Literal["data", "masks"], bool] = {"data": named, "masks": masked}
    for name, there in given.items():
        if there or options[name] is None:
            continue
        recipe = next(one for one in reversed(recipes) if name in one.loaded())
        if not is_remembered(recipe.file.parent, options[name]):
            again = partial(_parsing.again, "train", arguments)
            raise UsageError(_parsing.unasked(recipe.said, options[name], again, name))


def _has(recipe: Mapping[str, Any], word: _parsing.Word) -> bool:
    """Whether the list of a recipe already contains the item that a word adds."""
    at: Any = {"init_args": recipe}
    for part in word.path:
        at = (at or {}).get("init_args", {}).get(part)
    added = _values.load(word.value or "")
    return bool(at) and all(
        _name(one) in map(_name, at) for one in (added if isinstance(added, list) else [added])
    )


def _name(item: Any) -> Any:
    """The name of a list's item: the bare name of a class, or the value itself."""
    item = item.get("class_path") if isinstance(item, Mapping) else item
    return item.rpartition(".")[2] if isinstance(item, str) else item


def _parser() -> _parsing.Parser:
    from copyfold.training import Plan, fit
    from copyfold.training.optimizers import Optimizer

    parser = _parsing.parser("train", __doc__)
    parser.add_argument("data", nargs="?", action=_parsing.Given, help="The images; the digits if omitted.")
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="A recipe: a YAML file of options, a run's folder, a run on the Hub (hf://owner/name), or one of "
        f"{', '.join(_parsing.recipes())}.",
    )
    parser.add_choice("--model", Architecture, "The architecture", "UNet")
    parser.add_choice("--core", Architecture | None, "The autoencoder inside a model that wraps one (Variational)")
    parser.add_choice("--objective", Objective, "The loss", "Classical")
    reading = _parsing.takes(parser, Photos, *DATA, title="how images are read")
    reading.add_argument("--masks", type=str | None, help=_photos_options.MASKS)
    stream = _parsing.takes(parser, Stream, *STREAM, title="streams, read again in every epoch")
    stream.add_argument(
        "--stream",
        action=_parsing.ActionYesNo(no_prefix="no-"),
        default=False,
        help="Read the images again in every epoch, for data larger than memory or disk; requires --size.",
    )
    parser.add_choice(
        "--optimizer", Optimizer | None, "How gradients become steps: Muon for convolutions and Linear"
    )
    choices = [field.name for field in fields(Plan)]
    _parsing.takes(parser, fit, *FOLDER, title="the run's folder", but=choices)
    parser.add_argument(
        "--pictures",
        action=_parsing.ActionYesNo(no_prefix="no-"),
        default=True,
        help="Draw what it learned at the end, which takes some seconds.",
    )
    how = _parsing.takes(parser, Plan, *(name for name in choices if name != "optimizer"), title="training")
    how.add_argument(
        "--log",
        choices=["tensorboard"],
        help="Also write the log, and held-out images with their reconstructions, into RUN/tensorboard.",
    )
    return parser


def _architecture(model: partial[Autoencoder], core: Architecture | None) -> Architecture:
    """A function from a shape to the model, built around its core where it has one."""
    chosen = cast("type[Autoencoder]", model.func)
    first = next((p.name for p in catalogue.parameters(chosen)), "nothing")
    if first not in ("shape", "core"):
        raise UsageError(
            f"--model {chosen.__name__} is invalid: the first argument of its constructor is {first}: expected "
            "shape, or core for a model that wraps another"
        )
    if core is None and wraps(chosen):
        raise UsageError(f"--model {chosen.__name__} wraps another autoencoder: give one, as in --core MLP")

    def make(shape: Shape) -> Autoencoder:
        with bounded():
            return model(shape) if core is None else model(core(shape))

    return make


def _suits(architecture: Architecture) -> Suits:
    """A function that says to what shape the architecture pads images, by building it without memory; or False."""
    asked = False

    def suits(shape: Shape) -> bool | Shape:
        nonlocal asked
        try:
            return empty(architecture, shape).inner_shape
        except UsageError as error:
            others = {_refusal(architecture, (shape[0], n, n)) for n in ROUND} if not asked else {None}
            if others == {str(error)}:
                raise  # it is not the size
            asked = True
            if shape[1] > LARGE:  # it takes no size: its error for a power of 2 says why
                empty(architecture, (shape[0], ROUND[-1], ROUND[-1]))
            return False

    return suits


def _refusal(architecture: Architecture, shape: Shape) -> str | None:
    """What an architecture says of a shape that it refuses; None of one that it takes."""
    try:
        empty(architecture, shape)
    except UsageError as error:
        return str(error)
    return None


def wraps(cls: type[Autoencoder]) -> bool:
    """Whether a model wraps another: its first argument is `core`."""
    return any(p.name == "core" for p in catalogue.parameters(cls)[:1])


def empty(architecture: Architecture, shape: Shape) -> Autoencoder:
    """The model, without memory for its weights; a user's own that reads their values, with memory."""
    try:
        with bounded(), torch.device("meta"):
            return architecture(shape)
    except UsageError:
        raise
    except Exception:  # the class may need real numbers; another error is raised again here
        with bounded():
            return architecture(shape)
