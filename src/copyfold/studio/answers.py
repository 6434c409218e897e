"""The answer to an action: what happens, what came out of it, and the command and the Python that do the same."""

import html
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from copyfold.errors import CopyfoldError
from copyfold.files import readable, write_text
from copyfold.studio.desk import Desk, Done, imports
from copyfold.studio.python import python

STATES = ("running", "failed")
"""Words that a table shows in a colour."""

Show = Callable[[Done], Sequence[Any]]


def said(text: str, kind: str = "") -> str:
    """A sentence in a box; kind is "working", "wrong" or nothing. What came from a file is text and no markup."""
    lines = "".join(f"<p>{html.escape(readable(line))}</p>" for line in text.splitlines() if line.strip())
    return f'<div class="said {kind}" role="status">{lines}</div>' if lines else ""


def pre(lines: Sequence[str]) -> str:
    """What a command wrote, as it is."""
    return f'<pre class="output">{html.escape(readable(chr(10).join(lines)))}</pre>' if lines else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers stand at the right. What came from a file is text and no markup."""

    def cell(value: object) -> str:
        kind = (
            ' class="number"' if isinstance(value, int | float) else f' class="{value}"' if value in STATES else ""
        )
        text = (
            f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
        )
        return f"<td{kind}>{html.escape(readable(text))}</td>"

    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f'<div class="scroll"><table class="plain"><tr>{head}</tr>{body}</table></div>'


def shown(words: Sequence[str], hidden: Path) -> str:
    """The command as one types it, with dropped files by their names alone."""
    return shlex.join(["copyfold", *(plain(word, hidden) for word in [*words, *imports()])])


def plain(text: str, hidden: Path) -> str:
    """A text in which dropped files have their names alone, and those below the root their names in it."""
    return text.replace(f"{hidden}{os.sep}", "").replace(f"{Path.cwd()}{os.sep}", "")


class Answer:
    """Where the answer to an action stands on the page."""

    def __init__(self) -> None:
        self.status = gr.HTML("")
        with gr.Accordion("The same by hand", open=False, visible=False, elem_classes="by-hand") as self.by_hand:
            self.command = gr.Code("", language="shell", label="In a terminal, in the root folder")
            self.python = gr.Code("", language="python", label="In Python")

    @property
    def outputs(self) -> list[Any]:
        """The components that `follow` updates first."""
        return [self.status, self.by_hand, self.command, self.python]

    def begun(self, words: Sequence[str], hidden: Path) -> list[Any]:
        """What is known before anything is done."""
        code = plain(python(words), hidden)
        return [gr.update(visible=True), shown(words, hidden), code]

    def follow(
        self, make: Callable[[], Sequence[str]], desk: Desk, hidden: Path, show: Show, count: int, hint: str = ""
    ) -> Iterator[list[Any]]:
        """Run the command that `make` makes, and yield the updates of `outputs` and of `count` components more.

        `show` gives these from how it ended; until then they stay as they are.
        """
        nothing = [gr.skip()] * count
        try:
            words = list(make())
            yield [said("working", "working"), *self.begun(words, hidden), *nothing]
            for state in desk.work(words):
                if isinstance(state, str):
                    yield [said(plain(state, hidden), "working"), *[gr.skip()] * 3, *nothing]
                elif state.code:
                    yield [said(f"{plain(state.message, hidden)}\n{hint}", "wrong"), *[gr.skip()] * 3, *nothing]
                else:
                    yield [said(plain(state.message, hidden) or "done"), *[gr.skip()] * 3, *show(state)]
        except CopyfoldError as error:
            yield [said(str(error), "wrong"), *[gr.skip()] * 3, *nothing]


def page(file: Path, hidden: Path | None = None) -> str:
    """A page that a command wrote, in a frame of its own, in which nothing runs."""
    text = file.read_text(encoding="utf-8")
    if hidden is not None and file.is_relative_to(hidden):
        text = plain(text, hidden)
        write_text(file, text)
    return f'<iframe class="page" sandbox="" srcdoc="{html.escape(text)}"></iframe>'
