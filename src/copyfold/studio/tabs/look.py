"""Look: what a run learned, as a report; one probe; its layers."""

# gradio makes the events of its classes when it is imported
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from copyfold import pictures, runs
from copyfold.errors import CopyfoldError
from copyfold.models.outline import outline
from copyfold.report.diagnosis import TOO_FEW, trained
from copyfold.studio import watch
from copyfold.studio.answers import Answer, page, pre, said, table, wrong
from copyfold.studio.context import CHEAP, HEAVY, OWN, Studio, which_images
from copyfold.studio.desk import Done
from copyfold.studio.forms import Classes, Form
from copyfold.studio.thumbnails import picture

FEW = "of the photos chosen in Photos a quarter is measured, whatever was held out in training: they may be enough"


def tab(studio: Studio) -> None:
    """Draw the tab."""
    gr.Markdown("See what the chosen run learned.", elem_classes="head")
    which = which_images()
    with gr.Tabs():
        with gr.Tab("Report"):
            _report(studio, which)
        with gr.Tab("Probes"):
            _probe(studio, which)
        with gr.Tab("Layers"):
            _layers(studio)


def _report(studio: Studio, which: Any) -> None:
    with gr.Row():
        measure = gr.Button("Write the report", variant="primary")
        show = gr.Button("Show the one there is")
    answer = Answer()
    shown = gr.HTML("")

    def report(run: str | None, own: str, photos: str, request: gr.Request) -> Iterator[list[Any]]:
        def words() -> list[str]:
            found, other = studio.root.run(run), studio.which(own, photos)
            out = [f"--out={studio.mine(request) / 'report.html'}"] if other else []
            return ["report", studio.root.name(found), *other, *out]

        hint = _hint if own == OWN and photos else None
        yield from studio.follow(answer, request, words, lambda done: _page(done, studio.mine(request)), 1, hint)

    def there(run: str | None) -> list[Any]:
        try:
            folder = studio.root.run(run)
            file, older = folder / "report.html", _older(folder)
        except CopyfoldError as error:
            return [wrong(str(error)), gr.skip()]
        if not file.is_file():
            return [said("there is no report of this run yet: write one", "wrong"), gr.skip()]
        return [said(older), page(file)]

    measure.click(report, [studio.run, which, studio.photos], [*answer.outputs, shown], **HEAVY)
    show.click(there, studio.run, [answer.status, shown], **CHEAP)


def _hint(message: str) -> str:
    """What helps where the run's own images are too few for a report; "" after other errors."""
    return FEW if message.startswith(TOO_FEW) else ""


def _older(folder: Path) -> str:
    """A sentence on the report of a run where it was trained since; "" where it was not, or nothing says it."""
    try:
        run = runs.open(folder)
        then, now = str(run.report("facts")["training"]), trained(run)
    except (ValueError, KeyError):
        return ""
    if then == now:
        return ""
    return f"This report was made at an earlier step: write it again. Of the model then: {then} Now: {now}"


def _page(done: Done, mine: Path) -> list[str]:
    """The page that a command has written."""
    return [next((page(file, mine) for file in done.files if file.suffix == ".html"), pre(done.out))]


def _probe(studio: Studio, which: Any) -> None:
    form = Form("probe", ("count", "seed"), Classes("probe", "probe"))
    form.build("Probe")
    go = gr.Button("Probe", variant="primary")
    answer = Answer(form.labels)
    shown = gr.HTML("")

    def probe(request: gr.Request, run: str | None, own: str, photos: str, *values: Any) -> Iterator[list[Any]]:
        def words() -> list[str]:
            found, other = studio.root.run(run), studio.which(own, photos)
            out = [f"--out={studio.mine(request) / 'findings'}"] if other else []
            return ["probe", studio.root.name(found), *other, *form.words(values), *out]

        yield from studio.follow(answer, request, words, drawn, 1)

    def drawn(done: Done) -> list[str]:
        made = [studio.root.folder / line for line in done.out if line.endswith(".png")]
        table = [line for line in done.out if not line.endswith((".png", ".json"))]
        return ["".join(picture(file.read_bytes(), "", wide=True) for file in made) + pre(table)]

    go.click(probe, [studio.run, which, studio.photos, *form.inputs], [*answer.outputs, shown], **HEAVY)


def _layers(studio: Studio) -> None:
    go = gr.Button("Draw the layers", variant="primary")
    answer = Answer()
    shown = gr.HTML("")

    def layers(run: str | None) -> list[Any]:
        try:
            folder = studio.root.run(run)
            model = watch.model(folder)
            stages = outline(model)
        except CopyfoldError as error:
            return [wrong(str(error)), *[gr.skip()] * 4]
        drawing = pictures.png(pictures.diagram(stages, str(run), str(model.summary())))
        rows = ((stage.name, "×".join(map(str, stage.shape)), stage.what, stage.parameters) for stage in stages)
        listed = table(("layer", "output", "what", "parameters"), rows)
        hint = "The names are those that probes take as <code>layer</code>."
        command = f"copyfold models {type(model).__name__} --size {'x'.join(map(str, model.shape[1:]))}"
        python = (
            f"import copyfold as cf\nfrom copyfold.models.outline import outline\n"
            f"print(*outline(cf.runs.open({run!r}).model), sep='\\n')\n"
        )
        told = ["", gr.update(visible=True), command, python]
        return [*told, picture(drawing, "", wide=True) + f'<p class="facts">{hint}</p>{listed}']

    go.click(layers, studio.run, [*answer.outputs, shown], **CHEAP)
