"""Networks of the package copyfold-weights, here one that the test makes."""

import sys

import pytest
import torch

import copyfold as cf


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package copyfold_weights on the path, with no network in it yet."""
    folder = tmp_path / "copyfold_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('none of its code is run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "copyfold_weights", raising=False)
    return folder


def test_a_network_is_loaded_and_no_code_is_run(package):
    model = cf.UNet((1, 16, 16), width=4, depth=1, norm="none").eval()
    model.save(package / "denoiser")
    x = torch.rand(1, 1, 16, 16)
    assert torch.equal(cf.pretrained()(x), model(x))
    assert "copyfold_weights" not in sys.modules


def test_a_name_that_it_has_not(package):
    cf.UNet((1, 16, 16), width=4, depth=1).save(package / "denoiser")
    with pytest.raises(
        cf.errors.UsageError, match=r"^copyfold-weights has no network 'other': expected denoiser$"
    ):
        cf.pretrained("other")


def test_without_the_package_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr("copyfold.models.packaged.PACKAGE", "copyfold_weights_that_are_not_there")
    with pytest.raises(cf.errors.UsageError, match=r"is not installed: install it with pip install ./weights"):
        cf.pretrained()
