"""`copyfold embed`: a table of codes that is read back, and refused arguments."""

import os
import shutil

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

import copyfold as cf
from copyfold.data import scenes, writing
from copyfold.data.writing import write_parquet
from copyfold.models.base import flat


@pytest.fixture
def labelled(tmp_path):
    """Ten larger photographs with labels, as a data set in parquet; two of the labels are missing."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    columns = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["sea", "land"])}
    labels = [0, 1, 1, 0, None, 1, 0, 1, None, 1]
    images = [Image.fromarray(pixels) for pixels in scenes(10, 40)]
    table = datasets.Dataset.from_dict({"image": images, "label": labels}, features=datasets.Features(columns))
    table.to_parquet(str(folder / "train.parquet"))
    return folder


def rows(table):
    """What is in the table, its codes as an array."""
    found = parquet.read_table(table).to_pydict()
    return found | {"code": np.array(found["code"], np.float32), "error": np.array(found["error"], np.float32)}


def test_the_images_of_the_run_are_embedded(run, photos, tmp_path, copyfold):
    out = tmp_path / "new" / "codes.parquet"
    said = copyfold("embed", run, "--out", out, "--batch=16").done()
    assert said.out == [str(out)]
    assert any("40 codes of 256 numbers: a table of at most 41.0 kB" in line for line in said.err), said.err
    assert any("scaled to 16x16" in line for line in said.err)
    found, data, model = rows(out), cf.Photos(photos, 16), cf.load(run)
    assert list(found) == ["path", "split", "code", "error"]
    assert found["path"] == data.names + data.held_out_names
    assert found["split"] == ["train"] * 36 + ["held_out"] * 4
    x = torch.cat((data.images(), data.images("held_out")))
    with torch.no_grad(), model.using("running"):
        codes, again = flat(model.encode(x)).numpy(), model(x)
    np.testing.assert_allclose(found["code"], codes, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["error"], (again - x).square().mean((1, 2, 3)), rtol=1e-4)
    assert os.listdir(out.parent) == ["codes.parquet"]


def test_batch_statistics_change_the_codes(run, tmp_path, copyfold):
    tables = [tmp_path / f"{statistics}.parquet" for statistics in ("running", "batch")]
    for table in tables:
        copyfold("embed", run, "--out", table, "--statistics", table.stem, "--batch=8").done()
    one, other = (rows(table) for table in tables)
    assert one["path"] == other["path"]
    assert np.abs(one["code"] - other["code"]).max() > 0.01


def test_other_images_have_labels_and_no_split(run, labelled, tmp_path, copyfold):
    out = tmp_path / "codes.parquet"
    said = copyfold("embed", run, labelled, "--out", out).done()
    assert not any("held out" in line or "train" in line for line in said.err), said.err
    table = datasets.load_dataset("parquet", data_files=str(out), cache_dir=str(tmp_path / "copy"))["train"]
    assert table.column_names == ["path", "label", "code", "error"]
    assert table.features["label"].names == ["sea", "land"]
    assert len(table) == 10
    data = cf.Photos(labelled, 16, whole=True)
    known = dict(zip(data.names, data.labels, strict=True))
    assert [row["path"] for row in table] == data.names
    assert {row["path"]: row["label"] for row in table} == known
    assert sorted(known.values()) == [-1, -1, 0, 0, 0, 1, 1, 1, 1, 1]


def test_a_code_of_several_maps_is_one_list(copied, labelled, tmp_path, copyfold):
    torch.manual_seed(1)
    model = cf.UNet((3, 16, 16), width=4, depth=2, skips="concat", norm="none")
    model.save(copied / "model")
    out = tmp_path / "codes.parquet"
    copyfold("embed", copied, labelled, "--out", out, "--limit=4").done()
    found = rows(out)
    taken = cf.Photos(labelled, 16, limit=4, whole=True)
    z = model.eval().encode(taken.images())  # without a batch norm
    assert isinstance(z, tuple)
    np.testing.assert_allclose(found["code"], flat(z).detach(), rtol=1e-4, atol=1e-5)
    assert found["code"].shape[1] == sum(m[0].numel() for m in z)


def test_one_image_is_one_row(run, tmp_path, copyfold):
    np.save(tmp_path / "one.npy", np.stack(list(scenes(1, 16))))
    out = tmp_path / "codes.parquet"
    copyfold("embed", run, tmp_path / "one.npy", "--layout=NHWC", "--out", out).done()
    assert len(rows(out)["path"]) == 1


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--out=codes.csv", 2, ("codes.csv", ".parquet file")),
        ("--batch=0", 2, ("--batch 0", "at least 1")),
        ("--statistics=both", 2, ("--statistics", "both")),
        ("no/such/folder", 3, ("no folder or file", "no/such/folder")),
    ],
)
def test_usage_errors_of_embed_are_one_line(options, code, words, run, tmp_path, monkeypatch, copyfold):
    monkeypatch.chdir(tmp_path)
    copyfold("embed", run, *options.split()).refused(code, *words)
    assert not os.listdir(tmp_path)


def test_grey_images_are_converted_for_a_colour_model(run, tmp_path, copyfold):
    np.save(tmp_path / "grey.npy", np.zeros((4, 16, 16), np.uint8))
    out = tmp_path / "codes.parquet"
    copyfold("embed", run, tmp_path / "grey.npy", "--out", out).done()
    with torch.no_grad(), (model := cf.load(run)).using("running"):
        code = flat(model.encode(torch.zeros(1, 3, 16, 16)))
    np.testing.assert_allclose(rows(out)["code"], code.expand(4, -1), rtol=1e-4, atol=1e-5)


def test_a_folder_that_is_no_run_and_a_table_inside_the_data_are_refused(
    run, photos, labelled, tmp_path, copyfold
):
    copyfold("embed", tmp_path).refused(2, "is not a run")
    copyfold("embed", run, "--out", photos / "sub" / "codes.parquet").refused(2, "would be read as data")
    table = labelled / "train.parquet"
    before = table.read_bytes()
    copyfold("embed", run, table, "--out", table).refused(2, "inside the data", "another folder")
    assert table.read_bytes() == before


def test_a_table_too_large_for_the_disk_is_refused_before_encoding(run, photos, tmp_path, monkeypatch, copyfold):
    free = shutil.disk_usage(tmp_path)._replace(free=2**27 + 20_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    out = tmp_path / "codes.parquet"
    copyfold("embed", run, "--out", out).refused(1, "may need up to 41.0 kB", "room for 20.0 kB", "--limit")
    assert not os.listdir(tmp_path)
    copyfold("embed", run, photos, "--out", out, "--limit=6").done()  # 6 codes of 1 kB


def test_an_interrupted_table_keeps_the_former_one(run, tmp_path, monkeypatch, copyfold):
    out = tmp_path / "codes.parquet"
    out.write_bytes(b"former")
    seen, images = [], cf.Photos.images

    def failing(self, *arguments):
        seen.append(arguments)
        if len(seen) == 3:
            raise MemoryError
        return images(self, *arguments)

    monkeypatch.setattr(cf.Photos, "images", failing)
    copyfold("embed", run, "--out", out, "--batch=8").refused(1, "not enough memory")
    assert out.read_bytes() == b"former"
    assert os.listdir(tmp_path) == ["codes.parquet"]


def test_rows_are_written_batch_by_batch(tmp_path, monkeypatch):
    """Not more than a group waits in memory, and an empty table is one too."""
    monkeypatch.setattr(writing, "GROUP", 4000)
    columns = {"name": "string", "label": ("a", "b"), "code": ["float32"], "n": "int64"}
    batches = ((["x", None], [0, -1], np.full((2, 100), k, np.float32), np.array([k, -k])) for k in range(50))
    assert write_parquet(tmp_path / "t.parquet", columns, batches) == 100
    groups = parquet.ParquetFile(tmp_path / "t.parquet").metadata.num_row_groups
    assert 8 <= groups <= 12
    table = parquet.read_table(tmp_path / "t.parquet").to_pydict()
    assert table["name"] == ["x", None] * 50
    assert table["label"] == [0, -1] * 50
    assert table["n"][:6] == [0, 0, 1, -1, 2, -2]
    assert table["code"][-1] == [49.0] * 100
    assert write_parquet(tmp_path / "none.parquet", columns, []) == 0
    assert parquet.read_table(tmp_path / "none.parquet").column_names == list(columns)
