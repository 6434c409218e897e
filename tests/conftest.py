"""Every test: shapes are checked at every call of the mathematics, and nothing is written outside tmp_path."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here may touch the network
if "PYTEST_XDIST_WORKER" in os.environ:  # as many tests at once as cores: more threads would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

# not the models: what they say of a wrong argument is tested, and would never be heard;
# not the samplers: a wrapped generator function is none to torch.no_grad
MATHEMATICS = ("corruptions", "measures", "objectives", "probes", "restoration", "detection")
install_import_hook([f"copyfold.{name}" for name in MATHEMATICS], "beartype.beartype")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of images that no other test has filled."""
    monkeypatch.setenv("COPYFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def landscapes() -> Path:
    """The real photographs, where they are at hand."""
    return _at_hand("landscapes")


@pytest.fixture
def fashion_mnist() -> Path:
    """Fashion-MNIST in parquet, where it is at hand."""
    return _at_hand("fashion_mnist")


@pytest.fixture
def bsd68_images() -> Path:
    """The grey photographs of the denoising table, where they are at hand."""
    return _at_hand("bsd68")


def _at_hand(name: str) -> Path:
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Write file names that are not UTF-8 as \\udce9 in what a test printed: processes send each other text."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
