"""docs/coverage.md: everything that it names exists, and it is up to date."""

import ast
import importlib.util
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("docs_coverage", ROOT / "docs" / "coverage.py")
coverage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(coverage)
ITEMS = [item for items in coverage.groups().values() for item in items]
STUDIES = coverage.runner.studies()
ABOUT = coverage.about(coverage.studies())
WRITTEN = coverage.PAGE.read_text(encoding="utf-8")
GONE = coverage.named(WRITTEN) - STUDIES.keys()  # claims whose files were taken away since the page was written
ALL = set(range(1, 160))
CLAIMS = {f"T{n}" for n in range(1, 33)}  # of the texts, as they are numbered
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def of(item) -> str:
    return str(item["item"])


@cache
def source(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def defined(within: ast.Module | ast.ClassDef, name: str) -> ast.AST | None:
    return next((n for n in within.body if isinstance(n, ast.ClassDef | FUNCTIONS) and n.name == name), None)


def options(node: ast.AST) -> set[str]:
    """The fields of a class, and the arguments of its __init__ or of a function."""
    if isinstance(node, FUNCTIONS):
        return {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    assert isinstance(node, ast.ClassDef)
    fields = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    init = defined(node, "__init__")
    return fields | (options(init) if init else set())


def check(entry: str) -> None:
    """FILE, FILE::NAME, FILE::Class.method or FILE::NAME(option=value) is in the sources."""
    path, name = coverage.located(entry)
    assert "claims/" not in entry, f"{entry}: a claim says itself what it is about, in `items`"
    assert path.is_file(), f"{entry}: no such file"
    if not name:
        return
    called = ast.parse(name, mode="eval").body
    given = {keyword.arg for keyword in called.keywords} if isinstance(called, ast.Call) else set()
    node: ast.AST | None = source(path)
    for part in ast.unparse(called.func if isinstance(called, ast.Call) else called).split("."):
        assert isinstance(node, ast.Module | ast.ClassDef), entry
        node = defined(node, part)
        assert node is not None, f"{entry}: {path.name} defines no {part}"
    if given:
        assert given <= options(node), f"{entry}: has no {given - options(node)}"


def test_every_item_is_listed_once_and_in_order():
    assert [item["item"] for item in ITEMS] == sorted(ALL)
    assert all(item.keys() <= {"item", "name", "where", "held by", "note"} for item in ITEMS)
    names = Counter(item["name"] for item in ITEMS)
    assert max(names.values()) == 1


@pytest.mark.parametrize("item", ITEMS, ids=of)
def test_every_named_file_and_object_exists(item):
    for entry in item.get("where", []):
        check(entry)
    for entry in item.get("held by", []):
        program, *words = entry.split()
        if program == "copyfold":
            assert (ROOT / "src" / "copyfold" / "cli" / f"{words[0]}.py").is_file(), entry
            assert words[0] != "study" or words[1].startswith("-"), (
                f"{entry}: the study says so itself, in `items`"
            )
        elif program == "python":
            assert (ROOT / words[0]).is_file(), entry
        else:
            assert entry.startswith("tests/"), entry
            assert re.search(r"(^|/)test_\w+\.py(::test_\w+)?$", entry), entry
            check(entry)


@pytest.mark.parametrize("item", ITEMS, ids=of)
def test_every_item_has_a_test_or_a_reason(item):
    number, studies = item["item"], ABOUT.get(item["item"], [])
    if not coverage.held(item, studies) and not coverage.unbuilt(item):
        row = next(line for line in WRITTEN.splitlines() if line.startswith(f"| {number} |"))
        lost = sorted(coverage.named(row) & GONE)
        assert lost, f"nothing holds item {number}: name what does, or say in its note that it is not built"
        pytest.skip(f"only {', '.join(lost)} held item {number}, and is not here: say so in the note of the item")
    somewhere = "where" in item or studies or item.get("held by")
    assert somewhere or item["note"].startswith(("Not built", "Missing"))


@pytest.mark.parametrize("name", STUDIES)
def test_studies_name_existing_items(name):
    items = STUDIES[name].items
    assert set(items) <= ALL
    assert len(items) == len(set(items))


def test_every_numbered_claim_of_the_texts_has_a_study():
    """As the page was written: a claim that is taken away fails here once the page is written without it."""
    rows = re.findall(r"^\| study \[`[^`]+`\]\([^)]+\) \| ([^|]+) \|", WRITTEN, re.MULTILINE)
    assert sorted(CLAIMS - set(rows)) == []


def test_entries_of_a_study_can_be_removed_from_the_page():
    known = coverage.studies()
    names = [*known][::7]
    rest = {name: study for name, study in known.items() if name not in names}
    assert coverage.without(coverage.page(known), set(names)) == coverage.page(rest)


def test_every_row_of_the_corrections_has_a_test():
    tests = ""
    for name in ("geometry", "objectives"):
        tests += (ROOT / "tests" / "unit" / f"test_corrections_{name}.py").read_text(encoding="utf-8")
    assert {int(row) for row in re.findall(r"def test_row_(\d\d)_", tests)} == set(range(1, 30))


def test_the_page_is_up_to_date(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["coverage.py", "--check"])
    assert coverage.main() == 0, capsys.readouterr().out


def test_an_outdated_page_is_reported(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["coverage.py", "--check"])
    old = tmp_path / "coverage.md"
    old.write_text("old")
    monkeypatch.setattr(coverage, "PAGE", old)
    assert coverage.main() == 1
    assert "run python docs/coverage.py" in capsys.readouterr().out
    assert old.read_text() == "old"


@pytest.mark.parametrize("gone", [True, False])
def test_added_and_removed_claims_are_reported_without_failing(monkeypatch, capsys, tmp_path, gone):
    monkeypatch.setattr("sys.argv", ["coverage.py"])
    monkeypatch.setattr(coverage, "PAGE", tmp_path / "coverage.md")
    known = coverage.studies()
    name = next(iter(known))
    fewer = {other: study for other, study in known.items() if other != name}
    monkeypatch.setattr(coverage, "studies", lambda: known if gone else fewer)
    assert coverage.main() == 0
    monkeypatch.setattr(coverage, "studies", lambda: fewer if gone else known)
    monkeypatch.setattr("sys.argv", ["coverage.py", "--check"])
    assert coverage.main() == 0
    assert f"{name} it {'names' if gone else 'does not name yet'}" in capsys.readouterr().out


def test_the_links_of_the_page_are_valid():
    links = set(re.findall(r"\]\(([^)]+)\)", coverage.without(WRITTEN, GONE)))
    assert len(links) > 80
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
