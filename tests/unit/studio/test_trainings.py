"""Trainings outlive the studio: one at a time, stopped on request, found again."""

import copy
import sys
import time
from dataclasses import replace

import pytest

from copyfold.errors import CopyfoldError, UsageError
from copyfold.studio import trainings
from copyfold.studio.trainings import Trainings, _began

SLEEPS = "import time; time.sleep(60)"
ENDS = "print('runs/1')"


@pytest.fixture(autouse=True)
def python(monkeypatch):
    """A training's words are run as Python here."""
    monkeypatch.setattr(trainings, "line", lambda words: [sys.executable, "-c", words[0]])
    monkeypatch.setattr(trainings, "PULSE", 0.02)


@pytest.fixture
def studio(tmp_path):
    """A function that opens the queue, as a new studio does; what is left running is killed at the end."""
    opened = []

    def studio():
        opened.append(Trainings(tmp_path))
        return opened[-1]

    yield studio
    for queue in opened:
        queue.close()
        for process in queue._mine.values():
            process.kill()
            process.wait()


def until(found, seconds=20.0):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def studio_of_another_process(queue):
    """The same queue as another studio sees it, whose children the trainings are not."""
    other = copy.copy(queue)
    other._mine = {}
    return other


def states(queue):
    return [queue.state(job) for job in queue.jobs()]


def test_one_at_a_time_in_their_order(studio):
    queue = studio()
    queue.add("a", [SLEEPS])
    until(lambda: states(queue) == ["running"])
    queue.add("b", [ENDS])
    time.sleep(0.2)
    assert states(queue) == ["running", "waiting"]
    with pytest.raises(UsageError, match="in the queue already"):
        queue.add("a", [ENDS])
    assert "saves and stops" in queue.stop("a")
    until(lambda: states(queue) == ["stopped", "done"])
    with pytest.raises(UsageError, match="not being trained"):
        queue.stop("a")


def test_one_that_waits_is_taken_out(studio):
    queue = studio()
    queue.add("a", [SLEEPS])
    until(lambda: states(queue) == ["running"])
    queue.add("b", [ENDS])
    assert "out of the queue" in queue.stop("b")
    assert [job.run for job in queue.jobs()] == ["a"]


def test_a_new_studio_finds_them_again(studio, monkeypatch):
    queue = studio()
    job = queue.add("a", [SLEEPS])
    queue.add("b", [ENDS])
    until(lambda: states(queue) == ["running", "waiting"])
    queue.close()
    time.sleep(0.1)
    again = studio()
    assert states(again) == ["running", "waiting"]
    assert again.jobs()[0].words == job.words
    process = again.jobs()[0].process
    assert process is not None
    again.stop("a")
    until(lambda: _began(process) == "")
    until(lambda: states(again) == ["stopped", "done"])


def test_another_process_of_that_number_is_not_taken_for_it(studio):
    queue = studio()
    job = queue.add("a", [SLEEPS])
    until(lambda: states(queue) == ["running"])
    job = queue.jobs()[0]
    assert job.process is not None
    other = studio_of_another_process(queue)
    assert other.state(job) == "running"
    assert other.state(replace(job, began="1")) == "stopped"


def test_a_failure_is_told(studio):
    queue = studio()
    queue.add("a", ["import sys; sys.exit('copyfold: no images')"])
    until(lambda: states(queue) == ["failed"])
    assert queue.said(queue.jobs()[0], "err") == ["copyfold: no images"]


def test_a_full_queue_says_so(studio, monkeypatch):
    monkeypatch.setattr(trainings, "WAITING", 1)
    queue = studio()
    queue.add("a", [SLEEPS])
    queue.add("b", [ENDS])
    with pytest.raises(CopyfoldError, match="queue full"):
        queue.add("c", [ENDS])


def test_two_studios_do_not_share_a_root(studio, tmp_path):
    studio()
    with pytest.raises(UsageError, match="another studio works in"):
        Trainings(tmp_path)


def test_what_is_no_job_is_not_read(studio, tmp_path):
    queue = studio()
    for name, text in (
        ("1.json", "{"),
        ("2.json", "[]"),
        ("3.json", '{"number": 3}'),
        ("4.json", '{"words": "x"}'),
    ):
        (tmp_path / ".studio" / name).write_text(text)
    assert queue.jobs() == []
