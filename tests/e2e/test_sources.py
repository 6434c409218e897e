"""Sources as people have them, from the command line: a .zip, a table of several columns, a folder of a phone."""

import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from copyfold.data import scenes


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An image cache of its own."""
    monkeypatch.setenv("COPYFOLD_CACHE", str(tmp_path / "cache"))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_zip_is_trained_on_and_reported(tiny, tmp_path, copyfold):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        for k, pixels in enumerate(scenes(30, 16)):
            part = "Training" if k < 24 else "Testing"
            file.writestr(f"set/{part}/{'ab'[k % 2]}/{k}.png", png(pixels))
        file.writestr("__MACOSX/._set", b"")
    said = copyfold("data", tmp_path / "photos.zip").done().out
    assert said[0] == f"{tmp_path / 'photos.zip'}: zip of images, 30 images"
    assert said[1] == "splits: Training 24 (trained on), Testing 6 (held out)"
    assert said[2] == "2 classes: a 15, b 15"
    words = said[-1].removeprefix("to train on it: copyfold ").split()
    copyfold(*words, *tiny, "--epochs=1", "--run", tmp_path / "run", "--no-pictures").done()
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert (data["train"], data["held_out"]) == (24, 6)
    copyfold("embed", tmp_path / "run", tmp_path / "photos.zip", "--out", tmp_path / "codes.parquet").done()
    assert parquet.read_table(tmp_path / "codes.parquet").num_rows == 30


def test_a_column_is_chosen_and_kept_in_the_recipe(tiny, tmp_path, copyfold):
    grey = [png(pixels[..., 0]) for pixels in scenes(20, 16, seed=1)]
    table = pa.table({"before": [png(pixels) for pixels in scenes(20, 16)], "after": grey})
    parquet.write_table(table, tmp_path / "pairs.parquet")
    said = copyfold("data", tmp_path / "pairs.parquet").done().out
    assert "the column before is read, and not the column after (column=, --column)" in said
    said = copyfold("data", tmp_path / "pairs.parquet", "--column=after").done().out
    assert "modes: L 20" in said
    assert said[-1].endswith("pairs.parquet --column after")
    line = (
        "train",
        tmp_path / "pairs.parquet",
        "--column=after",
        *tiny,
        "--run",
        tmp_path / "run",
        "--no-pictures",
    )
    copyfold(*line, "--epochs=1").done()
    again = ("train", f"--config={tmp_path / 'run' / 'recipe.yaml'}", "--run", tmp_path / "again", "--no-pictures")
    copyfold(*again).done()
    records = [json.loads((tmp_path / name / "data.json").read_text()) for name in ("run", "again")]
    assert records[0]["fingerprint"] == records[1]["fingerprint"]
    copyfold("probe", tmp_path / "run", "--probe=Nearest").done()  # the run's own images, of that column
    given = copyfold("probe", tmp_path / "run", tmp_path / "pairs.parquet", "--probe=IdentityGap").done()
    assert not any("the column before is read" in line for line in given.err)  # named again, of that column too
    copyfold(*line, "--epochs=1", "--overwrite", "--stream").done()
    copyfold("data", tmp_path / "pairs.parquet", "--column=afer").refused(
        2, "no column 'afer'", "did you mean after?"
    )


def test_what_is_not_read_is_said_in_training(pictures_of_a_phone, tiny, tmp_path, copyfold):
    line = ("train", pictures_of_a_phone, *tiny, "--epochs=1", "--run", tmp_path / "run", "--no-pictures")
    said = "\n".join(copyfold(*line).done().err)
    assert "12 files are not read: 12 .heic; convert .heic to one of PNG, JPEG" in said
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert any("12 .heic" in note for note in data["notes"])


@pytest.fixture
def pictures_of_a_phone(tmp_path):
    """Twenty photographs, and twelve that are not read."""
    folder = tmp_path / "phone"
    folder.mkdir()
    for k, pixels in enumerate(scenes(20, 16)):
        Image.fromarray(pixels).save(folder / f"IMG_{k}.jpg")
    for k in range(12):
        (folder / f"IMG_{k}.HEIC").write_bytes(b"whatever")
    return folder
