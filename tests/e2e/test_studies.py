"""`copyfold study`: every study at the smallest budget, and errors about bad input."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from copyfold.cli import main
from copyfold.probes.base import Reading
from copyfold.runs import Run
from copyfold.studies import pages, runner, statistics
from copyfold.studies.base import PARTLY, Above, Estimate, Finding, Study, Verdict

STUDIES = runner.studies()
DAY = re.compile(r"\b(session|helper|/work|/tmp)\b")


SOURCES = Path(runner.__file__).parents[1]

ONE_MORE = '''"""A claim of one file."""

from dataclasses import dataclass
from typing import ClassVar

from copyfold.models.dense import Linear
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Finding, Study


@dataclass(frozen=True)
class OneMore(Study):
    """Errors are above nothing. There is no control."""

    claim: ClassVar[str] = "more"
    place: ClassVar[str] = "nowhere"
    means: ClassVar = {}

    error: Above = Above(0.0)

    def measure(self, lab):
        photos = lab.photos("landscapes")
        x = lab.images(photos)
        models = lab.each(lambda seed: lab.trained(Linear, photos, seed))
        errors = [(model(x) - x).square().mean((1, 2, 3)) for model in models]
        return Finding({"error": statistics.mean(errors)}, {"images": x[:8]})
'''

SHARING = (
    ONE_MORE
    + """

import logging
import sys
from pathlib import Path

from copyfold.studies import runner
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab

First, Second = (dataclass(frozen=True)(type(name, (OneMore,), {})) for name in ("First", "Second"))
logging.basicConfig(level=logging.INFO, format="%(message)s")
(study,) = runner.find([sys.argv[1]], [First, Second])
out = Path(sys.argv[2])
runner.run(study, Lab(BUDGETS["tiny"], {}, out / ".models"), out, "")
"""
)


@dataclass(frozen=True)
class Simple(Study):
    """Nothing is trained."""

    claim: ClassVar[str] = "t-simple"
    place: ClassVar[str] = "here"
    means: ClassVar[dict] = {}

    number: Above = Above(0.0)

    def measure(self, lab):
        return Finding({"number": Estimate(1.0, 0.9, 1.1, 3, (1.0,))}, {"grid": torch.rand(2, 1, 4, 4)})


@dataclass(frozen=True)
class Labelled(Simple):
    """Classes are needed."""

    claim: ClassVar[str] = "t-labelled"

    def measure(self, lab):
        lab.labelled("fashion_mnist")
        return super().measure(lab)


@dataclass(frozen=True)
class Keeping(Simple):
    """It keeps its seeds."""

    claim: ClassVar[str] = "t-keeping"

    def measure(self, lab):
        found = lab.by_seed(lambda seed: Reading({"number": torch.rand(9, generator=lab.rng(seed))}))
        return Finding({"number": statistics.mean([reading.numbers["number"] for reading in found])})


@dataclass(frozen=True)
class Faulty(Simple):
    """It has a fault."""

    claim: ClassVar[str] = "t-faulty"

    def measure(self, lab):
        raise np.linalg.LinAlgError("no convergence")


@pytest.fixture
def few(monkeypatch):
    """Four studies and no others, whatever claims there are."""
    known = {study.name(): study for study in (Simple(), Labelled(), Faulty(), Keeping())}
    monkeypatch.setattr(runner, "studies", lambda extra=(): known)


@pytest.fixture(scope="session")
def out(tmp_path_factory):
    """One folder for all, so that studies share their models as they do for a user."""
    return tmp_path_factory.mktemp("results")


def claimed(name: str) -> str:
    """What a study says first."""
    return inspect.cleandoc(STUDIES[name].__doc__ or "").splitlines()[0]


def test_no_claim_has_two_studies():
    claims = [study.claim for study in STUDIES.values()]
    assert claims
    assert len(claims) == len(set(claims))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_states_its_claim(name):
    study = STUDIES[name]
    first, *rest = inspect.cleandoc(study.__doc__ or "").splitlines()
    assert 10 < len(first) <= 80
    assert first.endswith(".")
    assert "ontrol" in "\n".join(rest)
    assert study.thresholds()
    assert study.place
    assert {Verdict.HOLDS, Verdict.DOES_NOT_HOLD} <= set(study.means)
    assert (PARTLY in study.means) or len(study.thresholds()) == 1


DEAR = (
    "iterating-beats-one-pass",
    "more-compute-better-samples",
    "style-of-the-manifold",
    "narrowing-injects",
    "better-copies-pass-more-noise",
)


def test_the_dear_studies_are_found():
    assert set(DEAR) <= STUDIES.keys()


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_at_the_smallest_budget(name, out, capsys):
    if name in DEAR and "COPYFOLD_SLOW" not in os.environ:
        pytest.skip("make test-long runs it")
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


def test_a_study_with_a_finding_is_not_measured_again(out, capsys, monkeypatch):
    name = next(iter(STUDIES))
    assert main(["study", name, "--out", str(out)]) == 0
    monkeypatch.setattr(runner, "run", lambda *_: pytest.fail("measured again"))
    assert main(["study", name, "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("UNDECIDED") == 2


def test_pages_are_written_from_the_findings(out, tmp_path):
    name = next(iter(STUDIES))
    assert main(["study", name, "--out", str(out)]) == 0
    pages.write(out, tmp_path, "tiny")
    table = (tmp_path / "findings.md").read_text()
    first, full = table.split("## Every deciding number")
    assert full.count("\n| ") == len(STUDIES) + 1
    assert first.count("\n| ") == 1 + len(list((out / "tiny").glob("*/finding.json")))
    for part, bars in ((first, 5), (full, 7)):
        rows = [line for line in part.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {bars}  # a norm's bars end no cell
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
    assert table.split("## What this budget cannot decide")[1].count("budget is too small to decide.") == measured
    for text, folder in ((page, tmp_path / "findings"), (table, tmp_path)):
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert (folder / link).resolve().is_file()


def test_seeds_are_added_to_a_finding_that_keeps_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runner, "studies", lambda extra=(): {"keeping": Keeping(), "simple": Simple()})
    command = ["study", "keeping", "--out", str(tmp_path)]
    assert main(command) == main([*command, "--seeds", "3"]) == main([*command, "--seeds", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in told] == ["UNDECIDED"] * 3
    found = json.loads((tmp_path / "tiny" / "keeping" / "finding.json").read_text())
    assert found["seeds"] == [0, 1, 2]
    assert found["command"].endswith("keeping --budget tiny --seeds 3")
    assert len(found["numbers"]["number"]["seeds"]) == 3
    assert main(["study", "simple", "--out", str(tmp_path)]) == 0
    assert main(["study", "simple", "--seeds", "3", "--out", str(tmp_path)]) == 2
    assert "keeps no numbers of its seeds, so that none can be added: measure all again" in capsys.readouterr().err
    assert main([*command, "--again", "--first-seed", "5"]) == 0
    assert json.loads((tmp_path / "tiny" / "keeping" / "finding.json").read_text())["seeds"] == [5]


def test_a_study_that_pauses_says_so_by_its_exit_code(tmp_path, capsys, few):
    command = ["study", "keeping", "simple", "--out", str(tmp_path)]
    assert main([*command, "--minutes", "1e-9"]) == 75
    told = capsys.readouterr()
    assert "paused, as the --minutes are over; what is done is kept: run the same command again" in told.err
    assert "simple" not in told.out
    assert main([*command, "--minutes", "10"]) == 0
    assert "simple" in capsys.readouterr().out


def test_processes_share_studies(tmp_path, capsys, few):
    """One that another process is at comes last; where it is the only one that is left, it is waited for."""
    shelf = tmp_path / ".models" / f"torch-{torch.__version__.split('+')[0]}" / "study-keeping-tiny"
    command = ["study", "keeping", "simple", "--out", str(tmp_path)]
    with Run(shelf).locked():
        assert main([*command, "--again", "--minutes", "0.03"]) == 75
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["simple"]
    assert main([*command, "--minutes", "10"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["keeping", "simple"]


def test_measuring_several_studies_anew_goes_on_after_a_pause(tmp_path, capsys, few, monkeypatch):
    """The same command without --again: a verdict of the old instrument is not taken for a new one."""
    for cls in (Keeping, Simple):
        finding = Finding({"number": Estimate(1.0, 0.9, 1.1, 3, (1.0,))}, came_out="One.")
        monkeypatch.setattr(cls, "measure", lambda study, lab, finding=finding: lab.by_seed(blank) and finding)
    command = ["study", "keeping", "simple", "--out", str(tmp_path)]
    assert main(command) == 0
    monkeypatch.setattr(Simple, "asked", "Is it?")
    old = tmp_path / "tiny" / "simple" / "finding.json"
    assert json.loads(old.read_text())["instrument"] < runner.INSTRUMENT
    capsys.readouterr()
    assert main([*command, "--again", "--minutes", "1e-9"]) == 75
    assert main([*command, "--minutes", "10"]) == 0
    assert json.loads(old.read_text())["instrument"] == runner.INSTRUMENT
    assert len(capsys.readouterr().out.splitlines()) == 2


def blank(seed):
    """A reading of nothing."""
    return Reading({"number": torch.zeros(1)})


def test_list_shows_every_study(capsys):
    assert main(["study", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(STUDIES)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["simpl"], 2, "did you mean simple?"),
        ([], 2, "give the names of studies, or --all"),
        (["simple", "--all"], 2, "give the names of studies, or --all"),
        (["simple", "--budget", "huge"], 2, "huge"),
        (["simple", "--seeds", "0"], 2, "--seeds=0 is invalid: expected a whole number of at least 1"),
        (["simple", "--minutes", "0"], 2, "--minutes 0 is invalid: expected a number above 0"),
        (["simple", "--data", "nowhere"], 2, "--data nowhere is neither a folder nor NAME=SOURCE"),
        (["labelled", "--data", "fashion_mnist=nowhere"], 3, "nowhere"),
    ],
)
def test_usage_errors_of_study_are_one_line(arguments, code, message, tmp_path, capsys, few):
    assert main(["study", *arguments, "--out", str(tmp_path)]) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last
    assert last.startswith("copyfold: ")


def test_data_without_labels_skip_the_studies_that_need_them(tmp_path, capsys, few):
    np.save(tmp_path / "grey.npy", np.random.default_rng(0).integers(0, 255, (64, 16, 16), dtype=np.uint8))
    data = f"--data=fashion_mnist={tmp_path / 'grey.npy'}"
    assert main(["study", "labelled", "t-simple", "--out", str(tmp_path / "out"), data]) == 3
    told = capsys.readouterr()
    assert "labelled is skipped: " in told.err
    assert "has no labels" in told.err
    assert "simple" in told.out


def test_a_failing_study_does_not_stop_the_others(tmp_path, capsys, few):
    assert main(["study", "faulty", "simple", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "faulty is skipped: LinAlgError: no convergence" in told.err
    assert "simple" in told.out


def test_two_commands_share_trained_models(tmp_path):
    script = tmp_path / "run_one.py"
    script.write_text(SHARING)
    commands = [
        subprocess.Popen([sys.executable, script, name, tmp_path], stderr=subprocess.PIPE, text=True)
        for name in ("first", "second")
    ]
    told = "".join(command.communicate()[1] for command in commands)
    assert [command.returncode for command in commands] == [0, 0], told
    assert len(re.findall("^training Linear-", told, re.MULTILINE)) == 1, told
    assert all((tmp_path / "tiny" / name / "finding.json").is_file() for name in ("first", "second"))


def test_a_new_claim_is_one_file(tmp_path):
    """Without it all others are listed; a file more is a study more; and nothing else was touched."""
    copy = shutil.copytree(SOURCES, tmp_path / "copyfold", ignore=shutil.ignore_patterns("__pycache__"))
    gone = type(next(iter(STUDIES.values())))
    (tmp_path / gone.__module__.replace(".", "/")).with_suffix(".py").unlink()
    (copy / "claims" / "one_more.py").write_text(ONE_MORE)
    listed = [line[16:].split()[0] for line in copyfold(tmp_path, "study", "--list").stdout.splitlines()]
    assert sorted(listed) == sorted(STUDIES.keys() - {gone.name()} | {"one-more"})
    copyfold(tmp_path, "study", "one-more", "--out", str(tmp_path / "results"))
    assert (tmp_path / "results" / "tiny" / "one-more" / "finding.json").is_file()


def copyfold(sources, *arguments):
    """The command from these sources."""
    line = [sys.executable, "-m", "copyfold", *arguments]
    environment = os.environ | {"PYTHONPATH": str(sources)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, cwd=sources)
    assert done.returncode == 0, done.stderr
    return done
