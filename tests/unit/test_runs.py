"""A run's folder: who may write to it, what it contains, what is refused."""

import logging
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import copyfold as cf
from copyfold import runs

ROWS = [
    {"epoch": 0.5, "step": 10.0, "loss": 1 / 3, "mse": 1e-9},
    {"epoch": 1.0, "step": 20.0, "loss": 0.25, "held_out_loss": 0.5},
]


def test_a_history_is_read_back(tmp_path):
    run = runs.Run(tmp_path / "r")
    assert run.history == []
    run.write_history(ROWS)
    assert [set(row) for row in run.history] == [set(row) for row in ROWS]
    for found, row in zip(run.history, ROWS, strict=True):
        assert found == pytest.approx(row, rel=1e-7)
    assert (run.folder / "log.csv").read_text().splitlines()[0] == "epoch,step,loss,mse,held_out_loss"
    run.write_history(ROWS[:1])
    assert len(run.history) == 1
    run.write_history([{"step": 1.0, "loss": math.nan}])
    assert math.isnan(run.history[0]["loss"])


def test_a_history_is_a_list_of_rows_and_gives_columns_by_name(tmp_path):
    run = runs.Run(tmp_path)
    run.write_history(ROWS)
    loss, held_out = run.history["loss"], run.history["held_out_loss"]
    assert (loss, loss.steps) == (pytest.approx([1 / 3, 0.25]), [10, 20])
    assert (held_out, held_out.steps) == ([0.5], [20])  # not every row has every number
    assert isinstance(run.history, list)
    assert run.history[-1]["step"] == 20
    assert run.history[1:]["loss"] == [0.25]
    with pytest.raises(cf.UsageError, match=r"^the log has no column 'los': did you mean loss\?$"):
        run.history["los"]
    with pytest.raises(cf.UsageError, match=r"^the log has no column 'loss': it is empty$"):
        runs.History()["loss"]


def test_a_history_is_shown_by_its_columns_and_in_a_notebook_by_its_last_rows(tmp_path):
    history = runs.History(ROWS)
    assert repr(history) == "History(2 rows: epoch, step, loss, mse, held_out_loss)"
    assert repr(runs.History()) == "History(0 rows)"
    assert "<td>0.3333</td><td>1e-09</td><td></td></tr>" in history._repr_html_()
    many = runs.History({"step": float(k)} for k in range(500))
    assert len(many._repr_html_()) < 1000
    assert "<td>499</td>" in many._repr_html_()
    assert runs.History()._repr_html_().count("<tr>") == 1


def test_a_long_column_is_shown_by_its_ends():
    long = runs.Column((1 / k for k in range(1, 1001)), range(1000))
    assert repr(long) == "Column(1,000 numbers: 1, 0.5, 0.3333, ..., 0.001002, 0.001001, 0.001)"
    assert repr(long[:2]) == "[1.0, 0.5]"
    assert repr(runs.Column([0.25], [1])) == "Column([0.25])"
    assert list(long)[-1] == 1e-3


def test_a_log_whose_rows_have_no_step_is_none(tmp_path):
    run = runs.Run(tmp_path)
    for text in ("epoch,loss\n1,2\n", "step,loss\nnan,2\n"):
        (tmp_path / "log.csv").write_text(text)
        with pytest.raises(
            cf.UsageError, match=r"log.csv is not the log of a run: a row has no step; start again "
        ):
            run.history["loss"]


def test_a_history_is_a_table_of_pandas_where_that_is_installed(tmp_path, monkeypatch):
    run = runs.Run(tmp_path)
    run.write_history(ROWS)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(cf.CopyfoldError, match=r"^to_pandas needs pandas: pip install pandas$"):
        run.history.to_pandas()
    monkeypatch.undo()
    pytest.importorskip("pandas")
    table = run.history.to_pandas()
    assert list(table["step"]) == [10, 20]
    assert list(table["held_out_loss"].isna()) == [True, False]


@pytest.mark.parametrize("content", [b"step,loss\n1,much\n", b"step\n1,2\n", b"\xff\xfe"])
def test_an_invalid_log_is_refused(content, tmp_path):
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(cf.UsageError, match=r"log\.csv is not the log of a run"):
        _ = runs.Run(tmp_path).history


def test_a_series_has_the_rows_with_both_values(tmp_path):
    run = runs.Run(tmp_path)
    run.write_history(ROWS)
    assert run.series("loss") == ([10, 20], pytest.approx([1 / 3, 0.25]))
    assert run.series("held_out_loss") == ([20], [0.5])
    assert run.series("held_out_loss", "epoch") == ([1], [0.5])
    assert run.series("nothing") == ([], [])


def test_a_recipe_is_read_back_in_order(tmp_path):
    run = runs.Run(tmp_path)
    model = {"class_path": "UNet", "init_args": {"width": 4}}
    recipe = {"data": "/ü", "size": None, "flip": False, "model": model, "lr": 1e-5}
    run.write_recipe(recipe)
    assert run.recipe == recipe
    assert list(run.recipe) == list(recipe)


@pytest.mark.parametrize("content", [b"a: [", b"- a\n- b", b"", b"\xff\xfe\x00", b"a: " + b"[" * 5000])
def test_an_invalid_recipe_is_refused(content, tmp_path):
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(cf.UsageError, match=r"recipe\.yaml"):
        _ = runs.open(tmp_path).recipe


def test_only_a_folder_with_a_recipe_is_a_run(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(cf.UsageError, match=r"is not a run: there is no recipe\.yaml"):
            runs.open(folder)
    with pytest.raises(cf.UsageError, match="cannot be read"):
        _ = runs.Run(tmp_path).recipe
    runs.Run(tmp_path).write_recipe({})
    assert runs.open(tmp_path).folder == tmp_path


def test_only_new_empty_or_run_folders_may_be_written(tmp_path):
    folder = tmp_path / "r"
    assert runs.prepare(folder).folder == folder
    assert not folder.exists()
    folder.mkdir()
    (folder / ".hidden").write_text("a")
    runs.prepare(folder)
    (folder / "notes.txt").write_text("mine")
    for how in ({}, {"overwrite": True}):
        with pytest.raises(cf.UsageError, match="another run"):
            runs.prepare(folder, **how)
    runs.prepare(folder, resume=True)
    runs.Run(folder).write_recipe({})
    with pytest.raises(cf.UsageError, match="resume=True to continue, overwrite=True"):
        runs.prepare(folder)
    for how in ({"overwrite": True}, {"resume": True}, {"overwrite": True, "resume": True}):
        runs.prepare(folder, **how)
    with pytest.raises(cf.UsageError, match="is no folder"):
        runs.prepare(folder / "notes.txt")


def test_what_a_killed_clearing_leaves_is_a_run_that_can_be_cleared(tmp_path, monkeypatch):
    """recipe.yaml goes last, without which a folder is not overwritten."""
    run = runs.Run(tmp_path)
    run.write_recipe({"size": 8})
    (tmp_path / "model").mkdir()
    for name in ("log.csv", "last.ckpt", "report.json"):
        (tmp_path / name).touch()
    unlink, gone = Path.unlink, []

    def killed(path, missing_ok=False):
        if path.exists():
            if len(gone) == 2:
                raise KeyboardInterrupt
            gone.append(path.name)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        run.clear()
    monkeypatch.undo()
    assert runs.prepare(tmp_path, overwrite=True).leftovers == ["recipe.yaml", "report.json"]


def test_clearing_deletes_only_the_files_of_a_run(tmp_path):
    run = runs.Run(tmp_path)
    run.write_recipe({})
    run.write_history(ROWS)
    for name in ("model/config.json", "films/a.gif", "findings/loss.png", "notes/mine.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a")
    (tmp_path / "last.ckpt").write_text("a")
    run.clear()
    assert run.leftovers == ["notes"]
    assert (tmp_path / "notes" / "mine.txt").read_text() == "a"
    run.clear()


def test_one_writer_at_a_time_within_a_process(tmp_path):
    with runs.Run(tmp_path / "r").locked():
        with (
            pytest.raises(cf.CopyfoldError, match=f"in use by process {os.getpid()}: wait for it"),
            runs.Run(tmp_path / "r").locked(),
        ):
            raise AssertionError
        with runs.Run(tmp_path / "other").locked():
            pass
    with runs.Run(tmp_path / "r").locked():
        pass


def test_a_writer_may_wait_for_the_other(tmp_path):
    held, said = threading.Event(), threading.Event()

    def other():
        with runs.Run(tmp_path).locked():
            held.set()
            assert said.wait(60)

    class Heard(logging.Handler):
        def emit(self, record):
            assert "is in use by process" in record.getMessage()
            assert "waiting" in record.getMessage()
            said.set()

    heard, log = Heard(logging.INFO), logging.getLogger("copyfold")
    log.addHandler(heard)
    former = log.level
    log.setLevel(logging.INFO)
    thread = threading.Thread(target=other)
    thread.start()
    try:
        assert held.wait(60)
        with runs.Run(tmp_path).locked(wait=True):
            assert said.is_set()
    finally:
        said.set()
        thread.join()
        log.removeHandler(heard)
        log.setLevel(former)


def test_a_lock_dies_with_its_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; sys.modules['torch'] = None; import fcntl;"
        "f = open(sys.argv[1], 'a+'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    (tmp_path / "r").mkdir()
    line = [sys.executable, "-c", code, str(tmp_path / "r" / ".lock")]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(cf.CopyfoldError, match="in use by process unknown"), runs.Run(tmp_path / "r").locked():
            raise AssertionError
        other.kill()
    with runs.Run(tmp_path / "r").locked():
        pass


def test_a_lock_is_released_on_an_error(tmp_path):
    with pytest.raises(ValueError, match="mine"), runs.Run(tmp_path).locked():
        raise ValueError("mine")
    with runs.Run(tmp_path).locked():
        pass


def test_the_model_of_a_run_is_loaded_once(tmp_path):
    run = runs.Run(tmp_path)
    cf.Linear((1, 4, 4), latent_dim=2).save(tmp_path / "model")
    assert run.model is run.model
    assert run.model.shape == (1, 4, 4)
    with pytest.raises(cf.UsageError, match="has no model"):
        _ = runs.Run(tmp_path / "nothing").model
