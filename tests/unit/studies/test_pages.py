"""Pages: what was asked, what came out, why there is no verdict; the first table, and all numbers at once."""

import json
import math
import random
import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from copyfold.studies import finding_page, pages
from copyfold.studies.base import PARTLY, Above, Below, Copying, Estimate, Finding, Regime, Study, Verdict
from copyfold.studies.kept import SHARED


class Made(Study):
    """A claim."""

    means: ClassVar = {Verdict.DOES_NOT_HOLD: "It does not.", PARTLY: "One does not."}
    controls: ClassVar = {"ended": (Below(1), "It is still under way.")}

    def measure(self, lab):
        return Finding({})

    def thresholds(self):
        return {"share": Above(0.5), "error": Below(1)}


@pytest.mark.parametrize(
    ("verdict", "share", "error", "said"),
    [
        ("DOES NOT HOLD", (0.1, 0.2), (2, 3), "It does not."),
        (
            "DOES NOT HOLD",
            (0.4, 0.6),
            (2, 3),
            "It does not. This follows from error alone: the interval of share contains its threshold.",
        ),
        ("DOES NOT HOLD", (0.6, 0.7), (2, 3), "One does not."),
        ("FAILS", (0.1, 0.2), (2, 3), "It does not."),  # of the old instrument
        ("MIXED", (0.6, 0.7), (2, 3), "One does not."),
        (
            "UNDECIDED",
            (0.4, 0.6),
            (2, 3),
            "does not hold: error is not as claimed. The interval of share contains its threshold.",
        ),
        ("UNDECIDED", (0.4, 0.6), (0.9, 1.1), "the intervals of share and error contain their thresholds."),
        ("UNDECIDED", (0.6, 0.7), (0.1, 0.2), "but a control is not: it is not shown that the claim is why."),
    ],
)
def test_a_page_says_why_there_is_no_verdict(verdict, share, error, said):
    numbers = {"share": Estimate(0.5, *share, 9), "error": Estimate(1.0, *error, 9)}
    found = {
        "verdict": verdict,
        "numbers": numbers,
        "thresholds": {"share": "> 0.5", "error": "< 1"},
        "budget": {"seeds": 3},
    }
    assert finding_page.meaning(Made(), found).endswith(said)
    small = found | {"decides": False, "verdict": "UNDECIDED"}
    assert finding_page.meaning(Made(), small) == "This budget is too small to decide."


@pytest.mark.parametrize(
    ("high", "said"), [(0.9, []), (1.1, ["It is still under way."]), (9, ["It is still under way."])]
)
def test_a_page_says_which_control_failed(high, said):
    told = finding_page._unfair(
        Made(), {"verdict": "UNDECIDED", "numbers": {"ended": Estimate(0.8, 0.7, high, 9)}}
    )
    assert [sentence.split(". ", 1)[1] for sentence in told] == said
    assert all(f"ended 0.8 [0.7, {high}], not < 1" in sentence for sentence in told)


def finding(verdict, numbers, **more):
    """As `runner.read` gives it."""
    return {
        "instrument": 2,
        "verdict": verdict,
        "numbers": numbers,
        "thresholds": {"share": "> 0.5", "error": "< 1"},
        "budget": {"seeds": 3, "name": "cpu"},
        "decides": True,
        "seeds": [0, 1, 2],
        "came_out": "It was so.",
        "figures": ["one.png"],
        "films": [],
        "captions": {"one": "What it shows."},
        "notes": ["A note."],
        "command": "copyfold study made",
        "data": {},
        "training": 1.0,
        "seconds": 1.0,
        "made": {"device": "cpu", "threads": 1, "date": "then", "torch": "2", "copyfold": "0.2"},
        **more,
    }


FINE = {"share": Estimate(0.8, 0.7, 0.9, 9, (0.7, 0.8, 0.9)), "error": Estimate(0.5, 0.25, 1.0, 9, (), "log")}


class Asking(Made):
    """A claim.

    How it was measured.
    """

    claim: ClassVar = "T99"
    place: ClassVar = "nowhere"
    asked: ClassVar = "Is it so?"
    controls: ClassVar = {}
    means: ClassVar = {Verdict.HOLDS: "Use it."}
    regime: ClassVar = {"U-Net": Regime(0.02)}


def copying(left):
    seen = {name: Estimate(left, left, left, 3) for name in (*finding_page.BESIDE, *finding_page.BESIDE.values())}
    return {"U-Net": Copying(seen, seen, {"held out": 0.0, "training": 0.0}, 240.0, 8192, 2500, 30.5)}


def test_a_page_begins_with_three_sentences_and_shows_how_well_networks_copy(tmp_path):
    found = finding("HOLDS", FINE, copying=copying(0.018))
    page = finding_page.page(Asking(), found, tmp_path, "here", "UNDECIDED")
    three = "**Asked:** Is it so?\n\n**Came out: HOLDS.** It was so.\n\n**What to do:** Use it."
    assert page.startswith(f"# A claim.\n\n{three}\n\n*With all deciding numbers of all claims")
    assert "(Holm's rule): UNDECIDED.*" in page
    assert "| U-Net | held out | 0.018 [0.018, 0.018] | 0.018 [0.018, 0.018] | 0.0 | 0 | 2,500 | 30 |" in page
    assert "8,192 numbers and copies held-out images as PCA does with 240 components" in page
    assert "The claim presupposes: U-Net <= 0.02, held out." in page
    assert "share: 0.1; error: a factor of 2." in page
    assert "*Figure 1: What it shows.*" in page
    assert "old instrument" not in page


def test_a_study_that_was_not_redesigned_says_so(tmp_path):
    """Its verdict is by the rules of now, so that it is not marked as an old one."""
    found = finding("HOLDS", FINE, instrument=1)
    page = finding_page.page(Asking(), found, tmp_path, "here", "HOLDS")
    assert "*This study is as it was in 0.1.0, by the rules of now: it asks no quality of its networks" in page
    assert "old instrument" not in page
    assert finding_page.marked(found) == "HOLDS"


def test_a_page_out_of_its_regime_says_nothing_else(tmp_path):
    found = finding("NOT IN REGIME", FINE, copying=copying(0.05))
    page = finding_page.page(Asking(), found, tmp_path, "here", "NOT IN REGIME")
    assert "**Came out: NOT IN REGIME.**\n" in page
    assert "U-Net leaves 0.05 [0.05, 0.05], not <= 0.02, held out. Train them longer." in page
    assert not [word for word in ("It was so", "## Numbers", "one.png", "**share**") if word in page]


def test_holm_s_rule_changes_verdicts_that_rest_on_weak_numbers():
    near = {"share": Estimate(0.8, 0.51, 1.0, 9), "error": Estimate(2.0, 1.1, 3.0, 9)}
    clear = {"share": Estimate(0.8, 0.79, 0.81, 9), "error": Estimate(0.5, 0.49, 0.51, 9)}
    wrong = {"share": Estimate(0.8, 0.79, 0.81, 9), "error": Estimate(2.0, 1.99, 2.01, 9)}
    findings = {
        "near": finding("DOES NOT HOLD", near),
        "clear": finding("HOLDS", clear),
        "wrong": finding("MIXED", wrong),
        "small": finding("UNDECIDED", clear, decides=False),
        "outside": finding("NOT IN REGIME", clear),
    }
    rejected = pages._rejected(findings)
    assert rejected == {(name, number) for name in ("clear", "wrong") for number in ("share", "error")}
    of = {name: {number for study, number in rejected if study == name} for name in findings}
    verdicts = {name: pages._at_once(found, of[name]) for name, found in findings.items()}
    assert verdicts == {name: found["verdict"] for name, found in findings.items()} | {"near": "UNDECIDED"}
    told = pages._told_at_once(dict.fromkeys(findings, Asking()), findings, rejected)
    assert told.startswith("6 numbers decide")
    assert "T99](findings/near.md) (DOES NOT HOLD, then UNDECIDED)." in told


RESULTS = Path(__file__).parents[3] / "results" / "cpu"


@pytest.mark.parametrize(
    "folder", sorted({*RESULTS.glob("*/")} - {RESULTS / SHARED}), ids=lambda folder: folder.name
)
def test_every_committed_finding_can_be_read(folder):
    found = pages.runner.read(folder)
    assert finding_page.outcomes(found).keys() == found["thresholds"].keys()
    assert found["verdict"] in ({*Verdict} if "instrument" in found else {*finding_page.OLD, "HOLDS", "UNDECIDED"})


def test_a_finding_of_the_old_instrument_keeps_its_verdict_and_is_marked(tmp_path):
    name = next(path.parent.name for path in sorted(RESULTS.glob("*/finding.json")) if _is_old(path))
    shutil.copytree(RESULTS / name, tmp_path / "results" / "cpu" / name)
    pages.write(tmp_path / "results", tmp_path, "cpu")
    found = json.loads((RESULTS / name / "finding.json").read_text())
    page, table = ((tmp_path / path).read_text() for path in (f"findings/{name}.md", "findings.md"))
    assert f"**{found['verdict']}.**" in page
    assert f"measured by the old instrument ({found['made']['copyfold']})".lower() in page.lower()
    assert f"| {found['verdict']} (old) |" in table


def test_the_page_of_a_study_that_was_redesigned_stays_until_it_is_measured_again(tmp_path):
    old, new = "not-the-identity", "denoises-untaught"
    (tmp_path / "findings").mkdir()
    for name in (old, new):
        shutil.copytree(RESULTS / name, tmp_path / "results" / "cpu" / name)
        (tmp_path / "findings" / f"{name}.md").write_text("the page of then")
    finding = tmp_path / "results" / "cpu" / old / "finding.json"
    finding.write_text(finding.read_text().replace('"instrument": 2', '"instrument": 1'))
    made = pages.write(tmp_path / "results", tmp_path, "cpu")
    assert made == [tmp_path / "findings.md", tmp_path / "findings" / f"{new}.md"]
    assert (tmp_path / "findings" / f"{old}.md").read_text() == "the page of then"
    assert f"](findings/{old}.md)" in (tmp_path / "findings.md").read_text()


def test_a_control_without_a_value_is_said_to_have_none():
    numbers = {"share": Estimate(0.6, 0.55, 0.7, 9), "error": Estimate(0.1, 0.1, 0.2, 9)}
    found = {"verdict": "UNDECIDED", "numbers": numbers | {"ended": Estimate(math.nan, math.nan, math.nan, 9)}}
    (said,) = finding_page._unfair(Made(), found)
    assert said == "**A control has no value:** ended: in a network there was too little to measure."
    found["numbers"]["ended"] = Estimate(2.0, 1.5, 2.5, 9)
    (said,) = finding_page._unfair(Made(), found)
    assert said == "**A control misses its threshold:** ended 2 [1.5, 2.5], not < 1. It is still under way."
    found["numbers"]["ended"] = Estimate(0.5, 0.4, 0.6, 9)
    assert finding_page._unfair(Made(), found) == []


def test_second_measurements_stand_beside_the_first(tmp_path):
    name, second = "looks-gaussian", tmp_path / "results" / pages.SECOND / "cpu"
    for folder in (tmp_path / "results" / "cpu", second):
        shutil.copytree(RESULTS / name, folder / name)
    finding = second / name / "finding.json"
    finding.write_text(finding.read_text().replace('"verdict": "DOES NOT HOLD"', '"verdict": "HOLDS"'))
    pages.write(tmp_path / "results", tmp_path, "cpu")
    lines = (tmp_path / "findings.md").read_text().splitlines()
    (row,) = (line for line in lines if line.startswith("| [T9]("))
    assert row.count("normality of the error 0.0731 [") == 2
    assert ["DOES NOT HOLD: " in row, "| HOLDS: " in row] == [True, True]


def test_the_studies_to_measure_twice_are_those_that_the_lot_drew():
    redesigned = [name for name, study in pages.runner.studies().items() if pages.runner.redesigned(study)]
    assert [*pages.DRAWN] == random.Random(21).sample(sorted(redesigned), 5)


def _is_old(path):
    found = json.loads(path.read_text())
    return "instrument" not in found and path.parent.name in pages.runner.studies()
