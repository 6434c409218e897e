"""The answer to an action: what happens, what came out of it, and the command and the Python that do the same."""

import html
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from copyfold.cli import _imports
from copyfold.errors import CopyfoldError
from copyfold.files import readable, write_text
from copyfold.studio.desk import Desk, Done, imports
from copyfold.studio.python import python

STATES = ("running", "failed")
"""Words that a table shows in a colour."""

Show = Callable[[Done], Sequence[Any]]
Hint = Callable[[str], str]
"""What may help after an error, from its message; "" where nothing does."""

FLAG = re.compile(r"copyfold [a-z]+ [^:;,)]*|(?<![\w-])--[a-z](?:[\w.-]*\w)?")
"""A command, whose flags are its own, or a flag elsewhere in a sentence."""


def said(text: str, kind: str = "") -> str:
    """A sentence in a box; kind is "working", "wrong" or nothing. What came from a file is text and no markup."""
    lines = "".join(f"<p>{html.escape(readable(line))}</p>" for line in text.splitlines() if line.strip())
    return f'<div class="said {kind}" role="status">{lines}</div>' if lines else ""


def wrong(text: str, labels: Mapping[str, str] | None = None) -> str:
    """An error in a box, by the labels of fields where it names flags."""
    return said(in_fields(text, labels or {}), "wrong")


def in_fields(text: str, labels: Mapping[str, str]) -> str:
    """What a command says of its flags, as the page says it: by the labels of their fields.

    The commands that are started here are those of the command line, and so are their messages: all pass here. A
    flag that has no field stays, and a line says where it can be given.
    """
    bare: dict[str, None] = {}

    def field(found: re.Match[str]) -> str:
        flag = found[0]
        if not flag.startswith("--"):
            return flag
        if label := labels.get(flag):
            return f'"{label}"'
        if label := labels.get(flag.replace("--no-", "--", 1)):
            return f'"{label}" off'
        bare[flag] = None
        return flag

    made = FLAG.sub(field, text)
    own = bare.pop(_imports.FLAG, "") is None
    lines = [f"Here: end copyfold studio, and start it again with that {_imports.FLAG}."] if own else []
    if bare:
        names = ", ".join(bare)
        lines.append(f"There is no field for {names} here: give it in a terminal, see The same by hand.")
    return "\n".join([made, *lines])


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
    """Where the answer to an action stands on the page; `labels` are those of its fields, by their flags."""

    def __init__(self, labels: Mapping[str, str] | None = None) -> None:
        self.labels = labels or {}
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
        self,
        make: Callable[[], Sequence[str]],
        desk: Desk,
        hidden: Path,
        show: Show,
        count: int,
        hint: Hint | None = None,
    ) -> Iterator[list[Any]]:
        """Run the command that `make` makes, and yield the updates of `outputs` and of `count` components more.

        `show` gives these from how it ended; until then they stay as they are. `hint` is what may help after an
        error.
        """
        rest = [gr.skip()] * count
        try:
            words = list(make())
            yield [said("working", "working"), *self.begun(words, hidden), *rest]
            for state in desk.work(words):
                if isinstance(state, str):
                    heard = in_fields(plain(state, hidden), self.labels).partition("\n")[0]
                    yield [said(heard, "working"), *[gr.skip()] * 3, *rest]
                    continue
                told = plain(state.message, hidden)
                if state.code:
                    more = hint(told) if hint else ""
                    yield [wrong(f"{told}\n{more}", self.labels), *[gr.skip()] * 3, *rest]
                else:
                    made = in_fields(told, self.labels) or "done"
                    yield [said(made), *[gr.skip()] * 3, *show(state)]
        except CopyfoldError as error:
            yield [wrong(str(error), self.labels), *[gr.skip()] * 3, *rest]


def page(file: Path, hidden: Path | None = None) -> str:
    """A page that a command wrote, in a frame of its own, in which nothing runs."""
    text = file.read_text(encoding="utf-8")
    if hidden is not None and file.is_relative_to(hidden):
        text = plain(text, hidden)
        write_text(file, text)
    return f'<iframe class="page" sandbox="" srcdoc="{html.escape(text)}"></iframe>'
