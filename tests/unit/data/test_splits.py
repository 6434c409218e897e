"""Splits and classes by the names of folders and files, in every spelling."""

from pathlib import Path

import pytest
from PIL import Image

from copyfold.data import Photos, Stream
from copyfold.data.reading.splits import arranged, of_files, parted


def spread(*folders: str, count: int = 2) -> list[str]:
    return sorted(f"{folder}/{k}.png" for folder in folders for k in range(count))


def found(*folders: str) -> tuple[dict[str, list[str]], list[str] | None]:
    """The folders of each split, and the classes."""
    paths = spread(*folders)
    result = arranged(paths)
    splits = {
        split: sorted({paths[k].rpartition("/")[0] for k in rows.tolist()})
        for split, rows in result.splits.items()
    }
    return splits, result.classes


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "Test"),
        ("TRAIN", "VAL"),
        ("training", "testing"),
        ("Training", "Testing"),
        ("train", "dev"),
        ("train", "eval"),
        ("train", "Evaluation"),
        ("train2017", "val2017"),
        ("seg_train", "seg_test"),
        ("DIV2K_train_HR", "DIV2K_valid_HR"),
        ("train images", "test images"),
    ],
)
def test_splits_in_any_spelling(train: str, test: str) -> None:
    splits, classes = found(f"{train}/cat", f"{train}/dog", f"{test}/cat", f"{test}/dog")
    assert splits == {train: [f"{train}/cat", f"{train}/dog"], test: [f"{test}/cat", f"{test}/dog"]}
    assert classes == ["cat", "dog"]
    use = parted(splits)
    assert (use.train, use.held_out, use.unused) == ([train], [test], [])


def test_folders_around_all_others_are_passed_over() -> None:
    assert found("photos/set/Train/cat", "photos/set/Train/dog", "photos/set/Test/cat")[1] == ["cat", "dog"]
    assert list(found("a/b/train", "a/b/test")[0]) == ["train", "test"]
    assert found("outer/cats", "outer/dogs")[1] == ["cats", "dogs"]
    assert list(found("train/cats", "train/dogs")[0]) == ["train"]
    assert found("seg_train/seg_train/sea", "seg_train/seg_train/ice", "seg_test/seg_test/sea")[1] == [
        "ice",
        "sea",
    ]


def test_defects_are_classes_of_the_test_split() -> None:
    splits, classes = found("train/good", "test/good", "test/scratch", "test/hole")
    assert list(splits) == ["train", "test"]
    assert classes == ["good", "hole", "scratch"]
    splits, classes = found("good", "test/scratch", "test/good")
    assert splits == {"test": ["test/good", "test/scratch"], "train": ["good"]}
    assert classes == ["good", "scratch"]


def test_a_split_may_be_without_classes() -> None:
    paths = spread("train/cat", "train/dog", "test")
    result = arranged(paths)
    assert result.classes == ["cat", "dog"]
    assert dict(zip(paths, result.labels, strict=True)) == {
        path: -1 if path.startswith("test") else int("dog" in path) for path in paths
    }
    assert arranged([*paths, "train/1.png"]).labels is None
    assert arranged(spread("train", "test")).labels is None


def test_splits_below_a_folder_of_each_kind() -> None:
    splits, classes = found("cable/train/good", "cable/test/cut", "pill/train/good", "pill/test/cut")
    assert splits == {
        "train": ["cable/train/good", "pill/train/good"],
        "test": ["cable/test/cut", "pill/test/cut"],
    }
    assert classes == ["cable", "pill"]
    # where only one of the folders has some, they are nothing but folders
    assert found("cable/train", "cable/test", "pill/whole") == (
        {"": ["cable/test", "cable/train", "pill/whole"]},
        ["cable", "pill"],
    )


def test_classes_that_sound_like_splits_stay_classes() -> None:
    assert found("train", "boat", "car") == ({"": ["boat", "car", "train"]}, ["boat", "car", "train"])
    assert found("train_station", "test_tube")[1] == ["test_tube", "train_station"]
    assert found("bullet_train", "steam_train")[1] == ["bullet_train", "steam_train"]


def test_what_a_split_is_for() -> None:
    assert parted(["train", "test", "validation", "extra"]).unused == ["validation", "extra"]
    assert parted(["Training", "dev"]).held_out == ["dev"]
    assert parted(["train", "train_small"]).train == ["train"]
    assert parted(["unlabelled", "test"]).train == ["unlabelled"]
    assert parted(["test", "val"]).train == ["test", "val"]  # nothing else is there to train on
    assert parted([""]).train == [""]


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (["a.parquet", "b.parquet"], {"train": ["a.parquet", "b.parquet"]}),
        (
            ["train-00000-of-00001.parquet", "test-00000-of-00001.parquet"],
            {"train": ["train-00000-of-00001.parquet"], "test": ["test-00000-of-00001.parquet"]},
        ),
        (
            ["data/first-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"],
            {"first": ["data/first-00000-of-00001.parquet"], "test": ["data/test-00000-of-00001.parquet"]},
        ),
        (
            ["Train/0.parquet", "VAL/0.parquet"],
            {"train": ["Train/0.parquet"], "validation": ["VAL/0.parquet"]},
        ),
        (
            ["x/set_train_1.parquet", "x/set.eval.parquet"],
            {"train": ["x/set_train_1.parquet"], "test": ["x/set.eval.parquet"]},
        ),
    ],
)
def test_files_of_tables_are_divided_by_their_names(paths: list[str], splits: dict[str, list[str]]) -> None:
    assert of_files(paths) == (splits, [])


def test_files_beside_those_of_splits_are_told() -> None:
    assert of_files(["train.parquet", "test.parquet", "meta.parquet"]) == (
        {"train": ["train.parquet"], "test": ["test.parquet"]},
        ["meta.parquet"],
    )


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "DEV"), ("set_train", "set_test")])
def test_photos_and_streams_hold_out_the_same_split(tmp_path: Path, names: tuple[str, str]) -> None:
    for value, name in enumerate(names, 1):
        (tmp_path / "outer" / name / "class").mkdir(parents=True)
        for k in range(3):
            Image.new("RGB", (16, 16), (value, k, 0)).save(tmp_path / "outer" / name / "class" / f"{k}.png")
    photos, stream = Photos(tmp_path, 16), Stream(tmp_path, 16)
    assert set(photos.train[..., 0].flat) == {1}
    assert set(photos.held_out[..., 0].flat) == {2}
    assert len(stream) == 3
    assert set(stream.held_out[..., 0].flat) == {2}
    assert any(f"the split {names[1]} is held out" in note for note in photos.notes)
