from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has an image cache of its own."""
    monkeypatch.setenv("COPYFOLD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def real() -> Callable[[str], Path]:
    """The real datasets that lie beside the checkout, where they do."""

    def find(name: str) -> Path:
        if not (REAL / name).is_dir():
            pytest.skip(f"needs the dataset {name} in {REAL}")
        return REAL / name

    return find


def noise(seed: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve colour PNG files of 32x32 in two classes, each painted in one value: 10 * k, 11 * k, 200 - k."""
    root = tmp_path / "photos"
    for k in range(12):
        place = root / ("cats" if k < 6 else "dogs")
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (10 * k, 11 * k, 200 - k)).save(place / f"{k:02d}.png")
    return root


@pytest.fixture
def painted() -> Callable[[int], tuple[int, int, int]]:
    return lambda k: (10 * k, 11 * k, 200 - k)
