"""Running studies: the files written, and the studies found, user studies included."""

import dataclasses
import json
import math
import shutil
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from copyfold import catalogue
from copyfold.errors import CopyfoldError, Diverged, UsageError
from copyfold.probes.base import Reading
from copyfold.studies import runner, statistics
from copyfold.studies.base import Above, Below, Copying, Estimate, Finding, Regime, Study, Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab, Paused


@dataclass(frozen=True)
class Two(Study):
    """Something is above 1 and something below 2."""

    claim: ClassVar[str] = "two"
    place: ClassVar[str] = "here"
    data: ClassVar[tuple[str, ...]] = ()
    means: ClassVar[dict[str, str]] = {}

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
    means: ClassVar[dict[str, str]] = {}

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


def test_a_new_finding_leaves_no_picture_of_the_former_one(tmp_path, caplog, monkeypatch):
    lab, folder = Lab(BUDGETS["tiny"], cache=tmp_path / "models"), tmp_path / "tiny" / "two"
    runner.run(Two(), lab, tmp_path, "copyfold study two")
    (folder / "mine.png").write_bytes(b"mine")
    (folder / "reading.md").write_text("What I saw.")
    monkeypatch.setattr(Two, "measure", lambda self, lab: Finding({"one": number(2), "the other": number(1)}))
    caplog.clear()
    runner.run(Two(), lab, tmp_path, "copyfold study two")
    assert sorted(path.name for path in folder.iterdir()) == ["finding.json", "mine.png", "reading.md"]
    assert "reading.md is a comment on an earlier finding: read it again" in caplog.text


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


@dataclass(frozen=True)
class Counting(Study):
    """A study that keeps its seeds."""

    claim: ClassVar[str] = "counting"
    place: ClassVar[str] = "here"
    means: ClassVar[dict[str, str]] = {}
    measured: ClassVar[list[int]] = []
    came_out: ClassVar[str] = ""

    number: Above = Above(-10.0)

    def measure(self, lab: Lab) -> Finding:
        """A number and an image of every seed."""

        def look(seed: int) -> Reading:
            self.measured.append(seed)
            if seed == 7:
                raise Diverged("the loss became nan")
            rng = lab.rng(seed)
            return Reading(
                {"number": torch.rand(5, generator=rng)}, {"image": torch.rand(1, 1, 4, 4, generator=rng)}
            )

        found = lab.by_seed(look)
        numbers = {"number": statistics.mean([reading.numbers["number"] for reading in found])}
        return Finding(numbers, {"image": found[0].images["image"]}, came_out=self.came_out)


@pytest.fixture
def counting(tmp_path):
    """Measure with so many seeds; gives the verdict, what was measured now, and the finding."""

    def run(seeds=None, first=0, budget=BUDGETS["cpu"], minutes=None):
        Counting.measured.clear()
        lab = Lab(budget, cache=tmp_path / "models", minutes=minutes)
        verdict = runner.measured(Counting(), lab, tmp_path, "", seeds, first)
        return verdict, Counting.measured.copy(), runner.read(tmp_path / budget.name / "counting")

    return run


def test_seeds_are_added_to_a_finding(counting, tmp_path):
    verdict, measured, found = counting()
    assert (verdict, measured, found["seeds"]) == (Verdict.HOLDS, [0, 1, 2], [0, 1, 2])
    picture = (tmp_path / "cpu" / "counting" / "image.png").read_bytes()
    verdict, measured, more = counting(5)
    assert (verdict, measured, more["seeds"]) == (Verdict.HOLDS, [3, 4], [0, 1, 2, 3, 4])
    assert more["numbers"]["number"].seeds[:3] == found["numbers"]["number"].seeds
    assert (tmp_path / "cpu" / "counting" / "image.png").read_bytes() == picture
    assert counting(4)[1:] == ([], more)
    shutil.rmtree(tmp_path / "cpu")
    assert counting(5)[2]["numbers"] == more["numbers"]  # the same as measured all at once


def test_a_study_says_how_many_seeds_it_needs(counting, monkeypatch):
    monkeypatch.setattr(Counting, "seeds", 4)
    assert counting()[1] == [0, 1, 2, 3]
    assert counting(budget=BUDGETS["tiny"])[:2] == (Verdict.UNDECIDED, [0])
    assert counting(3, budget=BUDGETS["tiny"])[:2] == (Verdict.UNDECIDED, [1, 2])  # its budget decides nothing


def test_a_seed_that_diverged_does_not_count(counting):
    verdict, _, found = counting(2, first=6)
    assert (verdict, found["seeds"]) == (Verdict.UNDECIDED, [6])  # of one seed nothing follows
    assert found["notes"] == ["seed 7 is left out: the loss became nan"]


def test_seeds_are_not_added_to_a_finding_of_other_code_or_settings(counting, monkeypatch, tmp_path):
    counting()
    with monkeypatch.context() as patch:
        patch.setattr(runner, "study_digest", lambda study: "other")
        with pytest.raises(UsageError, match="measured with another code of the study: measure all again with"):
            counting(5)
    other = dataclasses.replace(BUDGETS["cpu"], measured=64)
    with pytest.raises(UsageError, match="measured with another budget: "):
        counting(5, budget=other)
    shutil.rmtree(tmp_path / "cpu" / "counting" / "seeds")
    with pytest.raises(UsageError, match="keeps no numbers of its seeds, so that none can be added"):
        counting(5)


def stripped(folder):
    """The finding in a folder as the instrument of 0.1.0 wrote it."""
    path = folder / "finding.json"
    found = json.loads(path.read_text())
    del found["instrument"]
    path.write_text(json.dumps(found))


def test_a_finding_of_the_old_instrument_is_none_for_a_study_of_this_one(counting, monkeypatch, tmp_path):
    folder = tmp_path / "cpu" / "counting"
    counting()
    assert runner.read(folder)["instrument"] == 1  # it does not say what it asks
    assert counting()[1] == []
    monkeypatch.setattr(Counting, "asked", "How many?", raising=False)
    monkeypatch.setattr(runner, "study_digest", lambda study: "other")
    with monkeypatch.context() as patch:
        patch.setattr(Lab, "over", property(lambda lab: True))
        with pytest.raises(Paused):
            counting(minutes=1)
    assert runner.read(folder)["instrument"] == 1  # until there is another
    monkeypatch.setattr(Counting, "came_out", "Some.")
    assert counting()[1] == [0, 1, 2]
    assert runner.read(folder)["instrument"] == runner.INSTRUMENT
    assert counting()[1] == []
    stripped(folder)
    assert counting(4)[1] == [3]  # what is kept of seeds is of this code


def test_a_study_stops_between_seeds_and_goes_on(counting, monkeypatch):
    clock = iter([False, False, True])
    with monkeypatch.context() as patch:
        patch.setattr(Lab, "over", property(lambda lab: next(clock)))
        with pytest.raises(Paused, match="paused, as the minutes are over; what is done is kept"):
            counting(minutes=1)
    assert Counting.measured == [0, 1]
    assert counting()[1] == [2]


def test_a_changed_or_broken_seed_is_measured_again(counting, monkeypatch, tmp_path):
    counting()
    folder = tmp_path / "cpu" / "counting"
    (folder / "finding.json").unlink()
    (folder / "seeds" / "1.safetensors").write_bytes(b"broken")
    assert counting()[1] == [1]
    (folder / "finding.json").unlink()
    monkeypatch.setattr(runner, "study_digest", lambda study: "other")
    assert counting()[1] == [0, 1, 2]
    runner.forget(folder)
    assert [path.name for path in folder.iterdir()] == ["image.png"]


def test_a_study_that_asks_says_what_came_out(tmp_path, monkeypatch):
    monkeypatch.setattr(Two, "asked", "Is it?", raising=False)
    with pytest.raises(CopyfoldError, match="two does not say what came out"):
        runner.run(Two(), Lab(BUDGETS["tiny"], cache=tmp_path), tmp_path, "")


def test_how_networks_copy_is_written_and_read(tmp_path, monkeypatch):
    left = {"held out": Estimate(0.03, 0.02, math.inf, 3, (0.03,), "log")}
    found = Copying(left, left, {"held out": 0.0}, 240.0, 8192, 2500.0, 30.5)
    made = Finding({"one": number(2), "the other": number(1)}, copying={"U-Net": found}, came_out="So.")
    monkeypatch.setattr(Two, "measure", lambda study, lab: made)
    monkeypatch.setattr(Two, "regime", {"U-Net": Regime(0.02)}, raising=False)
    lab = Lab(BUDGETS["cpu"], cache=tmp_path / "models")
    assert runner.run(Two(), lab, tmp_path, "") == Verdict.NOT_IN_REGIME
    again = runner.read(tmp_path / "cpu" / "two")
    assert again["copying"] == {"U-Net": found}
    assert (again["instrument"], again["came_out"]) == (2, "So.")


def test_an_incomplete_study_is_not_run(tmp_path):
    with pytest.raises(UsageError, match="no dataclass"):
        runner.run(bare(**SAID)(), Lab(BUDGETS["tiny"], cache=tmp_path), tmp_path, "")


def test_a_study_may_have_other_thresholds_than_its_class(tmp_path):
    lab = Lab(dataclasses.replace(BUDGETS["tiny"], seeds=2), cache=tmp_path / "models")
    assert runner.run(Two(one=Above(5.0)), lab, tmp_path, "") == Verdict.DOES_NOT_HOLD


def test_the_name_of_a_copyfold_claim_is_refused(monkeypatch):
    monkeypatch.setattr(catalogue, "_recorded", dict(catalogue._recorded))  # these are forgotten with the test
    ours = next(iter(catalogue.classes(Study)))
    other = type(ours, (Two,), {"__module__": "my_claims"})
    with pytest.raises(UsageError, match=f"my_claims.{ours} has the name of a class of copyfold's own"):
        catalogue.path(other)
    assert catalogue.path(type("MyClaim", (Two,), {"__module__": "my_claims"})) == "my_claims.MyClaim"
    assert catalogue.find(Study, ours) is catalogue.classes(Study)[ours]
