"""Progress as it is drawn: on a terminal, in a notebook, and in a log file."""

import io
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest

import copyfold as cf
from copyfold import screen
from copyfold.data import Photos, scenes
from copyfold.screen import Lines


class Terminal(io.StringIO):
    """A terminal, as far as it is asked."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def notebook(monkeypatch) -> list[str]:
    """A notebook: an IPython that has a kernel; what its cell shows, each as it was drawn last."""
    shown: list[str] = []

    def display(drawing, display_id):
        assert display_id
        shown.append(drawing.data)
        place = len(shown) - 1
        return SimpleNamespace(update=lambda drawing: shown.__setitem__(place, drawing.data))

    shell, inner = ModuleType("IPython"), ModuleType("IPython.display")
    shell.get_ipython = lambda: SimpleNamespace(kernel=object())
    inner.HTML, inner.display = lambda data: SimpleNamespace(data=data), display
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    return shown


def lines(capsys, steps: int, seconds: float, length: int | None = None) -> list[str]:
    """What is written of so many steps that take so many seconds each, of epochs of a length."""
    now = [0.0]
    tell = Lines(lambda: now[0])
    for step in range(steps + 1):
        tell("work", step, steps, {} if length is None else {"epoch": step / length, "loss": 12.5})
        now[0] += seconds
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()


def test_there_is_a_line_a_minute_with_the_time_passed_and_left(capsys):
    assert lines(capsys, steps=10, seconds=25.0) == [
        "work: 3 of 10, 1:15, 2:55 left",
        "work: 6 of 10, 2:30, 1:40 left",
        "work: 9 of 10, 3:45, 0:25 left",
    ]


def test_where_there_are_epochs_a_line_is_written_at_the_end_of_one_or_after_two_minutes(capsys):
    short = lines(capsys, steps=200, seconds=1.0, length=25)
    assert short == [
        "work: 75 of 200, epoch 3, loss 12.5, 1:15, 2:05 left",
        "work: 150 of 200, epoch 6, loss 12.5, 2:30, 0:50 left",
    ]
    long = lines(capsys, steps=40, seconds=30.0, length=20)
    assert [line.split(",")[0] for line in long] == [f"work: {step} of 40" for step in range(4, 41, 4)]
    assert long[-1].endswith("epoch 2, loss 12.5, 20:00, 0:00 left")


def test_of_a_second_work_of_a_kind_the_time_is_its_own(capsys, monkeypatch):
    """As of the second training of a study: the first one's hour is not part of its pace."""
    now = [0.0]
    tell = Lines(lambda: now[0])
    for total in (10, 10, 20):
        for step in range(1, total + 1):
            now[0] += 400.0 if step == 1 else 100.0
            tell("training", step, total, {})
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 40
    for first in (0, 10, 20):
        assert said[first].endswith(", 0:00")
    assert said[9] == said[19] == "training: 10 of 10, 15:00, 0:00 left"
    assert said[12] == "training: 3 of 10, 3:20, 11:40 left"
    assert said[22] == "training: 3 of 20, 3:20, 28:20 left"

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "120")
    bars = screen._bars(stays=True)
    show = screen._on(bars)
    for step in (1, 4, 1):
        show("training", step, 4, {})
    assert not bars.tasks[0].finished
    assert bars.tasks[0].completed == 1


def test_hours_and_names_are_readable(capsys):
    assert screen._clock(3725) == "1:02:05"
    assert screen._parts({"held_out_mse": 0.0123456, "step": 12345}) == ["held-out mse 0.01235", "step 12,345"]


def test_on_a_terminal_there_is_a_bar_with_the_numbers_which_stays_where_it_is_told_to(monkeypatch):
    for stays in (True, False):
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setenv("COLUMNS", "120")
        with screen.drawn(stays) as told:
            told("training", 1, 4, {})
            told("training", 4, 4, {"loss": 3.25})
        written = sys.stderr.getvalue()
        assert "training" in written
        assert "4/4" in written
        assert "loss 3.25" in written
        assert written.removesuffix("\x1b[?25h").endswith("\n") == stays  # the cursor is shown again last


def test_on_eighty_columns_the_bar_and_the_time_left_are_seen_before_all_numbers_are(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    numbers = {"step": 1052, "epoch": 17.33, "loss": 25.26, "held_out_mse": 0.02299}
    with screen.drawn(stays=True) as told:
        told("training (seconds)", 0, 180, numbers)
        told("training (seconds)", 180, 180, numbers)
    plain = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", sys.stderr.getvalue())
    last = [line for line in plain.splitlines() if line.strip()][-1]
    for word in ("training (seconds)", "━━━", "180/180", "0:00:00", "loss 25.26, held-out mse 0.02299"):
        assert word in last
    assert "…" not in last


def test_a_notebook_has_one_bar_for_each_kind_of_work(notebook, capfd):
    with screen.told(None, stays=True) as told:
        for step in range(1, 5):
            told("training", step, 4, {"loss": 3.25 / step})
        told("a < b", 1, 1, {})
    assert len(notebook) == 2
    assert notebook[0].startswith('training <progress value="4" max="4"></progress> 4 of 4, loss 0.8125, 0:00')
    assert notebook[1].startswith("a &lt; b <progress")
    assert capfd.readouterr() == ("", "")


def test_a_bar_in_a_notebook_that_does_not_stay_is_gone_at_the_end(notebook):
    with screen.drawn() as told:
        told("reading images", 1, 4, {})
        assert "reading images" in notebook[0]
    assert notebook == [""]


def test_work_that_takes_a_moment_only_has_no_bar(notebook, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    with screen.told(None) as told:
        told("reading images", 1, 4, {})
        now[0] += screen.MOMENT / 2
        told("reading images", 2, 4, {})
        assert notebook == []
        now[0] += screen.MOMENT
        told("reading images", 3, 4, {})
        assert "3 of 4" in notebook[0]


def test_without_rich_a_terminal_gets_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with screen.drawn() as told:
        assert isinstance(told, Lines)


def test_only_the_first_process_draws(monkeypatch):
    monkeypatch.setattr(screen, "FIRST", False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with screen.drawn() as told:
        told("training", 4, 4, {})
    assert sys.stderr.getvalue() == ""


def test_who_is_told(monkeypatch):
    """Nobody where nobody would see it, unless a person asks for lines; a function itself."""
    for console in (None, io.StringIO()):
        monkeypatch.setattr(sys, "stderr", console)
        for given in (None, False):
            with screen.told(given) as told:
                assert told is None
    with screen.told(True, stays=True) as told:
        assert isinstance(told, Lines)
    with screen.told(print) as told:
        assert told is print


@pytest.mark.parametrize(("progress", "drawn"), [(None, True), (True, True), (False, False)])
def test_fit_draws_a_bar_on_a_terminal_unless_told_not_to(tmp_path, monkeypatch, progress, drawn):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "120")
    photos = Photos(scenes(20, 8, channels=1), 8)
    run = cf.fit(cf.Linear((1, 8, 8), 2), None, photos, tmp_path / "a", epochs=1, batch=8, progress=progress)
    last = f"loss {run.history[-1]['loss']:.4g}"
    assert (last in sys.stderr.getvalue()) == drawn
    assert bool(sys.stderr.getvalue()) == drawn
