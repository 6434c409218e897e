"""What docs/elsewhere.md shows runs as it stands there."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from copyfold.export import NEEDED

PAGE = (Path(__file__).parents[2] / "docs" / "elsewhere.md").read_text(encoding="utf-8")
PARTS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")}
SHOWN = {name: re.findall(r"^```python\n(.*?)^```", part, re.M | re.S) for name, part in PARTS.items()}
ABSENT = [name for name in NEEDED if find_spec(name) is None]


def test_codes_of_digits_as_features(capsys):
    exec(compile(SHOWN["scikit-learn"][0], "elsewhere.md", "exec"), {})
    assert float(capsys.readouterr().out) > 0.85


@pytest.mark.skipif(bool(ABSENT), reason=f"{', '.join(ABSENT)} not installed: pip install copyfold[onnx]")
def test_an_export(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(SHOWN["ONNX"][0], "elsewhere.md", "exec"), {})
    assert "batch x 1 x height x width" in capsys.readouterr().out
    assert (tmp_path / "unet_onnx.py").is_file()
