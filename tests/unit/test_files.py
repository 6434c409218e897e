"""A file is complete or absent, whatever fails while writing."""

import errno
import os
import resource
import signal
import subprocess
import sys

import pytest
import torch

import copyfold as cf
from copyfold.files import (
    ESCAPED,
    NAMES,
    Full,
    absolute,
    aliases,
    copied,
    escaped,
    is_dead,
    locked,
    mark,
    plain,
    readable,
    recipe_from,
    recipe_text,
    regular,
    small_text,
    sweep,
    unescaped,
    write_text,
    write_texts,
    written,
)


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


def test_a_file_gets_its_name_only_when_complete(tmp_path):
    path = tmp_path / "deep" / "in" / "a.txt"
    with written(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, cf.CopyfoldError, RuntimeError])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(error, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error):
        half(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_before_writing_is_raised_unchanged(tmp_path):
    with pytest.raises(ValueError, match="mine"), written(tmp_path / "a.txt"):
        raise ValueError("mine")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "advice"),
    [*((full, "resume=True") for full in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)), (errno.EACCES, "another")],
)
def test_disk_errors_say_what_to_do(number, advice, tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(cf.CopyfoldError, match=advice) as caught:
        half(path, OSError(number, os.strerror(number)))
    assert str(path) in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_the_old_text(small_disk, tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(cf.CopyfoldError, match="free some space"):
        write_text(path, "x" * 5000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_texts_that_belong_together_are_replaced_together(small_disk, tmp_path):
    page, numbers = tmp_path / "report.html", tmp_path / "report.json"
    write_texts({page: "old", numbers: "old"})
    with pytest.raises(Full):
        write_texts({page: "new", numbers: "x" * 5000})
    assert page.read_text() == numbers.read_text() == "old"
    write_texts({page: "new", numbers: "new"})
    assert page.read_text() == numbers.read_text() == "new"
    assert sorted(tmp_path.iterdir()) == [page, numbers]


def test_a_full_disk_keeps_the_old_model(small_disk, tmp_path):
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


def test_an_invalid_folder_is_reported(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "file").write_text("a")
    for path in (tmp_path / "file" / "a.txt", folder):
        with pytest.raises(cf.CopyfoldError, match=r"cannot write .*; the file that was there is unchanged"):
            write_text(path, "b")
    assert (tmp_path / "file").read_text() == "a"
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder"}


def test_a_file_has_the_usual_permissions(tmp_path):
    plain = tmp_path / "plain.txt"
    plain.write_text("a")
    with written(tmp_path / "b.txt") as temporary:
        temporary.touch(0o600)
        temporary.write_text("b")
    assert (tmp_path / "b.txt").stat().st_mode == plain.stat().st_mode


def test_partial_files_of_killed_processes_are_removed(tmp_path):
    names = {".4711-last.ckpt", ".lock", ".hidden-file", "4711-a", "a.txt"}
    for name in names:
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names - {".4711-last.ckpt"}


def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_there(tmp_path):
    script = f"""
import os, pathlib, signal
from copyfold.files import written
with written(pathlib.Path({str(tmp_path)!r}) / "film.mp4") as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    others = [
        tmp_path / ".1-0000000000000000.mp4",
        tmp_path / left.name.replace(left.name[1:].partition("-")[0], "1"),
    ]
    for other in others:  # of another machine, and of a process that lives
        other.write_text("half")
    write_text(tmp_path / "other.txt", "whole")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "other.txt", *others])


def test_only_a_name_with_the_mark_of_a_dead_process_is_left_over():
    for name in ("", "x", "1-", "1-00000000", mark(), f"{10**30}-{mark().partition('-')[2]}"):
        assert not is_dead(name)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert is_dead(f"{process.pid}-{mark().partition('-')[2]}-and more")


def test_a_copy_is_whole_or_absent(small_disk, tmp_path):
    (tmp_path / "small").write_text("small")
    copied(tmp_path / "small", tmp_path / "deep" / "copy")
    assert (tmp_path / "deep" / "copy").read_text() == "small"
    with pytest.raises(cf.CopyfoldError, match="free some space"):
        copied(sys.executable, tmp_path / "deep" / "copy")
    assert (tmp_path / "deep" / "copy").read_text() == "small"
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_text_is_utf_8(tmp_path):
    write_text(tmp_path / "a.txt", "ü ∑\n")
    assert (tmp_path / "a.txt").read_bytes() == "ü ∑\n".encode()


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "a" * 255, "a." + "b" * 253, "日" * 83 + ".png", "a"])
def test_a_file_of_any_name_that_the_disk_takes_is_written(name, tmp_path):
    write_text(tmp_path / name, "here")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "here"


def test_a_name_that_the_disk_does_not_take_is_an_error_of_that_file_alone(tmp_path):
    with pytest.raises(cf.CopyfoldError, match="File name too long") as caught:
        write_text(tmp_path / ("a" * 256), "here")
    assert not isinstance(caught.value, Full)
    assert not list(tmp_path.iterdir())


SAME = [b"plain.png", "ü日.png".encode()]
BYTES = [*SAME, b"caf\xe9.png", b"a\\b", b"\\xe9", b"\xe9\\x\xff\\\\", b"\xe6\x97", b"\\"]


@pytest.mark.parametrize("name", BYTES)
def test_a_name_is_text_and_the_text_a_name_again(name):
    text = escaped(os.fsdecode(name))
    assert text.encode()
    assert os.fsencode(unescaped(text)) == name
    assert (text == name.decode("utf-8", "replace")) == (name in SAME)


def test_names_are_written_as_their_bytes_or_readable():
    name = os.fsdecode("日 ".encode() + b"caf\xe9")
    assert name.encode("utf-8", NAMES) == name.encode("ascii", NAMES) == os.fsencode(name)
    assert name.encode("utf-8", ESCAPED) == "日 caf\\xe9".encode()
    assert name.encode("ascii", ESCAPED) == b"\\u65e5 caf\\xe9"
    assert "\ud800".encode("utf-8", NAMES) == b"?"
    assert readable(name) == "日 caf\\xe9"


def test_a_text_with_a_name_in_it_is_written(tmp_path):
    write_text(tmp_path / "a.txt", os.fsdecode(b"the folder caf\xe9"))
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "the folder caf\\xe9"


def test_a_plain_path_leads_to_the_same_file(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "a.txt").write_text("here")
    with plain(folder / "a.txt") as path:
        assert str(path).encode()
        assert path.read_text() == "here"
    assert not os.path.lexists(path)
    with plain(tmp_path / "b.txt") as path:
        assert path == tmp_path / "b.txt"


# ---------------------------------------------------------------- locks


def another(code, *arguments):
    """Another process at work in files.locked; it says so on its standard output, and reads its standard input."""
    line = [sys.executable, "-c", "from copyfold.files import locked\n" + code, *map(str, arguments)]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_lock_names_its_process_and_dies_with_it_though_a_child_lives(tmp_path):
    """A child as a reader of images is one: forked while the lock was held."""
    code = """
import os, sys
with locked(sys.argv[1]):
    if not os.fork():
        print(os.getpid(), flush=True)
    sys.stdin.read()
"""
    path = tmp_path / ".lock"
    with another(code, path) as other:
        child = int(other.stdout.readline())
        with pytest.raises(cf.CopyfoldError, match=f"{tmp_path} is in use by process {other.pid}: "), locked(path):
            raise AssertionError
        other.kill()
        other.wait()
        try:
            with locked(path):
                assert path.read_text() == str(os.getpid())
        finally:
            os.kill(child, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == [path]


def test_waiting_for_a_lock_is_logged_and_can_be_interrupted(tmp_path):
    code = """
import logging, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
with locked(sys.argv[1], wait=True):
    print("held")
"""
    path = tmp_path / ".lock"
    with locked(path), another(code, path) as other:
        assert other.stdout.readline() == f"{tmp_path} is in use by process {os.getpid()}: waiting for it\n"
        other.send_signal(signal.SIGINT)
        out, error = other.communicate(timeout=60)
    assert (out, error.splitlines()[-1]) == ("", "KeyboardInterrupt")
    assert other.returncode == -signal.SIGINT


def test_if_locking_is_impossible_the_error_of_the_disk_is_raised(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=str(tmp_path / "file")), locked(tmp_path / "file" / ".lock"):
        raise AssertionError


def test_on_a_full_disk_a_lock_holds_without_the_number(tmp_path):
    path = tmp_path / ".lock"
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, former[1]))
    try:
        with locked(path):
            assert path.read_text() == ""
            with pytest.raises(cf.CopyfoldError, match="in use by process unknown"), locked(path):
                raise AssertionError
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


# ---------------------------------------------------------------- guards of what is read


def test_a_pipe_a_device_and_a_folder_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    regular(tmp_path / "file")
    regular(tmp_path / "link")
    for path, kind in ((tmp_path / "pipe", "a pipe"), ("/dev/zero", "a device"), (tmp_path, "a folder")):
        with pytest.raises(OSError, match=f"it is .*{kind}"):
            regular(path)
    with pytest.raises(FileNotFoundError):
        regular(tmp_path / "nothing")


def test_a_text_is_read_up_to_a_size(tmp_path):
    (tmp_path / "file").write_text("é" * 5)
    assert small_text(tmp_path / "file", 10) == "é" * 5
    with pytest.raises(ValueError, match="it is larger than 9 bytes"):
        small_text(tmp_path / "file", 9)
    with pytest.raises(OSError, match="a device"):
        small_text("/dev/zero", 9)


def test_the_home_of_an_unknown_user_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(absolute("~/a")) == "/somewhere/a"
    assert absolute("~nobody-of-this-name/a") == tmp_path / "~nobody-of-this-name" / "a"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: [", "expected"),
        ("- a", "not a recipe"),
        ("", "not a recipe"),
        ("[" * 5000, "recursion"),
    ],
)
def test_a_text_that_is_no_recipe_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        recipe_from(text)
    assert recipe_from("a: 'x & y *'") == {"a": "x & y *"}
    assert not aliases("a: 3 * 4 & 5")
    twice = [8, 8]
    assert recipe_from(recipe_text({"size": twice, "crop": twice})) == {"size": [8, 8], "crop": [8, 8]}
