"""A file is whole or it is not there, whatever goes wrong on the way."""

import errno
import os
import resource

import pytest
import torch

import copyfold as cf
from copyfold.files import sweep, write_text, written


@pytest.fixture
def small_disk():
    """A disk on which no file can be larger than 1000 bytes."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, former[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, former)


def half(path, error):
    """Begin to write a file, and fail."""
    with written(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "in" / "a.txt"
    with written(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, cf.CopyfoldError, RuntimeError])
def test_what_fails_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error):
        half(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_before_it_begins_is_told_as_it_was(tmp_path):
    with pytest.raises(ValueError, match="mine"), written(tmp_path / "a.txt"):
        raise ValueError("mine")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "--resume"), (errno.EDQUOT, "--resume"), (errno.EFBIG, "--resume"), (errno.EACCES, "another")],
)
def test_what_the_disk_refuses_is_said_with_what_to_do(number, advice, tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(cf.CopyfoldError, match=advice) as caught:
        half(path, OSError(number, os.strerror(number)))
    assert str(path) in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_text(small_disk, tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(cf.CopyfoldError, match="free some space"):
        write_text(path, "x" * 5000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_model(small_disk, tmp_path):
    model = cf.MLP((1, 8, 8), hidden=(64,))
    with pytest.raises(cf.CopyfoldError, match=r"model\.safetensors.*free some space"):
        model.save(tmp_path)
    assert not list(tmp_path.iterdir())
    small = cf.Linear((1, 2, 2), latent_dim=1)
    small.save(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(cf.CopyfoldError):
        model.save(tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert torch.equal(cf.load(tmp_path)(torch.ones(1, 1, 2, 2)), small(torch.ones(1, 1, 2, 2)))


def test_a_place_that_is_none_is_said(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "file").write_text("a")
    for path in (tmp_path / "file" / "a.txt", folder):
        with pytest.raises(cf.CopyfoldError, match=r"cannot write .*; what was there before is untouched"):
            write_text(path, "b")
    assert (tmp_path / "file").read_text() == "a"
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder"}


def test_others_may_read_a_file_as_they_may_read_any(tmp_path):
    plain = tmp_path / "plain.txt"
    plain.write_text("a")
    with written(tmp_path / "b.txt") as temporary:
        temporary.touch(0o600)
        temporary.write_text("b")
    assert (tmp_path / "b.txt").stat().st_mode == plain.stat().st_mode


def test_what_a_killed_process_left_half_written_is_swept_and_nothing_else(tmp_path):
    names = {".4711-last.ckpt", ".lock", ".hidden-file", "4711-a", "a.txt"}
    for name in names:
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names - {".4711-last.ckpt"}


def test_text_is_utf_8(tmp_path):
    write_text(tmp_path / "a.txt", "ü ∑\n")
    assert (tmp_path / "a.txt").read_bytes() == "ü ∑\n".encode()
