"""Datasets: local parquet folders, and the Hub through a stand-in."""

import io
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from copyfold.data import Photos, survey
from copyfold.errors import DataError


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
    assert not list(cache.glob(".making*"))  # datasets' own copies are gone


def test_a_second_start_does_not_load_the_dataset(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Photos(parquet)

    def never(*arguments: object, **named: object) -> None:
        raise AssertionError("the cache should have answered")

    monkeypatch.setattr(datasets, "load_dataset", never)
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
    from copyfold.data.reading import tables

    decoded = []
    real_decode = tables.decode
    monkeypatch.setattr(tables, "decode", lambda *arguments: decoded.append(arguments) or real_decode(*arguments))
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
    with pytest.raises(DataError, match="rubbish cannot be read as a dataset") as caught:
        Photos(tmp_path / "rubbish")
    assert "\n" not in str(caught.value)


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
