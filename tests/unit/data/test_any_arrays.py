"""Arrays of any size, layout, kind, range and labels: what Photos makes of them, or refuses in one line.

Hypothesis draws the arrays, the same ones in every run, and reduces one that fails to a small one.
"""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.utils.data import TensorDataset

from copyfold.data import Photos
from copyfold.errors import CopyfoldError

few = settings(max_examples=30, derandomize=True, database=None, deadline=None)
sides = st.integers(1, 9)
counts = st.integers(2, 6)
LAYOUTS = {
    "NHW": lambda pixels: pixels[..., 0],
    "NHWC": lambda pixels: pixels,
    "NCHW": lambda pixels: pixels.transpose(0, 3, 1, 2),
    "lsun": lambda pixels: pixels[:, :, ::-1],
}


@st.composite
def pixels(draw, dtype="u1", channels=(1, 3), elements=None):
    """Images N·H·W·C of one size."""
    shape = draw(counts), draw(sides), draw(sides), draw(st.sampled_from(channels))
    return draw(arrays.arrays(dtype, shape, elements=elements))


def size(array: np.ndarray) -> tuple[int, int]:
    return array.shape[1], array.shape[2]


@few
@given(pixels(channels=(1, 3, 4)), st.sampled_from(sorted(LAYOUTS)), st.booleans())
def test_an_array_in_any_layout_gives_its_pixels(array, layout, as_tensor):
    channels = array.shape[3]
    if layout == "NHW":
        array, channels = array[..., :1], 1
    stored = np.ascontiguousarray(LAYOUTS[layout](array))
    source = torch.from_numpy(stored) if as_tensor else stored
    photos = Photos(source, size(array), layout=layout, channels=channels, whole=True)
    assert photos.shape == (channels, *size(array))
    wanted = torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).float() / 255
    assert photos.images().equal(wanted)


KINDS = {"u1": (0, 255), "i1": (-128, 127), "u2": (0, 2**16 - 1), "i4": (-(2**31), 2**31 - 1), "f4": (-1e6, 1e6)}


@few
@given(st.data(), st.sampled_from(sorted(KINDS)), st.sampled_from([8, 16]))
def test_a_range_says_which_values_are_0_and_1(data, dtype, bits):
    least, most = KINDS[dtype]
    whole = dtype != "f4"
    values = st.integers(least, most) if whole else st.floats(least, most, width=32)
    array = data.draw(pixels(dtype, elements=values))
    low, high = sorted(data.draw(st.lists(values, min_size=2, max_size=2, unique=True)))
    if high - low < 1e-3 * max(abs(low), abs(high)):  # float32 has no more digits
        high = low + max(1.0, abs(low))
    channels = array.shape[3]
    photos = Photos(array, size(array), layout="NHWC", channels=channels, range=(low, high), bits=bits, whole=True)
    wanted = ((array.astype(np.float64) - low) / (high - low)).clip(0, 1).transpose(0, 3, 1, 2)
    step = 1 / (2**bits - 1)
    assert np.abs(photos.images().double().numpy() - wanted).max() <= 0.501 * step + 1e-6


@few
@given(st.lists(st.tuples(sides, sides), min_size=2, max_size=5), sides, sides, st.data())
def test_images_of_any_sizes_come_in_the_size_that_is_asked_for(sizes, height, width, data):
    fit, value = data.draw(st.sampled_from(["crop", "pad", "stretch"])), data.draw(st.integers(0, 255))
    images = [np.full((h, w), value, np.uint8) for h, w in sizes]
    photos = Photos(images, (height, width), fit=fit, whole=True)
    assert photos.shape == (1, height, width)
    assert len(photos) == len(sizes)
    seen = photos.images()
    if fit == "pad":
        assert (seen.flatten(1).amax(1) * 255).round().eq(value).all()
        assert (seen * 255).round().le(value).all()
    else:
        assert (seen * 255).round().eq(value).all()


@few
@given(st.lists(st.integers(0, 6), min_size=2, max_size=12), st.integers(0, 9), st.data())
def test_every_image_is_in_one_part_and_keeps_its_label(labels, seed, data):
    limit = data.draw(st.none() | st.integers(1, 8))
    rows = np.arange(len(labels), dtype=np.uint8)
    images = np.broadcast_to(rows[:, None, None, None], (len(rows), 1, 5, 7))
    source = TensorDataset(torch.from_numpy(images.copy()), torch.tensor(labels))
    photos = Photos(source, (5, 7), limit=limit, seed=seed)
    found = []
    for part, numbers in ((photos.train, photos.labels), (photos.held_out, photos.held_out_labels)):
        assert 1 <= len(part) <= (limit or len(labels))
        assert len(numbers) == len(part)
        found += [(int(image[0, 0, 0]), int(number)) for image, number in zip(part, numbers, strict=True)]
    assert len(set(found)) == len(found)
    assert all(labels[row] == number for row, number in found)
    assert len(found) == len(labels) or limit is not None
    again = Photos(source, (5, 7), limit=limit, seed=seed)
    assert np.array_equal(photos.train, again.train)


DTYPES = ["?", "u1", "i1", ">u2", "<i8", "f2", "f4", ">f8", "c8", "S3", "U2", "M8[s]"]


@settings(few, max_examples=60)
@given(st.data(), st.sampled_from(DTYPES), arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5))
def test_an_array_of_any_shape_and_kind_is_read_or_refused(data, dtype, shape):
    array = data.draw(arrays.arrays(dtype, shape))
    layout = data.draw(st.none() | st.sampled_from(sorted(LAYOUTS)))
    refused = ""
    try:
        photos = Photos(array, 4, layout=layout, whole=True)
    except CopyfoldError as error:
        refused = str(error)
    assert "\n" not in refused
    if refused:
        return
    assert len(photos) == len(array)
    assert photos.shape[1:] == (4, 4)
    seen = photos.images()
    assert seen.isnan().logical_or((seen >= 0) & (seen <= 1)).all()
