"""Files that would wait, fill the memory or take hours: one line within seconds, whatever they claim."""

import io
import os
import signal

import numpy as np
import pytest
from PIL import Image

from copyfold.data import scenes

SECONDS = 20  # of a test, far above what it takes


@pytest.fixture(autouse=True)
def _in_time():
    """What waits for a pipe would never end."""

    def stop(*_: object) -> None:
        raise AssertionError("it waits for a file that is none")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with four photographs in images/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for k, pixels in enumerate(scenes(4, 16)):
        Image.fromarray(pixels).save(f"images/{k}.png")
    return tmp_path


def png(k=0):
    """The bytes of a small photograph."""
    file = io.BytesIO()
    Image.fromarray(scenes(k + 1, 8)[k]).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def table(here):
    """Four encoded photographs in table/a.parquet."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (here / "table").mkdir()
    parquet.write_table(pyarrow.table({"image": [png(k) for k in range(4)]}), "table/a.parquet")
    return here / "table"


# ---------------------------------------------------------------- pipes where files are expected


@pytest.mark.parametrize("name", ["pipe.npy", "pipe.npz", "pipe.png", "pipe.tif", "pipe.zip", "pipe.parquet"])
def test_masks_and_data_in_a_pipe_are_refused(name, here, copyfold):
    os.mkfifo(name)
    copyfold("train", "images", "--masks", name, "--run", "new").refused(3, name, "a pipe, a device or a socket")
    copyfold("data", name).refused(3, name, "a pipe, a device or a socket")


@pytest.mark.parametrize("name", ["pipe.png", "pipe.tif", "pipe.webp"])
def test_a_photograph_in_a_pipe_is_refused(name, here, run, copyfold):
    os.mkfifo(name)
    said = "a pipe, a device or a socket"
    copyfold("denoise", run, name).refused(3, name, said)
    copyfold("sample", run, "--sampler", "Walk", "--start", name).refused(3, name, said)


def test_a_photograph_to_restore_and_its_mask_in_a_pipe_are_refused(here, run, copyfold):
    os.mkfifo("pipe.png")
    words = ["restore", run, "--problem", "Inpaint", "--ascent.steps", "1"]
    Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save("mask.png")
    copyfold(*words, "pipe.png", "--mask", "mask.png").refused(3, "pipe.png", "a pipe")
    copyfold(*words, "images/0.png", "--mask", "pipe.png").refused(3, "pipe.png", "a pipe")


def test_a_readme_in_a_pipe_beside_parquet_says_nothing(here, table, copyfold):
    os.mkfifo("table/README.md")
    assert copyfold("data", "table").done().out


def test_a_report_in_a_pipe_says_nothing_in_the_card_of_a_run(here, copied, copyfold):
    os.mkfifo(copied / "report.json")
    copyfold("push", copied, "a/b", "--out", "shown").done()
    assert "What it learned" not in (here / "shown/README.md").read_text()


@pytest.mark.parametrize("name", ["link.png", "link.npy"])
def test_a_link_to_itself_is_no_file(name, here, run, copyfold):
    os.symlink(name, name)
    copyfold("denoise", run, name).refused(3, name)
    copyfold("embed", run, name).refused(3, name)
    copyfold("restore", run, name, "--problem", "Missing").refused(3, name)
