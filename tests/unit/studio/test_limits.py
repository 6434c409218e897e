"""What visitors drop is refused by its count, its size, and its size once decoded, before it is decoded."""

import struct
import zipfile
import zlib

import pytest
from PIL import Image

from copyfold.errors import DataError, UsageError
from copyfold.studio import limits


def png(width: int, height: int) -> bytes:
    """A small file that says it is an image of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def images(tmp_path):
    for k in range(3):
        Image.new("RGB", (8, 8), (k, 0, 0)).save(tmp_path / f"{k}.png")
    return sorted(tmp_path.glob("*.png"))


def test_images_pass(images):
    limits.check(images)


def test_too_many(images, monkeypatch):
    monkeypatch.setattr(limits, "COUNT", 2)
    with pytest.raises(UsageError, match="too many"):
        limits.check(images)


def test_too_large(images, monkeypatch):
    monkeypatch.setattr(limits, "FILE", 10)
    with pytest.raises(UsageError, match="too large"):
        limits.check(images)


def test_all_together_too_large(images, monkeypatch):
    monkeypatch.setattr(limits, "TOTAL", 100)
    with pytest.raises(UsageError, match="too large"):
        limits.check(images)


def test_a_bomb_of_an_image(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(9000, 9000))
    with pytest.raises(UsageError, match="megapixels"):
        limits.check([tmp_path / "bomb.png"])


def test_many_large_images(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "DECODED", 30_000_000)
    for k in range(3):
        (tmp_path / f"{k}.png").write_bytes(png(4000, 4000))
    with pytest.raises(UsageError, match="together"):
        limits.check(sorted(tmp_path.glob("*.png")))


@pytest.mark.parametrize("name", ["a.exe", "a.html", "a.svg", "a", "a.npy"])
def test_other_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"<svg onload=alert(1)>")
    with pytest.raises(UsageError, match="is no image"):
        limits.check([tmp_path / name])


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def test_an_archive_passes(tmp_path, images):
    limits.check([zipped(tmp_path / "a.zip", {image.name: image.read_bytes() for image in images})])


def test_a_bomb_of_an_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "TOTAL", 2_000_000)
    with pytest.raises(UsageError, match="unpacked"):
        limits.check([zipped(tmp_path / "a.zip", {f"{k}.png": bytes(1_000_000) for k in range(5)})])


def test_an_archive_of_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "COUNT", 4)
    with pytest.raises(UsageError, match="expected at most"):
        limits.check([zipped(tmp_path / "a.zip", {f"{k}.png": b"" for k in range(5)})])


def test_a_bomb_in_an_archive(tmp_path):
    with pytest.raises(UsageError, match="megapixels"):
        limits.check([zipped(tmp_path / "a.zip", {"deep/bomb.png": png(9000, 9000)})])


def test_no_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(DataError, match=r"cannot be read as a \.zip"):
        limits.check([tmp_path / "a.zip"])


def test_an_archive_among_images(tmp_path, images):
    with pytest.raises(UsageError, match="alone"):
        limits.check([*images, zipped(tmp_path / "a.zip", {"a.png": b""})])


def test_the_files_of_all_visitors(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(bytes(1000))
    limits.check_room(tmp_path)
    monkeypatch.setattr(limits, "KEPT", 500)
    with pytest.raises(UsageError, match="try again later"):
        limits.check_room(tmp_path)
