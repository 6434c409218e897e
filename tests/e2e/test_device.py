"""`--device` of every command that uses a trained model."""

import pytest
import torch

from copyfold.cli import _device


@pytest.mark.parametrize(
    "command", ["sample", "probe", "report", "denoise", "restore", "embed", "outliers", "similar"]
)
def test_a_missing_device_is_refused(command, copyfold, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    photo = ["photo.png"] if command in ("denoise", "restore") else []
    copyfold(command, "nowhere", *photo, "--device=cuda").refused(2, "--device cuda", "no CUDA device", "use cpu")
    copyfold(command, "nowhere", *photo, "--device=gpu").refused(2, "--device gpu", "auto, cpu or cuda")


def test_auto_is_cuda_where_available(monkeypatch):
    """Where products of float32 are not taken in less."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    for there, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert _device.chosen("auto").type == device
        assert torch.backends.cudnn.allow_tf32 != there
        assert _device.chosen("cpu").type == "cpu"
