"""Make: images and films from noise, codes and photos; between two photos; along directions of the code."""

# gradio makes the events of its classes when it is imported
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
import torch
from PIL import Image
from torch import Tensor

from copyfold import pictures
from copyfold.errors import CopyfoldError, UsageError
from copyfold.models.base import Autoencoder, flat
from copyfold.samplers.base import on_maps, unflatten
from copyfold.studio import watch
from copyfold.studio.answers import Answer, said, wrong
from copyfold.studio.context import CHEAP, HEAVY, Studio, which_images
from copyfold.studio.desk import Done
from copyfold.studio.forms import Classes, Form
from copyfold.studio.thumbnails import picture
from copyfold.types import Code, Images

PHOTOS = 24
DIRECTIONS = 6
CODES = 64
LARGEST = 2**22
"""Numbers of the codes of all those images, above which directions are not computed for a page."""

_COMPUTING = Lock()


def tab(studio: Studio) -> None:
    """Draw the tab."""
    gr.Markdown("Make images with the chosen run.", elem_classes="head")
    with gr.Tabs():
        with gr.Tab("Samplers"):
            _samplers(studio)
        with gr.Tab("Between two photos"):
            _between(studio)
        with gr.Tab("Directions of the code"):
            _directions(studio)


# ---------------------------------------------------------------- samplers


def _samplers(studio: Studio) -> None:
    form = Form("sample", ("count", "seed", "fps", "statistics"), Classes("sample", "sampler"))
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            form.build("Sampler")
            which = which_images("Where it starts from photos, or is fitted to some")
            kind = gr.Radio(
                [("a film", "mp4"), ("a film that loops (GIF)", "gif"), ("a picture", "png")],
                value="mp4",
                label="Make",
            )
            go = gr.Button("Make", variant="primary")
        with gr.Column(scale=3):
            answer, film, shown, saved = _result({**form.labels, "--start": which.label})

    def make(
        request: gr.Request, run: str | None, end: str, own: str, photos: str, *values: Any
    ) -> Iterator[list[Any]]:
        def words() -> list[str]:
            found, start = studio.root.name(studio.root.run(run)), studio.which(own, photos)
            out = f"--out={studio.mine(request) / f'made.{end}'}"
            return ["sample", found, *form.words(values), *(f"--start={path}" for path in start), out]

        yield from studio.follow(answer, request, words, _made, 3)

    go.click(
        make,
        [studio.run, kind, which, studio.photos, *form.inputs],
        [*answer.outputs, film, shown, saved],
        **HEAVY,
    )


def _result(labels: dict[str, str]) -> tuple[Answer, Any, Any, Any]:
    answer = Answer(labels)
    film = gr.Video(label="Film", visible=False, autoplay=True, loop=True, buttons=[], height=420)
    return answer, film, gr.HTML(""), gr.DownloadButton("The file", visible=False)


def _made(done: Done) -> list[Any]:
    """What was made, as a film or a picture, and the file to keep."""
    file = next(iter(done.files), None)
    if file is None:
        return [gr.skip()] * 3
    keep = gr.update(value=str(file), visible=True)
    if file.suffix == ".mp4":
        return [gr.update(value=str(file), visible=True), "", keep]
    return [gr.update(visible=False), picture(file.read_bytes(), "", wide=True), keep]


# ---------------------------------------------------------------- between two photos


def _between(studio: Studio) -> None:
    gr.Markdown("Click two of the run's held-out photos: the first, then the second.", elem_classes="head")
    load = gr.Button("Show the run's photos")
    gallery = gr.Gallery(
        label="Photos",
        columns=8,
        height=240,
        fit_columns=False,
        allow_preview=False,
        buttons=[],
        interactive=False,
    )
    pair = gr.State(())
    told = gr.HTML("")
    t = gr.Slider(0, 1, value=0.5, step=0.02, label="From the first to the second")
    shown = gr.HTML("")
    with gr.Group():
        kind = gr.Radio(
            ["Interpolation", "PixelInterpolation"], value="Interpolation", label="By codes, or by pixels"
        )
        go = gr.Button("Make the film", variant="primary")
        answer, film, still, saved = _result({})

    def photos(run: str | None) -> list[Any]:
        folder = studio.root.run(run)
        x, names = watch.held_out(folder, PHOTOS)
        return [[(_image(one), name) for one, name in zip(x, names, strict=True)], (), ""]

    def click(before: tuple[int, ...], run: str | None, event: gr.SelectData) -> list[Any]:
        now = (*before, int(event.index))[-2:] if len(before) < 2 else (int(event.index),)
        _, names = watch.held_out(studio.root.run(run), PHOTOS)
        words = " to ".join(names[k] for k in now if k < len(names))
        return [now, said(f"{words}{' to ...: click the second' if len(now) == 1 else ''}")]

    def step(run: str | None, now: tuple[int, ...], at: float) -> str:
        folder = studio.root.run(run)
        x, codes = _ends(folder, now)
        made = _decoded(folder, on_maps(lambda z: torch.lerp(z[:1], z[1:], at), codes))
        ends = [(x[0], "the first"), (made[0], f"t = {at:.2f}"), (x[1], "the second")]
        return f'<div class="three">{"".join(picture(_image(one), caption) for one, caption in ends)}</div>'

    def make(run: str | None, now: tuple[int, ...], chosen: str, request: gr.Request) -> Iterator[list[Any]]:
        def words() -> list[str]:
            folder, mine = studio.root.run(run), studio.mine(request)
            x, _ = _ends(folder, now)
            for one, end in zip(x, ("first", "second"), strict=True):
                pictures.save_picture(pictures.grid(one[None], scale=1, gap=0), mine / "pair" / f"{end}.png")
            start = [f"--start={mine / 'pair'}", "--count=2", f"--out={mine / 'between.mp4'}"]
            return ["sample", studio.root.name(folder), f"--sampler={chosen}", *start]

        yield from studio.follow(answer, request, words, _made, 3)

    load.click(_spoken(photos, 3, told=2), studio.run, [gallery, pair, told], **CHEAP)
    gallery.select(click, [pair, studio.run], [pair, told], **CHEAP).then(
        _quiet(step), [studio.run, pair, t], shown, show_progress="hidden", **CHEAP
    )
    t.input(
        _quiet(step), [studio.run, pair, t], shown, show_progress="hidden", trigger_mode="always_last", **CHEAP
    )
    go.click(make, [studio.run, pair, kind], [*answer.outputs, film, still, saved], **HEAVY)


def _ends(folder: Path, pair: tuple[int, ...]) -> tuple[Images, Code]:
    """The two photos, and their codes."""
    if len(pair) != 2:
        raise UsageError("two photos are needed: click the first, then the second")
    x = watch.held_out(folder, PHOTOS)[0][list(pair)]
    with _COMPUTING, torch.no_grad():
        model = watch.model(folder)
        with model.using("running"):
            return x, model.encode(x)


def _decoded(folder: Path, z: Code) -> Images:
    with _COMPUTING, torch.no_grad():
        model = watch.model(folder)
        with model.using("running"):
            return model.decode(z)


# ---------------------------------------------------------------- directions of the code

DOING = """import copyfold as cf, torch
from copyfold.models.base import flat
from copyfold.samplers.base import unflatten
{reading}
model, x = run.model.eval(), photos.sample("held_out", {count}).images[{photo}][None]
codes = flat(model.encode(photos.sample("train", {codes}).images))
u, s, v = torch.linalg.svd(codes - codes.mean(0), full_matrices=False)
amounts = torch.tensor({amounts})
move = (amounts * s[:{n}] / (len(codes) - 1) ** 0.5) @ v[:{n}]
z = model.encode(x)
image = model.decode(unflatten(flat(z) + move, z))
"""


def _directions(studio: Studio) -> None:
    gr.Markdown(
        "The directions in which the codes of training images vary most (their principal components), each in "
        "units of its standard deviation, added to the code of one photo.",
        elem_classes="head",
    )
    with gr.Row(equal_height=False):
        with gr.Column():
            photo = gr.Slider(0, PHOTOS - 1, value=0, step=1, label="Photo, of those held out")
            sliders = [gr.Slider(-4, 4, value=0, step=0.1, label=f"Direction {k + 1}") for k in range(DIRECTIONS)]
            back = gr.Button("Back to 0")
        with gr.Column():
            shown = gr.HTML("")
            answer = Answer()

    def move(run: str | None, number: float, *amounts: float) -> list[Any]:
        folder = studio.root.run(run)
        x, names = watch.held_out(folder, PHOTOS)
        k = int(number) % len(x)
        given = torch.tensor([float(amount) for amount in amounts])
        with _COMPUTING, torch.no_grad():
            axes = _axes(folder, watch.stamp(folder, "model/model.safetensors"))
            model = watch.model(folder)
            with model.using("running"):
                z = model.encode(x[k : k + 1])
                made = model.decode(unflatten(flat(z) + given[: len(axes)] @ axes, z))
        pair = picture(_image(x[k]), names[k]) + picture(_image(made[0]), "decoded")
        from copyfold.studio.python import with_run

        name = studio.root.name(folder)
        code = DOING.format(
            reading="\n".join(with_run({"run": name})), count=PHOTOS, photo=k, codes=CODES, n=len(axes),
            amounts=[round(float(a), 2) for a in given[: len(axes)]],
        )  # fmt: skip
        command = f"copyfold sample {name} --sampler Traversal --sampler.dim 0"
        return [f'<div class="three">{pair}</div>', "", gr.update(visible=True), command, code]

    inputs, outputs = [studio.run, photo, *sliders], [shown, *answer.outputs]
    quick = _spoken(move, 5, told=1)
    for slider in (photo, *sliders):
        slider.input(quick, inputs, outputs, show_progress="hidden", trigger_mode="always_last", **CHEAP)
    back.click(lambda: [0] * DIRECTIONS, None, sliders, **CHEAP).then(quick, inputs, outputs, **CHEAP)


@lru_cache(maxsize=3)
def _axes(folder: Path, stamp: int) -> Tensor:
    """The principal directions of the codes of training images, each as long as its standard deviation."""
    del stamp
    model: Autoencoder = watch.model(folder)
    x = watch.training(folder, CODES)
    with torch.no_grad(), model.using("running"):
        one = flat(model.encode(x[:1]))
        if one.shape[1] * len(x) > LARGEST:
            raise UsageError(
                f"the code of this model has {one.shape[1]:,} numbers: too many for sliders on a page"
            )
        codes = flat(model.encode(x))
    _, s, v = torch.linalg.svd(codes - codes.mean(0), full_matrices=False)
    return (s[:, None] * v / max(1, len(codes) - 1) ** 0.5)[:DIRECTIONS]


def _image(x: Tensor) -> Image.Image:
    """One image as a picture that is large enough to see."""
    return Image.fromarray(pictures.grid(x[None].detach().clamp(0, 1), gap=0))


def _spoken(function: Callable[..., list[Any]], count: int, told: int) -> Callable[..., list[Any]]:
    """The same with an error as a sentence in one of its outputs."""

    @wraps(function)
    def spoken(*values: Any) -> list[Any]:
        try:
            return function(*values)
        except CopyfoldError as error:
            return [wrong(str(error)) if k == told else gr.skip() for k in range(count)]

    return spoken


def _quiet(function: Callable[..., str]) -> Callable[..., str]:
    @wraps(function)
    def quiet(*values: Any) -> str:
        try:
            return function(*values)
        except CopyfoldError as error:
            return wrong(str(error))

    return quiet
