"""A folder of images: which files are found, how they are split, which are skipped."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from copyfold.data import Photos
from copyfold.errors import DataError, UsageError

Painted = Callable[[int], tuple[int, int, int]]


def plain(path: Path, value: int = 0, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 255 - value)).save(path)


def test_pixels_names_and_labels_stay_aligned(folder: Path, painted: Painted) -> None:
    photos = Photos(folder)
    assert photos.shape == (3, 32, 32)
    assert (len(photos), len(photos.held_out)) == (11, 1)
    assert sorted(photos.names + photos.held_out_names) == [
        f"{'cats' if k < 6 else 'dogs'}/{k:02d}.png" for k in range(12)
    ]
    assert photos.names == sorted(photos.names)
    assert photos.classes == ("cats", "dogs")
    for pixels, names, labels in (
        (photos.train, photos.names, photos.labels),
        (photos.held_out, photos.held_out_names, photos.held_out_labels),
    ):
        for image, name, label in zip(pixels, names, labels, strict=True):
            k = int(name[-6:-4])
            assert (image == painted(k)).all()
            assert label == (k >= 6)


def test_images_are_floats_in_nchw(folder: Path, painted: Painted) -> None:
    photos = Photos(folder)
    x = photos.images("train", count=3, start=2)
    assert x.shape == (3, 3, 32, 32)
    assert x.dtype == torch.float32
    k = int(photos.names[2][-6:-4])
    torch.testing.assert_close(x[0, :, 5, 5], torch.tensor(painted(k)) / 255)
    assert photos.images("held_out").shape == (1, 3, 32, 32)
    assert photos.images().shape == (11, 3, 32, 32)
    with pytest.raises(UsageError, match="train or held_out"):
        photos.images("test")


def test_training_on_the_arrays_cannot_change_the_cache(folder: Path) -> None:
    photos = Photos(folder)
    before = photos.train.copy()
    torch.from_numpy(photos.train).zero_()
    np.testing.assert_array_equal(Photos(folder).train, before)


def test_hidden_files_other_files_and_loops_are_ignored(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / ".hidden.png").write_text("not an image")
    plain(folder / ".thumbnails" / "a.png")
    os.symlink(folder, folder / "cats" / "again")
    os.symlink(folder / "nowhere", folder / "broken.png")
    assert len(Photos(folder)) == 11


def test_a_linked_folder_is_read(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "links").mkdir()
    os.symlink(folder, tmp_path / "links" / "there")
    assert len(Photos(tmp_path / "links")) == 11


def test_upper_case_and_nested_files_are_found(tmp_path: Path) -> None:
    plain(tmp_path / "a" / "b" / "c" / "d" / "X.PNG")
    plain(tmp_path / "a" / "Y.JPeG")
    photos = Photos(tmp_path)
    assert sorted(photos.names + photos.held_out_names) == ["a/Y.JPeG", "a/b/c/d/X.PNG"]
    assert photos.labels is None


def test_the_test_split_is_held_out_and_train_alone_is_trained_on(tmp_path: Path) -> None:
    for k in range(5):
        plain(tmp_path / "train" / "cats" / f"{k}.png", 1)
        plain(tmp_path / "train" / "dogs" / f"{k}.png", 2)
    for k in range(3):
        plain(tmp_path / "test" / "dogs" / f"{k}.png", 3)
        plain(tmp_path / "val" / "cats" / f"{k}.png", 4)
        plain(tmp_path / "else" / "cats" / f"{k}.png", 5)
    photos = Photos(tmp_path)
    assert set(photos.train[..., 0].flat) == {1, 2}
    assert set(photos.held_out[..., 0].flat) == {3}
    assert photos.labels.tolist() == [0] * 5 + [1] * 5
    assert photos.held_out_labels.tolist() == [1] * 3
    assert any("3 images outside of" in note for note in photos.notes)
    shutil.rmtree(tmp_path / "test")
    assert set(Photos(tmp_path).held_out[..., 0].flat) == {4}


def test_a_class_called_train_is_not_a_split(tmp_path: Path) -> None:
    for k in range(5):
        plain(tmp_path / "train" / f"{k}.png")
        plain(tmp_path / "boat" / f"{k}.png")
    photos = Photos(tmp_path)
    assert photos.classes == ("boat", "train")
    assert len(photos) + len(photos.held_out) == 10


def test_a_tenth_is_held_out_by_seed(tmp_path: Path) -> None:
    for k in range(40):
        plain(tmp_path / f"{k:02d}.png", k)
    first, again, other = Photos(tmp_path), Photos(tmp_path), Photos(tmp_path, seed=1)
    assert len(first.held_out) == 4
    assert set(first.names).isdisjoint(first.held_out_names)
    assert first.held_out_names == again.held_out_names != other.held_out_names


def test_limit_is_deterministic_fair_and_decodes_only_the_chosen_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from copyfold.data.reading import folders

    for k in range(100):
        plain(tmp_path / ("a" if k < 50 else "b") / f"{k:02d}.png", k)
    opened = []
    real_header = folders.header
    monkeypatch.setattr(folders, "header", lambda path: opened.append(path) or real_header(path))
    photos = Photos(tmp_path, limit=20)
    assert (len(photos), len(photos.held_out)) == (20, 10)
    assert len(set(opened)) == 30
    assert 4 <= photos.labels.sum() <= 16  # class-sorted files are not cut off in the middle
    assert Photos(tmp_path, limit=20).names == photos.names
    assert Photos(tmp_path, limit=20, seed=1).names != photos.names
    few = Photos(tmp_path, limit=3)
    assert (len(few), len(few.held_out)) == (3, 3)
    assert set(few.names) <= set(photos.names)
    assert set(few.held_out_names) <= set(photos.held_out_names)


def test_a_single_image_is_both_trained_on_and_held_out(tmp_path: Path) -> None:
    plain(tmp_path / "a.png", 9)
    photos = Photos(tmp_path)
    assert photos.train[0, 0, 0, 0] == photos.held_out[0, 0, 0, 0] == 9


def test_the_size_is_the_median_short_side_moved_to_a_valid_one(tmp_path: Path) -> None:
    for k, size in enumerate([(40, 90), (60, 50), (50, 55)]):
        plain(tmp_path / f"{k}.png", size=size)
    assert Photos(tmp_path).shape == (3, 48, 48)
    assert Photos(tmp_path, suits=lambda shape: shape[0] == 3 and shape[1] % 7 == 0).size == 49
    assert Photos(tmp_path, suits=lambda shape: shape[1] in (48, 52)).size == 48
    assert Photos(tmp_path, size=20).size == 20
    with pytest.raises(UsageError, match="takes no image"):
        Photos(tmp_path, suits=lambda shape: False)


def test_large_photos_are_taken_at_128(tmp_path: Path) -> None:
    plain(tmp_path / "a.png", size=(700, 500))
    plain(tmp_path / "b.png", size=(500, 700))
    assert Photos(tmp_path).size == 128


def test_fit_crops_or_pads(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200, 200, 100
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert (Photos(tmp_path, size=20).train == (200, 200, 100)).all()
    padded = Photos(tmp_path, size=60, fit="pad").train[0]
    np.testing.assert_array_equal(padded[20:40], wide)
    assert padded.sum() == wide.sum()


def test_grey_is_one_channel_even_where_it_is_stored_as_rgb(tmp_path: Path) -> None:
    plain(tmp_path / "a.png", 50, mode="L")
    plain(tmp_path / "b.png", 60, mode="L")
    assert Photos(tmp_path).shape[0] == 1
    Image.new("RGB", (32, 32), (70, 70, 70)).save(tmp_path / "c.png")
    photos = Photos(tmp_path)
    assert photos.shape[0] == 1
    assert sorted({*photos.train.flat, *photos.held_out.flat}) == [50, 60, 70]
    plain(tmp_path / "d.png", 80)
    assert Photos(tmp_path).shape[0] == 3


def test_the_size_is_valid_for_the_detected_channels(tmp_path: Path) -> None:
    for k in range(4):
        plain(tmp_path / f"{k}.png", 50 + k, size=(30, 30), mode="L")
    assert Photos(tmp_path, suits=lambda shape: shape[0] == 1 and shape[1] % 14 == 0).shape == (1, 28, 28)
    assert Photos(tmp_path, suits=lambda shape: shape in ((3, 20, 20), (1, 36, 36))).shape == (1, 36, 36)
    with pytest.raises(UsageError, match="takes no images near 30x30 with 1 channels"):
        Photos(tmp_path, suits=lambda shape: shape[0] == 3)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A hundred images, of which three cannot be read: text, a truncated JPEG, an empty file."""
    root = tmp_path / "damaged"
    for k in range(100):
        plain(root / f"{k:02d}.jpg", k)
    (root / "10.jpg").write_text("text")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "20.jpg", quality=95)
    (root / "20.jpg").write_bytes((root / "20.jpg").read_bytes()[:-300])  # its header is whole
    (root / "30.jpg").write_bytes(b"")
    return root


def test_unreadable_images_are_named(damaged: Path, cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        Photos(damaged)
    message = str(caught.value)
    assert message.startswith(f"3 of 100 images in {damaged} cannot be read: ")
    assert all(f"{name}.jpg " in message for name in (10, 20, 30))
    assert "skip_bad=True" in message
    assert "\n" not in message
    assert not list(cache.glob(".making*"))


def test_skip_bad_leaves_them_out_and_says_so(damaged: Path) -> None:
    photos = Photos(damaged, skip_bad=True)
    names = photos.names + photos.held_out_names
    assert sorted(names) == [f"{k:02d}.jpg" for k in range(100) if k not in (10, 20, 30)]
    assert any("3 unreadable images are left out: " in note and "20.jpg" in note for note in photos.notes)
    assert f"{len(photos.held_out)} of 97 images are held out, drawn by seed 0" in photos.notes
    for image, name in zip(photos.train, photos.names, strict=True):
        assert abs(int(image[0, 0, 0]) - int(name[:2])) < 4  # the pixels did not slip against the names
    assert Photos(damaged, skip_bad=True).names == photos.names
    with pytest.raises(DataError, match="3 of 100"):
        Photos(damaged)


def test_no_readable_image_is_an_error_even_with_skip_bad(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(DataError, match=r"1 of 1 images .* a\.png is not an image"):
        Photos(tmp_path, skip_bad=True)


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder or file .*nowhere"):
        Photos(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty contains no images"):
        Photos(tmp_path / "empty")
    plain(tmp_path / "a.png")
    with pytest.raises(DataError, match="single image"):
        Photos(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(DataError, match="cannot be read as data"):
        Photos(tmp_path / "a.csv")


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": -4}, {"limit": 0}, {"fit": "squash"}, {"seed": -1}])
def test_invalid_arguments_are_refused(folder: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Photos(folder, **wrong)


def test_layout_is_refused_for_folders(folder: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        Photos(folder, layout="NCHW")


def test_the_recipe_rebuilds_the_same_images(folder: Path) -> None:
    photos = Photos(folder, fit="pad", limit=4, flip=True, seed=3)
    recipe = photos.recipe()
    assert recipe == {
        "data": str(folder),
        "size": 32,
        "fit": "pad",
        "limit": 4,
        "flip": True,
        "turn": False,
        "layout": None,
        "skip_bad": False,
        "channels": None,
        "range": None,
        "bits": 8,
        "masks": None,
        "seed": 3,
    }
    again = Photos(recipe.pop("data"), **recipe)
    assert again.fingerprint == photos.fingerprint
    np.testing.assert_array_equal(again.train, photos.train)


def test_channels_can_be_chosen(folder: Path) -> None:
    colour, grey = Photos(folder), Photos(folder, channels=1)
    assert (colour.shape, grey.shape) == ((3, 32, 32), (1, 32, 32))
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # ITU-R 601, as Pillow
    torch.testing.assert_close(grey.images(), (colour.images() * weights).sum(1, True), atol=1 / 255, rtol=0)
    assert "read as grey: 1 channel" in grey.notes
    digits, coloured = Photos(size=16), Photos(size=16, channels=3)
    assert torch.equal(coloured.images(count=5), digits.images(count=5).expand(-1, 3, -1, -1))
    with pytest.raises(UsageError, match="channels=0 is invalid"):
        Photos(folder, channels=0)


def test_progress_is_reported(folder: Path) -> None:
    told = []
    Photos(folder, progress=lambda *event: told.append(event))
    assert told[-1] == ("reading images", 12, 12, {})
    assert {what for what, *_ in told} == {"looking at images", "reading images"}


def test_a_relative_path_and_a_string_are_one_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert Photos(folder.name).fingerprint == Photos(folder).fingerprint


def test_if_every_held_out_image_is_unreadable_others_are_held_out(tmp_path: Path) -> None:
    for k in range(8):
        plain(tmp_path / f"{k}.png", k)
    held = Photos(tmp_path).held_out_names
    (tmp_path / held[0]).write_text("text")
    photos = Photos(tmp_path, skip_bad=True)
    assert (len(photos), len(photos.held_out)) == (6, 1)
    assert "1 of 7 images are held out, drawn by seed 0" in photos.notes
    for image, name in zip([*photos.train, *photos.held_out], photos.names + photos.held_out_names, strict=True):
        assert image[0, 0, 0] == int(name[0])
