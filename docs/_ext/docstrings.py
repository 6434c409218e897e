"""The project's docstrings, which are plain text, as reStructuredText.

They have paragraphs, indented equations and code, lists, `Args:` with a line for each argument, names in
backticks, and the four labels of `LABELS`. Everything else is text, whatever signs are in it.
"""

import dataclasses
import inspect
import re
from collections.abc import Generator, Iterator
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

from copyfold import catalogue, public

LABELS = ("When", "Cost", "Fails", "Source")
ADDRESS = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
SPAN = re.compile(r"(``[^`]+``|`[^`]+`|arXiv:\d{4}\.\d{4,5})")
NAMES = set(public.names("copyfold"))


def inline(text: str) -> str:
    """A line of plain text: its names as links or code, its signs as they are."""
    parts = SPAN.split(text)
    return "".join(_span(part) if i % 2 else _escaped(part) for i, part in enumerate(parts))


def _span(part: str) -> str:
    if found := ADDRESS.fullmatch(part):
        return f"`arXiv:{found[1]} <https://arxiv.org/abs/{found[1]}>`__"
    word = part.strip("`")
    bare = word.removeprefix("cf.").removeprefix("copyfold.").removesuffix("()")
    return f":py:obj:`~copyfold.{bare}`" if bare in NAMES else f"``{word}``"


def _escaped(part: str) -> str:
    return re.sub(r"([\\*_|`<>:])", r"\\\1", part)


def converted(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText."""
    return list(_blocks([line.rstrip() for line in lines]))


def _blocks(lines: list[str]) -> Iterator[str]:
    i = 0
    while i < len(lines):
        line, label = lines[i], lines[i].partition(":")[0]
        if line == "Args:":
            i = yield from _arguments(lines, i + 1)
        elif label in LABELS and ":" in line:
            said, i = _paragraph(lines, i)
            yield from (f"**{label}.** {inline(said.partition(':')[2].strip())}", "")
        elif line.startswith("    "):
            yield from ("::", "")
            while i < len(lines) and (lines[i].startswith("    ") or not lines[i]):
                yield lines[i]
                i += 1
            yield ""
        elif line.startswith(("- ", "* ")):
            said, i = _paragraph(lines, i, item=True)
            yield from (f"- {inline(said[2:])}", "")
        elif line:
            said, i = _paragraph(lines, i)
            yield from (inline(said), "")
        else:
            i += 1


def _paragraph(lines: list[str], start: int, item: bool = False) -> tuple[str, int]:
    """The lines of a paragraph as one, and where it ends: before an equation, an item or a label."""
    i = start + 1
    while i < len(lines) and lines[i]:
        ends = lines[i].startswith(("- ", "* ", "Args:")) or lines[i].partition(":")[0] in LABELS
        if ends or (lines[i].startswith("    ") and not item):
            break
        i += 1
    return " ".join(line.strip() for line in lines[start:i]), i


def _arguments(lines: list[str], i: int) -> Generator[str, None, int]:
    """The arguments as a list of definitions; returns where they end."""
    yield ""
    while i < len(lines) and (lines[i].startswith("    ") or not lines[i]):
        if not lines[i]:
            if i + 1 < len(lines) and not lines[i + 1].startswith("    "):
                break
            i += 1
            continue
        name, _, said = lines[i].strip().partition(": ")
        i += 1
        more = [said]
        while i < len(lines) and lines[i].startswith("        "):
            more.append(lines[i].strip())
            i += 1
        yield from (f"``{name}``", f"    {inline(' '.join(more))}", "")
    return i


def labelled(doc: str) -> dict[str, str]:
    """What a docstring says after each of the labels."""
    lines, found = doc.splitlines(), {}
    for i, line in enumerate(lines):
        label = line.partition(":")[0]
        if label in LABELS and ":" in line:
            found[label] = _paragraph(lines, i)[0].partition(":")[2].strip()
    return found


def convert(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Replace what autodoc read."""
    lines[:] = converted(lines)


def signature(app: Sphinx, what: str, name: str, obj: Any, options: Any, args: str, returned: str) -> Any:
    """The arguments as Python takes them: with what a default factory makes, and images by their name."""
    if what not in ("class", "exception", "function", "method") or args is None:
        return None
    if inspect.isclass(obj) and dataclasses.is_dataclass(obj):
        found = inspect.Signature(catalogue.parameters(obj))
        args = stringify_signature(found, unqualified_typehints=True)
    return _images(args), _images(returned) if returned else returned


def _images(annotations: str) -> str:
    return re.sub(r"Float\[Tensor, '[a-z] c h w'\]", "Images", annotations)


def setup(app: Sphinx) -> dict[str, bool]:
    """Convert every docstring and signature."""
    app.connect("autodoc-process-docstring", convert)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
