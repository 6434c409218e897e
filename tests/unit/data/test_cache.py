"""The cache: hits decode nothing, changes are noticed, no entry is incomplete."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from copyfold import files
from copyfold.data import Photos
from copyfold.data.reading import cache as store
from copyfold.data.reading import decoding, depth, folders
from copyfold.errors import CopyfoldError


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened, by header or to decode."""
    names: list[str] = []
    for name in ("header", "decoded"):
        function = getattr(folders, name)
        monkeypatch.setattr(
            folders,
            name,
            lambda path, *near, function=function: names.append(Path(path).name) or function(path, *near),
        )
    return names


def test_a_cache_hit_opens_no_image_and_gives_the_same_pixels(folder: Path, opened: list[str]) -> None:
    first = Photos(folder)
    assert len(set(opened)) == 12
    opened.clear()
    second = Photos(folder)
    assert opened == []
    np.testing.assert_array_equal(first.train, second.train)
    np.testing.assert_array_equal(first.held_out, second.held_out)
    for name in ("shape", "names", "held_out_names", "notes", "classes", "fingerprint"):
        assert getattr(first, name) == getattr(second, name)
    assert first.labels.tolist() == second.labels.tolist()
    assert isinstance(second.train, np.memmap)


def test_other_settings_make_another_cache_entry(folder: Path, opened: list[str]) -> None:
    prints = {
        Photos(folder, **arguments).fingerprint
        for arguments in ({}, {"size": 16}, {"fit": "pad"}, {"limit": 5}, {"seed": 1}, {"skip_bad": True})
    }
    assert len(prints) == 6
    opened.clear()
    assert Photos(folder, flip=True).fingerprint in prints  # flips are made in training
    assert opened == []


def test_a_changed_file_is_noticed(folder: Path) -> None:
    before = Photos(folder)
    name = before.names[0]
    Image.new("RGB", (32, 32), (1, 2, 3)).save(folder / name)
    os.utime(folder / name, (1, 1))
    after = Photos(folder)
    assert after.fingerprint != before.fingerprint
    assert after.train[0, 0, 0].tolist() == [1, 2, 3]


def test_a_new_file_is_noticed(folder: Path) -> None:
    before = Photos(folder)
    Image.new("RGB", (32, 32)).save(folder / "cats" / "new.png")
    assert len(Photos(folder)) + len(Photos(folder).held_out) == len(before) + len(before.held_out) + 1


@pytest.mark.parametrize("damage", ["truncate", "empty", "remove", "meta", "shape"])
def test_a_broken_cache_entry_is_replaced(folder: Path, cache: Path, opened: list[str], damage: str) -> None:
    photos = Photos(folder)
    expected = photos.train.copy()
    entry = cache / photos.fingerprint
    pixels, meta = entry / "pixels.npy", entry / "meta.json"
    if damage == "truncate":
        pixels.write_bytes(pixels.read_bytes()[:-100])
    elif damage == "empty":
        pixels.write_bytes(b"")
    elif damage == "remove":
        pixels.unlink()
    elif damage == "meta":
        meta.write_text("{")
    else:
        meta.write_text(json.dumps(json.loads(meta.read_text()) | {"shape": [1, 2, 3, 4]}))
    opened.clear()
    np.testing.assert_array_equal(Photos(folder).train, expected)
    assert opened
    opened.clear()
    Photos(folder)
    assert opened == []
    assert not list(cache.glob(".making*"))


def test_cache_entries_contain_no_pickle(folder: Path, cache: Path) -> None:
    photos = Photos(folder)
    assert sorted(path.name for path in (cache / photos.fingerprint).iterdir()) == ["meta.json", "pixels.npy"]
    whole = np.load(cache / photos.fingerprint / "pixels.npy", allow_pickle=False)
    np.testing.assert_array_equal(whole, np.concatenate([photos.train, photos.held_out]))


def test_the_header_is_right_when_the_number_of_images_has_fewer_digits(tmp_path: Path) -> None:
    blocks = [np.full((3, 2, 2, 1), k, np.uint8) for k in range(3)]
    assert store.write_pixels(tmp_path, iter(blocks), 123_456) == (9, 2, 2, 1)
    np.testing.assert_array_equal(np.load(tmp_path / "pixels.npy"), np.concatenate(blocks))


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_a_late_colour_block_converts_the_earlier_ones_to_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(store, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    blocks = [
        rng.integers(0, 256, (n, 2, 2, c), dtype=np.uint8) for n, c in ((3, 1), (4, 1), (2, 3), (1, 1), (2, 3))
    ]
    assert store.write_pixels(tmp_path, iter(blocks), 100) == (12, 2, 2, 3)
    expected = np.concatenate([block if block.shape[3] == 3 else block.repeat(3, 3) for block in blocks])
    np.testing.assert_array_equal(np.load(tmp_path / "pixels.npy"), expected)


def test_a_full_disk_gives_a_one_line_error_and_leaves_nothing(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "fsync", full)
        with pytest.raises(
            CopyfoldError, match=r"cannot be written: No space left on device.*COPYFOLD_CACHE"
        ) as error:
            Photos(folder)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 1
    assert list(cache.iterdir()) == []
    assert len(Photos(folder)) == 11


def test_a_file_size_limit_gives_a_one_line_error(folder: Path, cache: Path) -> None:
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from copyfold.data import Photos; from copyfold.errors import CopyfoldError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: Photos(sys.argv[1])\n"
        "except CopyfoldError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert "cannot be written: File too large" in done.stdout
    assert not [
        path for path in cache.iterdir() if path.name.startswith(".making") or (path / "pixels.npy").exists()
    ]


def test_an_unwritable_cache_gives_a_one_line_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COPYFOLD_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(
        CopyfoldError, match=r"image cache .*/file/below cannot be written: Not a directory; point"
    ):
        Photos(folder)


def test_an_interrupted_cache_write_leaves_nothing(folder: Path, cache: Path) -> None:
    def stop(what: str, done: int, total: int, numbers: object) -> None:
        if what == "reading images":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Photos(folder, progress=stop)
    assert not list(cache.glob(".making*"))
    assert len(Photos(folder)) == 11


@pytest.fixture
def nearly_grey(tmp_path: Path) -> Path:
    """Fifty pictures of 32x32 stored in colour, each painted in the grey of its number, but the 44th in colour."""
    root = tmp_path / "grey"
    root.mkdir()
    for k in range(50):
        Image.new("RGB", (32, 32), (k, k, k) if k != 44 else (k, 0, 0)).save(root / f"{k:02d}.png")
    return root


def test_late_colour_is_found_and_each_file_decoded_once(
    nearly_grey: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "header", decoding.header)  # so that `opened` has what is decoded only
    photos = Photos(nearly_grey)
    assert photos.shape == (3, 32, 32)
    assert sorted(opened) == sorted(photos.names + photos.held_out_names) == [f"{k:02d}.png" for k in range(50)]
    assert photos.names.index("44.png") >= 32  # when two pieces at least have been written in grey
    for image, name in zip([*photos.train, *photos.held_out], photos.names + photos.held_out_names, strict=True):
        k = int(name[:2])
        assert (image == ((k, k, k) if k != 44 else (k, 0, 0))).all()


def test_grey_photos_are_decoded_once_and_found_again(
    nearly_grey: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (nearly_grey / "44.png").unlink()
    monkeypatch.setattr(folders, "header", decoding.header)
    photos = Photos(nearly_grey)
    assert photos.shape == (1, 32, 32)
    assert len(opened) == len(set(opened)) == 49
    opened.clear()
    for same in (Photos(nearly_grey), Photos(nearly_grey, size=32), Photos(nearly_grey, channels=1)):
        assert same.fingerprint == photos.fingerprint
    assert opened == []
    assert Photos(nearly_grey, channels=3).shape[0] == 3


def test_a_given_size_avoids_reading_headers(
    nearly_grey: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "decoded", depth.decoded)
    Photos(nearly_grey, size=16)
    assert len(opened) <= 16  # a few, to know whether threads help
    Photos(nearly_grey)
    assert set(opened) == {f"{k:02d}.png" for k in range(50)}


@pytest.mark.parametrize("done", [16, 32, 50])  # nothing but grey so far; colour in the next piece; all
def test_an_interrupted_first_pass_records_no_colour(nearly_grey: Path, cache: Path, done: int) -> None:
    def stop(what: str, so_far: int, total: int, numbers: object) -> None:
        if so_far == done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Photos(nearly_grey, size=32, progress=stop)
    assert list(cache.iterdir()) == []
    photos = Photos(nearly_grey, size=32)
    assert photos.shape == (3, 32, 32)
    assert sorted(photos.train[:, 0, 0, 0].tolist() + photos.held_out[:, 0, 0, 0].tolist()) == list(range(50))


def test_leftovers_of_killed_processes_are_removed_those_of_other_machines_a_day_later(
    folder: Path, cache: Path
) -> None:
    script = "from copyfold.data.reading.cache import unfinished; print(unfinished())"
    of_dead = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    named = {f"{of_dead.strip()}x": False, f"{store.unfinished()}x": True, ".making-1-00000000-x": True}
    for name in named:
        (cache / name).mkdir(parents=True)
    for name, age in ((".making-old", 2 * store.DAY), (".making-new", 60)):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (time.time() - age,) * 2)
    Photos(folder)
    assert not (cache / ".making-old").exists()
    assert (cache / ".making-new").exists()
    assert {name: (cache / name).exists() for name in named} == named


def _race(folder: Path, start: object, answers: object) -> None:
    start.wait()
    photos = Photos(folder)
    answers.put((photos.fingerprint, int(photos.train.sum())))


def test_two_processes_racing_both_end_up_fine(folder: Path, cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(3), context.Queue()
    racers = [context.Process(target=_race, args=(folder, start, answers)) for _ in range(3)]
    for racer in racers:
        racer.start()
    found = {answers.get(timeout=300) for _ in racers}
    for racer in racers:
        racer.join()
    photos = Photos(folder)
    assert found == {(photos.fingerprint, int(photos.train.sum()))}
    assert not list(cache.glob(".making*"))


def test_a_process_that_waited_for_an_entry_holds_the_lock_too(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock's file goes with its holder; who waited on it may not be left with a lock that nobody sees."""
    waits, has, done = threading.Event(), threading.Event(), threading.Event()

    def second() -> None:
        with store.alone("entry"):
            has.set()
            assert done.wait(60)

    monkeypatch.setattr(files.log, "info", lambda *_: waits.set())
    thread = threading.Thread(target=second)
    try:
        with store.alone("entry"):
            thread.start()
            assert waits.wait(60)
            assert not has.is_set()
        assert has.wait(60)
        with pytest.raises(CopyfoldError, match="in use"), files.locked(cache / ".lock-entry"):
            raise AssertionError
    finally:
        done.set()
        thread.join()
    assert list(cache.iterdir()) == []


def test_losing_the_race_uses_the_other_entry(tmp_path: Path, cache: Path) -> None:
    def make(place: Path) -> dict[str, object]:
        store.store("entry", lambda _: {"by": "the faster"})  # while this one is still at work
        return {"by": "the slower"}

    store.store("entry", make)
    assert store.recall("entry") == {"by": "the faster"}
    assert [path.name for path in cache.iterdir()] == ["entry"]


def test_a_second_start_imports_neither_datasets_nor_sklearn(cache: Path) -> None:
    code = (
        "import sys; from copyfold.data import Batches, Photos; x = next(iter(Batches(Photos().train, 16)))\n"
        "print(x.shape, [name for name in ('datasets', 'sklearn', 'pyarrow') if name in sys.modules])"
    )
    photos = Photos()
    assert photos.train.shape == (1617, 32, 32, 1)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "torch.Size([16, 1, 32, 32]) []"


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COPYFOLD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert store.folder() == tmp_path / "xdg" / "copyfold"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert store.folder() == tmp_path / "home" / ".cache" / "copyfold"
