"""The command `copyfold studio`: what it refuses, and what other commands do not import for it."""

import socket
import subprocess
import sys

import pytest

from copyfold.cli import main, studio


def said(capsys, *words):
    """The exit code of the command, and what it wrote to stderr."""
    return main(["studio", *words]), capsys.readouterr().err.splitlines()


def test_where_gradio_is_absent_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(studio, "find_spec", lambda name: None)
    code, err = said(capsys)
    assert (code, len(err)) == (2, 1)
    assert err[0].endswith("pip install copyfold[studio]")


@pytest.mark.parametrize("port", ["-1", "70000", "x"])
def test_no_port(capsys, port):
    code, err = said(capsys, f"--port={port}")
    assert code == 2
    assert len(err) == 1


def test_no_root(capsys, tmp_path):
    pytest.importorskip("gradio")
    code, err = said(capsys, "--root", str(tmp_path / "none"), "--port=0")
    assert (code, len(err)) == (2, 1)
    assert "expected a folder that exists" in err[0]


def test_a_port_that_is_taken(tmp_path):
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = [
            sys.executable,
            "-m",
            "copyfold",
            "studio",
            "--root",
            tmp_path,
            "--port",
            str(taken.getsockname()[1]),
        ]
        ended = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "is in use: give another" in ended.stderr.splitlines()[-1]


def test_its_help_needs_no_gradio(capsys):
    assert main(["studio", "--help"]) == 0
    assert "--root" in capsys.readouterr().out


def test_nothing_else_imports_gradio():
    code = """
import sys
import copyfold
from copyfold.cli import commands, main
for name in commands():
    main([name, "--help"])
assert "gradio" not in sys.modules and "copyfold.studio" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
