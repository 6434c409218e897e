"""Forms from signatures: the fields of a command are its flags, and the choices of a field the known classes.

Nothing is listed here: what a plug-in adds is found by the catalogue, as for the flags. What is entered becomes
words of the command, one for each field, and the command alone reads and checks them.
"""

# gradio makes the events of its classes when it is imported
# pyright: reportAttributeAccessIssue=false, reportPrivateImportUsage=false

import html
import importlib
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import gradio as gr

from copyfold import catalogue
from copyfold.cli import _choices, _classes, _help, _parsing, _values
from copyfold.errors import UsageError

LONGEST = 300  # characters of a field


def parser(command: str) -> _parsing.Parser:
    """The parser of a command, which knows its flags."""
    return importlib.import_module(f"copyfold.cli.{command}")._parser()


@dataclass(frozen=True)
class Field:
    """One flag: what it takes, its default and its help."""

    flag: str
    hint: Any
    default: Any
    help: str
    switch: bool = False
    """Whether it takes no value: --flip and --no-flip."""

    @property
    def label(self) -> str:
        """What stands above it."""
        return self.flag.rpartition("." if "." in self.flag else "--")[2].replace("-", " ").replace("_", " ")

    def build(self) -> gr.components.Component:
        """The component in which it is entered."""
        found = _choices.slot(self.hint)
        usual = _classes.written(self.default)
        if self.hint is bool:
            return gr.Checkbox(bool(self.default), label=self.label, info=self.help)
        choices = _named(self.hint) or (_classes.names(*found.bases) if found and found.bases else [])
        if choices:
            none = ("as usual" if self.default in (None, inspect.Parameter.empty) else f"as usual: {usual}", "")
            return gr.Dropdown([none, *choices], value="", label=self.label, info=self.help)
        expected = _values.expected(self.hint, _classes.names, self.flag)
        said = f"{self.help} Takes {expected}." if self.help else f"{expected[:1].upper()}{expected[1:]}."
        shown = "" if self.default in (None, inspect.Parameter.empty) else usual
        return gr.Textbox("", label=self.label, info=said, placeholder=shown, max_length=LONGEST)

    def words(self, value: Any) -> list[str]:
        """The words of a value; none where it was left as it is."""
        if self.hint is bool:
            if bool(value) == bool(self.default):
                return []
            if self.switch:
                return [self.flag if value else f"--no-{self.flag.removeprefix('--')}"]
            return [f"{self.flag}={'true' if value else 'false'}"]
        text = "" if value is None else str(value).strip()
        if len(text) > LONGEST:
            raise UsageError(f"{self.label} is too long: expected at most {LONGEST} characters")
        return [f"{self.flag}={text}"] if text else []


class Classes:
    """An option that takes a class: which one, and a panel with the options of each."""

    def __init__(self, command: str, name: str, optional: bool = False, but: Sequence[str] = ()) -> None:
        known = parser(command)
        self.flag, self.optional, self.label = f"--{name}", optional, name
        found = _choices.slot(known.hints[name])
        assert found is not None
        self.skip = found.skip
        self.default = "" if optional else known.defaults.get(name, "")
        self.known = [known for known in _classes.names(*found.families()) if known not in but]
        self.classes = {bare: _classes.named(found.families(), bare, self.flag, False) for bare in self.known}
        self.fields = {bare: fields(cls, f"{self.flag}.", self.skip) for bare, cls in self.classes.items()}
        self.inputs: list[Any] = []

    def build(self, label: str) -> None:
        """Draw the choice, and below it what the chosen class says of itself and its options."""
        self.label = label
        none = [("as the recipe says", "")] if self.optional else []
        chosen = self.default or ("" if self.optional else self.known[0])
        choice = gr.Dropdown([*none, *self.known], value=chosen, label=label)
        self.inputs, panels = [choice], []
        for bare, cls in self.classes.items():
            with gr.Group(visible=bare == chosen) as panel:
                gr.Markdown(_head(cls), elem_classes="about")
                if self.fields[bare]:
                    with gr.Accordion(f"Options of {bare}", open=False):
                        with gr.Row(equal_height=False):
                            self.inputs += [field.build() for field in self.fields[bare]]
                        gr.HTML(f'<pre class="output">{html.escape(flowing(cls))}</pre>')
            panels.append(panel)
        choice.change(
            lambda now: [gr.update(visible=bare == now) for bare in self.known],
            choice,
            panels,
            show_progress="hidden",
            concurrency_id="cheap",
            api_visibility="private",
        )

    @property
    def labels(self) -> dict[str, str]:
        """What stands above the fields, by their flags."""
        every = (field for options in self.fields.values() for field in options)
        return {self.flag: self.label, **{field.flag: field.label for field in every}}

    def words(self, values: Sequence[Any]) -> list[str]:
        """The words of the class that is chosen, and of its options alone."""
        chosen, *rest = values
        if not chosen:
            return []
        words = [] if chosen == self.default else [f"{self.flag}={chosen}"]
        for bare in self.known:
            here, rest = rest[: len(self.fields[bare])], rest[len(self.fields[bare]) :]
            if bare == chosen:
                words += [
                    word
                    for field, value in zip(self.fields[bare], here, strict=True)
                    for word in field.words(value)
                ]
        return words


class Form:
    """Some flags of a command, and its options that take a class."""

    def __init__(self, command: str, flags: Sequence[str], *classes: Classes) -> None:
        known = parser(command).flags()
        self.fields = [_field(known[f"--{flag}"]) for flag in flags]
        self.classes = classes
        self.inputs: list[Any] = []

    def build(self, *labels: str) -> None:
        """Draw the classes, each with a label, and the flags below them."""
        for choice, label in zip(self.classes, labels, strict=True):
            choice.build(label)
            self.inputs += choice.inputs
        if self.fields:
            with gr.Row(equal_height=False):
                self.inputs += [field.build() for field in self.fields]

    @property
    def labels(self) -> dict[str, str]:
        """What stands above the fields once they are drawn, by their flags."""
        found = {field.flag: field.label for field in self.fields}
        return found | {flag: label for choice in self.classes for flag, label in choice.labels.items()}

    def words(self, values: Sequence[Any]) -> list[str]:
        """The words of all that was entered."""
        words: list[str] = []
        for choice in self.classes:
            words += choice.words(values[: len(choice.inputs)])
            values = values[len(choice.inputs) :]
        return words + [
            word for field, value in zip(self.fields, values, strict=True) for word in field.words(value)
        ]


def fields(cls: type, where: str, skip: int = 0) -> list[Field]:
    """The options of a class."""
    return [
        Field(f"{where}{name}", p.annotation, p.default, "") for name, p in _classes.options(cls, skip).items()
    ]


def _field(action: Any) -> Field:
    """The field of a flag of the command itself."""
    switch = isinstance(action, _help.ActionYesNo)
    flag = next(flag for flag in action.option_strings if not flag.startswith("--no-"))
    hint = bool if switch else getattr(action, "_typehint", None) or action.type or str
    if action.choices:
        hint = Literal[tuple(action.choices)]
    return Field(flag, hint, action.default, _first(action.help or ""), switch)


def _first(text: str) -> str:
    """The first sentence of a help: the rest is in the help of the command."""
    return f"{' '.join(text.split()).partition('. ')[0].removesuffix('.')}." if text else ""


def _named(hint: Any) -> list[str]:
    """The values of an annotation that takes only these."""
    kinds = [kind for kind in _values.members(hint) if kind is not type(None)]
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        return [str(value) for value in get_args(kinds[0]) if value is not None]
    if len(kinds) == 1 and isinstance(kinds[0], type) and issubclass(kinds[0], Enum):
        return list(kinds[0].__members__)
    return []


def flowing(cls: type) -> str:
    """A class's docstring with each paragraph in one line, which the page wraps; equations and lists stay."""
    parts = (inspect.getdoc(cls) or "").split("\n\n")
    return "\n\n".join(
        part if re.search(r"^( |- )", part, re.MULTILINE) else part.replace("\n", " ") for part in parts
    )


def _head(cls: type) -> str:
    """The first line of a class's docstring, with where it comes from if that is not copyfold."""
    said = inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]
    return said if catalogue.own(cls) else f"{said} (from {cls.__module__})"
