"""Datasets: local parquet folders, and the Hub through a stand-in."""

import io
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as pq

from copyfold.data import Photos, Stream, survey
from copyfold.data.reading import rowgroups, tables
from copyfold.data.reading.tables import Parquet
from copyfold.errors import DataError, UsageError


def coded(value: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (value, 255 - value, 7)).save(buffer, kind)
    return buffer.getvalue()


def table(values: range, column: str = "image", **others: object) -> datasets.Dataset:
    features = datasets.Features({column: datasets.Image(), "label": datasets.ClassLabel(names=["even", "odd"])})
    rows = {
        column: [{"bytes": coded(value), "path": None} for value in values],
        "label": [value % 2 for value in values],
    }
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """A dataset folder: 20 images to train on (0..19), 5 to test (100..104), in two shards and one."""
    root = tmp_path / "set"
    (root / "data").mkdir(parents=True)
    table(range(12)).to_parquet(str(root / "data" / "train-00000-of-00002.parquet"))
    table(range(12, 20)).to_parquet(str(root / "data" / "train-00001-of-00002.parquet"))
    table(range(100, 105)).to_parquet(str(root / "data" / "test-00000-of-00001.parquet"))
    return root


def test_a_parquet_folder_is_read(parquet: Path, cache: Path) -> None:
    photos = Photos(parquet)
    assert photos.shape == (3, 16, 16)
    assert photos.train[:, 0, 0, 0].tolist() == list(range(20))
    assert photos.names[3] == "train/03"
    assert photos.labels.tolist() == [k % 2 for k in range(20)]
    assert photos.classes == ("even", "odd")
    assert sorted(photos.held_out[:, 0, 0, 0]) == list(range(100, 105))
    for image, name, label in zip(photos.held_out, photos.held_out_names, photos.held_out_labels, strict=True):
        assert image[0, 0, 0] == 100 + int(name.removeprefix("test/"))
        assert label == image[0, 0, 0] % 2
    assert not list(cache.glob(".making*"))


def test_a_second_start_does_not_load_the_dataset(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Photos(parquet)

    def never(*arguments: object, **named: object) -> None:
        raise AssertionError("the cache should have answered")

    monkeypatch.setattr(tables, "laid_out", never)
    second = Photos(parquet)
    np.testing.assert_array_equal(first.train, second.train)
    assert second.held_out_names == first.held_out_names


def test_no_connection_is_attempted(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*arguments: object) -> None:
        raise AssertionError("a parquet folder needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(Photos(parquet)) == 20


def test_a_single_parquet_file_holds_out_a_tenth(parquet: Path) -> None:
    photos = Photos(parquet / "data" / "train-00000-of-00002.parquet")
    assert (len(photos), len(photos.held_out)) == (11, 1)


def test_limit_decodes_only_the_chosen_rows(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    real = tables.decoded
    monkeypatch.setattr(tables, "decoded", lambda *arguments: decoded.append(arguments) or real(*arguments))
    photos = Photos(parquet, limit=4)
    assert (len(photos), len(photos.held_out)) == (4, 4)
    assert len(decoded) == 8
    assert photos.train[:, 0, 0, 0].tolist() == [int(name[-2:]) for name in photos.names]


def test_the_progress_bars_of_datasets_are_disabled_and_restored(
    parquet: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Photos(parquet)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert not datasets.are_progress_bars_disabled()


def test_unreadable_rows_are_named(tmp_path: Path) -> None:
    features = datasets.Features({"img": datasets.Value("binary")})
    rows = [coded(k) for k in range(10)]
    rows[4], rows[7] = b"text", None
    (tmp_path / "bad").mkdir()
    datasets.Dataset.from_dict({"img": rows}, features=features).to_parquet(str(tmp_path / "bad" / "a.parquet"))
    with pytest.raises(DataError, match=r"2 of 10 images .* train/4 is not an image.*; train/7 holds no image"):
        Photos(tmp_path / "bad")
    assert len(Photos(tmp_path / "bad", skip_bad=True)) in (7, 8)
    assert [name for name, _ in survey(tmp_path / "bad").unreadable] == ["train/4", "train/7"]


def test_a_row_cannot_name_a_local_file(tmp_path: Path, folder: Path) -> None:
    secret = str(folder / "cats" / "00.png")
    features = datasets.Features({"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    rows = {"image": [{"bytes": None, "path": secret}] * 3}
    (tmp_path / "bad").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "bad" / "a.parquet"))
    with pytest.raises(DataError, match=r"3 of 3 images .* names a file instead of holding an image"):
        Photos(tmp_path / "bad")


def test_tables_without_images_give_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "numbers").mkdir()
    datasets.Dataset.from_dict({"n": [1, 2]}).to_parquet(str(tmp_path / "numbers" / "a.parquet"))
    with pytest.raises(DataError, match="no column of images among n"):
        Photos(tmp_path / "numbers")
    (tmp_path / "rubbish").mkdir()
    (tmp_path / "rubbish" / "a.parquet").write_text("rubbish")
    with pytest.raises(
        DataError, match=r"the shard .*rubbish.a\.parquet cannot be read: Parquet file size is 7 bytes"
    ) as caught:
        Photos(tmp_path / "rubbish")
    assert "\n" not in str(caught.value)


def put(path: Path, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def pngs(*values: int) -> list[bytes]:
    return [coded(value) for value in values]


def values(photos: Photos) -> list[int]:
    """The first number of every image, in order."""
    return sorted(int(image[0, 0, 0]) for image in [*photos.train, *photos.held_out])


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any use of the network or of `datasets` is a failure."""
    import socket

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("a local table needs neither the network nor datasets")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("load_dataset", "load_dataset_builder"):
        monkeypatch.setattr(datasets, name, refuse)


@pytest.mark.parametrize("name", ["set[12]", "a*b", "data [v1]", "what?", "{x}", "100%"])
def test_a_name_is_no_pattern(tmp_path: Path, unconnected: None, name: str) -> None:
    put(tmp_path / name / "train.parquet", image=pngs(1, 2, 3, 4, 5))
    for other in ("set1", "aZb", "whatx", "x"):  # which the names match as patterns
        put(tmp_path / other / "train.parquet", image=pngs(9, 9))
    for path in (tmp_path / name, tmp_path / name / "train.parquet"):
        assert values(Photos(path)) == [1, 2, 3, 4, 5]
        assert len(Stream(path, 16)) == 4


@pytest.mark.parametrize(
    "front",
    [
        "data_files: http://127.0.0.1:9/x.parquet",
        "data_files: ../private/*.parquet",
        "data_files: hf://datasets/someone/pictures/x.parquet",
        "data_dir: ../private",
    ],
)
def test_a_readme_is_not_obeyed(tmp_path: Path, unconnected: None, front: str) -> None:
    put(tmp_path / "set" / "a.parquet", image=pngs(1, 2, 3))
    put(tmp_path / "private" / "b.parquet", image=pngs(8, 8))
    (tmp_path / "set" / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  {front}\n---\n")
    assert values(Photos(tmp_path / "set")) == [1, 2, 3]
    assert len(Stream(tmp_path / "set", 16)) == 2


def test_several_sets_in_a_folder_are_not_taken_for_one(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path / name / "train.parquet", image=pngs(1, 2, 3))
    assert len(values(Photos(tmp_path))) == 6
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in "ab")
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    for read in (Photos, lambda path: Stream(path, 16)):
        with pytest.raises(
            DataError, match=r"holds 2 data sets, as its README.md says: a, b: give one of them, as in"
        ):
            read(tmp_path)
    assert len(values(Photos(tmp_path / "a"))) == 3
    for broken in ("---\nconfigs: [\n---", "---\nconfigs: 3\n---", "---\nconfigs:\n- 3\n- 4\n---", "---\nconfigs"):
        (tmp_path / "README.md").write_text(broken)
        assert len(values(Photos(tmp_path))) == 6


def declared(tmp_path: Path, *columns: str) -> Path:
    """A set of images in several columns: those called image or img in colour, the others in grey."""
    rows = {
        name: [{"bytes": coded(k) if name in ("image", "img") else grey(k), "path": None} for k in range(12)]
        for name in columns
    }
    features = datasets.Features({name: datasets.Image() for name in columns})
    tmp_path.mkdir(exist_ok=True)
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "train.parquet"))
    return tmp_path


def grey(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 16), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "columns", [("annotation", "image"), ("mask", "img"), ("conditioning_image", "image"), ("image", "mask")]
)
def test_the_column_called_image_is_read(tmp_path: Path, columns: tuple[str, str]) -> None:
    path = declared(tmp_path / "set", *columns)
    name, other = sorted(columns, key=lambda name: name not in ("image", "img"))
    for photos in (Photos(path), Stream(path, 16)):
        assert photos.shape == (3, 16, 16)
        assert f"the column {name} is read, and not the column {other} (column=, --column)" in photos.notes
    for photos in (Photos(path, column=other), Stream(path, 16, column=other)):
        assert photos.shape == (1, 16, 16)
        assert photos.recipe()["column"] == other
        assert not any("column=" in note for note in photos.notes)


def test_of_columns_of_other_names_the_first_is_read_and_said(tmp_path: Path) -> None:
    path = declared(tmp_path / "set", "before", "after", "between")
    said = "the column before is read, and not the columns after, between (column=, --column)"
    assert said in Photos(path).notes
    with pytest.raises(UsageError, match=r"has no column 'aftr': did you mean after\?"):
        Photos(path, column="aftr")


def test_bytes_that_are_images_are_found_by_looking(tmp_path: Path) -> None:
    for name, column in {
        "bytes": pngs(*range(12)),
        "struct": [{"bytes": content, "path": None} for content in pngs(*range(12))],
        "later": [None, *pngs(*range(1, 12))],
    }.items():
        path = put(tmp_path / name / "train.parquet", txt=["x"] * 12, blob=[b"no picture"] * 12, jpg=column)
        assert len(Photos(path, skip_bad=True)) in (10, 11)
        if name != "later":
            assert len(Stream(path, 16)) == 11


def test_tables_without_images_name_their_columns(tmp_path: Path) -> None:
    wide = put(tmp_path / "wide.parquet", **{f"pixel{k}": [1, 2] for k in range(784)})
    with pytest.raises(
        DataError, match=r"no column of images among pixel0 .int64., .* pixel7 .int64. and 776 more: expected"
    ) as caught:
        Photos(wide)
    assert len(str(caught.value)) < 600
    names = put(tmp_path / "names.parquet", image=["a.png", "b.png"], n=[1, 2])
    with pytest.raises(DataError, match=r"no column of images among image \(string\), n \(int64\)"):
        Photos(names)
    with pytest.raises(DataError, match=r"the column image of .* holds string, and not the bytes of image files"):
        Photos(names, column="image")
    with pytest.raises(DataError, match="holds no rows"):
        Photos(put(tmp_path / "empty.parquet", image=pa.array([], pa.binary())))


def test_a_file_that_states_more_rows_than_it_can_have_is_refused(tmp_path: Path) -> None:
    nothing = pa.nulls(200_000, pa.binary())
    with pytest.raises(DataError, match=r"cannot be read: it states 200,000 rows, in \d{3} bytes"):
        Photos(put(tmp_path / "a.parquet", image=nothing))


def test_an_arrow_file_with_broken_offsets_is_refused(tmp_path: Path) -> None:
    table(range(30)).save_to_disk(str(tmp_path / "one"))
    path = next((tmp_path / "one").glob("*.arrow"))
    content = path.read_bytes()
    sizes = np.cumsum([0, *(len(coded(k)) for k in range(30))]).astype("<i4").tobytes()
    assert content.count(sizes) == 1
    path.write_bytes(content.replace(sizes, sizes[:-4] + np.int32(2**30).tobytes()))
    with pytest.raises(DataError, match=r"arrow cannot be read: .*"):
        Photos(tmp_path / "one")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table([pngs(1, 2), pngs(3, 4)], names=["image", "image"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet has several columns called image: rename all but one"):
        Photos(tmp_path / "a.parquet")


def test_columns_that_some_shards_lack(tmp_path: Path) -> None:
    put(tmp_path / "set" / "train-0.parquet", image=pngs(1, 2), label=[0, 1])
    put(tmp_path / "set" / "train-1.parquet", extra=pngs(8, 8), image=pngs(3, 4), label=[0, 1])
    photos = Photos(tmp_path / "set")
    assert values(photos) == [1, 2, 3, 4]
    assert photos.labels is not None
    put(tmp_path / "set" / "train-2.parquet", picture=pngs(5, 6))
    for read in (Photos, lambda path: Stream(path, 16)):
        with pytest.raises(DataError, match=r"train-2\.parquet has no column image, and others of .* have one"):
            read(tmp_path / "set")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array([0, 1] * 6, pa.uint8()), None),
        (pa.array([0, 1] * 6, pa.int64()), None),
        (["cat", "dog"] * 6, ("cat", "dog")),
        ([False, True] * 6, ("false", "true")),
        ([0.0, 1.0] * 6, None),
        (pa.array(["cat", "dog"] * 6).dictionary_encode(), ("cat", "dog")),
        ([[1, 0], [0, 1]] * 6, None),
    ],
)
def test_labels_of_any_kind_are_used(tmp_path: Path, labels: object, classes: tuple[str, ...] | None) -> None:
    photos = Photos(put(tmp_path / "a.parquet", image=pngs(*range(12)), label=labels))
    assert photos.labels.tolist() == [int(image[0, 0, 0]) % 2 for image in photos.train]
    assert photos.classes == classes


def test_labels_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    photos = Photos(put(tmp_path / "a.parquet", image=pngs(*range(12)), label=[k / 7 for k in range(12)]))
    assert photos.labels is None
    assert any(
        "the column label of" in note and "left out: they are numbers with fractions" in note
        for note in photos.notes
    )


def test_what_save_to_disk_writes_is_read(tmp_path: Path, unconnected: None) -> None:
    table(range(30)).save_to_disk(str(tmp_path / "one"))
    shuffled = table(range(30)).shuffle(seed=1)
    datasets.DatasetDict(train=shuffled, test=table(range(100, 104)), extra=table(range(3))).save_to_disk(
        str(tmp_path / "several")
    )
    one, several = Photos(tmp_path / "one"), Photos(tmp_path / "several")
    assert values(one) == list(range(30))
    assert one.classes == ("even", "odd")
    assert one.labels.tolist() == [int(image[0, 0, 0]) % 2 for image in one.train]
    assert sorted(several.train[:, 0, 0, 0]) == list(range(30))
    assert several.train[:, 0, 0, 0].tolist() != list(range(30))
    assert sorted(several.held_out[:, 0, 0, 0]) == [100, 101, 102, 103]
    assert "the split extra is not used" in several.notes
    stream = Stream(tmp_path / "several", 16)
    assert len(stream) == 30
    assert sorted(stream.held_out[:, 0, 0, 0]) == [100, 101, 102, 103]


def test_what_datasets_has_computed_in_a_saved_set_is_no_part_of_it(tmp_path: Path) -> None:
    table(range(30)).save_to_disk(str(tmp_path / "one"))
    loaded = datasets.load_from_disk(str(tmp_path / "one"))
    loaded.map(lambda row: row, cache_file_name=str(tmp_path / "one" / "cache-abc.arrow"))
    assert values(Photos(tmp_path / "one")) == list(range(30))


def test_parquet_beside_images_is_read_where_it_holds_images(tmp_path: Path, folder: Path) -> None:
    put(folder / "metadata.parquet", file_name=["a", "b"], caption=["x", "y"])
    photos = Photos(folder)
    assert photos.names[0].endswith(".png")
    assert any("1 file is not read: 1 .parquet" in note for note in photos.notes)
    put(folder / "metadata.parquet", image=pngs(1, 2, 3))
    photos = Photos(folder)
    assert values(photos) == [1, 2, 3]
    assert "the parquet files are read, and not the 12 image files beside them" in photos.notes
    assert "12 .png" in survey(folder).unread
    (folder / "metadata.parquet").write_text("rubbish")  # nobody can say what it was
    with pytest.raises(DataError, match=r"the shard .* cannot be read"):
        Photos(folder)


def test_groups_are_read_in_any_order_and_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.table({"image": pngs(*range(50))}), tmp_path / "a.parquet", row_group_size=7)
    read = []
    chunks = rowgroups.chunks
    monkeypatch.setattr(rowgroups, "chunks", lambda group, name: read.append(group.number) or chunks(group, name))
    source = Parquet(tmp_path / "a.parquet", [("a.parquet", 0, 0)])
    with source:
        rows = np.random.default_rng(0).permutation(50)
        assert [source.read(int(row), None).getpixel((0, 0))[0] for row in rows] == rows.tolist()
        assert sorted(read) == list(range(8))
        assert sum(path.stat().st_size for path in cache.iterdir()) == 0  # the temporary file has no name
    limited = Photos(tmp_path / "a.parquet", 16, limit=1)
    assert (len(limited), len(read) <= 8 + 4) == (1, True)  # only the groups of what is wanted


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """A stand-in for the Hub that serves one dataset, and the requests it got."""
    requests: list[tuple[str, str | None]] = []

    def load(name: str, revision: str | None = None) -> datasets.DatasetDict:
        requests.append((name, revision))
        if name != "someone/pictures":
            raise FileNotFoundError(f"no dataset {name}\nand a long story")
        shuffled = table(range(30), "picture").shuffle(seed=0)  # an index mapping must be followed
        return datasets.DatasetDict(
            {
                "train": shuffled,
                "validation": table(range(50, 54), "picture"),
                "extra": table(range(3), "picture"),
            }
        )

    monkeypatch.setattr(datasets, "load_dataset", load)
    return requests


def test_a_hub_dataset_is_read(hub: list[tuple[str, str | None]]) -> None:
    photos = Photos("hf://someone/pictures")
    assert hub == [("someone/pictures", None)]
    assert sorted(photos.train[:, 0, 0, 0]) == list(range(30))
    assert photos.labels.tolist() == [int(image[0, 0, 0]) % 2 for image in photos.train]
    assert sorted(photos.held_out[:, 0, 0, 0]) == [50, 51, 52, 53]
    assert "the split extra is not used" in photos.notes
    assert photos.recipe()["data"] == "hf://someone/pictures"
    Photos("hf://someone/pictures")
    assert len(hub) == 1
    Photos("hf://someone/pictures@v2")
    assert hub[1:] == [("someone/pictures", "v2")]


def test_an_error_of_datasets_has_its_reason_and_no_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from datasets.exceptions import DatasetGenerationError
    from datasets.utils import logging

    def load(*arguments: object, **named: object) -> None:
        logging.get_logger("datasets.builder").error("Failed to read file")
        try:
            raise ValueError("the columns differ: extra\nand a long story")
        except ValueError as error:
            raise DatasetGenerationError("An error occurred while generating the dataset") from error

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError, match="someone/pictures cannot be loaded: the columns differ: extra; see"):
        Photos("hf://someone/pictures")
    assert capfd.readouterr().err == ""
    assert logging.get_verbosity() != logging.CRITICAL


def test_a_missing_hub_dataset_gives_a_one_line_error(hub: list[tuple[str, str | None]]) -> None:
    with pytest.raises(DataError, match="someone/else cannot be loaded: no dataset someone/else; see") as caught:
        Photos("hf://someone/else")
    assert "\n" not in str(caught.value)
    for address in ("hf://", "hf://a/b/c", "hf:///b"):
        with pytest.raises(DataError, match="write hf://owner/name"):
            Photos(address)


def test_a_hub_dataset_may_only_name_downloaded_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cats")
    secret = folder / "dogs" / "11.png"
    paths = [str(folder / "cats" / "05.png"), str(secret), str(folder / "cats" / ".." / "dogs" / "11.png")]
    features = datasets.Features({"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    rows = datasets.Dataset.from_dict(
        {"image": [{"bytes": None, "path": path} for path in paths]}, features=features
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict(train=rows))
    with pytest.raises(DataError, match=r"2 of 3 images .*: train/1 names a file .*; train/2 names a file"):
        Photos("hf://someone/files")
    assert Photos("hf://someone/files", skip_bad=True).train[0, 0, 0].tolist() == [50, 55, 195]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("fashion_mnist", (1, 28, 28)), ("cifar10", (3, 32, 32)), ("landscapes", (1, 128, 128))],
)
def test_real_datasets_are_read(real: Callable[[str], Path], name: str, shape: tuple[int, int, int]) -> None:
    photos = Photos(real(name), limit=64)
    assert photos.shape == shape
    assert (len(photos), len(photos.held_out)) == (64, 64)
    assert len(set(photos.labels.tolist())) == len(photos.classes)
    assert 40 < photos.train.mean() < 190
