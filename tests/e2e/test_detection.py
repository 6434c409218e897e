"""`copyfold outliers`, `similar` and `duplicates`: tables, pages and masks, and what is refused."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from copyfold.data import scenes

FEW = ("--rate=0.75",)  # the run of these tests holds out four images


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Six small landscapes, and a black image among them."""
    folder = tmp_path_factory.mktemp("odd")
    for row, pixels in enumerate(scenes(6, 40, seed=5)):
        Image.fromarray(pixels).save(folder / f"{row}.png")
    Image.new("RGB", (40, 40)).save(folder / "black.png")
    return folder


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_outliers_are_ranked_in_a_table_and_on_a_page(run, odd, copyfold, tmp_path):
    out = tmp_path / "new" / "found.csv"
    said = copyfold("outliers", run, odd, *FEW, "--out", out, "--marks", tmp_path / "marks").done()
    assert said.out[-3:] == [str(out), str(out.with_suffix(".html")), str(tmp_path / "marks")]
    rows = table(out)
    assert [row["path"] for row in rows] == [*(f"{row}.png" for row in range(6)), "black.png"]
    assert max(rows, key=lambda row: float(row["score"]))["path"] == "black.png"
    assert said.out[0].endswith("\tblack.png")
    assert len(said.out) - 3 == sum(row["outlier"] == "true" for row in rows)
    assert "held-out normal images" in " ".join(said.err)
    page = out.with_suffix(".html").read_text(encoding="utf-8")
    assert page.count("<figure><img") >= 14  # every image and its map
    assert page.index("black.png") < page.index(">1.png")
    assert "p = " in page


def test_the_run_s_own_images_and_other_scores(run, copyfold, tmp_path):
    out = tmp_path / "found.parquet"
    copyfold("outliers", run, *FEW, "--score=Mahalanobis", "--score.grid=1", "--out", out, "--show=2").done()
    from pyarrow import parquet

    found = parquet.read_table(out).to_pydict()
    assert set(found["split"]) == {"train", "held_out"}
    assert "marked" not in found
    assert out.with_suffix(".html").read_text(encoding="utf-8").count('class="row"') == 2


def test_other_normal_images_may_be_given(run, odd, copyfold, tmp_path):
    normal = tmp_path / "normal"
    normal.mkdir()
    for row, pixels in enumerate(scenes(60, 16, seed=9)):
        Image.fromarray(pixels).save(normal / f"{row}.png")
    out = tmp_path / "found.csv"
    said = copyfold("outliers", run, odd, "--normal", normal, "--rate=0.1", "--out", out).done()
    assert "from 30 held-out normal images" in " ".join(said.err)
    copyfold("outliers", run, odd, "--normal", normal, "--rate=0.01", "--out", out).refused(
        2, "too few normal images for a rate of 1 %: 300 are needed, and 30 are held out", "--rate 0.1", "--normal"
    )


def test_without_a_rate_few_images_are_ranked_and_those_trained_on_are_named(run, photos, copyfold, tmp_path):
    """The photos of the run themselves, given as its own and as others: four are held out."""
    out = tmp_path / "found.csv"
    for given in ((), (photos,)):
        said = copyfold("outliers", run, *given, "--out", out).done()
        assert said.out[5:] == [str(out), str(out.with_suffix(".html"))]
        errors = " ".join(said.err)
        assert "a threshold takes more than the 4 normal images that are held out" in errors
        rows = table(out)
        ranked = sorted(rows, key=lambda row: -float(row["score"]))
        assert [line.split("\t")[1] for line in said.out[:5]] == [row["path"] for row in ranked[:5]]
        assert float(said.out[0].split("\t")[0]) == pytest.approx(float(ranked[0]["score"]), rel=1e-3)
        trained = sum(row["split"] == "train" for row in rows)
        assert f"{trained} of these images were trained on, and may score lower than others" in errors
        assert sum(row["split"] == "held_out" for row in rows) == 4
        assert {(row["rate"], row["outlier"]) for row in rows} == {("", "false")}
        page = out.with_suffix(".html").read_text(encoding="utf-8")
        assert "The images are ranked, and none is called an outlier" in page
        assert ", trained on; p = " in page
        assert "threshold;" not in page
    assert len(copyfold("outliers", run, "--out", out, "--show=2").done().out) == 4
    copyfold("outliers", run, "--out", out, "--marks", tmp_path / "marks").refused(
        2, "too few held-out images for --marks, which needs a threshold: 15 are needed, and 4 are held out"
    )


def test_where_nothing_is_marked_no_folder_of_masks_is_named(run, odd, copyfold, tmp_path):
    """By a score whose map is the image itself, which is black."""
    (tmp_path / "new").mkdir()
    shutil.copy(odd / "black.png", tmp_path / "new")
    (tmp_path / "calm.py").write_text(
        "import copyfold as cf\nfrom copyfold.detection.base import Scored\n\n\n"
        "class Calm(cf.Score):\n"
        '    "The pixels themselves: black is nowhere unusual."\n\n'
        "    def __call__(self, model, normal):\n"
        "        return lambda x: Scored(x.mean((1, 2, 3)), x.mean(1))\n"
    )
    marks, out = tmp_path / "marks", tmp_path / "found.csv"
    line = (*FEW, f"--import={tmp_path / 'calm.py'}", "--score=Calm", "--marks", marks, "--out", out)
    said = copyfold("outliers", run, tmp_path / "new", *line).done()
    assert said.out == [str(out), str(out.with_suffix(".html"))]
    assert "nothing is marked" in " ".join(said.err)
    assert not marks.exists()


def test_the_stated_rate_is_not_said_of_images_that_were_trained_on(run, photos, copyfold, tmp_path):
    out = tmp_path / "found.csv"
    said = " ".join(copyfold("outliers", run, photos, *FEW, "--out", out).done().err)
    page = out.with_suffix(".html").read_text(encoding="utf-8")
    for words in (
        "may score lower than others: the rate does not hold for them",
        "4 are held-out images that the threshold is from",
    ):
        assert words in said
        assert words in page
    assert "would be expected" not in said + page
    assert {row["rate"] for row in table(out)} == {"0.75"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--out=found.txt",), ("expected a .csv or .parquet file",)),
        (("--rate=2",), ("--rate 2 is invalid", "above 0 and below 1")),
        (("--show=-1",), ("--show -1 is invalid",)),
        (("--score=Mahalanobis", "--rate=0.75", "--marks=marks"), ("--marks needs a score with maps",)),
        (("--score=Mahalanobi",), ("--score Mahalanobi is not known", "did you mean Mahalanobis?")),
        (("--score.grd=2", "--score=Mahalanobis"), ("--score.grd", "grid")),
    ],
)
def test_wrong_options_of_outliers_are_refused(options, words, run, odd, copyfold, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copyfold("outliers", run, odd, *options).refused(2, *words)
    assert list(tmp_path.iterdir()) == []


def test_a_score_of_one_s_own_has_flags(run, odd, copyfold, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_score.py").write_text(
        "import copyfold as cf\nfrom copyfold.detection.base import Scored\n\n\n"
        "class Darkness(cf.Score):\n"
        '    "How dark an image is."\n\n'
        "    def __init__(self, top: float = 1.0):\n        self.top = top\n\n"
        "    def __call__(self, model, normal):\n"
        "        return lambda x: Scored(self.top - x.mean((1, 2, 3)))\n"
    )
    copyfold("outliers", run, odd, *FEW, "--import=my_score.py", "--score=Darkness", "--score.top=2").done()
    rows = {row["path"]: float(row["score"]) for row in table(tmp_path / "outliers.csv")}
    assert rows["black.png"] == pytest.approx(2, abs=1e-3)
    assert max(rows.values()) == rows["black.png"]


def test_a_folder_as_mvtec_has_it(copyfold, tiny, tmp_path):
    """Trained on train/good, and test scored: the kind of defect is the label."""
    for part, kind, count in (("train", "good", 40), ("test", "good", 3), ("test", "crack", 2)):
        folder = tmp_path / "thing" / part / kind
        folder.mkdir(parents=True)
        for row, pixels in enumerate(scenes(count, 24, seed=len(kind) + count)):
            if kind == "crack":
                pixels[10:12, 4:20] = 255
            Image.fromarray(pixels).save(folder / f"{row:03d}.png")
    good = tmp_path / "thing" / "train" / "good"
    defects = ("--objective.corruption=Patches", "--epochs=1")
    copyfold("train", good, *tiny, *defects, "--run", tmp_path / "run").done()
    line = ("--score=RestorationError", "--out", tmp_path / "found.csv", "--marks", tmp_path / "marks")
    copyfold("outliers", tmp_path / "run", tmp_path / "thing" / "test", *FEW, *line).done()
    rows = table(tmp_path / "found.csv")
    assert [(row["path"], row["label"]) for row in rows[:3]] == [
        ("crack/000.png", "crack"),
        ("crack/001.png", "crack"),
        ("good/000.png", "good"),
    ]
    marked = {row["path"] for row in rows if float(row["marked"]) > 0}
    assert {str(path.relative_to(tmp_path / "marks")) for path in (tmp_path / "marks").rglob("*.png")} == marked


def test_neighbours_of_every_image_and_of_one(run, odd, copyfold, tmp_path):
    out = tmp_path / "found.csv"
    copyfold("similar", run, odd, "--count=2", "--out", out, "--grid=4").done()
    rows = table(out)
    assert len(rows) == 14
    assert all(row["path"] != row["neighbour"] for row in rows)
    said = copyfold("similar", run, odd, "--to", odd / "3.png", "--count=3", "--out", out).done()
    first = table(out)[0]
    assert first["neighbour"] == "3.png"
    assert float(first["distance"]) == pytest.approx(0, abs=1e-3)
    assert said.out[0].endswith("\t3.png")
    assert "3.png" in out.with_suffix(".html").read_text(encoding="utf-8")
    copyfold("similar", run, "--count=1", "--show=3", "--out", out).done()  # the run's own images
    assert out.with_suffix(".html").read_text(encoding="utf-8").count('class="row"') == 3


def test_wrong_options_of_similar_are_refused(run, odd, copyfold, tmp_path):
    line = ("similar", run, odd, "--out", tmp_path / "found.csv")
    copyfold(*line, "--count=0").refused(2, "--count 0 is invalid: expected at least 1")
    copyfold(*line, "--layer=encodr").refused(2, "has no layer 'encodr'")
    copyfold(*line, "--to", tmp_path / "none.png").refused(3, "none.png")


def test_duplicates_are_three_lists_and_nothing_is_deleted(run, odd, copyfold, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(odd, folder)
    shutil.copy(folder / "1.png", folder / "copy.png")
    Image.open(folder / "2.png").resize((30, 30)).save(folder / "small.jpg")
    names = sorted(folder.iterdir())
    out = tmp_path / "found.csv"
    for more in ((), ("--run", run)):
        said = copyfold("duplicates", folder, "--out", out, "--similar=4", "--near=0.12", *more).done()
        assert said.out[0].startswith("groups: exact 1, near ")
        rows = table(out)
        assert [row["path"] for row in rows if row["kind"] == "exact"] == ["1.png", "copy.png"]
        assert {"2.png", "small.jpg"} <= {row["path"] for row in rows if row["kind"] == "near"}
        alike = [float(row["distance"]) for row in rows if row["kind"] == "similar"]
        assert (0 if more else 2) <= len(alike) <= 8
        assert all(distance <= 0.6 for distance in alike)
        page = out.with_suffix(".html").read_text(encoding="utf-8")
        assert page.index("Exact (1)") < page.index("Near (") < page.index(f"Similar ({len(alike) // 2})")
    assert sorted(folder.iterdir()) == names


def test_wrong_options_of_duplicates_are_refused(copyfold, odd, tmp_path):
    copyfold("duplicates", odd, "--out", tmp_path / "a.json").refused(2, "expected a .csv or .parquet file")
    copyfold("duplicates", odd, "--near=3", "--out", tmp_path / "a.csv").refused(2, "--near 3 is invalid")
    copyfold("duplicates", tmp_path / "none", "--out", tmp_path / "a.csv").refused(3, "none")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "bad" / "b.png")
    copyfold("duplicates", tmp_path / "bad", "--out", tmp_path / "a.csv").refused(3, "a.png")
    copyfold("duplicates", tmp_path / "bad", "--skip-bad", "--out", tmp_path / "a.csv").done()
