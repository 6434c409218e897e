"""Train: a recipe and a few choices; start, stop, resume; the loss and the reconstructions as they come."""

# gradio makes the events of its classes when it is imported
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from copyfold.cli._parsing import RECIPES, recipes
from copyfold.errors import CopyfoldError
from copyfold.studio import watch
from copyfold.studio.answers import Answer, in_fields, said, table, wrong
from copyfold.studio.context import CHEAP, Studio
from copyfold.studio.forms import Classes, Form
from copyfold.studio.thumbnails import picture
from copyfold.studio.trainings import Job

FLAGS = ("minutes", "size", "crop", "batch", "seed", "flip")
NAME, RECIPE, RESUME = "Name of the run", "Recipe", "Resume the chosen run"
"""The labels of what is no flag of the form, and of what resumes."""

SECONDS = 3.0
ROWS = 8


def tab(studio: Studio) -> None:
    """Draw the tab."""
    form = Form("train", FLAGS, Classes("train", "model", optional=True), Classes("train", "core", optional=True))
    gr.Markdown(
        "Train an autoencoder on the chosen photos. A training goes on if you close this page or the studio.",
        elem_classes="head",
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=2):
            with gr.Row():
                name = gr.Textbox(_free(studio), label=NAME, info=f"A new folder in {studio.root.shown}.", scale=2)
                recipe = gr.Dropdown(
                    [("none: a U-Net that copies", ""), *recipes()], value="", label=RECIPE,
                    info="Options that belong together.", scale=3,
                )  # fmt: skip
            about = gr.Markdown("", elem_classes="head")
            recipe.change(_about, recipe, about, show_progress="hidden", **CHEAP)
            form.build("Architecture", "Autoencoder inside, for one that wraps another")
            with gr.Row():
                start = gr.Button("Start", variant="primary")
                stop = gr.Button("Stop and save")
                resume = gr.Button(RESUME)
            answer = Answer({**form.labels, "--run": NAME, "--config": RECIPE, "--resume": RESUME})
        with gr.Column(scale=3):
            queue = gr.HTML(_queue(studio))
            state = gr.HTML("")
            curve = gr.HTML("")
            images = gr.HTML("")
    stands = gr.State(("", ""))  # the run that the answer speaks of, and the state in which that is true
    inputs = [studio.photos, name, recipe, *form.inputs]

    def begin(request: gr.Request, photos: str, run: str, config: str, *values: Any) -> list[Any]:
        def words() -> tuple[str, list[str]]:
            found = studio.root.name(studio.root.new(run))
            source = studio.given(str(_lasting(studio, photos, found)) if photos else "")
            chosen = [f"--config={config}"] if config else []
            return found, ["train", *source, f"--run={found}", *chosen, *form.words(values)]

        return _asked(studio, answer, request, words, "is in the queue")

    def again(run: str | None, request: gr.Request) -> list[Any]:
        def words() -> tuple[str, list[str]]:
            found = studio.root.name(studio.root.run(run))
            return found, ["train", f"--run={found}", "--resume"]

        return _asked(studio, answer, request, words, "resumes when its turn comes")

    def end(run: str | None) -> list[Any]:
        try:
            told = studio.trainings.stop(run or "no run")
            return [said(told), (run, "running") if _stage(studio, str(run)) == "running" else ("", "")]
        except CopyfoldError as error:
            return [wrong(str(error)), ("", "")]

    asked = [*answer.outputs, stands, studio.run, name]
    start.click(begin, inputs, asked, **CHEAP)
    resume.click(again, studio.run, asked, **CHEAP)
    stop.click(end, studio.run, [answer.status, stands], **CHEAP)

    _watch(studio, answer, stands, [queue, state, curve, images])


def _watch(studio: Studio, answer: Answer, stands: Any, shown: list[Any]) -> None:
    """Look at the trainings every few seconds, and show the chosen one."""
    seen = gr.State("")

    def over(answered: Sequence[str]) -> list[Any]:
        """What the answer said of a training goes once that is in another state."""
        run, state = answered
        return ["", ("", "")] if run and _stage(studio, run) != state else [gr.skip()] * 2

    def look(run: str | None, before: str) -> list[Any]:
        queued = _queue(studio)
        if not run:
            return [queued, gr.skip(), gr.skip(), gr.skip(), ""] if before != f"{queued}" else [gr.skip()] * 5
        folder = studio.root.inside(run)
        now = f"{run} {watch.stamp(folder, 'log.csv')} {watch.stamp(folder, 'model/model.safetensors')} {queued}"
        if now == before:
            return [gr.skip()] * 5
        drawn = [
            _shown(watch.curve, folder, "The error of reconstruction as training goes on."),
            _shown(watch.reconstructions, folder, "As last saved."),
        ]
        return [queued, _state(studio, run, answer.labels), *drawn, now]

    watched: dict[str, Any] = {"inputs": [studio.run, seen], "outputs": [*shown, seen]}
    timer = gr.Timer(SECONDS)
    timer.tick(look, **watched, show_progress="hidden", **CHEAP)
    timer.tick(over, stands, [answer.status, stands], show_progress="hidden", **CHEAP)
    studio.run.change(look, **watched, show_progress="hidden", **CHEAP)


def _asked(
    studio: Studio, answer: Answer, request: gr.Request, words: Callable[[], tuple[str, list[str]]], what: str
) -> list[Any]:
    """Put a training into the queue: the updates of the answer, its state, the chosen run, and the next name."""
    try:
        run, made = words()
        studio.trainings.add(run, made)
    except CopyfoldError as error:
        return [wrong(str(error), answer.labels), *[gr.skip()] * 3, ("", ""), *[gr.skip()] * 2]
    by_hand = answer.begun(made, studio.mine(request))
    known = gr.update(choices=studio.runs(), value=run)
    return [said(f"{run} {what}"), *by_hand, (run, "waiting"), known, _free(studio)]


def _about(recipe: str) -> str:
    """What a recipe says of itself, in its first lines."""
    if recipe not in recipes():
        return ""
    lines = (RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8").splitlines()
    said = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in said)


def _lasting(studio: Studio, photos: str, run: str) -> Path:
    """The images to train on: dropped ones are kept below the root, since a resumed training reads them again."""
    path = Path(photos)
    if not path.is_relative_to(studio.room.folder):
        return path
    kept = studio.root.inside(f"photos-of-{run.replace('/', '-')}")
    kept = kept.with_suffix(".zip") if path.suffix == ".zip" else kept
    if not kept.exists():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, kept)
    return kept


def _free(studio: Studio) -> str:
    """A name that no run has."""
    taken = {job.run for job in studio.trainings.jobs()}
    names = (f"runs/{number}" for number in itertools.count(1))
    return next(name for name in names if name not in taken and not (studio.root.folder / name).exists())


def _job(studio: Studio, run: str) -> Job | None:
    """The last training of a run."""
    return next((job for job in reversed(studio.trainings.jobs()) if job.run == run), None)


def _stage(studio: Studio, run: str) -> str:
    """The state of the last training of a run; "" where none is known."""
    job = _job(studio, run)
    return studio.trainings.state(job) if job else ""


def _state(studio: Studio, run: str, labels: Mapping[str, str]) -> str:
    """How far a run is, and what became of its last training; `labels` are those of the fields by flags."""
    job, folder = _job(studio, run), studio.root.inside(run)
    there = (folder / "recipe.yaml").is_file()
    try:
        reached = watch.reached(folder) if there else ""
    except CopyfoldError as error:
        reached = str(error)
    if job is None:
        return said(f"{run}: {reached}")
    state = studio.trainings.state(job)
    if state == "failed":
        last = next(
            reversed(studio.trainings.said(job, "err")), "it was killed; resume goes on where it was saved"
        )
        return wrong(f"{run}: {last.removeprefix('copyfold: ')}", labels)
    if state == "running":
        heard = next((line for line in reversed(studio.trainings.said(job, "err")) if line.strip()), "starting")
        now = reached or in_fields(heard, labels).partition("\n")[0]
        return said(f"{run} is being trained: {now}", "working")
    words = {
        "waiting": "waits for its turn",
        "done": "is trained",
        "stopped": "was stopped and saved; resume goes on",
    }
    return said(f"{run} {words[state]}" + (f": {reached}" if reached else ""))


def _queue(studio: Studio) -> str:
    """The last trainings, as a table."""
    jobs: Sequence[Job] = studio.trainings.jobs()[-ROWS:]
    if not jobs:
        return said("No training yet.")
    return table(("training", "state"), ((job.run, studio.trainings.state(job)) for job in reversed(jobs)))


def _shown(draw: Callable[[Path], bytes | None], run: Path, caption: str) -> str:
    """A picture of a run, where there is one yet."""
    try:
        found = draw(run)
    except CopyfoldError as error:
        return wrong(str(error))
    return picture(found, caption, wide=True) if found else ""
