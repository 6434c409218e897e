"""Push a run to the Hugging Face Hub: its model, its recipe, its log, and a card that says what it is."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from copyfold import catalogue, hub
from copyfold.errors import UsageError
from copyfold.files import copied, recipe_text, write_text
from copyfold.models.base import Autoencoder
from copyfold.models.storing import CONFIG, WEIGHTS
from copyfold.runs import Row, Run

__all__ = ["push"]

log = logging.getLogger("copyfold")

CARD = "README.md"
UNPUBLISHED = "not published"
"""In place of what a recipe says of images and masks, where that is not an address on the Hub."""
SHOWN = ("shape", "train", "held_out", "mean_error", "digest", "held_out_digest")
"""What is pushed of data.json: no names of files or classes, and no digests of single images."""
PLACES = ("data", "masks")


def push(
    run: Run,
    name: str,
    *,
    public: bool = False,
    overwrite: bool = False,
    licence: str | None = None,
    pictures: bool = True,
) -> str:
    """Upload a run to the Hub as owner/name, and return its page; a new one is private unless `public`.

    It has what `gathered` writes. `licence` is that of the model, as the Hub names it, such as mit or cc-by-4.0.
    Uses the login of huggingface_hub (`hf auth login`). Raises UsageError where the run has no model, where the
    name is none, or is taken and not to be overwritten; CopyfoldError where the Hub cannot be reached.
    """
    name = hub.Address.of(f"{hub.PREFIX}{name}").name
    with TemporaryDirectory() as folder:
        gathered(run, Path(folder), name, licence, pictures)
        return hub.pushed(Path(folder), name, public, overwrite)


def gathered(
    run: Run, folder: Path, name: str | None = None, licence: str | None = None, pictures: bool = True
) -> list[Path]:
    """Write what is pushed of a run into a folder, and return the files; it is a run's folder itself.

    The model (config.json and model.safetensors; no checkpoint, no code), recipe.yaml and data.json without paths
    and names of files of this machine, log.csv, the pictures of findings/, and the card, README.md.
    """
    model = run.model
    source = run.folder / "model" if (run.folder / "model" / CONFIG).is_file() else run.folder
    folder.mkdir(parents=True, exist_ok=True)
    for file in (CONFIG, WEIGHTS):
        copied(source / file, folder / file)
    recipe = {key: _published(key, value) for key, value in run.recipe.items()}
    write_text(folder / "recipe.yaml", recipe_text(recipe))
    told = run.data | {"mean_error": run.mean_error}
    data = {key: told[key] for key in SHOWN if told.get(key) is not None}
    write_text(folder / "data.json", json.dumps(data, indent=2) + "\n")
    if (run.folder / "log.csv").is_file():
        copied(run.folder / "log.csv", folder / "log.csv")
    drawn = sorted((run.folder / "findings").glob("*.png")) if pictures else []
    for picture in drawn:
        copied(picture, folder / "findings" / picture.name)
    sentences = {name: text for name, text in run.report("sentences").items() if isinstance(text, str)}
    if run.reported not in (None, run.step):
        log.warning(
            "%s is of step %s, and the model of step %s: what it says is left out of the card; copyfold report %s "
            "writes it again",
            *(run.folder / "report.json", run.reported, run.step, run.where),
        )
        sentences = {}
    card = _card(name or "owner/name", model, recipe, data, list(run.history), drawn, sentences, licence)
    write_text(folder / CARD, card)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def check_folder(folder: Path) -> None:
    """UsageError where a folder to write to has something in it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder: give another --out")


def _published(key: str, value: Any) -> Any:
    """A value of a recipe; of images and masks only an address on the Hub, and not a path of this machine."""
    return value if key not in PLACES or value is None or hub.is_address(value) else UNPUBLISHED


# ---------------------------------------------------------------- the card


def _card(
    name: str,
    model: Autoencoder,
    recipe: dict[str, Any],
    data: dict[str, Any],
    history: list[Row],
    pictures: list[Path],
    sentences: dict[str, str],
    licence: str | None,
) -> str:
    """The model's card: metadata that the Hub reads, and what a person needs to know before using it."""
    source = recipe.get("data")
    dataset = source.removeprefix(hub.PREFIX).partition("@")[0] if hub.is_address(source) else None
    meta = {
        "library_name": "copyfold",
        "pipeline_tag": "image-to-image",
        "tags": ["autoencoder", "copyfold", type(model).__name__.lower()],
        **({"license": licence} if licence else {}),
        **({"datasets": [dataset]} if dataset else {}),
    }
    parts = [
        f"---\n{recipe_text(meta)}---\n\n# {name.partition('/')[2]}",
        f"An autoencoder of images, a {type(model).__name__} trained by copyfold.\n\n{model.summary()}.",
        *(f"![{_title(picture)}](findings/{picture.name})" for picture in pictures),
        "## How to use it\n\n" + _usage(name, model, recipe.get("range")),
        "## Data\n\n" + _data(source, data, model),
        "## Numbers\n\n" + "\n".join(_numbers(data, history)),
        *(
            ["## What it learned\n\n" + "\n".join(f"- {text}" for text in sentences.values() if text)]
            if sentences
            else []
        ),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in _limits(model, recipe, history)),
        "## Training\n\nThe objective (recipe.yaml has every choice, and log.csv the history):\n\n"
        + f"```yaml\n{yaml.safe_dump(recipe.get('objective'), sort_keys=False)}```",
        "## Licence\n\n" + (f"{licence}." if licence else "None was given: ask its author before you use it."),
    ]
    return "\n\n".join(parts) + "\n"


def _title(picture: Path) -> str:
    return picture.stem.replace("-", " ")


def _usage(name: str, model: Autoencoder, values: list[float] | None) -> str:
    address, cls = f"{hub.PREFIX}{name}", type(model)
    meant = f", which were {values[0]:g} to {values[1]:g} in its images" if values else ""
    own = [] if catalogue.own(cls) else [f"import {cls.__module__}  # of its author: it defines {cls.__name__}"]
    return "\n".join(
        [
            "```python",
            "import copyfold as cf",
            *own,
            "",
            f'model = cf.load("{address}")  # safetensors and JSON; no code is run',
            f"copies = model(images)  # b x {' x '.join(map(str, model.shape))}, values in [0, 1]{meant}",
            "```",
            "",
            "```",
            f"copyfold denoise {address} photo.jpg",
            f"copyfold report {address} PHOTOS",
            "```",
        ]
    )


def _data(source: object, data: dict[str, Any], model: Autoencoder) -> str:
    """What it was trained on, as far as that is said."""
    size = "x".join(map(str, model.shape))
    counts = f"{data['train']:,}" if isinstance(data.get("train"), int) else "An unknown number of"
    held = f"; {data['held_out']:,} were held out" if isinstance(data.get("held_out"), int) else ""
    of = "scikit-learn's digits" if source is None else f"the data set {source}" if hub.is_address(source) else ""
    where = f"They are {of}." if of else "What they show, and whose they are, its author may say here."
    return f"{counts} images of {size} (channels x height x width){held}. {where}"


def _numbers(data: dict[str, Any], history: list[Row]) -> Iterator[str]:
    """A table of the last numbers on held-out images."""
    last = history[-1] if history else {}
    looked = next((row for row in reversed(history) if "held_out_mse" in row), {})
    error, mean = looked.get("held_out_mse"), data.get("mean_error")
    rows = {
        "squared error per pixel": error,
        "of that of the mean training image, %": 100 * error / mean if error is not None and mean else None,
        "PSNR, dB": looked.get("held_out_psnr"),
        "loss, nats per image": looked.get("held_out_loss"),
    }
    yield from ("| on held-out images | |", "|---|---|")
    yield from (f"| {name} | {value:.4g} |" for name, value in rows.items() if value is not None)
    if last:
        yield f"| steps, and seconds of training | {last['step']:,.0f}, {last.get('seconds', float('nan')):,.0f} |"


def _limits(model: Autoencoder, recipe: dict[str, Any], history: list[Row]) -> Iterator[str]:
    """What it cannot do, from what is known of it."""
    yield "It was trained on the images above; of other images nothing is known before it is measured on them."
    size = f"{model.shape[1]}x{model.shape[2]}"
    if model.multiple is None:
        yield f"It takes images of {size} alone; others are scaled to that size and back."
    else:
        yield (
            f"It takes images of other sizes than {size}, but was trained on that one; what is much larger or "
            "smaller in a photograph than there, it has not seen."
        )
    if recipe.get("crop") is None and recipe.get("size") is not None:
        yield "Its images were scaled to that size before training: noise of a photograph at its own size differs."
    if model.has_statistics and model.statistics == "batch":
        yield (
            'Batch norm uses the statistics of the batch, as in training: set model.statistics = "running" where '
            "an image's result must not depend on the others (copyfold denoise and embed do)."
        )
    outside = next((row["held_out_outside"] for row in reversed(history) if "held_out_outside" in row), 0.0)
    if outside:
        yield f"{100 * outside:.2g} % of its output's values were outside [0, 1]: clip them."
    corruption = (((recipe.get("objective") or {}).get("init_args") or {}).get("corruption") or {}).get(
        "class_path"
    )
    if corruption == "Clean":
        yield "It was trained only to copy: that it removes noise at all is a by-product."
