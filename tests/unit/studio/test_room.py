"""Temporary files: apart by session, and gone at the end, also those of a studio that was killed."""

import os
import subprocess
import sys
import tempfile

import pytest

from copyfold.studio.room import BEGIN, Room


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_sessions_are_apart_and_forgotten():
    room = Room()
    one, two = room.of("one"), room.of("two")
    assert one != two
    assert room.of("../../etc").parent == room.folder
    assert one.stat().st_mode & 0o077 == 0
    (one / "a.png").write_bytes(b"")
    room.forget("one")
    assert not (one / "a.png").exists()
    assert two.is_dir()
    room.close()
    assert not room.folder.exists()


def test_what_a_killed_studio_left_is_swept(temporary):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead = temporary / f"{BEGIN}-{ended.stdout.strip()}-x"
    living = temporary / f"{BEGIN}-{os.getpid()}-x"
    others = temporary / f"{BEGIN}-nobody-x"
    for folder in (dead, living, others):
        folder.mkdir()
    Room().close()
    assert not dead.exists()
    assert living.exists()
    assert others.exists()
