"""A .zip is read as the folder that it would be, and nothing is unpacked."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from copyfold.data import Photos, Stream, survey
from copyfold.data.reading import archives
from copyfold.errors import DataError


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (value, 0, 9)).save(buffer, "PNG")
    return buffer.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_a_zip_has_the_images_of_its_folder(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {f"outer/photos/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*.png")}
    path = pack(tmp_path / "a.zip", members)
    before = sorted(os.walk(tmp_path / "photos"))
    photos, same = Photos(path), Photos(folder)
    np.testing.assert_array_equal(photos.train, same.train)
    np.testing.assert_array_equal(photos.held_out, same.held_out)
    assert photos.classes == same.classes == ("cats", "dogs")
    assert photos.labels.tolist() == same.labels.tolist()
    assert photos.names[0].startswith("outer/photos/")
    assert sorted(os.walk(tmp_path / "photos")) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.zip", "cache", "photos"]
    monkeypatch.setattr(archives.Zip, "read", None)
    assert Photos(path).fingerprint == photos.fingerprint  # cached


def test_splits_in_a_zip_for_photos_and_streams(tmp_path: Path) -> None:
    members = {f"set/Train/a/{k}.png": png(k) for k in range(6)} | {
        f"set/TEST/a/{k}.png": png(100 + k) for k in range(3)
    }
    path = pack(tmp_path / "a.ZIP", members)
    photos, stream = Photos(path, 16), Stream(path, 16)
    assert photos.train[:, 0, 0, 0].tolist() == list(range(6))
    assert sorted(photos.held_out[:, 0, 0, 0]) == sorted(stream.held_out[:, 0, 0, 0]) == [100, 101, 102]
    seen = np.concatenate([x.numpy() for x in stream.batches(3)])
    assert sorted(seen[:, 0, 0, 0]) == list(range(6))


def test_names_that_lead_out_of_a_zip_are_only_names(tmp_path: Path) -> None:
    members = {"../../a.png": png(1), "/etc/b.png": png(2), "c\\d.png": png(3), "../x/../e.png": png(4)}
    photos = Photos(pack(tmp_path / "deep.zip", members), whole=True)
    assert photos.names == ["a.png", "c/d.png", "etc/b.png", "x/e.png"]
    assert not list(tmp_path.rglob("*.png"))


def test_what_is_not_read_in_a_zip_is_counted(tmp_path: Path) -> None:
    members = {f"{k}.png": png(k) for k in range(4)}
    members |= {"__MACOSX/._0.png": b"", "._1.png": b"", "a.heic": b"x", "b.zip": b"x", ".hidden/c.png": b"x"}
    found = survey(pack(tmp_path / "a.zip", members))
    assert (found.count, found.unreadable) == (4, ())
    assert found.unread.startswith("3 files are not read: ")
    assert "1 .heic" in found.unread
    assert "convert .heic" in found.unread


def test_damaged_members_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {f"{k}.png": png(k) for k in range(9)} | {"text.png": b"text"}
    path = pack(tmp_path / "a.zip", members)
    content = bytearray(path.read_bytes())
    place = content.index(b"3.png") + 20  # in its compressed content
    content[place : place + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"2 of 10 images in .*a\.zip cannot be read: .*3\.png cannot be unpacked"
    ) as e:
        Photos(path, 16)
    assert "text.png is not an image" in str(e.value)
    assert "\n" not in str(e.value)
    assert len(Photos(path, 16, skip_bad=True)) in (7, 8)
    monkeypatch.setattr(archives, "LARGEST", 10)
    with pytest.raises(DataError, match="bytes unpacked, more than 10"):
        Photos(path, 8)


def test_a_small_file_that_unpacks_to_a_large_one_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST", 1_000_000)
    path = pack(tmp_path / "a.zip", {f"{k}.png": png(k) for k in range(3)} | {"bomb.png": b"\0" * 2_000_000})
    opened = []
    read = zipfile.ZipFile.open
    monkeypatch.setattr(
        zipfile.ZipFile, "open", lambda self, name, *a, **k: opened.append(name) or read(self, name, *a, **k)
    )
    assert len(Photos(path, skip_bad=True)) in (2, 3)
    assert not any(getattr(name, "filename", name) == "bomb.png" for name in opened)


def test_zips_without_images_and_other_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"contains no images; 1 file is not read: 1 \.npz; unpack it, and give a/b\.npz"
    ):
        Photos(pack(tmp_path / "a.zip", {"a/b.npz": b"x"}))
    (tmp_path / "b.zip").write_text("rubbish")
    with pytest.raises(DataError, match=r"b\.zip cannot be read as a \.zip: File is not a zip file"):
        Photos(tmp_path / "b.zip")
    (tmp_path / "c.tar.gz").write_text("rubbish")
    with pytest.raises(DataError, match="an archive that is not read here: unpack it"):
        Photos(tmp_path / "c.tar.gz")


def test_an_encrypted_zip_says_so(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a.png": png(1)})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"):
        Photos(path)
