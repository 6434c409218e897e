"""Photos: choose the images to work on, below the root or dropped, and see what `copyfold data` says of them."""

# gradio makes the events of its classes when it is imported
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from copyfold.data.reading.folders import IMAGES
from copyfold.errors import CopyfoldError
from copyfold.files import readable
from copyfold.studio import limits
from copyfold.studio.answers import Answer, plain, pre, said, wrong
from copyfold.studio.context import CHEAP, HEAVY, Studio
from copyfold.studio.thumbnails import thumbnails


def tab(studio: Studio) -> None:
    """Draw the tab."""
    gr.Markdown("Choose the images to work on. Nothing of them leaves this machine.", elem_classes="head")
    with gr.Row(equal_height=False):
        with gr.Column():
            dropped = gr.File(
                file_count="multiple",
                file_types=[*sorted(IMAGES), ".zip"],
                label="Drop images, or one .zip",
                height=180,
            )
        with gr.Column():
            path = gr.Textbox(
                label="Or a folder, .zip or array below the root",
                info=f"The root is {studio.root.shown}.",
                placeholder="photos",
                max_length=1000,
            )
            with gr.Row():
                choose = gr.Button("Use this folder", variant="primary")
                digits = gr.Button("Use the embedded digits")
    chosen = gr.HTML("")
    shown = gr.HTML("")
    with gr.Row():
        survey = gr.Button("What is in it? (copyfold data)")
    answer = Answer()
    text = gr.HTML("")
    kept = [studio.photos, chosen, shown, text]

    def drop(files: list[str] | None, request: gr.Request) -> list[Any]:
        if not files:
            return [gr.skip()] * 4
        return _told(studio, lambda: _kept(studio, [Path(file) for file in files], request))

    def below(given: str) -> list[Any]:
        return _told(studio, lambda: studio.root.images(given))

    dropped.upload(drop, dropped, kept, **CHEAP)
    choose.click(below, path, kept, **CHEAP)
    path.submit(below, path, kept, **CHEAP)
    digits.click(lambda: _told(studio, lambda: None), None, kept, **CHEAP)

    def look(photos: str, request: gr.Request) -> Iterator[list[Any]]:
        yield from studio.follow(
            answer,
            request,
            lambda: ["data", *studio.given(photos)],
            lambda done: [pre([plain(line, studio.mine(request)) for line in done.out])],
            1,
        )

    survey.click(look, studio.photos, [*answer.outputs, text], **HEAVY)


def _kept(studio: Studio, files: list[Path], request: gr.Request) -> Path:
    """The place of dropped files in the visitor's folder, once they are known to be harmless; former ones go."""
    try:
        limits.check(files)
        mine = studio.mine(request)
        folder = mine / "photos"
        shutil.rmtree(folder, ignore_errors=True)
        (mine / "photos.zip").unlink(missing_ok=True)
        if files[0].suffix.lower() == ".zip":
            return Path(shutil.move(files[0], mine / "photos.zip"))
        folder.mkdir()
        for file in files:
            target = folder / file.name
            number = 1
            while target.exists():
                number += 1
                target = folder / f"{file.stem}-{number}{file.suffix}"
            shutil.move(file, target)
        return folder
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise


def _told(studio: Studio, find: Any) -> list[Any]:
    """The path that was found, what is said of it, its thumbnails, and no longer what was said of others."""
    try:
        found = find()
        small = thumbnails(found)
    except CopyfoldError as error:
        return [gr.skip(), wrong(str(error)), gr.skip(), gr.skip()]
    except OSError as error:
        return [gr.skip(), said(f"this cannot be read: {error.strerror}", "wrong"), gr.skip(), gr.skip()]
    name = "the digits of scikit-learn" if found is None else readable(studio.root.name(found))
    name = "the dropped files" if found is not None and found.is_relative_to(studio.room.folder) else name
    return ["" if found is None else str(found), said(f"Chosen: {name}"), small, ""]
