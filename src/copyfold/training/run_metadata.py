"""The files written before the first step: the recipe, the data, the machine, the model's README."""

import inspect
import json
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from copyfold import __version__, catalogue
from copyfold.data import Photos, Stream
from copyfold.files import write_text
from copyfold.models.base import Autoencoder
from copyfold.objectives.base import Objective
from copyfold.runs import Run
from copyfold.training.loggers import Log
from copyfold.training.plan import Plan
from copyfold.training.same_images import Measured


def describe(
    run: Run,
    model: Autoencoder,
    objective: Objective,
    photos: Photos | Stream,
    images: Measured,
    plan: Plan,
    log: Log | None = None,
) -> None:
    """Write recipe.yaml, data.json, env.json and the model's README."""
    run.write_recipe(
        {
            "stream": isinstance(photos, Stream),
            **photos.recipe(),
            **_architecture(catalogue.path(type(model)), model.config),
            "objective": catalogue.describe(objective),
            **asdict(plan) | {"optimizer": catalogue.describe(plan.optimizer)},
            "log": log if isinstance(log, str) else None,  # a logger in memory cannot be written down
        }
    )
    machine = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": plan.threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "copyfold": __version__,
    } | _versions("torch", "lightning-fabric", "numpy", "pillow")
    data = images.data | {"notes": list(photos.notes)}
    write_text(run.folder / "data.json", json.dumps(data, indent=2) + "\n")
    write_text(run.folder / "env.json", json.dumps(machine, indent=2) + "\n")
    write_text(run.folder / "model" / "README.md", _card(model, objective, photos))


def _versions(*names: str) -> dict[str, str]:
    """Of the libraries that are there: an array of images needs no Pillow."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _architecture(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """The options --model and --core; the shape is that of the photos."""
    arguments = {key: value for key, value in config.items() if key not in ("shape", "core")}
    found: dict[str, Any] = {"model": {"class_path": name, "init_args": arguments}}
    if core := config.get("core"):
        found["core"] = _architecture(core["class_path"], core["init_args"])["model"]
    return found


def _sentence(parts: Sequence[str]) -> str:
    """One sentence of several, with the letters as they are."""
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _equation(objective: type[Objective]) -> str:
    """The docstring of an objective, without what helps to choose one: "When:" and what follows."""
    return (inspect.getdoc(objective) or "").partition("\n\nWhen: ")[0]


def _card(model: Autoencoder, objective: Objective, photos: Photos | Stream) -> str:
    """The model's README: what the model is, its loss, and how to load it."""
    size, what = "x".join(map(str, photos.shape)), "images" if photos.crop is None else "crops"
    return f"""# {type(model).__name__}

{model.summary()}.

Trained by copyfold on {len(photos):,} {what} of {size} (channels x height x width), pixels in [0, 1].
{_sentence(photos.notes)}

## The loss

    {objective}

{_equation(type(objective))}

Every term is a sum over pixels (a fidelity) or over the numbers of the code (a penalty), in nats where it is
a likelihood or a divergence, averaged over the images of a batch, and has its weight in it already; their sum
is the loss. In log.csv, `mse` is per
pixel and `psnr` in dB, averaged over images; columns that begin with `held_out_` are the same on images that
were not trained on.

## How to use it

    import copyfold
    model = copyfold.load("the/folder/of/this/run")
"""
