"""Repair: denoise a photo, fill in what is painted over, sharpen or enlarge; before and after as one."""

# gradio makes the events of its classes when it is imported
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from copyfold.data.reading.decoding import Refused, decode, flatten
from copyfold.data.reading.folders import IMAGES, files_below
from copyfold.errors import CopyfoldError, UsageError
from copyfold.models.packaged import PACKAGE
from copyfold.studio import limits
from copyfold.studio.answers import Answer, said, wrong
from copyfold.studio.context import CHEAP, HEAVY, Studio
from copyfold.studio.desk import Done
from copyfold.studio.forms import Classes, Form

SHOWN = 1200
"""Pixels of a side, above which a photo is shown smaller."""

NAMES = 500

WEIGHTS, RUN = "the denoiser of copyfold-weights", "the chosen run"


def tab(studio: Studio) -> None:
    """Draw the tab."""
    gr.Markdown("Repair one photo. It is not changed; the result is a new file.", elem_classes="head")
    photo = gr.State("")
    with gr.Row(equal_height=False):
        dropped = gr.File(label="Drop a photo", file_types=sorted(IMAGES), file_count="single", height=140)
        with gr.Column():
            name = gr.Dropdown([], label="Or one of the photos chosen in Photos", value=None)
            known = [WEIGHTS] if find_spec(PACKAGE) else []  # the package of trained networks may not be installed
            by = gr.Radio([*known, RUN], value=[*known, RUN][0], label="By")
    told = gr.HTML("")

    with gr.Tabs():
        with gr.Tab("Denoise"):
            _denoise(studio, photo, by)
        with gr.Tab("Paint and fill in"):
            editor = _inpaint(studio, photo, by)
        with gr.Tab("Sharpen, enlarge"):
            _solve(studio, photo, by)

    def drop(file: str | None, request: gr.Request) -> list[Any]:
        return _chosen(lambda: _moved(studio, Path(file), request)) if file else [gr.skip()] * 3

    def choose(one: str | None, photos: str) -> list[Any]:
        return _chosen(lambda: _one_of(photos, one)) if one else [gr.skip()] * 3

    dropped.upload(drop, dropped, [photo, told, editor], **CHEAP)
    name.input(choose, [name, studio.photos], [photo, told, editor], **CHEAP)
    studio.photos.change(
        lambda photos: gr.update(choices=_names(photos), value=None),
        studio.photos,
        name,
        show_progress="hidden",
        **CHEAP,
    )


def _denoise(studio: Studio, photo: Any, by: Any) -> None:
    form = Form("denoise", ("strength", "ensemble", "statistics"))
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            form.build()
            go = gr.Button("Denoise", variant="primary")
        with gr.Column(scale=3):
            answer, both, saved = _result(form)

    def denoise(request: gr.Request, file: str, model: str, run: str | None, *values: Any) -> Iterator[list[Any]]:
        out = studio.mine(request) / "denoised"

        def words() -> list[str]:
            shutil.rmtree(out, ignore_errors=True)
            return ["denoise", *_model(studio, model, run), _given(file), *form.words(values), f"--out={out}"]

        yield from studio.follow(answer, request, words, lambda done: _beside(Path(file), done), 2)

    go.click(denoise, [photo, by, studio.run, *form.inputs], [*answer.outputs, both, saved], **HEAVY)


def _inpaint(studio: Studio, photo: Any, by: Any) -> Any:
    gr.Markdown("Paint over what is to be filled in. A large photo takes minutes.", elem_classes="head")
    form = Form("restore", ("samples", "seed"))
    with gr.Row(equal_height=False):
        with gr.Column():
            editor = gr.ImageEditor(
                label="Paint", type="pil", sources=(), transforms=(), layers=False, height=480,
                canvas_size=(420, 420),
                brush=gr.Brush(default_size=24, colors=["#d55e00"], color_mode="fixed"), buttons=[],
            )  # fmt: skip
            sizes = [("192 pixels", 192), ("320 pixels", 320), ("its own size", 0)]
            side = gr.Dropdown(sizes, value=192, label="Fill in at")
            form.build()
            go = gr.Button("Fill in", variant="primary")
        with gr.Column():
            answer, both, saved = _result(form)

    def fill(
        request: gr.Request, file: str, painted: Any, most: int, model: str, run: str | None, *values: Any
    ) -> Iterator[list[Any]]:
        folder = studio.mine(request)
        small, mask = folder / f"{Path(file).stem}-small.png", folder / "mask.png"

        def words() -> list[str]:
            image = _decoded(Path(_given(file)))
            scale = min(1.0, most / max(image.size)) if most else 1.0
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image.resize(size, Image.Resampling.BILINEAR).save(small)
            _mask(painted, size).save(mask)
            out = folder / f"filled-{small.name}"
            asked = ["restore", *_model(studio, model, run), str(small), "--problem=Inpaint", f"--mask={mask}"]
            return [*asked, *form.words(values), f"--out={out}"]

        yield from studio.follow(answer, request, words, lambda done: _beside(small, done), 2)

    inputs = [photo, editor, side, by, studio.run, *form.inputs]
    go.click(fill, inputs, [*answer.outputs, both, saved], **HEAVY)
    return editor


def _solve(studio: Studio, photo: Any, by: Any) -> None:
    form = Form("restore", ("samples", "seed"), Classes("restore", "problem", but=("Inpaint",)))
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            form.build("What happened to the photo")
            go = gr.Button("Restore", variant="primary")
        with gr.Column(scale=3):
            answer, both, saved = _result(form)

    def solve(request: gr.Request, file: str, model: str, run: str | None, *values: Any) -> Iterator[list[Any]]:
        def words() -> list[str]:
            given = _given(file)
            out = f"--out={studio.mine(request) / f'restored-{Path(given).name}'}"
            return ["restore", *_model(studio, model, run), given, *form.words(values), out]

        yield from studio.follow(answer, request, words, lambda done: _beside(Path(file), done), 2)

    go.click(solve, [photo, by, studio.run, *form.inputs], [*answer.outputs, both, saved], **HEAVY)


def _result(form: Form) -> tuple[Answer, Any, Any]:
    answer = Answer(form.labels)
    both = gr.ImageSlider(
        label="Before and after",
        type="pil",
        interactive=False,
        buttons=["fullscreen"],
        visible=False,
    )
    return answer, both, gr.DownloadButton("The result", visible=False)


def _beside(before: Path, done: Done) -> list[Any]:
    """The photo and the result, one over the other, and the file to keep."""
    file = next(iter(done.files), None)
    if file is None:
        return [gr.skip(), gr.skip()]
    pair = [_decoded(before), _decoded(file)]
    size = pair[1].size
    pair = [image if image.size == size else image.resize(size, Image.Resampling.BICUBIC) for image in pair]
    for image in pair:
        image.thumbnail((SHOWN, SHOWN))
    return [gr.update(value=tuple(pair), visible=True), gr.update(value=str(file), visible=True)]


def _model(studio: Studio, by: str, run: str | None) -> list[str]:
    return [] if by == WEIGHTS else [studio.root.name(studio.root.run(run))]


def _given(file: str) -> str:
    if not file:
        raise UsageError("no photo is chosen: drop one above, or choose one")
    return file


def _decoded(file: Path) -> Image.Image:
    """A photo as it is shown, upright, in colour."""
    try:
        return flatten(decode(file), 3).copy()
    except Refused as refused:
        raise UsageError(f"{file.name} {refused}") from None


def _mask(painted: Any, size: tuple[int, int]) -> Image.Image:
    """White where nothing was painted, black where something was, in the size of the photo."""
    layers = (painted or {}).get("layers") or []
    over = [
        np.asarray(layer.convert("RGBA").resize(size, Image.Resampling.NEAREST))[..., 3] > 0 for layer in layers
    ]
    missing = np.any(over, axis=0) if over else np.zeros(size[::-1], bool)
    if not missing.any():
        raise UsageError("nothing is painted: paint over what is to be filled in")
    return Image.fromarray(np.where(missing, 0, 255).astype(np.uint8))


def _moved(studio: Studio, file: Path, request: gr.Request) -> Path:
    """A dropped photo in the visitor's folder, once it is known to be harmless."""
    try:
        limits.check_images([file])
        folder = studio.mine(request) / "photo"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return Path(shutil.move(file, folder / file.name))
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _names(photos: str) -> list[str]:
    """The names of the chosen photos, where they are files of a folder."""
    if not photos or not Path(photos).is_dir():
        return []
    return [name for name, *_ in files_below(Path(photos), IMAGES)][:NAMES]


def _one_of(photos: str, name: str | None) -> Path:
    """One of the chosen photos, by its name."""
    if name not in _names(photos):
        raise UsageError(f"{name} is none of the chosen photos: choose one of the list")
    found = Path(photos) / str(name)
    limits.check_images([found])
    return found


def _chosen(find: Callable[[], Path]) -> list[Any]:
    """The photo that was found, what is said of it, and the photo to paint on."""
    try:
        found = find()
        shown = _decoded(found)
    except CopyfoldError as error:
        return [gr.skip(), wrong(str(error)), gr.skip()]
    words = f"Chosen: {found.name}, {shown.width} x {shown.height} pixels"
    shown.thumbnail((512, 512))
    return [str(found), said(words), {"background": shown, "layers": [], "composite": shown}]
