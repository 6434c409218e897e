"""Digests of cached pixels: damage is found, said and mended, and a digest says which pixels they are."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from copyfold.data import Photos, Stream
from copyfold.data.reading import cache as store
from copyfold.data.reading import digests

BLOCK = 64


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "BLOCK", BLOCK)


def flip(path: Path, place: int) -> None:
    """Change one bit of a file, counted from its end."""
    with path.open("r+b") as file:
        file.seek(-place, os.SEEK_END)
        value = file.read(1)[0] ^ 1
        file.seek(-place, os.SEEK_END)
        file.write(bytes([value]))


@pytest.mark.usefixtures("_small")
def test_every_block_has_a_digest_and_a_changed_bit_is_found() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (25, 4, 4, 3), dtype=np.uint8)  # 18.75 blocks
    blocks = digests.of_blocks(pixels)
    assert len(blocks) == 19 * 2 * digests.BYTES
    assert digests.damaged(pixels, blocks, whole=True) is None
    for place in (0, 7, 18):
        changed = pixels.copy()
        changed.reshape(-1)[BLOCK * place] ^= 1
        assert digests.damaged(changed, blocks, whole=True) == place
    assert digests.damaged(pixels[:-1], blocks) == 18
    assert digests.damaged(pixels, blocks[: -2 * digests.BYTES]) == 18
    assert digests.of_blocks(pixels[:0]) == ""
    assert digests.damaged(pixels[:0], "") is None


@pytest.mark.usefixtures("_small")
def test_a_sample_of_blocks_is_checked_other_ones_each_time() -> None:
    pixels = np.zeros((100, 8, 8, 1), np.uint8)
    blocks = digests.of_blocks(pixels)
    pixels[50] = 1
    found = {digests.damaged(pixels, blocks) for _ in range(2000)}  # missed with a chance of 1e-36
    assert found == {None, 50}
    pixels[0] = 1
    assert digests.damaged(pixels, blocks) == 0  # the first is always looked at


@pytest.mark.parametrize("whole", ["0", "1"])
def test_damaged_pixels_are_made_again_with_a_warning(
    folder: Path, cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, whole: str
) -> None:
    photos = Photos(folder)
    expected, path = photos.train.copy(), cache / photos.fingerprint / "pixels.npy"
    flip(path, 5)
    monkeypatch.setenv(store.CHECK, whole)
    again = Photos(folder)
    np.testing.assert_array_equal(again.train, expected)
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert str(path.parent) in said
    assert "block 0 of its pixels is not as it was written" in said
    assert store.CHECK in said
    caplog.clear()
    np.testing.assert_array_equal(Photos(folder).train, expected)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert not list(cache.glob(".making*"))


@pytest.mark.usefixtures("_small")
def test_the_environment_asks_for_every_block(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = Photos(folder)
    count, path = photos._pixels.nbytes // BLOCK, cache / photos.fingerprint / "pixels.npy"
    assert count > 100
    looked: list[bool] = []
    check = digests.damaged
    monkeypatch.setattr(digests, "damaged", lambda p, b, whole: looked.append(whole) or check(p, b, whole))
    for value in ("", "0", "1"):
        monkeypatch.setenv(store.CHECK, value)
        Photos(folder)
    assert looked == [False, False, True]
    flip(path, BLOCK * count // 2)
    store.recall(photos.fingerprint)
    assert not path.exists()


def test_a_digest_is_of_the_pixels_and_not_of_their_files(folder: Path, tmp_path: Path) -> None:
    photos = Photos(folder, 16)
    moved = shutil.copytree(folder, tmp_path / "moved", copy_function=shutil.copyfile)
    assert Photos(moved, 16).fingerprint != photos.fingerprint
    assert Photos(moved, 16).digest == photos.digest
    whole = np.concatenate([photos.train, photos.held_out])
    assert Photos(whole, 16, whole=True).digest != photos.digest  # otherwise divided
    assert Photos(folder, 16, fit="pad").digest == photos.digest  # they are square
    assert len({photos.digest, *(Photos(folder, 16, **kind).digest for kind in ({"seed": 1}, {"limit": 3}))}) == 3
    Image.new("RGB", (32, 32), (1, 2, 3)).save(moved / photos.names[0])
    assert Photos(moved, 16).digest != photos.digest


def test_an_array_has_the_digest_of_its_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    assert Photos(pixels).digest == Photos(tmp_path / "a.npy").digest
    pixels[3, 0, 0] ^= 1
    assert Photos(pixels).digest != Photos(tmp_path / "a.npy").digest


def test_a_stream_has_a_digest_of_what_it_holds_out(folder: Path, tmp_path: Path) -> None:
    stream = Stream(folder, 16, held_out=3)
    moved = shutil.copytree(folder, tmp_path / "moved", copy_function=shutil.copyfile)
    assert Stream(moved, 16, held_out=3).digest == stream.digest
    Image.new("RGB", (32, 32), (1, 2, 3)).save(moved / stream.held_out_names[0].removeprefix(f"{folder}/"))
    assert Stream(moved, 16, held_out=3).digest != stream.digest


def test_opening_looks_at_six_blocks_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((32, 1024, 1024, 1), np.uint8)
    blocks, looked = digests.of_blocks(pixels), []
    digest = digests._digest
    monkeypatch.setattr(digests, "_digest", lambda content: looked.append(len(content)) or digest(content))
    assert digests.damaged(pixels, blocks) is None
    assert looked == [2**20] * 6
