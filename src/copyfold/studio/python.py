"""The Python that does the same as a command, from the options that its own parser reads."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from copyfold import catalogue, runs
from copyfold.catalogue import Recorded
from copyfold.cli import _parsing, _photos
from copyfold.cli.denoise import IMAGES
from copyfold.data.sampling import REFERENCE
from copyfold.errors import CopyfoldError
from copyfold.studio.forms import parser

Lines = list[str]


def python(words: Sequence[str]) -> str:
    """Lines of Python for the words of a command; a sentence where the options cannot be read."""
    name, *rest = words
    writer: Callable[[dict[str, Any]], Lines] | None = globals().get(f"write_{name}")
    if writer is None:
        return f"# {name} is of the command line"
    try:
        options = vars(_parsing.parse(parser(name), rest))
        lines = writer(options)
    except CopyfoldError as error:
        return f"# {error}"
    used = [cls for cls in catalogue.others(Recorded) if any(f"{cls.__name__}(" in line for line in lines)]
    own = [f"from {cls.__module__} import {cls.__name__}" for cls in used]
    return "\n".join(["import copyfold as cf", *own, *lines]) + "\n"


def call(name: str, given: Mapping[str, Any], usual: Mapping[str, Any] | None = None, *first: str) -> str:
    """A call with these arguments, without those that are as usual."""
    said = [
        f"{key}={text(value)}" for key, value in given.items() if usual is None or _differ(value, usual.get(key))
    ]
    return f"{name}({', '.join([*first, *said])})"


def text(value: Any) -> str:
    """A value as Python writes it; classes of copyfold as cf.NAME."""
    if isinstance(value, Recorded):
        usual = {p.name: p.default for p in catalogue.parameters(type(value))}
        return call(_name(type(value)), catalogue.arguments(value), usual)
    if isinstance(value, list):
        return f"[{', '.join(map(text, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(text, value))}{',' * (len(value) == 1)})"
    return repr(value)


def _name(cls: type) -> str:
    return f"cf.{cls.__name__}" if catalogue.own(cls) else cls.__name__


def _differ(one: Any, other: Any) -> bool:
    """Whether a value is not the usual one; images are never equal to anything."""
    try:
        return bool(catalogue.describe(one) != catalogue.describe(other))
    except CopyfoldError:
        return True


def _usual(function: Callable[..., Any]) -> dict[str, Any]:
    from inspect import signature

    return {name: p.default for name, p in signature(function).parameters.items()}


def _reading(source: str | None, **given: Any) -> str:
    """The line that reads images."""
    from copyfold.data import Photos

    return f"photos = {call('cf.Photos', given, _usual(Photos), *([repr(source)] if source else []))}"


def _own(run: str) -> str:
    """The line that reads the images of a run as it was trained on them."""
    there = runs.open(run)
    size = "size" if there.recipe.get("crop") is None else "crop"
    taken = {name: there.recipe.get(name) for name in _photos.OWN}
    channels, *sides = there.model.shape
    given = {size: tuple(sides), "channels": channels, **{k: v for k, v in taken.items() if v is not None}}
    return _reading(there.recipe.get("data"), **given)


def with_run(options: dict[str, Any], others: str | None = None) -> Lines:
    """The lines for a run, and the images that it is used with: its own, or others."""
    run = options["run"]
    if others is None:
        return [f"run = cf.runs.open({run!r})", _own(run)]
    channels, *sides = runs.open(run).model.shape
    return [f"run = cf.runs.open({run!r})", _reading(others, size=tuple(sides), channels=channels, whole=True)]


def write_data(options: dict[str, Any]) -> Lines:
    """Lines for copyfold data."""
    given = [repr(options["data"])] if options["data"] else []
    return ["from copyfold.data import survey", f"print(*survey({', '.join(given) or 'None'}).lines(), sep='\\n')"]


def write_train(options: dict[str, Any]) -> Lines:
    """Lines for copyfold train."""
    from copyfold.training import Plan

    resumed = options["resume"] and (Path(options["run"]) / "recipe.yaml").is_file()
    if resumed:
        more = f", minutes={options['minutes']}" if options["minutes"] else ""
        return [
            "# give the model, the objective and the images as the first time, and",
            f"run = cf.fit(model, objective, photos, run={options['run']!r}, resume=True{more})",
        ]
    from copyfold.cli.train import DATA

    make: partial[Any] = options["model"]
    inner = "photos.shape"
    if options["core"] is not None:
        inner = _made(options["core"], inner)
    plan = {name: options[name] for name in _usual(Plan)}
    minutes = "" if any(plan[name] for name in ("steps", "epochs", "minutes")) else ", minutes=3"
    reading = {name: options[name] for name in DATA if name in options} | {"seed": options["seed"]}
    how = call("", plan, _usual(Plan))[1:-1]
    return [
        "# the command also fits what is not named to the minutes, as cf.suggest does",
        _reading(options["data"], **reading),
        f"model = {_made(make, inner)}",
        f"objective = {text(options['objective'])}",
        f"run = cf.fit(model, objective, photos, run={options['run']!r}{minutes}{', ' * bool(how)}{how})",
    ]


def _made(make: "partial[Any]", inner: str) -> str:
    usual = {p.name: p.default for p in catalogue.parameters(make.func)}  # pyright: ignore[reportArgumentType]
    return call(_name(make.func), make.keywords, usual, inner)  # pyright: ignore[reportArgumentType]


def write_sample(options: dict[str, Any]) -> Lines:
    """Lines for copyfold sample."""
    sampler, out = options["sampler"], options["out"] or f"{type(options['sampler']).__name__.lower()}.png"
    images = with_run(options, options["start"])
    fitted = any(p.name == "reference" for p in catalogue.parameters(type(sampler)))
    which = "train" if options["start"] else "held_out"
    sample = f"photos.sample({which!r}, {options['count']}, {options['seed']}).images"
    noise = options["start"] is None or fitted
    written = f"cf.film(sampler(run.model, x, rng), {out!r}, fps={options['fps']})"
    strip = f"cf.save_picture(cf.strip(sampler(run.model, x, rng)), {out!r})"
    generates = noise and sampler.generates()
    generate = f"sampler.noise({options['count']}, run.model.shape, rng)"
    return [
        "import torch",
        *(images if fitted or not generates else images[:1]),
        *([f"run.model.statistics = {options['statistics']!r}"] if options["statistics"] else []),
        f"rng = torch.Generator().manual_seed({options['seed']})",
        f"sampler = {_equipped(sampler)}",
        f"x = {generate if generates else sample}",
        strip if out.endswith(".png") and not sampler.generates() else written,
    ]


def _equipped(thing: Recorded, seed: int = 0) -> str:
    """A sampler or probe as Python; one that needs training images is given them, as the command does."""
    made = text(thing)
    if getattr(thing, "reference", 0) is not None:
        return made
    comma = "" if made.endswith("()") else ", "
    drawn = f", {seed}" if seed else ""
    return f"{made[:-1]}{comma}reference=photos.sample('train', {REFERENCE}{drawn}).images)"


def write_probe(options: dict[str, Any]) -> Lines:
    """Lines for copyfold probe."""
    which = "train" if options["data"] else "held_out"
    return [
        "import torch",
        *with_run(options, options["data"]),
        f"x = photos.sample({which!r}, {options['count']}, {options['seed']}).images",
        f"probe = {_equipped(options['probe'], options['seed'])}",
        f"reading = probe(run.model, x, torch.Generator().manual_seed({options['seed']}))",
        "print({name: value.mean().item() for name, value in reading.numbers.items()})",
        "cf.save_picture(cf.comparison(reading.images), 'probe.png')",
    ]


def write_report(options: dict[str, Any]) -> Lines:
    """Lines for copyfold report."""
    return [*with_run(options, options["data"]), "report = cf.diagnose(run.model, photos, run)", "report.save()"]


def _denoiser(options: dict[str, Any]) -> tuple[str, str]:
    """The line for the denoiser, and the photograph."""
    first, *others = options["image"]
    if others and Path(first).suffix.lower() not in IMAGES:
        return f"model = cf.runs.open({first!r}).model", others[0]
    return "model = cf.pretrained()", first


def write_denoise(options: dict[str, Any]) -> Lines:
    """Lines for copyfold denoise."""
    model, image = _denoiser(options)
    how = {name: options[name] for name in ("statistics", "strength", "ensemble")}
    usual = {"statistics": "running", "strength": 1.0, "ensemble": False}
    return [
        "from pathlib import Path",
        "from copyfold.restoration import restore_file",
        model,
        call("restore_file", how, usual, "model", f"Path({image!r})", f"Path({Path(image).name!r})"),
    ]


def write_restore(options: dict[str, Any]) -> Lines:
    """Lines for copyfold restore."""
    model, image = _denoiser(options)
    problem = text(options["problem"])
    mask: Lines = []
    if options["mask"]:
        mask = [
            "import torch",
            "from copyfold.data.photographs import Photograph",
            f"mask = torch.from_numpy(Photograph.read(Path({options['mask']!r}), 'mask').values.max(2)) >= 0.5",
        ]
        problem = problem.replace("mask=None", "").replace("()", "(mask)")
    how = {"samples": options["samples"], "seed": options["seed"], "ascent": options["ascent"]}
    from copyfold.samplers.ascent import Ascent

    usual = {"samples": 1, "seed": 0, "ascent": Ascent()}
    return [
        "from pathlib import Path",
        "from copyfold.inverse import solve_file",
        *mask,
        model,
        call(
            "solve_file",
            how,
            usual,
            "model",
            problem,
            f"Path({image!r})",
            f"Path({'restored-' + Path(image).name!r})",
        ),
    ]


def write_outliers(options: dict[str, Any]) -> Lines:
    """Lines for copyfold outliers."""
    lines = with_run(options)
    normal = "photos"
    if options["data"]:
        lines.append(with_run(options, options["data"])[1].replace("photos =", "new ="))
        normal = "new, normal=photos"
    score = {"score": options["score"], "rate": options["rate"]}
    from copyfold.detection.combination import Combined

    found = call("cf.outliers", score, {"score": Combined(), "rate": None}, "run.model", normal)
    return [*lines, f"found = {found}", f"found.save({Path(options['out']).name!r})"]


def write_similar(options: dict[str, Any]) -> Lines:
    """Lines for copyfold similar."""
    how = call("cf.similar", {"count": options["count"], "layer": options["layer"], "grid": options["grid"]}, None)
    lines = with_run(options, options["data"])
    to = ""
    if options["to"]:
        lines.append(
            with_run(options, options["to"])[1]
            .replace("photos =", "one =")
            .replace(repr(options["to"]), f"[{options['to']!r}]")
        )
        to = ", one"
    return [*lines, f"found = {how.replace('(', f'(run.model, photos{to}, ', 1)}", "found.save('similar.csv')"]


def write_duplicates(options: dict[str, Any]) -> Lines:
    """Lines for copyfold duplicates."""
    model = [f"cf.runs.open({options['run']!r}).model"] if options["run"] else []
    taken = {name: options[name] for name in ("near", "similar", "limit", "skip_bad")}
    from copyfold.detection.copies import duplicates

    found = call("cf.duplicates", taken, _usual(duplicates), repr(options["data"]), *model)
    return [f"found = {found}", "found.save('duplicates.csv')"]
