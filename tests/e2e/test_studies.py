"""`copyfold study`: every study at its smallest, and what the command says of bad input."""

import inspect
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from copyfold.cli import main
from copyfold.studies import pages, runner
from copyfold.studies.base import Verdict

STUDIES = runner.studies()
CLAIMS = {f"T{n}" for n in range(1, 33)}
DAY = re.compile(r"\b(session|helper|/work|/tmp)\b")


@pytest.fixture(scope="session")
def out(tmp_path_factory):
    """One folder for all, so that studies share their models as they do for a user."""
    return tmp_path_factory.mktemp("results")


def claimed(name: str) -> str:
    """What a study says first."""
    return inspect.cleandoc(STUDIES[name].__doc__ or "").splitlines()[0]


def test_every_claim_has_a_study():
    assert {study.claim for study in STUDIES.values()} >= CLAIMS
    claims = [study.claim for study in STUDIES.values()]
    assert len(claims) == len(set(claims))


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_what_it_claims(name):
    study = STUDIES[name]
    first, *rest = inspect.cleandoc(study.__doc__ or "").splitlines()
    assert 10 < len(first) <= 80
    assert first.endswith(".")
    assert "ontrol" in "\n".join(rest)
    assert study.thresholds()
    assert study.place.startswith(("essay", "notes"))
    assert {Verdict.HOLDS, Verdict.FAILS} <= set(study.means)
    assert (Verdict.MIXED in study.means) or len(study.thresholds()) == 1


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_at_the_smallest_budget(name, out, capsys):
    assert main(["study", name, "--out", str(out)]) == 0
    folder = out / "tiny" / name
    found = json.loads((folder / "finding.json").read_text())
    assert found["verdict"] == "UNDECIDED"
    assert found["thresholds"].keys() <= found["numbers"].keys()
    assert found["figures"]
    for picture in found["figures"]:
        assert 0 < (folder / picture).stat().st_size <= 150_000
    for film in found["films"]:
        assert 0 < (folder / film).stat().st_size <= 1_000_000
    assert not DAY.search((folder / "finding.json").read_text())
    assert f"{name} " in capsys.readouterr().out


def test_what_is_measured_is_not_measured_again(out, capsys, monkeypatch):
    name = next(iter(STUDIES))
    assert main(["study", name, "--out", str(out)]) == 0
    monkeypatch.setattr(runner, "run", lambda *_: pytest.fail("measured again"))
    assert main(["study", name, "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("UNDECIDED") == 2


def test_pages_are_written_of_what_there_is(out, tmp_path):
    name = next(iter(STUDIES))
    assert main(["study", name, "--out", str(out)]) == 0
    pages.write(out, tmp_path, "tiny")
    table = (tmp_path / "findings.md").read_text()
    assert table.count("\n| ") == len(STUDIES) + 1
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}  # a norm's bars end no cell
    page = (tmp_path / "findings" / f"{name}.md").read_text()
    found = json.loads((out / "tiny" / name / "finding.json").read_text())
    assert pages.head(out, "tiny", 1).endswith(f"({'docs/findings/' + name}.md) | {claimed(name)} | UNDECIDED |\n")
    assert found["command"] in page
    assert all(number in page for number in found["numbers"])
    assert "After measuring" not in page
    (out / "tiny" / name / "reading.md").write_text("It was the noise.\n")
    pages.write(out, tmp_path, "tiny")
    assert "*After measuring:* It was the noise.\n" in (tmp_path / "findings" / f"{name}.md").read_text()
    measured = len(list((out / "tiny").glob("*/finding.json")))
    assert f"Of {len(STUDIES)} claims: " in table
    assert f"{measured} UNDECIDED" in table
    assert table.split("## What this budget cannot decide")[1].count("This budget decides nothing.") == measured
    for text, folder in ((page, tmp_path / "findings"), (table, tmp_path)):
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert (folder / link).resolve().is_file()


def test_the_list(capsys):
    assert main(["study", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(STUDIES)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["not-the-identty"], 2, "did you mean not-the-identity?"),
        ([], 2, "give the names of studies, or --all"),
        (["T1", "--all"], 2, "give the names of studies, or --all"),
        (["T1", "--budget", "huge"], 2, "huge"),
        (["T1", "--data", "nowhere"], 2, "--data nowhere is neither a folder nor NAME=SOURCE"),
        (["T1", "--data", "landscapes=nowhere"], 3, "nowhere"),
    ],
)
def test_bad_input_gets_one_line(arguments, code, message, tmp_path, capsys):
    assert main(["study", *arguments, "--out", str(tmp_path)]) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last
    assert last.startswith("copyfold: ")


def test_data_without_labels_skip_the_studies_that_need_them(tmp_path, capsys):
    np.save(tmp_path / "grey.npy", np.random.default_rng(0).integers(0, 255, (64, 16, 16), dtype=np.uint8))
    needs = next(name for name, study in STUDIES.items() if study.claim == "T32-cnn")
    data = [f"--data={name}={tmp_path / 'grey.npy'}" for name in ("fashion_mnist", "landscapes", "cifar10")]
    assert main(["study", needs, "T1", "--out", str(tmp_path / "out"), *data]) == 3
    told = capsys.readouterr()
    assert f"{needs} is left out: " in told.err
    assert "has no labels" in told.err
    assert "not-the-identity" in told.out


def test_a_fault_of_one_study_does_not_lose_the_others(tmp_path, capsys, monkeypatch):
    def measure(study, lab):
        raise np.linalg.LinAlgError("no convergence")

    fails, other = list(STUDIES)[-1], "not-the-identity"
    monkeypatch.setattr(type(STUDIES[fails]), "measure", measure)
    assert main(["study", fails, other, "--out", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert f"{fails} is left out: LinAlgError: no convergence" in told.err
    assert other in told.out


def test_two_commands_share_their_models(tmp_path):
    line = [sys.executable, "-m", "copyfold", "study", "--out", str(tmp_path)]
    names = ("eval-mode-breaks", "statistics-denoise")  # of one network
    commands = [subprocess.Popen([*line, name], stderr=subprocess.PIPE, text=True) for name in names]
    told = "".join(command.communicate()[1] for command in commands)
    assert [command.returncode for command in commands] == [0, 0], told
    assert len(re.findall("^training UNet-", told, re.MULTILINE)) == 1, told
    assert all((tmp_path / "tiny" / name / "finding.json").is_file() for name in names)
