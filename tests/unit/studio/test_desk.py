"""Heavy work: in turns, a few waiting, the others told that the queue is full."""

import sys
import threading
import time
from itertools import pairwise

import pytest

from copyfold.errors import CopyfoldError
from copyfold.studio import desk
from copyfold.studio.desk import Desk, Done


@pytest.fixture(autouse=True)
def python(monkeypatch):
    """A command's words are run as Python here."""
    monkeypatch.setattr(desk, "line", lambda words: [sys.executable, "-c", words[0]])
    monkeypatch.setattr(desk, "PAUSE", 0.02)


def test_what_a_command_says(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    code = "import sys, os; print('a.png'); print('0.5\\tb'); print('on the way', file=sys.stderr)"
    *_, done = Desk(tmp_path).work([f"{code}; print(os.path.abspath('a.png'))"])
    assert isinstance(done, Done)
    assert (done.code, done.message) == (0, "on the way")
    assert tmp_path / "a.png" in done.files


def test_why_a_command_failed(tmp_path):
    code = "import sys; print('copyfold: --size 0 is invalid', file=sys.stderr); sys.exit(2)"
    *_, done = Desk(tmp_path).work([code])
    assert (done.code, done.message) == (2, "--size 0 is invalid")


def test_one_at_a_time_and_the_rest_is_told(tmp_path):
    work = Desk(tmp_path, waiting=1)
    code = "import time, pathlib; time.sleep(.5)"
    first = work.work([code])
    next(first)
    second = work.work([code])
    assert next(second).startswith("waiting: 1 action is before")
    with pytest.raises(CopyfoldError, match="queue full: one action is running and 1 wait"):
        next(work.work([code]))
    *_, done = first
    assert done.code == 0
    *_, done = second
    assert done.code == 0
    assert list(work.work(["pass"]))[-1].code == 0


def test_a_command_ends_with_its_page(tmp_path):
    work = Desk(tmp_path)
    code = "import time, pathlib; pathlib.Path('began').touch(); time.sleep(60)"
    running = work.work([code])
    until = time.monotonic() + 20
    while not (tmp_path / "began").exists() and time.monotonic() < until:
        next(running)
    before = time.monotonic()
    running.close()
    assert time.monotonic() - before < 10
    assert list(work.work(["pass"]))[-1].code == 0


def test_a_command_that_never_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(desk, "LONGEST", 0.2)
    with pytest.raises(CopyfoldError, match="run it in a terminal"):
        list(Desk(tmp_path).work(["import time; time.sleep(60)"]))


def test_threads_take_their_turns(tmp_path):
    work, seen = Desk(tmp_path, waiting=4), []
    code = "import time; time.sleep(.1); print(time.monotonic())"

    def ask():
        *_, done = work.work([code])
        seen.append(float(done.out[0]))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen.sort()
    assert min(b - a for a, b in pairwise(seen)) > 0.09


def test_a_command_imports_what_the_studio_was_given(monkeypatch):
    from copyfold.cli import _imports

    monkeypatch.undo()
    monkeypatch.setattr(_imports, "given", ["/somewhere/my_models.py"])
    assert desk.line(["data"])[-2:] == ["data", "--import=/somewhere/my_models.py"]
