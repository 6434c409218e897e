"""Nothing that a file says opens another place: images that only a recipe names are not read unasked."""

import http.server
import shlex
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pyarrow import parquet

import copyfold as cf
from copyfold.data import scenes
from copyfold.data.reading.remembered import is_remembered, remember

TINY = ("--size=8", "--model=MLP", "--model.hidden=[4]", "--batch=8", "--precision=32")


@pytest.fixture
def folder(tmp_path):
    """Forty images."""
    place = tmp_path / "photos"
    place.mkdir()
    for k, pixels in enumerate(scenes(40, size=8, seed=2)):
        Image.fromarray(pixels).save(place / f"{k:02}.png")
    return place


@pytest.fixture
def mine(folder, tmp_path, copyfold):
    """A run that this user trained."""
    copyfold("train", folder, *TINY, "--epochs=1", "--run", tmp_path / "mine", "--no-pictures").done()
    return tmp_path / "mine"


@pytest.fixture
def downloaded(mine, tmp_path, monkeypatch):
    """The same run for another user, whose cache knows nothing of it."""
    monkeypatch.setenv("COPYFOLD_CACHE", str(tmp_path / "another's cache"))
    return mine


def rename(run, data):
    """Have a recipe name other images."""
    path = run / "recipe.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"data": data}))


def lines(run, out):
    """Every command that may read a run's own images."""
    return {
        "report": ("report", run, "--out", out / "report.html"),
        "probe": ("probe", run, "--probe=CodeStatistics", "--out", out),
        "nearest": ("probe", run, "--probe=Nearest", "--out", out),
        "embed": ("embed", run, "--out", out / "codes.parquet"),
        "sample": ("sample", run, "--sampler=Walk", "--sampler.steps=2", "--out", out / "a.png"),
        "fitted": ("sample", run, "--sampler=FittedGaussian", "--out", out / "a.png"),
        "resume": ("train", "--run", run, "--resume", "--epochs=2", "--no-pictures"),
        "again": ("train", "--config", run / "recipe.yaml", "--run", out / "again", "--no-pictures"),
    }


def test_the_images_of_one_s_own_run_are_read(mine, tmp_path, copyfold):
    for line in lines(mine, tmp_path / "out").values():
        copyfold(*line).done()
    link = tmp_path / "link"
    link.symlink_to(mine)
    copyfold("probe", link, "--probe=CodeStatistics", "--out", tmp_path).done()
    cf.fit(cf.MLP((3, 8, 8), (4,), 2), None, cf.Photos(tmp_path / "photos", 8), tmp_path / "b", epochs=1)
    copyfold("embed", tmp_path / "b", "--out", tmp_path / "b.parquet").done()


@pytest.mark.parametrize("name", lines(Path(), Path()))
def test_those_of_a_downloaded_run_are_read_where_they_are_repeated(name, downloaded, folder, tmp_path, copyfold):
    line = lines(downloaded, tmp_path / "out")[name]
    said = copyfold(*line).refused(2, str(downloaded / "recipe.yaml"), repr(str(folder)))
    command = shlex.split(said[said.index("copyfold ", 10) :])
    assert command[:2] == ["copyfold", line[0]]
    assert command[-1] == str(folder)
    assert not (tmp_path / "out").exists()
    copyfold(*command[1:]).done()


def test_repeating_the_images_measures_those_held_out(downloaded, folder, tmp_path, copyfold):
    copyfold("embed", downloaded, folder, "--out", tmp_path / "own.parquet").done()
    assert parquet.read_table(tmp_path / "own.parquet")["split"].to_pylist().count("held_out") == 4
    copyfold("embed", downloaded, folder, "--limit=9", "--out", tmp_path / "some.parquet").done()
    assert "split" not in parquet.read_table(tmp_path / "some.parquet").column_names


def test_other_images_than_its_own_are_measured_without_opening_those(downloaded, folder, tmp_path, copyfold):
    other = shutil.copytree(folder, tmp_path / "other")
    shutil.rmtree(folder)
    said = copyfold("probe", downloaded, other, "--probe=Nearest", "--count=8", "--out", tmp_path).done()
    assert any("compared with 32 other images of DATA" in line for line in said.err), said.err
    copyfold("probe", downloaded, other, "--probe=Nearest", "--count=40").refused(2, "a smaller --count")
    copyfold("report", downloaded, other).done()


def test_a_moved_run_or_an_exchanged_link_is_asked_for_again(mine, folder, tmp_path, copyfold):
    (tmp_path / "link").symlink_to(folder)
    copyfold("train", tmp_path / "link", *TINY, "--epochs=1", "--run", tmp_path / "b", "--no-pictures").done()
    probe = ("--probe=CodeStatistics", "--out", tmp_path)
    copyfold("probe", tmp_path / "b", *probe).done()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(shutil.copytree(folder, tmp_path / "elsewhere"))
    copyfold("probe", tmp_path / "b", *probe).refused(2, f"copyfold probe {tmp_path / 'b'}")
    moved = mine.rename(tmp_path / "moved")
    copyfold("probe", moved, *probe).refused(2, f"copyfold probe {moved}")
    copyfold("train", folder, "--run", moved, "--resume", "--no-pictures").done()  # finished already
    copyfold("probe", moved, *probe).done()  # as trained there


@pytest.mark.parametrize("name", ["report", "nearest", "embed", "sample", "resume", "again"])
def test_no_file_causes_a_call(name, mine, tmp_path, copyfold, monkeypatch):
    """Not even of one's own run, whose recipe may have been changed since."""
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_POST = do_GET

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        rename(mine, "hf://evil/tracker")
        remember(mine, {"data": "hf://evil/tracker"})  # which is not done: only places on this machine are noted
        line = lines(mine, tmp_path / "out")[name]
        copyfold(*line).refused(2, "hf://evil/tracker", "a file from others may name any place")
        server.shutdown()
    assert not asked


@pytest.mark.parametrize(
    "data",
    ["--import=evil.py", "relative/photos", "an array in memory", 123, ["a", "b"], "/a\x1b[2Jb", "~nobody/x"],
)
def test_what_is_no_place_is_not_repeated(data, mine, tmp_path, copyfold):
    rename(mine, data)
    said = copyfold("embed", mine, "--out", tmp_path / "a.parquet").refused(2, "give the images yourself")
    assert said.endswith(f"copyfold embed {mine} --out {tmp_path / 'a.parquet'} DATA")
    assert "\x1b" not in said


def test_a_recipe_from_anywhere_is_asked_about_and_overridden(mine, folder, tmp_path, copyfold):
    other = tmp_path / "other.yaml"
    shutil.copy(mine / "recipe.yaml", other)
    line = ("train", "--config", other, "--run", tmp_path / "b", "--no-pictures")
    copyfold(*line).refused(2, str(other), f"--no-pictures {folder}")
    copyfold(*line, folder).done()
    copyfold("train", "--config", mine, "--run", tmp_path / "c", "--no-pictures").done()  # the run's folder
    copyfold("train", "--config", other, "--config", mine / "recipe.yaml", "--run", tmp_path / "d").done()
    copyfold("train", "--config", mine / "recipe.yaml", "--config", other, "--run", tmp_path / "e").refused(
        2, str(other)
    )
    other.write_text(yaml.safe_dump(yaml.safe_load(other.read_text()) | {"data": None, "limit": 20}))
    copyfold("train", "--config", other, "--run", tmp_path / "f", "--no-pictures").done()  # the digits


def test_the_command_that_is_named_has_the_imports_too(downloaded, folder, tmp_path, copyfold):
    (tmp_path / "my_things.py").write_text("import copyfold as cf\n\nclass Mine(cf.Linear):\n    '''Mine.'''\n")
    line = ("embed", downloaded, "--import", tmp_path / "my_things.py")
    copyfold(*line).refused(2, f"copyfold embed {downloaded} --import {tmp_path / 'my_things.py'} {folder}")


def test_a_note_is_of_a_run_and_its_images(tmp_path, monkeypatch):
    run, other = tmp_path / "run", tmp_path / "other"
    for data in (None, 3, "hf://a/b", "relative", "an array in memory"):
        remember(run, {"data": data})
        assert not is_remembered(run, data)
    remember(run, {"data": "/some/where"})
    assert is_remembered(run, "/some/where")
    assert not is_remembered(other, "/some/where")
    assert not is_remembered(run, "/some/where/else")
    assert not is_remembered(run, "/etc\0")
    monkeypatch.setattr("os.getuid", lambda: 12345)  # another user wrote the note, into a shared cache
    assert not is_remembered(run, "/some/where")


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COPYFOLD_CACHE", str(tmp_path / "file"))
    remember(tmp_path, {"data": "/some/where"})
    assert not is_remembered(tmp_path, "/some/where")


def test_masks_that_only_a_recipe_names_are_not_opened(folder, tmp_path, copyfold, monkeypatch):
    scans, masks, run = tmp_path / "scans.npy", tmp_path / "masks.npy", tmp_path / "masked"
    np.save(scans, scenes(40, size=8, seed=2))
    np.save(masks, np.ones((40, 8, 8), bool))
    line = ("train", scans, *TINY, "--epochs=1", "--objective.fidelity=Observed", "--no-pictures", "--run", run)
    copyfold(*line, "--masks", masks).done()
    embed = ("embed", run, "--out", tmp_path / "codes.parquet")
    copyfold(*embed).done()
    monkeypatch.setenv("COPYFOLD_CACHE", str(tmp_path / "another's cache"))
    copyfold(*embed).refused(2, "names the images")
    said = copyfold(*embed[:2], scans, *embed[2:]).refused(2, f"names the masks '{masks}'", f"--masks {masks}")
    copyfold(*shlex.split(said[said.index("copyfold embed") :])[1:]).done()  # as it says
    split = parquet.read_table(tmp_path / "codes.parquet")["split"].to_pylist()
    assert (split.count("train"), split.count("held_out")) == (36, 4)  # they are the run's own
    again = ("train", "--config", run / "recipe.yaml", scans, "--run", tmp_path / "new")
    copyfold(*again).refused(2, f"name them, copyfold {' '.join(map(str, again))} --masks {masks}")


def test_options_repeated_as_in_training_leave_the_images_the_run_s_own(tmp_path, copyfold, monkeypatch):
    values = (scenes(40, size=8, seed=2)[..., :2].astype(np.int16) - 100) * 7
    np.save(tmp_path / "scans.npy", values)
    read = ("--layout", "NHWC", "--range", "-700", "1085", "--fit", "pad")
    line = ("train", tmp_path / "scans.npy", *TINY[1:], *read, "--size=8x10", "--epochs=1", "--no-pictures")
    copyfold(*line, "--run", tmp_path / "r").done()
    embed = ("embed", tmp_path / "r", tmp_path / "scans.npy", "--out", tmp_path / "codes.parquet")
    copyfold(*embed).done()  # the layout is that of training
    monkeypatch.setenv("COPYFOLD_CACHE", str(tmp_path / "another's cache"))
    for more, own in (((), True), (read, True), (("--range", "-700", "2000"), False)):
        copyfold(*embed, *more).done()
        assert ("split" in parquet.read_table(tmp_path / "codes.parquet").column_names) is own
