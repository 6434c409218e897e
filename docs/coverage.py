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
HEAD = """# The checklist, and where each item is

The texts are the essay "Autoencoders: Learning by Copying" with its author's scripts, and notes on section 20.3
of Murphy's *Probabilistic Machine Learning: An Introduction* (2022). A checklist of {count} items lists all that
they contain. For each item this page gives the code, and what checks it: a test, which fails if the item breaks; a
study, which measures it; or a command, which shows it. `docs/coverage.py` writes this page from
`docs/coverage.yaml` and from the items that the studies name; a test compares it with the sources.

Not built: {unbuilt}; every other item is checked. {noted} items have a note, mostly on what is built or
shown in another way than in the texts.
"""
COLUMNS = "| item | what | where | checked by | note |\n|---:|---|---|---|---|"
PLACES = """## Where the texts make the claims

Every study of an item: its claim, the place of the claim in the texts, and the items.

| study | claim | where | items |
|---|---|---|---|"""


def groups() -> dict[str, list[dict[str, Any]]]:
    """The items of coverage.yaml by the heading of their group."""
    return yaml.safe_load(SOURCE.read_text(encoding="utf-8"))


def located(entry: str) -> tuple[Path, str]:
    """The file of FILE::NAME, and NAME."""
    path, _, name = entry.partition("::")
    return next((p for p in (ROOT / ABOVE / path, ROOT / path) if p.is_file()), ROOT / path), name


def studies() -> dict[str, Study]:
    """The studies that are about items of the checklist, by name."""
    return {name: study for name, study in runner.studies().items() if study.items}


def about(among: dict[str, Study]) -> dict[int, list[Study]]:
    """The studies of every item."""
    found: dict[int, list[Study]] = {}
    for study in among.values():
        for item in study.items:
            found.setdefault(item, []).append(study)
    return found


def held(item: dict[str, Any], by: list[Study]) -> list[str]:
    """What holds an item, as Markdown: the studies first."""
    said = [_study(study) for study in by]
    for entry in item.get("held by", []):
        if entry.startswith(("copyfold ", "python ")):
            said.append(f"`{entry}`")
        else:
            path, name = located(entry)
            said.append(_link(name or path.name, path))
    return list(dict.fromkeys(said))


def unbuilt(item: dict[str, Any]) -> bool:
    """Whether the note of an item says that there is none."""
    return re.search("not built|missing", item.get("note", ""), re.IGNORECASE) is not None


def page(among: dict[str, Study]) -> str:
    """The whole of coverage.md, with these studies."""
    by, items = about(among), groups()
    parts: list[str] = []
    for heading, group in items.items():
        rows = [
            _row(
                str(item["item"]),
                item["name"],
                "<br>".join(_where(entry) for entry in item.get("where", [])),
                "<br>".join(held(item, by.get(item["item"], []))),
                item.get("note", ""),
            )
            for item in group
        ]
        parts.append("\n".join([f"## {heading}\n", COLUMNS, *rows]))
    places = [
        _row(_study(study), study.claim, study.place, ", ".join(map(str, study.items))) for study in among.values()
    ]
    parts.append("\n".join([PLACES, *places]))
    every = [item for group in items.values() for item in group]
    head = HEAD.format(
        count=len(every),
        unbuilt=", ".join(str(item["item"]) for item in every if unbuilt(item)) or "nothing",
        noted=sum("note" in item for item in every),
    )
    return "\n\n".join([head.strip(), *parts]) + "\n"


def named(text: str) -> set[str]:
    """The studies that a page names."""
    return set(re.findall(r"study \[`([^`]+)`\]", text))


def without(text: str, names: set[str]) -> str:
    """A page without what it says of some studies."""
    for name in names:
        text = re.sub(rf"^\| study \[`{name}`\].*\n", "", text, flags=re.MULTILINE)
        text = re.sub(rf"study \[`{name}`\]\([^)]*\)(<br>)?", "", text)
    return text.replace("<br> |", " |")


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
    """Write the page, or say whether it is what would be written.

    A claim that came or went since the page was written makes it no less true of the others: that is said, and no
    more.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="Write nothing; 1 where the page is out of date.")
    check, known = parser.parse_args().check, studies()
    if not check:
        PAGE.write_text(page(known), encoding="utf-8")
        return 0
    old = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    gone, new = named(old) - known.keys(), known.keys() - named(old)
    for names, what in ((gone, "it names, and no study is called so"), (new, "it does not name yet")):
        if names:
            print(f"docs/coverage.md: {', '.join(sorted(names))} {what}: run python docs/coverage.py")
    if without(old, gone) != page({name: study for name, study in known.items() if name not in new}):
        print("docs/coverage.md is not what would be written: run python docs/coverage.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
