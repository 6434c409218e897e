"""The pages of the reference, one for each public name, written before the build from what the package offers.

A page has the docstring, the signature, an example from docs/snippets.py, which the tests run, and the pages of
the gallery that use the name. A new class is on the site with no edit here.

The pages of docs/choosing/ put the classes of a family beside each other: what their docstrings say after "When:",
"Cost:", "Fails:" and "Source:".
"""

import inspect
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import copyfold
import copyfold.estimators
import copyfold.testing
from copyfold import catalogue, public

DOCS = Path(__file__).parents[1]
TYPES = ("Code", "Film", "Images", "Shape", "Terms")
FAMILIES = {
    "Models": ("Autoencoder", "Middle"),
    "Objectives": ("Objective", "Fidelity", "Penalty", "Corruption"),
    "Samplers": ("Sampler", "Schedule"),
    "Probes": ("Probe",),
    "Restoration": ("Problem",),
    "Detection": ("Score",),
    "Training": ("Optimizer",),
    "The report": ("Section",),
}
"""The chapters of the reference, and the families of classes in each, by their bases."""

CHOICES = {
    "Models": ("Autoencoder",),
    "Objectives": ("Objective", "Penalty"),
    "Samplers": ("Sampler",),
    "Probes": ("Probe",),
}
"""The families whose classes say when to use them, by the title of their page."""

MORE = {
    "models": "Models",
    "objectives": "Objectives",
    "corruptions": "Objectives",
    "samplers": "Samplers",
    "probes": "Probes",
    "problems": "Restoration",
    "inverse": "Restoration",
    "restoration": "Restoration",
    "detection": "Detection",
    "training": "Training",
    "runs": "Training",
    "report": "The report",
    "data": "Images",
    "pictures": "Pictures",
    "errors": "Errors",
}
"""The chapter of what is of no family, by the module that it comes from."""


def snippets() -> dict[str, str]:
    """The examples by name; "" is what stands before each."""
    text = (DOCS / "snippets.py").read_text(encoding="utf-8")
    cells = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    return {name.strip(): code.strip() for name, code in zip(cells[1::2], cells[2::2], strict=True)}


def chapters() -> dict[str, dict[str, list[str]]]:
    """Public names by chapter and family; "" is the family of what is in none."""
    names = public.names("copyfold")
    found: dict[str, dict[str, list[str]]] = {chapter: {} for chapter in dict.fromkeys(MORE.values())}
    for name, member in names.items():
        if name in TYPES:
            continue
        chapter, family = MORE[str(member.__module__).split(".")[1]], ""
        for bases in FAMILIES.values():
            family = next((base for base in bases if _is(member, names[base])), family)
        found[chapter].setdefault(family, []).append(name)
    return found


def _is(member: Any, base: type) -> bool:
    return inspect.isclass(member) and issubclass(member, base)


def page(module: str, name: str, member: Any, example: str | None) -> str:
    """The page of one name."""
    full = f"{module}.{name}"
    lines = [name, "=" * len(name), ""]
    if inspect.isclass(member):
        lines += [f".. autoclass:: {full}", "    :members:", ""]
    else:
        lines += [f".. autofunction:: {full}", ""]
    if example:
        lines += ["An example", "----------", "", ".. code-block:: python", ""]
        lines += [f"    {line}".rstrip() for line in example.splitlines()] + [""]
        lines += ["What stands before it, in every example, is on the page :doc:`index`.", ""]
    used = DOCS / "gallery" / "backreferences" / f"{full}.examples"
    if used.exists() and used.stat().st_size:
        lines += ["In the gallery", "--------------", "", f".. minigallery:: {full}", ""]
    return "\n".join(lines)


def index(found: dict[str, dict[str, list[str]]], names: dict[str, Any], prelude: str) -> str:
    """The page with all names, a chapter each, and their first lines."""
    lines = ["Reference", "=========", ""]
    lines += [
        "Every public name: ``import copyfold as cf`` gives all of them but those of the last two chapters.",
        "",
    ]
    lines += ["Before every example stands", "", ".. code-block:: python", ""]
    lines += [f"    {line}".rstrip() for line in prelude.splitlines()] + [""]
    for chapter, families in found.items():
        lines += [chapter, "-" * len(chapter), ""]
        for family, members in families.items():
            if family and len(families) > 1:
                lines += [f"Of the family :py:obj:`~copyfold.{family}`:", ""]
            lines += _listed(members, names)
    lines += ["Types", "-----", "", ":doc:`types`", ""]
    for title, module in (("Checks for your own classes", "testing"), ("scikit-learn", "estimators")):
        offered = public.offered(getattr(copyfold, module))
        lines += [title, "-" * len(title), "", *_listed(list(offered), offered)]
    pages = sorted((n for n in names if n not in TYPES), key=str.lower)
    pages += [*public.offered(copyfold.testing), *public.offered(copyfold.estimators)]
    lines += [".. toctree::", "    :hidden:", "", *(f"    {name}" for name in pages), "    types", ""]
    return "\n".join(lines)


def _listed(members: list[str], names: dict[str, Any]) -> list[str]:
    from docstrings import inline

    lines = []
    for name in sorted(members, key=str.lower):
        first = (inspect.getdoc(names[name]) or "").partition("\n")[0]
        lines.append(f"- :doc:`{name}`: {inline(first)}")
    return [*lines, ""]


def types_page() -> str:
    """The page of the types, which are aliases."""
    from docstrings import inline

    source = Path(copyfold.types.__file__).read_text(encoding="utf-8")
    lines = ["Types", "=====", "", "Names for shapes of tensors, as annotations have them.", ""]
    for name in TYPES:
        said = re.search(rf'^{name}\b.*?=\s*(.*?)\n"""(.*?)"""', source, re.MULTILINE | re.DOTALL)
        value = said[1] if said else str(getattr(copyfold.types, name))
        lines += [f".. py:data:: copyfold.{name}", "", f"    ``{' '.join(value.split())}``", ""]
        if said:
            lines += [f"    {inline(' '.join(said[2].split()))}", ""]
    return "\n".join(lines)


def write(app: Sphinx) -> None:
    """Write docs/reference/ and docs/choosing/."""
    examples, names = snippets(), public.names("copyfold")
    pages = {
        name: page(module.__name__, name, member, examples.get(name))
        for module in (copyfold, copyfold.testing, copyfold.estimators)
        for name, member in (names if module is copyfold else public.offered(module)).items()
        if name not in TYPES
    }
    pages |= {"types": types_page(), "index": index(chapters(), names, examples.get("", ""))}
    _keep(DOCS / "reference", pages)
    _keep(DOCS / "choosing", choosing())


def _keep(folder: Path, pages: dict[str, str]) -> None:
    """Make these the pages of a folder; one that stays the same is left alone, so that it is not built again."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def choosing() -> dict[str, str]:
    """The pages that help to choose, a family each, and their index."""
    from docstrings import LABELS, inline, labelled

    pages = {}
    for title, bases in CHOICES.items():
        lines = [title, "=" * len(title), ""]
        for base in bases:
            if len(bases) > 1:
                lines += [f"{base}", "-" * len(base), ""]
            for name, cls in catalogue.classes(getattr(copyfold, base)).items():
                doc = inspect.getdoc(cls) or ""
                mark = "~" if len(bases) > 1 else "-"
                lines += [name, mark * len(name), "", inline(doc.partition("\n")[0]), ""]
                lines += [
                    f"- **{label}.** {inline(said)}" for label, said in labelled(doc).items() if label in LABELS
                ]
                lines += ["", f"Its equation, its arguments and an example: :doc:`/reference/{name}`.", ""]
        pages[title.lower()] = "\n".join(lines)
    said = [
        "Which one?",
        "==========",
        "",
        "When to use it, what it costs, where it fails, and who proposed it:",
        "",
    ]
    said += [".. toctree::", "    :maxdepth: 2", "", *(f"    {name}" for name in pages), ""]
    return pages | {"index": "\n".join(said)}


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages after the gallery has written which of its pages use what."""
    app.connect("builder-inited", write, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
