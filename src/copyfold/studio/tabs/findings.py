"""Findings: what is claimed of autoencoders, and what was measured of it below the root."""

# gradio makes the events of its classes when it is imported
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

import html
from typing import Any

import gradio as gr

from copyfold.catalogue import own
from copyfold.errors import CopyfoldError
from copyfold.studies import runner
from copyfold.studies.base import Study
from copyfold.studio.answers import pre, said, table
from copyfold.studio.context import CHEAP, Studio
from copyfold.studio.thumbnails import picture

NUMBERS = 40


def tab(studio: Studio) -> None:
    """Draw the tab."""
    gr.Markdown(
        "Claims about autoencoders, each measured by a study with a control. Measuring one takes minutes to "
        "hours, on the command line; findings below the root are shown here.",
        elem_classes="head",
    )
    with gr.Row():
        claim = gr.Dropdown([], label="Claim", info="Choose one to read about it.", scale=4)
        again = gr.Button("Look for findings", scale=1)
    command = gr.Code("", language="shell", label="In a terminal, in the root folder", visible=False)
    python = gr.Code("", language="python", label="In Python", visible=False)
    text = gr.HTML("")

    def listed() -> Any:
        return gr.update(choices=[(_label(studio, name, study), name) for name, study in runner.studies().items()])

    def read(name: str | None) -> list[Any]:
        study = runner.studies().get(str(name))
        if study is None:
            return [gr.skip()] * 3
        code = f"from copyfold.studies import runner\nprint(runner.studies()[{name!r}].said())\n"
        shown = [
            gr.update(value=f"copyfold study {name} --budget tiny", visible=True),
            gr.update(value=code, visible=True),
        ]
        return [*shown, _page(studio, str(name), study)]

    again.click(listed, None, claim, **CHEAP)
    claim.focus(listed, None, claim, show_progress="hidden", **CHEAP)
    claim.change(read, claim, [command, python, text], **CHEAP)


def _label(studio: Studio, name: str, study: Study) -> str:
    verdicts = ", ".join(str(found["verdict"]) for _, found in _findings(studio, name))
    return f"{study.claim}: {study.said()}" + (f" [{verdicts}]" if verdicts else "")


def _findings(studio: Studio, name: str) -> list[tuple[Any, dict[str, Any]]]:
    """The findings of a study below the root, each with its folder."""
    found: list[tuple[Any, dict[str, Any]]] = []
    for folder in studio.root.found("finding.json"):
        if folder.name == name:
            try:
                found.append((studio.root.images(studio.root.name(folder)), runner.read(folder)))
            except (CopyfoldError, ValueError, KeyError):
                continue
    return found


def _page(studio: Studio, name: str, study: Study) -> str:
    """What a study asks and how, and what was found below the root."""
    assert own(type(study))
    parts = [f"<h3>{html.escape(study.said())}</h3>", f"<p>{html.escape(study.asked)}</p>"]
    findings = _findings(studio, name)
    for folder, found in findings:
        parts.append(said(f"{found['verdict']}: measured in {studio.root.name(folder)}"))
        parts += [picture(file.read_bytes(), file.stem, wide=True) for file in sorted(folder.glob("*.png"))]
        numbers = list(found["numbers"].items())[:NUMBERS]
        rows = ((key, value.value, f"{value.low:.4g} to {value.high:.4g}") for key, value in numbers)
        parts.append(table(("number", "value", "interval"), rows))
    if not findings:
        parts.append(said("Not measured below the root yet: the command above measures it."))
    doc = (type(study).__doc__ or "").strip().splitlines()
    return "".join(parts) + pre([line.removeprefix("    ") for line in doc])
