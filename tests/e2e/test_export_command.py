"""copyfold export: a run to a file, and what it says where it cannot be."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import copyfold as cf
from copyfold import export as exporting

ABSENT = [name for name in exporting.NEEDED if find_spec(name) is None]


def test_a_run_becomes_a_program_of_torch(run, tmp_path, copyfold):
    out = tmp_path / "net.pt2"
    said = copyfold("export", run, "--out", out, "--format=torch").done()
    assert said.out == [str(out)]
    assert "in: x: batch x 3 x height x width, multiples of 4, values in [0, 1]; out: y: batch" in said.err[-2]
    assert said.err[-1] == "torch.export; the largest difference from the model is 0.0e+00"
    model, x = cf.load(run), torch.rand(3, 3, 16, 24)
    with torch.no_grad(), model.using("running"):
        torch.testing.assert_close(torch.export.load(out).module()(x), model(x))


@pytest.mark.skipif(bool(ABSENT), reason=f"{', '.join(ABSENT)} not installed: pip install copyfold[onnx]")
def test_a_run_becomes_onnx_in_the_current_folder(run, tmp_path, copyfold, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = copyfold("export", run / "model", "--part=encoder").done()
    assert said.out == ["encoder.onnx", "encoder_onnx.py"]
    assert said.err[-1].startswith(f"ONNX, opset {exporting.OPSET}; the largest difference from the model is ")
    monkeypatch.syspath_prepend(tmp_path)
    import encoder_onnx

    model, x = cf.load(run), torch.rand(2, 3, 19, 16)
    with torch.no_grad(), model.using("running"):
        (codes,) = encoder_onnx.run(x.numpy())
        np.testing.assert_allclose(
            codes, model.encode(torch.nn.functional.pad(x, (0, 0, 0, 1), "replicate")), atol=1e-5
        )
    del sys.modules["encoder_onnx"]


def test_what_cannot_be_exported_is_said_in_a_line(run, tmp_path, copyfold, monkeypatch):
    copyfold("export", run, "--format=torch", "--out", tmp_path / "a.onnx").refused(2, "expected a .pt2 file")
    copyfold("export", tmp_path / "none").refused(2, "has no model")
    copyfold("export", run, "--part=half").refused(2, "--part half is invalid: expected whole, encoder or decoder")
    copyfold("export", run, "--format=tflite").refused(2, "--format tflite is invalid: expected onnx or torch")
    copyfold("export").refused(2, "needs RUN")
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    copyfold("export", run, "--out", tmp_path / "a.onnx").refused(
        1, "ONNX needs onnx, onnxscript, onnxruntime, which are not installed", "--format torch"
    )
    assert not list(tmp_path.iterdir())
