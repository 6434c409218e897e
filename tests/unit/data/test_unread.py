"""What lies beside images and is not read is counted and named."""

import os
from pathlib import Path

import pytest
from PIL import Image

from copyfold.data import Photos, Stream, survey
from copyfold.errors import DataError


def test_pictures_of_other_formats_are_named(folder: Path) -> None:
    for k in range(40):
        (folder / f"IMG_{k}.HEIC").write_bytes(b"whatever")
    (folder / "a.dng").write_bytes(b"whatever")
    said = "41 files are not read: 40 .heic, 1 .dng; convert .heic, .dng to one of PNG, JPEG, WEBP, BMP, TIFF, GIF"
    for photos in (Photos(folder), Photos(folder), Stream(folder, 16)):  # made, cached, streamed
        assert said in photos.notes
    assert said in survey(folder).lines()
    for path in folder.glob("*.HEIC"):
        path.unlink()
    assert any(note.startswith("1 file is not read: 1 .dng") for note in Photos(folder).notes)


def test_what_systems_leave_is_no_image(folder: Path) -> None:
    before = Photos(folder)
    for name in ("._01.jpg", "Thumbs.db", "desktop.ini", ".DS_Store", "b.jpg.part", "~$c.png", "cats/._05.png"):
        (folder / name).write_bytes(b"\0")
    for name in ("@eaDir", "cats/@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX"):
        (folder / name).mkdir()
        Image.new("RGB", (8, 8)).save(folder / name / "thumb.jpg")
    os.symlink(folder / "nowhere.png", folder / "broken.png")
    (folder / "notes.txt").write_text("mine")
    after = Photos(folder)
    assert after.fingerprint == before.fingerprint
    assert "1 file is not read: 1 link to nowhere" in after.notes
    unread = survey(folder).unread
    assert unread.startswith("14 files are not read: 7 left by a system or a program, 2 folders @eaDir")
    assert "1 .txt" in unread
    assert "1 link to nowhere" in unread


def test_a_folder_of_nothing_but_other_formats_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"whatever")
    with pytest.raises(DataError, match=r"contains no images: .*; 1 file is not read: 1 \.heic; convert"):
        Photos(tmp_path)


def test_a_folder_of_one_archive_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 file is not read: 1 \.zip; give the \.zip file itself"):
        Photos(tmp_path)


def test_many_endings_are_cut(folder: Path) -> None:
    for k in range(12):
        (folder / f"a.k{k}").write_text("")
    assert survey(folder).unread.endswith(", 4 others")


def test_an_empty_file_is_an_unreadable_image(folder: Path) -> None:
    (folder / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.png is empty"):
        Photos(folder)
