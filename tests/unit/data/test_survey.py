"""The output of `copyfold data` about a source."""

from pathlib import Path

import numpy as np
from PIL import Image

from copyfold.data import survey


def test_a_folder_is_described(folder: Path) -> None:
    Image.new("L", (50, 300)).save(folder / "dogs" / "tall.png")
    Image.new("RGBA", (200, 40)).save(folder / "dogs" / "wide.png")
    (folder / "cats" / "text.png").write_text("text")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = folder / "cats" / "short.jpg"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-1000])  # its header is whole
    told = []
    found = survey(folder, progress=lambda *event: told.append(event))
    assert found.count == 16
    assert found.width == (32, 32, 200)
    assert found.height == (32, 32, 300)
    assert found.modes == {"RGB": 12, "L": 1, "RGBA": 1}
    assert found.classes == {"cats": 8, "dogs": 8}
    assert found.size == 32
    assert [name for name, _ in found.unreadable] == ["cats/short.jpg", "cats/text.png"]
    assert found.unreadable[0][1] == "is truncated"
    assert told[-1] == ("looking at images", 16, 16, {})
    text = "\n".join(found.lines())
    for expected in (
        "folder of images, 16 images",
        "width: 32 to 200 pixels, median 32",
        "modes: RGB 12, L 1, RGBA 1",
        "2 classes: cats 8, dogs 8",
        "2 images cannot be read",
        "cats/short.jpg is truncated",
    ):
        assert expected in text


def test_an_array_of_any_values_is_described() -> None:
    found = survey(np.linspace(-2, 3, 10 * 20 * 30).reshape(10, 20, 30))
    assert (found.count, found.value_range, found.size) == (10, (-2.0, 3.0), (20, 30))
    assert "size taken where none is given: about 20x30" in found.lines()
    assert found.width == (30, 30, 30)
    assert "values: -2 to 3" in found.lines()
    assert found.unreadable == ()


def test_the_digits_and_large_photos_are_described(tmp_path: Path) -> None:
    assert survey().size == 32
    assert survey().classes["0"] == 178
    Image.new("RGB", (500, 400)).save(tmp_path / "a.png")
    assert survey(tmp_path).size == (102, 128)


def test_data_without_readable_images_is_described(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    found = survey(tmp_path)
    assert found.size == 0
    assert found.lines()[-2:] == [
        "1 image cannot be read",
        "a.png is not an image in a format that is read here (PNG, JPEG, WEBP, BMP, TIFF, GIF)",
    ]
