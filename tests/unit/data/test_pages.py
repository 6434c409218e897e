"""Each page of a TIFF file is an image; smaller copies and masks are none."""

import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from copyfold.data import Photos, Stream, survey
from copyfold.data.reading import decoding, tiff
from copyfold.data.reading.depth import numbers
from copyfold.errors import DataError

PAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
LAYOUTS = [{"byteorder": order, "bigtiff": big} for order in "<>" for big in (False, True)]


def stack(path, pages=PAGES, subtypes=(), **options):
    with tifffile.TiffWriter(path, **options) as file:
        for k, page in enumerate(pages):
            kind = subtypes[k] if subtypes else 0
            file.write(page, photometric="rgb", metadata=None, subfiletype=kind)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pages_are_found_and_read_in_every_layout(layout, tmp_path):
    path = stack(tmp_path / "a.tif", **layout)
    places = tiff.pages(path)
    assert len(places) == 5
    for place, expected in zip(places, PAGES, strict=True):
        page = tiff.Page(str(path), place)
        np.testing.assert_array_equal(np.asarray(decoding.decode(page)), expected)
        np.testing.assert_array_equal(numbers(page).array, expected)
        assert decoding.header(page).width == 16


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "raw"])
def test_pages_that_libtiff_reads_are_the_right_ones(compression, tmp_path):
    images = [Image.fromarray(page) for page in PAGES]
    images[0].save(tmp_path / "a.tif", save_all=True, append_images=images[1:], compression=compression)
    for place, expected in zip(tiff.pages(tmp_path / "a.tif"), PAGES, strict=True):
        found = decoding.decode(tiff.Page(str(tmp_path / "a.tif"), place))
        np.testing.assert_array_equal(np.asarray(found), expected)


def test_pages_that_pillow_does_not_open_are_the_right_ones(tmp_path):
    floats = PAGES.astype(np.float32) / 255
    stack(tmp_path / "a.tif", floats)
    for place, expected in zip(tiff.pages(tmp_path / "a.tif"), floats, strict=True):
        np.testing.assert_array_equal(numbers(tiff.Page(str(tmp_path / "a.tif"), place)).array, expected)


def test_smaller_copies_are_no_pages(tmp_path):
    path = stack(tmp_path / "a.tif", subtypes=(0, 1, 0, 1, 0))
    assert (len(tiff.pages(path)), len(tiff.others(path))) == (3, 2)
    only = stack(tmp_path / "b.tif", PAGES[:2], subtypes=(1, 1))
    assert (len(tiff.pages(only)), len(tiff.others(only))) == (1, 1)


def test_other_and_broken_files_have_no_pages(tmp_path):
    path = stack(tmp_path / "a.tif")
    whole = path.read_bytes()
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "empty.tif").touch()
    for name in ("a.png", "empty.tif", "none.tif"):
        assert tiff.pages(tmp_path / name) == []
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        assert len(tiff.pages(path)) <= 5


def test_a_loop_of_pages_ends(tmp_path):
    path = stack(tmp_path / "a.tif", PAGES[:2])
    first, second = tiff.pages(path)
    data = bytearray(path.read_bytes())
    end = second + 2 + 12 * int.from_bytes(data[second : second + 2], "little")
    data[end : end + 4] = first.to_bytes(4, "little")
    path.write_bytes(data)
    assert tiff.pages(path) == [first, second]


@pytest.fixture
def mixed(tmp_path):
    """A folder of two classes: a stack of five pages, a TIFF of one, three PNGs."""
    root = tmp_path / "photos"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
    stack(root / "a" / "stack.tif")
    stack(root / "b" / "one.TIFF", PAGES[:1])
    for k in range(3):
        Image.fromarray(PAGES[k]).save(root / "b" / f"{k}.png")
    return root


NAMES = ["a/stack.tif#0000", "a/stack.tif#0001", "a/stack.tif#0002", "a/stack.tif#0003", "a/stack.tif#0004",
         "b/0.png", "b/1.png", "b/2.png", "b/one.TIFF"]  # fmt: skip
EXPECTED = [*range(5), 0, 1, 2, 0]


def test_pages_in_a_folder_are_images(mixed):
    photos = Photos(mixed, size=16, whole=True)
    assert photos.names == NAMES
    np.testing.assert_array_equal(photos.train, PAGES[EXPECTED])
    assert photos.labels is not None
    assert photos.labels.tolist() == [0] * 5 + [1] * 4
    assert any("1 TIFF file has several pages, 5 in all: each is an image" in note for note in photos.notes)


def test_pages_are_counted_by_a_survey(mixed):
    found = survey(mixed)
    assert (found.count, found.classes, found.unreadable) == (9, {"a": 5, "b": 4}, ())


def test_pages_are_streamed(mixed):
    stream = Stream(mixed, size=16, held_out=1)
    seen = {tuple(image.permute(1, 2, 0).flatten().tolist()) for image in stream.batches(4).__iter__().__next__()}
    assert seen <= {tuple(page.flatten().tolist()) for page in PAGES}
    assert len(stream) == 8
    assert os.path.basename(stream.held_out_names[0]) in {os.path.basename(name) for name in NAMES}


def test_animations_are_counted_and_their_first_frame_is_the_image(tmp_path):
    frames = [Image.fromarray(page) for page in PAGES]
    for name in ("a.gif", "b.webp", "c.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(tmp_path / "d.png")
    frames[0].save(tmp_path / "e.gif")
    found = survey(tmp_path)
    assert (found.count, found.animated) == (5, 3)
    assert "3 animations: the first frame of each is the image" in found.lines()
    np.testing.assert_array_equal(Photos(tmp_path, size=16, whole=True).train[1], PAGES[0])


def test_a_file_of_pages_is_a_source_by_itself(tmp_path):
    path = stack(tmp_path / "stack.tif")
    Image.fromarray(PAGES[0]).save(tmp_path / "other.png")
    photos = Photos(path, size=16, whole=True)
    np.testing.assert_array_equal(photos.train, PAGES)
    assert photos.recipe()["data"] == str(path)
    assert survey(path).lines()[0] == f"{path}: TIFF file of several pages, 5 images"
    assert len(Stream(path, size=16, held_out=1)) == 4
    stack(path, PAGES[:1])
    with pytest.raises(DataError, match="is a single image: give the folder that it lies in"):
        Photos(path, size=16)
    alone = Photos(path, size=16, whole=True)  # to be looked at, one image is enough
    np.testing.assert_array_equal(alone.train, PAGES[:1])
    assert alone.names[0] == "stack.tif"
    assert alone.recipe()["data"] == str(path)
