"""The output of `copyfold data` about a source."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from copyfold.data import Photos, survey
from copyfold.errors import DataError


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
    assert (
        "size where none is given: about 20x30 (height x width), or what the minutes of a training allow"
        in found.lines()
    )
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
    assert found.command == ""
    assert found.lines()[-2:] == [
        "1 image cannot be read",
        "a.png is not an image in a format that is read here (PNG, JPEG, WEBP, BMP, TIFF, GIF)",
    ]


def test_splits_and_classes_are_told_as_they_are_used(tmp_path: Path) -> None:
    for name, count in {"Train/good": 5, "Test/good": 2, "Test/scratch": 3, "val/good": 1, "else/x": 1}.items():
        (tmp_path / name).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", (16, 16), (k, len(name), 3)).save(tmp_path / name / f"{k}.png")
    lines = survey(tmp_path).lines()
    assert "splits: Train 5 (trained on), Test 5 (held out), val 1 (not used)" in lines
    assert "2 classes: good 8, scratch 3" in lines
    assert "held out, and not trained on: scratch" in lines
    assert "1 image outside of Train, Test, val is not used" in lines
    assert lines[-1] == f"to train on it: copyfold train {tmp_path}"


def test_shapes_values_and_copies(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(20):
        pixels = rng.integers(0, 201, (16, 16 + 8 * (k % 2), 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k:02d}.png")
    deep = np.full((16, 16), 4095, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.open(tmp_path / "03.png").save(tmp_path / "copy.bmp")  # another file, the same pixels
    (tmp_path / "copy of 03.png").write_bytes((tmp_path / "03.png").read_bytes())
    found = survey(tmp_path)
    assert found.shapes == {(24, 16): 12, (16, 16): 11}
    assert found.duplicates == (("03.png", "copy of 03.png", "copy.bmp"),)
    lines = found.lines()
    assert "2 shapes (width x height): 24x16 12, 16x16 11" in lines
    assert "2 images are copies of others, pixel by pixel: 03.png = copy of 03.png = copy.bmp" in lines
    assert "values: 0 to 200 in 8 bits, of 0 to 255, 4,095 to 4,095 in 16 bits, of 0 to 65,535" in lines


def test_held_out_images_that_are_trained_on_are_told(tmp_path: Path) -> None:
    for k in range(6):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "test").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (k, 2, 3)).save(tmp_path / "train" / f"{k}.png")
        Image.new("RGB", (8, 8), (k + 4, 2, 3)).save(tmp_path / "test" / f"{k}.png")
    found = survey(tmp_path)
    assert found.leaked == 2
    assert "2 held-out images are copies of images that are trained on" in found.lines()


def test_images_that_are_all_alike_are_told(tmp_path: Path) -> None:
    for value, said in {0: "all images are black", 255: "all images are white", 9: "all images are equal"}.items():
        for k in range(3):
            Image.new("L", (16, 16), value).save(tmp_path / f"{k}.png")
        lines = survey(tmp_path).lines()
        assert sum(line.startswith("all images are") for line in lines) == 1
        assert any(line.startswith(said) for line in lines)
        assert any(line.startswith("all images") for line in survey(np.full((9, 8, 8), value, np.uint8)).lines())
    (tmp_path / "0.png").unlink()
    assert "only 2 images: too few to learn from" in survey(tmp_path).lines()


def test_the_command_has_what_was_given(tmp_path: Path, folder: Path) -> None:
    assert survey().command == "copyfold train"
    (folder / "bad.png").write_text("text")
    spaced = folder.rename(tmp_path / "my photos")
    assert survey(spaced).command == f"copyfold train '{spaced}' --skip-bad"
    np.savez(tmp_path / "a.npz", one=np.zeros((9, 3, 16, 3), np.uint8), two=np.zeros((9, 4, 4), np.uint8))
    found = survey(tmp_path / "a.npz", layout="NHWC", column="one")
    assert found.command == f"copyfold train {tmp_path / 'a.npz'} --layout NHWC --column one"
    np.save(tmp_path / "b.npy", np.linspace(-2, 3, 9 * 64).reshape(9, 8, 8))
    lines = survey(tmp_path / "b.npy").lines()
    assert lines[-2].startswith("cannot be trained on as it is: ")
    assert "values from -2 to 3" in lines[-2]
    assert lines[-1] == f"to train on it: copyfold train {tmp_path / 'b.npy'} --range -2 3"
    assert "\n".join(lines).count("give range=") == 1


def test_files_that_need_a_range_are_described_and_not_skipped(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for k in range(12):  # every third needs a range, of which the others have the smallest value
        Image.fromarray(values * 200 + 100 if k % 3 == 0 else values / 2).save(tmp_path / f"{k:02d}.tif")
    found = survey(tmp_path)
    assert found.unreadable == ()
    assert found.problem == "4 images of 12 need a range: give range=(0, 300) (--range 0 300)"
    assert found.command == f"copyfold train {tmp_path} --range 0 300"
    assert Photos(tmp_path, 8, range=(0, 300), whole=True).train[0, -1, -1, 0] == 255
    with pytest.raises(DataError, match=r"give range=\(0, 300\)"):
        Photos(tmp_path, 8)
    Image.fromarray(np.full((8, 8), np.inf, np.float32)).save(tmp_path / "inf.tif")
    assert [name for name, _ in survey(tmp_path).unreadable] == ["inf.tif"]


def test_channels_that_are_not_of_one_set_are_a_problem(tmp_path: Path) -> None:
    for k in range(12):
        shape, planes = ((8, 8, 5), "contig") if k % 2 else ((8, 8), None)
        values = np.full(shape, 20 * k, np.uint8)
        tifffile.imwrite(tmp_path / f"{k:02d}.tif", values, photometric="minisblack", planarconfig=planes)
    found = survey(tmp_path)
    assert found.problem.startswith("images of 1 and of 5 channels are not of one set")
    assert found.command == ""
    with pytest.raises(DataError, match="images of 1 and of 5 channels are not of one set"):
        Photos(tmp_path, 8)
    assert Photos(tmp_path, 8, channels=5, skip_bad=True, whole=True).train.shape == (6, 8, 8, 5)  # as it advises


def test_the_command_leaves_missing_pixels_out(tmp_path: Path) -> None:
    values = np.linspace(-1000, 3000, 9 * 64, dtype=np.float32).reshape(9, 8, 8)
    values[3, 2:5] = np.nan
    np.save(tmp_path / "ct.npy", values)
    found = survey(tmp_path / "ct.npy")
    assert found.command.endswith("ct.npy --range -1000 3000 --objective.fidelity Observed")
    assert "some of the pixel values are missing (NaN)" in found.lines()
    np.save(tmp_path / "ct.npy", (values + 1000) / 4000)
    found = survey(tmp_path / "ct.npy")
    assert found.command.endswith("ct.npy --objective.fidelity Observed")
    assert "4.2 % of the pixel values are missing" in found.lines()


def test_long_lists_are_cut(tmp_path: Path) -> None:
    for k in range(30):
        (tmp_path / f"class{k:02d}").mkdir()
        Image.new("RGB", (8 + k, 8)).save(tmp_path / f"class{k:02d}" / "a.png")
        (tmp_path / f"class{k:02d}" / "bad.png").write_text("text")
    lines = survey(tmp_path).lines()
    assert len(lines) < 40
    assert any(line.startswith("30 classes: class00 2,") and line.endswith("and 18 more") for line in lines)
    assert any(line.startswith("30 shapes (width x height): ") and line.endswith("and 18 more") for line in lines)
    assert "and 10 more" in lines


def test_transparency_and_palettes_have_values_of_their_colours(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (5, 6, 7, 255)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8), (9, 6, 7)).quantize(4).save(tmp_path / "b.png")
    assert survey(tmp_path).bits == {8: (5, 9)}


def test_the_command_has_the_range_of_12_bits_and_depth_and_crops_are_hinted_at(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(12):
        Image.fromarray(rng.integers(0, 4096, (600, 640), dtype=np.uint16)).save(tmp_path / f"{k}.png")
    found = survey(tmp_path)
    assert found.command == f"copyfold train {tmp_path} --range 0 4095"
    assert len(found.hints) == 2
    assert "--bits 16" in found.hints[0]
    assert f"--crop {min(found.size) if isinstance(found.size, tuple) else found.size} " in found.hints[1]
    assert list(found.hints) == found.lines()[-2:]


def test_nothing_is_hinted_at_of_small_pictures_of_8_bits(tmp_path):
    for k in range(12):
        Image.fromarray(np.full((40, 40), 20 * k, np.uint8)).save(tmp_path / f"{k}.png")
    found = survey(tmp_path)
    assert (found.command, found.hints) == (f"copyfold train {tmp_path}", ())
