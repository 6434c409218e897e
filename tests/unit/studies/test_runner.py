"""Running studies: the files written, and the studies found, user studies included."""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from copyfold import catalogue
from copyfold.errors import CopyfoldError, UsageError
from copyfold.studies import runner
from copyfold.studies.base import Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab


@dataclass(frozen=True)
class Two(Study):
    """Something is above 1 and something below 2."""

    claim: ClassVar[str] = "two"
    place: ClassVar[str] = "here"
    data: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[dict[Verdict, str]] = {}

    one: Above = Above(1.0)
    the_other: Below = Below(2.0)

    def measure(self, lab: Lab) -> Finding:
        """Nothing is trained."""
        lab.note("a note of the lab")
        numbers = {
            "one": number(2),
            "the other": number(1),
            "unbounded": Estimate(1.0, -math.inf, math.inf, 1, (1.0,)),
            "none": Estimate(math.nan, math.nan, math.nan, 0, (math.nan, 1.0)),
        }
        return Finding(
            numbers, {"grid": torch.rand(2, 1, 4, 4)}, {"film": iter([torch.rand(2, 1, 8, 8)] * 3)}, ("one",)
        )


@dataclass  # not frozen: a user's class need not be
class Three(Study):
    """Something else, of the same claim."""

    claim: ClassVar[str] = "two"
    place: ClassVar[str] = "here"
    means: ClassVar[dict[Verdict, str]] = {}

    one: Above = Above(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Nothing is measured."""
        return Finding({})


def number(value: float) -> Estimate:
    return Estimate(value, value - 0.1, value + 0.1, 10, (value,))


def test_a_study_writes_its_finding_and_pictures(tmp_path):
    lab = Lab(BUDGETS["tiny"], cache=tmp_path / "models")
    assert runner.run(Two(), lab, tmp_path, "copyfold study two") == Verdict.UNDECIDED
    folder = tmp_path / "tiny" / "two"
    assert sorted(path.name for path in folder.iterdir()) == ["film.mp4", "finding.json", "grid.png"]
    text = (folder / "finding.json").read_text()
    assert "Infinity" not in text
    found = json.loads(text)
    assert {"claim", "verdict", "thresholds", "budget", "seeds", "command", "numbers"} <= found.keys()
    assert found["thresholds"] == {"one": "> 1", "the other": "< 2"}
    assert found["notes"] == ["a note of the lab", "one"]
    again = runner.read(folder)["numbers"]
    assert again["unbounded"] == Estimate(1.0, -math.inf, math.inf, 1, (1.0,))
    assert again["one"] == number(2)
    assert math.isnan(again["none"].value)
    assert math.isnan(again["none"].seeds[0])
    assert again["none"].seeds[1] == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"numbers": {"a": 1}}'])
def test_an_invalid_finding_is_refused(tmp_path, text):
    (tmp_path / "finding.json").write_text(text)
    with pytest.raises(CopyfoldError, match=r"finding\.json is no finding .*run the study again"):
        runner.read(tmp_path)


def test_studies_are_found_by_name_and_claim(monkeypatch):
    monkeypatch.setattr(Three, "claim", "T99")
    found = runner.find(["T99", "two", "t99"], [Two, Three])
    assert [study.name() for study in found] == ["three", "two"]
    with pytest.raises(UsageError, match="no study is called 'thre': did you mean three"):
        runner.find(["thre"], [Two, Three])


def test_a_claim_with_two_studies_is_ambiguous():
    with pytest.raises(UsageError, match="TWO is the claim of three and of two: give the name of one"):
        runner.find(["TWO"], [Three, Two])
    assert [study.name() for study in runner.find(["three", "three"], [Two, Three])] == ["three"]


def test_a_user_study_is_included_on_request(tmp_path):
    assert runner.studies().keys() == {cls.name() for cls in catalogue.classes(Study).values()}
    assert list(runner.studies([Two]))[-1:] == ["two"]
    assert runner.studies([Two]).keys() - runner.studies().keys() == {"two"}
    (own,) = runner.find(["two"], [Two])
    assert runner.run(own, Lab(BUDGETS["tiny"], cache=tmp_path / "models"), tmp_path, "") == Verdict.UNDECIDED
    assert (tmp_path / "tiny" / "two" / "finding.json").is_file()


def bare(**inside):
    """A study of these things and no more."""
    return type("Bare", (Study,), {"measure": Two.measure, **inside})


SAID = {"claim": "bare", "place": "here", "means": {}}
EMPTY = dataclass(bare(**SAID, __annotations__={"share": Above}))
PLAIN = dataclass(bare(**SAID, __annotations__={"share": float}, share=0.5))
TWICE = dataclass(frozen=True)(type("Two", (Two,), {}))


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (bare(), "Bare has no `claim`: give its class one"),
        (bare(claim="bare", place="here"), "Bare has no `means`"),
        (bare(**SAID), r"Bare is no dataclass: put @dataclass\(frozen=True\) above it"),
        (EMPTY, "Bare cannot be made without arguments: .*share"),
        (PLAIN, r"share=0.5 is invalid: expected a threshold, as Above\(0.5\)"),
        (TWICE, "Two and abc.Two are both two: rename one of them"),
    ],
)
def test_an_incomplete_study_is_refused_before_measuring(cls, message):
    with pytest.raises(UsageError, match=message):
        runner.studies([Two, cls])


def test_an_incomplete_study_is_not_run(tmp_path):
    with pytest.raises(UsageError, match="no dataclass"):
        runner.run(bare(**SAID)(), Lab(BUDGETS["tiny"], cache=tmp_path), tmp_path, "")


def test_a_study_may_have_other_thresholds_than_its_class(tmp_path):
    lab = Lab(dataclasses.replace(BUDGETS["tiny"], seeds=2), cache=tmp_path / "models")
    assert runner.run(Two(one=Above(5.0)), lab, tmp_path, "") == Verdict.MIXED


def test_the_name_of_a_copyfold_claim_is_refused(monkeypatch):
    monkeypatch.setattr(catalogue, "_recorded", dict(catalogue._recorded))  # these are forgotten with the test
    ours = next(iter(catalogue.classes(Study)))
    other = type(ours, (Two,), {"__module__": "my_claims"})
    with pytest.raises(UsageError, match=f"my_claims.{ours} has the name of a class of copyfold's own"):
        catalogue.path(other)
    assert catalogue.path(type("MyClaim", (Two,), {"__module__": "my_claims"})) == "my_claims.MyClaim"
    assert catalogue.find(Study, ours) is catalogue.classes(Study)[ours]
