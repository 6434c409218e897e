"""Runs beside each other: what differs, what came of them, and what makes that hard to compare."""

import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
import torch

import copyfold as cf
from copyfold.data import scenes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three runs on images that are not there any more: of two widths, and solved."""
    folder = tmp_path_factory.mktemp("runs")
    np.save(folder / "images.npy", scenes(80, size=8, channels=1, seed=3))
    photos = cf.Photos(folder / "images.npy", 8)
    for width in (8, 16):
        torch.manual_seed(width)
        model = cf.MLP(photos.shape, hidden=(width,), latent_dim=4)
        cf.fit(model, cf.Classical(), photos, folder / f"mlp{width}", epochs=2, batch=9, precision="32")
    cf.fit(cf.Linear(photos.shape, 4), photos=photos, run=folder / "pca", solve=True)
    x, mean = photos.images("held_out"), photos.images("train").mean(0)
    (folder / "images.npy").unlink()
    return folder, (x - mean).square().mean().item(), x


def named(trained, *names):
    return [trained[0] / name for name in names]


def test_the_settings_that_differ_are_there_and_no_other(trained):
    found = cf.compare(named(trained, "mlp8", "mlp16"))
    numbers = ["left", "psnr", "seconds", "step", "parameters"]
    assert [list(row) for row in found.rows] == [["run", *numbers, "model.hidden"]] * 2
    assert [(row["run"], row["model.hidden"]) for row in found.rows] == [("mlp8", "[8]"), ("mlp16", "[16]")]
    assert not found.notes


def test_other_classes_are_said_with_the_options_that_are_not_their_defaults(trained):
    rows = cf.compare(named(trained, "mlp8", "pca")).rows
    assert [row["model"] for row in rows] == ["MLP(hidden=[8], latent_dim=4)", "Linear(latent_dim=4)"]
    assert [row["solve"] for row in rows] == [False, True]
    assert not [name for row in rows for name in row if name.startswith("model.")]


def test_the_numbers_are_those_of_the_models_at_the_end(trained):
    folder, mean_error, x = trained
    for row in cf.compare(named(trained, "mlp8", "mlp16", "pca")).rows:
        run = cf.runs.open(folder / row["run"])
        with torch.no_grad():
            error = (run.model(x) - x).square().flatten(1).mean(1)
        assert row["left"] == pytest.approx(100 * error.mean().item() / mean_error, rel=1e-4)
        assert row["psnr"] == pytest.approx(-10 * error.log10().mean().item(), rel=1e-4)
        assert row["parameters"] == sum(p.numel() for p in run.model.parameters())
        assert (row["step"], row["seconds"]) == (run.history[-1]["step"], run.history[-1]["seconds"])


def test_a_run_without_the_error_of_the_mean_image_has_no_left(trained, tmp_path):
    old = shutil.copytree(trained[0] / "mlp8", tmp_path / "old")
    data = json.loads((old / "data.json").read_text())
    del data["mean_error"], data["held_out_digest"]
    (old / "data.json").write_text(json.dumps(data))
    found = cf.compare([old, trained[0] / "mlp16"])
    assert found.rows[0]["left"] is None
    assert found.rows[1]["left"] > 0
    assert found.table[1][1] == "-"
    assert not found.notes  # the fingerprint says that the images are the same


def test_a_setting_that_an_older_recipe_does_not_have_is_one_that_is_not_set(trained, tmp_path):
    old = shutil.copytree(trained[0] / "mlp8", tmp_path / "old")
    run = cf.runs.open(old)
    run.write_recipe({name: value for name, value in run.recipe.items() if value is not None})
    assert list(cf.compare([old, trained[0] / "mlp8"]).rows[0])[-1] == "parameters"


def test_runs_of_other_images_and_corruptions_are_said_to_be_so(trained, tmp_path):
    photos = cf.Photos(scenes(40, size=8, channels=1, seed=4), 8)
    cf.fit(cf.Linear(photos.shape, 4), cf.Classical(cf.Gaussian(0.1)), photos, tmp_path / "other", epochs=1)
    notes = cf.compare([trained[0] / "mlp8", tmp_path / "other"]).notes
    assert [note.partition(":")[0].partition(",")[0] for note in notes] == [
        "The numbers are of different images",
        "The runs corrupt their images differently",
    ]
    machine = json.loads((tmp_path / "other" / "env.json").read_text()) | {"device": "another"}
    (tmp_path / "other" / "env.json").write_text(json.dumps(machine))
    assert "another" in cf.compare([trained[0] / "mlp8", tmp_path / "other"]).notes[-1]


@pytest.fixture(scope="module")
def sized(tmp_path_factory):
    """Runs on one set of images: of two sizes, of the first with padding, of another seed, and of a copy of it."""
    folder, pixels = tmp_path_factory.mktemp("sized"), scenes(40, size=16, channels=1, seed=3)
    for name in ("images", "copy"):
        np.save(folder / f"{name}.npy", pixels[:, 4:])
    for name, file, size, options in (
        ("small", "images", 8, {}), ("large", "images", 16, {}), ("padded", "images", 8, {"fit": "pad"}),
        ("drawn", "images", 8, {"seed": 1}), ("moved", "copy", 8, {}), ("moved16", "copy", 16, {}),
    ):  # fmt: skip
        photos = cf.Photos(folder / f"{file}.npy", size, **options)
        cf.fit(cf.Linear(photos.shape, 2), photos=photos, run=folder / name, solve=True)
    return folder


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            "small",
            "large",
            "runs hold out the same images at different sizes (8x8, 16x16): PSNR does not",
        ),
        (
            "small",
            "padded",
            "runs hold out the same images with different options (fit): PSNR does not",
        ),
        (
            "large",
            "padded",
            "images at different sizes (16x16, 8x8) and with different options (fit): PSNR does not",
        ),
        ("small", "drawn", "The numbers are of different images: the runs do not hold out the same ones"),
        ("small", "moved", None),
        (
            "small",
            "moved16",
            "The numbers may be of different images: nothing says that the runs hold out",
        ),
    ],
)
def test_held_out_images_are_compared_by_what_they_are_and_not_by_their_size(sized, one, other, said):
    notes = cf.compare([sized / one, sized / other]).notes
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]


def test_runs_that_do_not_say_which_images_were_chosen_may_hold_out_others(sized, tmp_path):
    old = [shutil.copytree(sized / name, tmp_path / name) for name in ("small", "large")]
    for run in old:
        data = json.loads((run / "data.json").read_text())
        del data["selection"]
        (run / "data.json").write_text(json.dumps(data))
    assert cf.compare(old).notes[0].startswith("The numbers may be of different images")
    (old[0] / "data.json").write_text('{"shape": 3, "options": [], "selection": {}}')
    assert cf.compare(old).notes[0].startswith("The numbers may be of different images")


def test_the_parameters_of_a_class_that_is_not_known_here_are_those_that_its_readme_says(trained, tmp_path):
    unknown = shutil.copytree(trained[0] / "mlp8", tmp_path / "unknown")
    config = json.loads((unknown / "model" / "config.json").read_text())
    (unknown / "model" / "config.json").write_text(json.dumps(config | {"architecture": "Tiny", "module": "mine"}))
    first, second = cf.compare([unknown, trained[0] / "mlp8"]).rows
    assert first["parameters"] == second["parameters"] > 100
    (unknown / "model" / "README.md").unlink()
    assert cf.compare([unknown, trained[0] / "mlp8"]).rows[0]["parameters"] is None


def test_the_page_and_the_table_are_saved_and_need_no_other_file(trained, tmp_path):
    found = cf.compare(named(trained, "mlp8", "mlp16", "pca"))
    page, table = found.save(tmp_path / "out")
    html = page.read_text()
    assert html == found.html
    assert found._repr_html_().startswith('<iframe srcdoc="&lt;!doctype html')
    assert len(re.findall("<tr>", html)) == 4
    assert "MLP(hidden=[8], latent_dim=4)" in html
    assert re.findall(r'src="(data:image/png;base64,iVBOR)', html)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["run"] for row in rows] == ["mlp8", "mlp16", "pca"]
    assert [float(row["left"]) for row in rows] == [row["left"] for row in found.rows]
    assert rows[2]["epochs"] == ""


def test_the_figure_has_a_curve_of_every_run_against_seconds_and_steps(trained):
    found = cf.compare(named(trained, "mlp8", "mlp16", "pca"))
    for axes, column in zip(found.figure.axes, ("seconds", "step"), strict=True):
        assert axes.get_yscale() == "log"
        lines = {line.get_label(): line for line in axes.get_lines()}
        for name, line in lines.items():
            x, y = cf.runs.open(trained[0] / name).series("held_out_mse", column)
            assert (list(line.get_xdata()), list(line.get_ydata())) == (x, y)
        assert list(lines) == ["mlp8", "mlp16", "pca"]


def test_runs_of_one_name_are_told_apart_by_their_paths(trained, tmp_path):
    other = shutil.copytree(trained[0] / "mlp8", tmp_path / "mlp8")
    rows = cf.compare([trained[0] / "mlp8", other]).rows
    assert [row["run"] for row in rows] == [str(trained[0] / "mlp8"), str(other)]


@pytest.mark.parametrize("recipe", ["model: MLP\nlr: {a: 1}\n", "{model: {class_path: [1], init_args: 2}, 1: 2}"])
def test_a_recipe_that_was_edited_by_hand_is_shown_as_it_is(trained, tmp_path, recipe):
    edited = shutil.copytree(trained[0] / "mlp8", tmp_path / "edited")
    (edited / "recipe.yaml").write_text(recipe)
    found = cf.compare([trained[0] / "mlp8", edited])
    assert [row["parameters"] for row in found.rows] == [found.rows[0]["parameters"]] * 2
    assert {"run", "model", "objective"} <= set(found.rows[0])


def test_what_cannot_be_compared_is_refused_in_one_line(trained, tmp_path):
    run = trained[0] / "mlp8"
    for given, message in (
        ([run], "nothing to compare 1 run with: give at least 2"),
        (str(run), "nothing to compare 1 run with"),
        ([run, trained[0] / "." / "mlp8"], "is given twice"),
        ([tmp_path, tmp_path / "no"], "is not a run"),
    ):
        with pytest.raises(cf.UsageError, match=message):
            cf.compare(given)
    (tmp_path / "file").write_text("")
    with pytest.raises(cf.UsageError, match="is a file: expected a folder"):
        cf.compare(named(trained, "mlp8", "pca")).save(tmp_path / "file")
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "data.json").write_text("[")
    with pytest.raises(cf.UsageError, match=r"data\.json cannot be read"):
        cf.compare([broken, tmp_path])


def test_what_is_no_run_is_left_out_and_said(trained, tmp_path):
    broken = shutil.copytree(trained[0] / "mlp8", tmp_path / "broken")
    (broken / "data.json").write_text("[")
    (tmp_path / "notes.txt").write_text("")
    others = [tmp_path / "notes.txt", broken]
    found = cf.compare([others[0], *named(trained, "mlp8", "pca"), others[1]])
    usual = cf.compare(named(trained, "mlp8", "pca"))
    assert found.rows == usual.rows
    said = [f"Left out: {others[0]} is not a run: there is no recipe.yaml in it."]
    assert found.notes[:1] == said
    assert "broken/data.json cannot be read" in found.notes[1]
    assert list(found.notes[2:]) == list(usual.notes)
    assert len(cf.compare([trained[0] / "mlp8", tmp_path]).rows) == 1


def test_the_error_of_the_mean_image_is_written_once_a_run_begins(trained):
    folder, mean_error, _ = trained
    datas = [cf.runs.open(folder / name).data for name in ("mlp8", "mlp16", "pca")]
    assert [data["mean_error"] for data in datas] == [pytest.approx(mean_error, rel=1e-5)] * 3
    assert len({data["held_out_digest"] for data in datas}) == 1
