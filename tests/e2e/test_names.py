"""Every command takes names that are no UTF-8, and writes them to any stdout and stderr."""

import io
import os
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from pyarrow import parquet

import copyfold as cf
from copyfold import runs
from copyfold.cli import main
from copyfold.data import scenes
from copyfold.data.reading.remembered import remember
from copyfold.files import unescaped

SMALL = ("--size=16", "--model=MLP", "--precision=32", "--epochs=1", "--no-pictures")


def odd(name: bytes) -> str:
    """A name of a file as Python has it."""
    return os.fsdecode(name)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-eight photographs in two classes; names in Latin-1, as an old archive has them."""
    folder = tmp_path_factory.mktemp("names") / odd(b"caf\xe9")
    for k, pixels in enumerate(scenes(48, 16)):
        place = folder / (odd(b"stra\xdfe") if k % 2 else "meer")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / odd(b"bild\xfc%02d.png" % k), "PNG")
    return folder


@pytest.fixture(scope="module")
def trained(pictures, copyfold, tmp_path_factory):
    """A run on them, in a folder with such a name."""
    folder = tmp_path_factory.mktemp("runs") / odd(b"lauf\xe9")
    line = (
        "--size=16",
        "--model=MLP",
        "--model.hidden=[4]",
        "--precision=32",
        "--epochs=1",
        "--no-pictures",
        "--run",
        folder,
    )
    said = copyfold("train", pictures, *line).done()
    assert said.out[0] == str(folder)
    return folder


@pytest.fixture
def named(trained):
    """The run, with the note that this user trained it, which each test's own cache lacks."""
    remember(trained, runs.open(trained).recipe)
    return trained


def test_a_run_is_trained_resumed_and_repeated(named, pictures, tmp_path, copyfold):
    assert cf.load(named).shape == (3, 16, 16)
    recipe = yaml.safe_load((named / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["data"] == str(pictures)
    copyfold("train", "--run", named, "--resume", "--epochs=2", "--no-pictures").done()
    again = ("--config", named / "recipe.yaml", "--no-pictures", "--run", tmp_path / odd(b"zwei\xe9"))
    copyfold("train", *again).done()
    assert "stra\\xdfe" in (named / "data.json").read_text(encoding="utf-8").replace("\\\\", "\\")


def test_photographs_are_denoised_into_their_names(named, pictures, tmp_path, copyfold):
    said = copyfold("denoise", named, pictures, "--out", tmp_path / odd(b"aus\xe9")).done()
    made = sorted(p.name for p in (tmp_path / odd(b"aus\xe9")).rglob("*.png"))
    assert made == sorted(p.name for p in pictures.rglob("*.png"))
    assert len(said.out) == 48


@pytest.mark.parametrize("given", [True, False])
def test_paths_in_the_table_of_codes_lead_back_to_the_files(given, named, pictures, tmp_path, copyfold):
    out = tmp_path / odd(b"\xe9") / "codes.parquet"
    copyfold("embed", named, *[pictures] * given, "--out", out).done()
    with out.open("rb") as file:
        paths = parquet.read_table(file).column("path").to_pylist()
    assert "stra\\xdfe/bild\\xfc01.png" in paths
    assert {pictures / unescaped(path) for path in paths} == set(pictures.rglob("*.png"))


@pytest.mark.parametrize("suffix", ["png", "gif", "mp4"])
def test_samples_are_written(suffix, named, tmp_path, copyfold):
    out = tmp_path / odd(b"\xe9") / odd(b"film\xe9." + suffix.encode())
    copyfold("sample", named, "--sampler.steps=2", "--out", out).done()
    assert out.stat().st_size > 100


def test_a_report_and_a_comparison_are_written(named, pictures, tmp_path, copyfold):
    said = copyfold("report", named).done()
    assert "report.html" in said.out[-2]
    text = (named / "report.html").read_text(encoding="utf-8")
    assert "stra\\xdfe" in text or "lauf\\xe9" in text
    second = tmp_path / odd(b"zwei\xe9")
    copyfold(
        "train", pictures, "--size=16", "--model=MLP", "--model.hidden=[6]", "--epochs=1", "--run", second
    ).done()
    said = copyfold("compare", named, second, "--out", tmp_path / odd(b"\xe9")).done()
    for path in said.out[-2:]:
        assert "lauf\\xe9" in Path(path).read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_any_stdout_takes_any_name(encoding, pictures, monkeypatch):
    broken = pictures / "meer" / odd("日".encode() + b"\xe9.png")
    broken.write_bytes(b"broken")
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, "strict") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    try:
        codes = [main(["data", str(pictures)]), main(["data", str(pictures / odd(b"nichts\xe9"))])]
    finally:
        broken.unlink()
    assert codes == [0, 3]
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue() for stream in streams)
    assert os.fsencode(f"meer/{broken.name} is not an image") in out
    assert b"nichts\\xe9" in err
