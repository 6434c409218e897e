"""Find: images that are unlike the others, with maps of where; those alike; those that are there twice."""

# gradio makes the events of its classes when it is imported
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from copyfold.studio import limits
from copyfold.studio.answers import Answer, page, pre
from copyfold.studio.context import CHEAP, CHOSEN, HEAVY, OWN, Studio, which_images
from copyfold.studio.desk import Done
from copyfold.studio.forms import Classes, Form


def tab(studio: Studio) -> None:
    """Draw the tab."""
    gr.Markdown("Find things in the photos, with the chosen run.", elem_classes="head")
    which = which_images()
    studio.photos.change(
        lambda photos: CHOSEN if photos else OWN, studio.photos, which, show_progress="hidden", **CHEAP
    )
    with gr.Tabs():
        with gr.Tab("Outliers"):
            form = Form("outliers", ("rate", "show"), Classes("outliers", "score"))
            form.build("Score")
            normal = gr.Textbox(
                label="Compared with", placeholder="those that the run was trained on", max_length=1000,
                info="A folder or .zip of usual images, below the root.",
            )  # fmt: skip
            _action(studio, which, "Find outliers", "outliers", form, {"--normal": normal})
        with gr.Tab("Similar"):
            form = Form("similar", ("count", "grid", "layer", "show"))
            form.build()
            one = gr.File(label="Only the neighbours of this image", file_count="single", height=120)
            _action(studio, which, "Find similar images", "similar", form, {"--to": one})
        with gr.Tab("Duplicates"):
            gr.Markdown(
                "In the photos chosen in Photos; the run's codes say what is similar.", elem_classes="head"
            )
            form = Form("duplicates", ("near", "similar", "show"))
            form.build()
            _action(studio, which, "Find duplicates", "duplicates", form, {})


def _action(studio: Studio, which: Any, label: str, command: str, form: Form, more: dict[str, Any]) -> None:
    """A button that runs a command which writes a table and a page; `more` are fields by their flags."""
    go = gr.Button(label, variant="primary")
    other = {flag: field.label for flag, field in more.items()}
    answer = Answer({**form.labels, **other, "--run": studio.run.label})
    shown = gr.HTML("")
    with gr.Row():
        table = gr.DownloadButton("The table (.csv)", visible=False)
        saved = gr.DownloadButton("The page (.html)", visible=False)

    def find(request: gr.Request, run: str | None, own: str, photos: str, *values: Any) -> Iterator[list[Any]]:
        def words() -> list[str]:
            out = f"--out={studio.mine(request) / f'{command}.csv'}"
            found = form.words(values[: len(form.inputs)])
            if command == "duplicates":
                of = [f"--run={studio.root.name(studio.root.run(run))}"] if run else []
                return [command, *studio.which(CHOSEN, photos), *of, *found, out]
            chosen = studio.which(own, photos)
            last = values[-1]
            if command == "outliers":
                others = [f"--normal={studio.root.name(studio.root.images(last))}"] if last else []
            else:
                others = [f"--to={last}"] if last else []
                limits.check_images([Path(last)] if last else [])
            return [command, studio.root.name(studio.root.run(run)), *chosen, *found, *others, out]

        yield from studio.follow(answer, request, words, lambda done: _results(done, studio.mine(request)), 3)

    inputs = [studio.run, which, studio.photos, *form.inputs, *more.values()]
    go.click(find, inputs, [*answer.outputs, shown, table, saved], **HEAVY)


def _results(done: Done, mine: Path) -> list[Any]:
    """The page in a frame, and both files to keep."""
    files: dict[str, Path] = {file.suffix: file for file in done.files}
    if ".html" not in files:
        return [pre(done.out), gr.skip(), gr.skip()]
    kept = [gr.update(value=str(files[end]), visible=True) for end in (".csv", ".html")]
    return [page(files[".html"], mine), *kept]
