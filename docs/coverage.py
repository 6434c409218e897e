"""Write docs/coverage.md from coverage.yaml and the studies: python docs/coverage.py [--check]."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from copyfold.studies import runner
from copyfold.studies.base import Study

HERE = Path(__file__).parent
ROOT = HERE.parent
ABOVE = "src/copyfold"
SOURCE, PAGE = HERE / "coverage.yaml", HERE / "coverage.md"
HEAD = """# What there is of the checklist

The texts are the essay "Autoencoders: Learning by Copying" with its author's scripts, and notes on section 20.3
of Murphy's *Probabilistic Machine Learning: An Introduction* (2022). A checklist of {count} items says what one
must have to have them. Here is where each is, and what holds it: a test, which fails where the item breaks; a
study, which measures it; or a command, which shows it. `docs/coverage.py` writes this page from
`docs/coverage.yaml` and from what the studies say they are about; a test compares it with the sources.

{held} items are held by something; {left} not: {numbers}. {noted} have a note, mostly of what is built or shown in
another way than in the texts.
"""
COLUMNS = "| item | what | where | held by | note |\n|---:|---|---|---|---|"
PLACES = """## Where the texts say so

Every study, its claim, the place of the claim in the texts, and the items that it is about.

| study | claim | where | items |
|---|---|---|---|"""


def groups() -> dict[str, list[dict[str, Any]]]:
    """The items of coverage.yaml by the heading of their group."""
    return yaml.safe_load(SOURCE.read_text(encoding="utf-8"))


def located(entry: str) -> tuple[Path, str]:
    """The file of FILE::NAME, and NAME."""
    path, _, name = entry.partition("::")
    return next((p for p in (ROOT / ABOVE / path, ROOT / path) if p.is_file()), ROOT / path), name


def about() -> dict[int, list[Study]]:
    """The studies of every item."""
    found: dict[int, list[Study]] = {}
    for study in runner.studies().values():
        for item in study.items:
            found.setdefault(item, []).append(study)
    return found


def held(item: dict[str, Any], by: list[Study]) -> list[str]:
    """What holds an item, as Markdown: the studies first."""
    said = [_study(study) for study in by]
    for entry in item.get("held by", []):
        if name := re.fullmatch(r"copyfold study ([a-z][a-z0-9-]*)", entry):
            said.append(_study(runner.studies()[name[1]]))
        elif entry.startswith(("copyfold ", "python ")):
            said.append(f"`{entry}`")
        else:
            path, name = located(entry)
            said.append(_link(name or path.name, path))
    return list(dict.fromkeys(said))


def page() -> str:
    """The whole of coverage.md."""
    studies, parts, left, count, noted = about(), [], [], 0, 0
    for heading, items in groups().items():
        rows = []
        for item in items:
            number, by = item["item"], held(item, studies.get(item["item"], []))
            count, noted = count + 1, noted + ("note" in item)
            if not by:
                left.append(str(number))
            where = [_where(entry) for entry in item.get("where", [])]
            cells = (str(number), item["name"], "<br>".join(where), "<br>".join(by), item.get("note", ""))
            rows.append(_row(*cells))
        parts.append("\n".join([f"## {heading}\n", COLUMNS, *rows]))
    places = [
        _row(_study(study), study.claim, study.place, ", ".join(map(str, study.items)))
        for study in runner.studies().values()
    ]
    parts.append("\n".join([PLACES, *places]))
    head = HEAD.format(
        count=count, held=count - len(left), left=len(left), numbers=", ".join(left) or "none", noted=noted
    )
    return "\n\n".join([head.strip(), *parts]) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _study(study: Study) -> str:
    file = type(study).__module__.replace(".", "/") + ".py"
    return f"study {_link(study.name(), ROOT / 'src' / file)}"


def _where(entry: str) -> str:
    path, name = located(entry)
    return _link(name or path.name, path)


def _link(text: str, path: Path) -> str:
    """A link from the page to a file."""
    return f"[`{text}`]({path.relative_to(HERE) if HERE in path.parents else Path('..', path.relative_to(ROOT))})"


def main() -> int:
    """Write the page, or say whether it is what would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="Write nothing; 1 where the page is out of date.")
    check, written = parser.parse_args().check, page()
    if not check:
        PAGE.write_text(written, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != written:
        print("docs/coverage.md is not what would be written: run python docs/coverage.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
