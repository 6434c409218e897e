"""Exported files: what they compute, and what is refused; in ONNX where its packages are installed."""

import importlib
import logging
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

import copyfold as cf
from copyfold import catalogue
from copyfold import export as exporting
from copyfold.export import NEEDED, export
from copyfold.models.base import maps

ABSENT = [name for name in NEEDED if find_spec(name) is None]
onnx = pytest.mark.skipif(bool(ABSENT), reason=f"{', '.join(ABSENT)} not installed: pip install copyfold[onnx]")


class Branching(cf.Autoencoder):
    """Its layers depend on the values of an image."""

    def __init__(self, shape):
        super().__init__(shape)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def encode(self, x):
        return x * self.scale if x.mean() > 0.5 else x

    def decode(self, z):
        return z


class Random(Branching):
    """Two calls differ."""

    def encode(self, x):
        return x + 0.1 * torch.randn_like(x) * self.scale


class Bare(Branching):
    """A third-party shape of model: no encoder, no decoder, no norms."""

    def encode(self, x):
        return x.flatten(1) * self.scale

    def decode(self, z):
        return z.unflatten(1, self.shape)


@pytest.mark.parametrize("name", catalogue.classes(cf.Autoencoder))
def test_every_architecture_is_exported_as_a_program_of_torch(name, tmp_path):
    """ONNX begins with this step, and is tested for all of them in tests/long."""
    model = catalogue.classes(cf.Autoencoder)[name].tiny()
    made = export(model, tmp_path / "model.pt2", format="torch")
    assert made.difference < 1e-6
    assert made.runner is made.opset is None
    program = torch.export.load(tmp_path / "model.pt2").module()
    x = torch.rand(5, *model.shape)
    with model.eval().using("running"):
        torch.testing.assert_close(program(x), model(x))
    sized = model.multiple is not None
    assert ("height" in made.inputs[0]) == sized
    assert made.inputs[0].startswith(f"x: batch x {model.shape[0]} x ")


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_code_of_several_maps_is_as_many_outputs_or_inputs(part, tmp_path):
    model = cf.UNet((1, 16, 16), width=4, depth=1, skips="concat", residual=True)
    made = export(model, tmp_path / "part.pt2", part, "torch")
    names = [
        "z0: batch x 8 x height/2 x width/2",
        "z1: batch x 4 x height x width",
        "z2: batch x 1 x height x width",
    ]
    assert list(made.outputs if part == "encoder" else made.inputs) == names
    program, x = torch.export.load(tmp_path / "part.pt2").module(), torch.rand(2, 1, 24, 32)
    with torch.no_grad(), model.eval().using("running"):
        z = model.encode(x)
        if part == "encoder":
            assert all(map(torch.allclose, program(x), z))
        else:
            torch.testing.assert_close(program(*maps(z)), model(x))


def test_the_model_stays_as_it_is_and_running_averages_are_used(tmp_path):
    model = cf.Conv.tiny().train()
    with torch.no_grad():
        model(torch.rand(8, *model.shape))  # records averages
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export(model, tmp_path / "model.pt2", format="torch")
    assert model.training
    assert model.statistics == "batch"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    x = torch.rand(2, *model.shape)
    with torch.no_grad():
        model.eval()
        program = torch.export.load(tmp_path / "model.pt2").module()
        assert not torch.allclose(model(x), program(x), atol=1e-3)
        with model.using("running"):
            torch.testing.assert_close(model(x), program(x))


def test_a_file_that_differs_or_cannot_be_made_is_not_kept(tmp_path):
    out = tmp_path / "model.pt2"
    out.write_text("before")
    for model, error, said in (
        (
            Random((1, 4, 4)),
            cf.CopyfoldError,
            r"is not written: it differs .* by .*, more than 0\.0001",
        ),
        (Branching((1, 4, 4)), cf.UsageError, "Branching cannot be exported: torch does not follow its whole"),
    ):
        with pytest.raises(error, match=said) as caught:
            export(model, out, format="torch")
        assert "\n" not in str(caught.value)
    assert out.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    export(Bare((1, 4, 4)), out, format="torch")  # a class of one's own


def test_the_comparison_sees_a_wrong_file(monkeypatch, tmp_path):
    """A file is compared with the model itself, not with what was traced."""
    wrong = lambda self, x: self.model.decode(self.model.encode(x)) + 2e-4  # noqa: E731
    monkeypatch.setattr(exporting._Whole, "forward", wrong)
    with pytest.raises(cf.CopyfoldError, match=r"differs from the model by 0\.0002"):
        export(cf.MLP.tiny(), tmp_path / "model.pt2", format="torch")


@pytest.mark.parametrize(
    ("out", "given", "said"),
    [
        ("model.pt", {"format": "torch"}, "expected a .pt2 file"),
        ("model.pt2", {}, "expected a .onnx file"),
        ("model.onnx", {"part": "half"}, "part='half' is invalid"),
        ("model.onnx", {"format": "tflite"}, "format='tflite' is invalid"),
    ],
)
def test_what_cannot_be_is_refused(out, given, said, tmp_path):
    with pytest.raises(cf.UsageError, match=said):
        export(cf.MLP.tiny(), tmp_path / out, **given)


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(cf.CopyfoldError, match=r"onnxscript, which is not .*: pip install copyfold\[onnx\]"):
        export(cf.MLP.tiny(), tmp_path / "model.onnx")


def test_a_model_too_large_for_a_file_and_a_script_of_another_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "find_spec", lambda name: name)
    with torch.device("meta"):
        large = cf.Linear((1, 1024, 1024), 300)
    with pytest.raises(cf.UsageError, match=r"holds 2 GB and not 2\.5"):
        export(large, tmp_path / "model.onnx")
    (tmp_path / "model_onnx.py").write_text("mine = 1\n")
    with pytest.raises(cf.UsageError, match=r"model_onnx\.py is another file, and would be overwritten"):
        export(cf.MLP.tiny(), tmp_path / "model.onnx")
    assert (tmp_path / "model_onnx.py").read_text() == "mine = 1\n"
    (tmp_path / "model_onnx.py").unlink()
    os.mkfifo(tmp_path / "model_onnx.py")
    with pytest.raises(cf.UsageError, match=r"model_onnx\.py is another file"):
        export(cf.MLP.tiny(), tmp_path / "model.onnx")


# ---------------------------------------------------------------- ONNX


def ran(script, *words):
    """What a runner writes, in a process of its own: without copyfold, and without torch."""
    check = "import sys, runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    check += "; assert not {'torch', 'copyfold'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check, script, *words], check=True, env=dict(os.environ), timeout=120)


@onnx
def test_an_onnx_file_takes_any_batch_and_size_and_its_runner_runs_it(tmp_path):
    model = cf.UNet((1, 12, 18), width=4, depth=2)  # which pads 12x18 to 12x20
    made = export(model, tmp_path / "net.onnx")
    assert made.inputs == ("x: batch x 1 x height x width, values in [0, 1]",)
    assert made.difference < 1e-5
    assert made.opset == exporting.OPSET
    assert len(made.runner.read_text().splitlines()) <= 27
    for shape in ((1, 1, 12, 18), (3, 1, 33, 41), (2, 1, 5, 64)):
        x = torch.rand(shape)
        np.save(tmp_path / "in.npy", x.numpy())
        ran(made.runner, tmp_path / "in.npy", tmp_path / "out.npy")
        with torch.no_grad(), model.eval().using("running"):
            np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model(x), atol=1e-5)
    described = importlib.import_module("onnx").load(tmp_path / "net.onnx")
    dimensions = described.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dimensions] == ["batch", 1, "height", "width"]
    assert [(found.domain, found.version) for found in described.opset_import] == [("", made.opset)]


@onnx
def test_two_halves_in_onnx_make_the_whole(tmp_path):
    model = cf.Variational(cf.MLP((1, 4, 4), (8,), 4), 3)
    for part in ("encoder", "decoder"):
        export(model, tmp_path / f"{part}.onnx", part)
    x = torch.rand(3, 1, 4, 4)
    np.save(tmp_path / "x.npy", x.numpy())
    ran(tmp_path / "encoder_onnx.py", tmp_path / "x.npy", tmp_path / "z.npy")
    ran(tmp_path / "decoder_onnx.py", tmp_path / "z.npy", tmp_path / "y.npy")
    with torch.no_grad():
        np.testing.assert_allclose(np.load(tmp_path / "z.npy"), model.encode(x), atol=1e-5)
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model(x), atol=1e-5)


@onnx
def test_the_exporters_draw_and_log_nothing(tmp_path, capfd, caplog):
    for _ in range(2):  # it may be written again
        export(cf.Linear.tiny(), tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model_onnx.py"]
