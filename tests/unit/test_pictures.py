"""Pictures and films, read back with Pillow and PyAV."""

import itertools
import math
import os
import subprocess
import sys
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from skimage import color

from copyfold import pictures
from copyfold.errors import UsageError


def waves(count=4, channels=3, height=32, width=32, phase=0.0):
    """Smooth colour images, each another: what a codec keeps well."""
    y, x = torch.linspace(0, 3, height)[:, None], torch.linspace(0, 3, width)[None, :]
    colour = torch.arange(channels).view(1, -1, 1, 1)
    which = torch.arange(count).view(-1, 1, 1, 1)
    return 0.5 + 0.4 * torch.sin(x + y + which + 2.0 * colour + phase)


def moving(length, **size):
    for i in range(length):
        yield waves(phase=i / 10, **size)


def decoded(path):
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return frames, container.streams.video[0]


def gif_frames(path):
    with Image.open(path) as gif:
        for i in range(gif.n_frames):
            gif.seek(i)
            yield np.asarray(gif.convert("RGB"))


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def off(a, b):
    return np.abs(a.astype(float) - b.astype(float)).mean()


# Grids


def test_grid_places_images_in_rows_with_white_between():
    x = torch.rand(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    picture = pictures.grid(x, columns=3, scale=2, gap=1)
    assert (picture.shape, picture.dtype) == ((2 * 8 + 1, 3 * 12 + 2, 3), np.uint8)
    last = picture[9:17, 13:25][::2, ::2]
    np.testing.assert_array_equal(last, (x[4] * 255).round().byte().permute(1, 2, 0))
    assert (picture[8] == 255).all()
    assert (picture[9:, 26:] == 255).all()


def test_grid_makes_tiny_images_visible_and_grey_ones_three_channels():
    assert pictures.grid(torch.zeros(1, 1, 8, 8)).shape == (96, 96, 3)
    assert pictures.grid(torch.zeros(1, 3, 200, 100)).shape == (200, 100, 3)
    assert pictures.grid(torch.zeros(1, 1, 8, 8), scale=1).shape == (8, 8, 3)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (5, 5), (8, 4), (10, 5), (16, 4), (64, 8)])
def test_grid_leaves_few_empty_cells(count, columns):
    assert pictures.grid(torch.zeros(count, 1, 2, 2), scale=1, gap=0).shape[1] == 2 * columns


def test_grid_shows_values_as_they_are_or_stretched():
    x = torch.tensor([[-1.0, 0.0], [0.5, 2.0]]).view(1, 1, 2, 2)
    assert pictures.grid(x, scale=1)[..., 0].tolist() == [[0, 0], [128, 255]]
    assert pictures.grid(x, scale=1, contrast="minmax")[..., 0].tolist() == [[0, 85], [128, 255]]
    both = torch.cat([x, x / 10])
    stretched = pictures.grid(both, scale=1, gap=0, contrast="minmax")
    np.testing.assert_array_equal(stretched[:, :2], stretched[:, 2:])
    assert pictures.grid(torch.ones(1, 1, 2, 2), contrast="minmax").max() == 0


@pytest.mark.parametrize("contrast", ["raw", "minmax"])
def test_grid_accepts_nan(contrast):
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0]).view(1, 1, 2, 2)
    assert pictures.grid(x, scale=1, contrast=contrast)[..., 0].tolist() == [[128, 255], [0, 0]]


def test_grid_takes_half_precision_and_gradients():
    x = waves(2).bfloat16().requires_grad_()
    assert pictures.grid(x, scale=1).shape == (32, 66, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: pictures.grid(torch.zeros(3, 8, 8)),
        lambda: pictures.grid(torch.zeros(1, 0, 8, 8)),
        lambda: pictures.grid(torch.zeros(0, 3, 8, 8)),
        lambda: pictures.grid(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)),
        lambda: pictures.grid(torch.zeros(1, 3, 8, 8), contrast="loud"),
        lambda: pictures.grid(torch.zeros(1, 3, 8, 8), scale=0),
        lambda: pictures.grid(torch.zeros(1, 3, 8, 8), columns=0),
        lambda: pictures.grid(torch.zeros(1, 3, 8, 8), gap=-1),
        lambda: pictures.comparison({"a": torch.zeros(1, 3, 8, 8), "b": torch.zeros(2, 3, 8, 8)}),
        lambda: pictures.comparison({}),
        lambda: pictures.comparison({"a": torch.zeros(1, 3, 8, 8)}, {"b": "caption"}),
        lambda: pictures.curves({}, "x", "y"),
        lambda: pictures.curves({"a": ([1, 2], [1])}, "x", "y"),
        lambda: pictures.curves({"a": ([1, 2], [0, -1])}, "x", "y", logy=True),
        lambda: pictures.scatter(torch.zeros(4, 3)),
        lambda: pictures.scatter(torch.zeros(4, 2), [1, 2]),
        lambda: pictures.sampled(moving(3), [0, 3]),
        lambda: pictures.sampled(moving(3), [-1]),
        lambda: pictures.sampled(moving(3), []),
        lambda: pictures.evenly(0, 3),
    ],
)
def test_invalid_images_are_refused(call):
    with pytest.raises(UsageError) as refusal:
        call()
    assert "\n" not in str(refusal.value)


# Saving


def test_save_creates_folders_and_leaves_only_the_picture(tmp_path):
    path = tmp_path / "a" / "b" / "grid.png"
    picture = pictures.grid(waves())
    pictures.save_picture(picture, path)
    np.testing.assert_array_equal(read(path), picture)
    assert os.listdir(path.parent) == ["grid.png"]
    pictures.save_picture(pictures.curves({"a": ([1], [1])}, "x", "y"), path)
    assert read(path).shape[:2] == (675, 1200)


def test_save_refuses_other_formats(tmp_path):
    with pytest.raises(UsageError, match="png"):
        pictures.save_picture(pictures.grid(waves()), tmp_path / "grid.jpg")
    assert not list(tmp_path.iterdir())


# Figures


def assert_all_text_is_inside(figure):
    figure.canvas.draw()
    ink, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(ink.x0, ink.y0, width - ink.x1, height - ink.y1) > -0.02


@pytest.mark.parametrize("count", [1, 2, 8, 16])
def test_comparison_is_at_most_800_pixels_wide_with_its_text_inside(count):
    x = waves(count)
    rows = {"clean": x, "corrupted by half of noise": x, "7 x 7 filter": x[:, :1, ::2, ::2]}
    figure = pictures.comparison(
        rows, {"clean": "PSNR 22.40 dB, SSIM 0.710, and more", "7 x 7 filter": "$1 and $2"}, "A title " * 12
    )
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() <= 8.01
    assert len(figure.axes) == 3
    assert_all_text_is_inside(figure)


def test_labels_of_a_comparison_do_not_overlap():
    x = waves(16, height=8)
    figure = pictures.comparison({f"row {i}": x for i in range(4)}, {"row 1": "one\ntwo\nthree"})
    figure.canvas.draw()
    texts = [text.get_window_extent() for text in figure.texts if text.get_text()]
    left = min(axes.get_window_extent().x0 for axes in figure.axes)
    assert max(box.x1 for box in texts) < left
    texts.sort(key=lambda box: -box.y1)
    assert all(above.y0 >= below.y1 - 1 for above, below in itertools.pairwise(texts))


def test_comparison_shows_the_images_undistorted():
    figure = pictures.comparison({"a": waves(3, height=16, width=48)})
    image = figure.axes[0].images[0].get_array()
    box = figure.axes[0].get_window_extent()
    assert abs(box.width / box.height - image.shape[1] / image.shape[0]) < 0.01


def test_curves_show_every_series_and_a_single_point():
    epochs = torch.arange(1, 101)
    figure = pictures.curves(
        {"long": (epochs, torch.exp(-epochs / 20).requires_grad_()), "single": ([50], [0.3])},
        "epoch",
        "MSE per pixel",
        logy=True,
        title="Error",
    )
    long, single = figure.axes[0].lines
    assert (long.get_marker(), single.get_marker()) == ("None", "o")
    assert long.get_color() != single.get_color()
    assert figure.axes[0].get_yscale() == "log"
    assert [figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()] == ["epoch", "MSE per pixel"]
    assert_all_text_is_inside(figure)


def test_overlapping_curves_are_visible_and_points_have_error_bars():
    points = {"law": ([1, 2], [1, 2]), "measured": ([1, 2], [1, 2]), "observed": ([1, 2], [1, 2])}
    axes = pictures.curves(points, "layers", "y", bands={"observed": ([0, 1], [2, 3])}, dots={"observed"}).axes[0]
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--", "None"]
    (bars,) = axes.collections
    assert [tuple(map(tuple, path)) for path in bars.get_segments()] == [((1, 0), (1, 2)), ((2, 1), (2, 3))]
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_many_curves_all_look_different():
    figure = pictures.curves({f"width {i}": ([0, 1], [i, i]) for i in range(12)}, "epoch", "nats")
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 12
    assert len(figure.legends[0].get_texts()) == 12
    assert_all_text_is_inside(figure)


def test_curves_accept_nan():
    for values, logy in (([torch.nan, 1.0], True), ([torch.nan, torch.inf], False)):
        assert pictures.png(pictures.curves({"nan": ([0, 1], values)}, "x", "y", logy=logy)).startswith(b"\x89PNG")


def test_scatter_of_classes_names_and_fractions():
    points = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    classes = pictures.scatter(points, torch.arange(60) % 10, "t-SNE 1", "t-SNE 2", "Codes")
    assert [text.get_text() for text in classes.legends[0].get_texts()] == [str(i) for i in range(10)]
    assert_all_text_is_inside(classes)
    names = pictures.scatter(points.numpy(), ["cat", "dog"] * 30)
    assert [text.get_text() for text in names.legends[0].get_texts()] == ["cat", "dog"]
    assert len(pictures.scatter(points, torch.rand(60)).axes) == 2
    assert not pictures.scatter(points).legends


def looks(figure):
    """Colour and shape of the points of every class."""
    drawn = figure.axes[0].collections
    return [(tuple(one.get_facecolor()[0][:3]), one.get_paths()[0].vertices.tobytes()) for one in drawn]


@pytest.mark.parametrize("count", [2, 10, 24, 70])
def test_classes_have_distinct_colours_and_markers(count):
    """By colour alone up to ten, by colour and marker up to 70; and their names are on the picture."""
    points = torch.randn(140, 2, generator=torch.Generator().manual_seed(0))
    figure = pictures.scatter(points, [f"class {i % count:02d}" for i in range(140)])
    assert len(set(looks(figure))) == count
    assert len({colour for colour, _ in looks(figure)}) == min(count, 10)
    assert len(figure.legends[0].get_texts()) == count
    assert_all_text_is_inside(figure)


def test_with_too_many_classes_there_is_no_legend():
    assert not pictures.scatter(torch.rand(71, 2), torch.arange(71)).legends


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency",
# 2009, severity 1: what linear red, green and blue become
EYES = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.01182, 0.04294, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.3039),
    ),
}


@pytest.mark.parametrize(
    ("eyes", "least"), [("usual", 20), ("protanopia", 10), ("deuteranopia", 10), ("tritanopia", 10)]
)
def test_ten_colours_are_distinct_for_colour_blind_eyes(eyes, least):
    """CIEDE2000 of 2 is seen at a glance; the seven of Okabe and Ito are 11 apart at least, for each of these."""
    points = torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    colours = np.array([colour for colour, _ in looks(pictures.scatter(points, torch.arange(20) % 10))])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.array(EYES[eyes]).T).clip(0, 1)
    lab = color.rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)[None])[0]
    apart = [color.deltaE_ciede2000(a, b) for a, b in itertools.combinations(lab, 2)]
    assert len(apart) == 45
    assert min(apart) > least
    assert min(color.deltaE_ciede2000(one, [100, 0, 0]) for one in lab) > least  # and from white


def test_pyplot_is_never_loaded_and_drawing_libraries_only_when_used():
    code = """
import sys, torch, copyfold.pictures as p
assert not {"matplotlib", "av", "PIL"} & set(sys.modules)
p.png(p.curves({"a": ([1], [1])}, "x", "y"))
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Films


def test_mp4_keeps_frames_rate_and_colours(tmp_path):
    path = tmp_path / "folder" / "film.mp4"
    assert pictures.film(moving(30), path, fps=10) == 30
    frames, stream = decoded(path)
    assert len(frames) == 30
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert stream.average_rate == 10
    for frame, images in zip(frames, moving(30), strict=True):
        assert off(frame, pictures.grid(images)) < 5
    assert os.listdir(path.parent) == ["film.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_plain_colours_are_encoded_exactly(tmp_path, suffix):
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5], [0.9, 0.6, 0.1], [0, 0, 0]])
    path = tmp_path / f"film{suffix}"
    pictures.film(iter([colours[:, :, None, None].expand(-1, 3, 32, 32)] * 3), path, columns=6)
    frame = decoded(path)[0][2] if suffix == ".mp4" else list(gif_frames(path))[2]
    for i, colour in enumerate(colours):
        middle = frame[48, 98 * i + 48].astype(float)
        np.testing.assert_allclose(middle, 255 * colour, atol=5)


def test_mp4_of_odd_size_is_padded_to_even(tmp_path):
    path = tmp_path / "film.mp4"
    pictures.film((torch.full((1, 1, 9, 7), 0.5) for _ in range(2)), path, scale=3)
    frame = decoded(path)[0][0]
    assert frame.shape == (28, 22, 3)
    assert abs(frame.astype(int) - 128).max() <= 3


def test_gif_keeps_frames_time_and_colours_and_loops(tmp_path):
    path = tmp_path / "film.GIF"
    assert pictures.film(moving(12, count=2), path, fps=10) == 12
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0
        assert gif.info["duration"] == 100
    frames = list(gif_frames(path))
    assert len(frames) == 12
    for frame, images in zip(frames, moving(12, count=2), strict=True):
        expected = pictures.grid(images)
        assert frame.shape == expected.shape
        assert off(frame, expected) < 4


def test_a_gif_is_limited_to_the_frame_rate_of_viewers(tmp_path):
    path = tmp_path / "film.gif"
    assert pictures.film(moving(5), path, fps=200) == 5
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.info["duration"]) == (5, 20)


def test_png_is_the_last_frame(tmp_path):
    path = tmp_path / "film.png"
    assert pictures.film(moving(5), path, contrast="minmax") == 1
    expected = pictures.grid(list(moving(5))[-1], contrast="minmax")
    np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".png"])
def test_a_film_of_one_frame_is_written(tmp_path, suffix):
    path = tmp_path / f"film{suffix}"
    assert pictures.film(moving(1), path) == 1
    frames = decoded(path)[0] if suffix == ".mp4" else list(gif_frames(path)) if suffix == ".gif" else [read(path)]
    assert len(frames) == 1
    assert off(frames[0], pictures.grid(waves())) < 4


@pytest.mark.parametrize("size", [8, 24, 64])
def test_growing_images_are_scaled_to_one_frame_size(tmp_path, size):
    def growing():
        yield waves(2, height=16, width=16)
        yield waves(2, height=size, width=size)

    path = tmp_path / "film.mp4"
    pictures.film(growing(), path, scale=2)
    first, second = decoded(path)[0]
    assert first.shape == second.shape == (32, 66, 3)
    assert off(first, second) < 12


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".png"])
def test_a_failing_film_leaves_no_file_and_keeps_the_old_one(tmp_path, suffix):
    def breaking():
        yield from moving(3)
        raise RuntimeError("the sampler failed")

    path = tmp_path / f"film{suffix}"
    path.write_text("from before")
    with pytest.raises(RuntimeError, match="the sampler failed"):
        pictures.film(breaking(), path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "from before"


@pytest.mark.parametrize(
    ("frames", "name", "fps", "what"),
    [
        (list(moving(2)), "film.webm", 12, "mp4, .gif, .png"),
        (list(moving(2)), "film", 12, "mp4, .gif, .png"),
        ([], "film.mp4", 12, "no frames"),
        (list(moving(2)), "film.mp4", 0, "per second"),
        (list(moving(2)), "film.gif", float("nan"), "per second"),
        ([waves(2), waves(3)], "film.mp4", 12, "number of images"),
        ([torch.zeros(1, 0, 8, 8)], "film.gif", 12, "b, c, h, w"),
    ],
)
def test_invalid_films_are_refused_and_leave_no_file(tmp_path, frames, name, fps, what):
    with pytest.raises(UsageError, match=what):
        pictures.film(iter(frames), tmp_path / "folder" / name, fps=fps)
    assert not list(tmp_path.rglob("*film*"))


def resident():
    """Memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads its own memory from Linux's /proc")
@pytest.mark.parametrize(("suffix", "length", "scale"), [(".mp4", 500, 4), (".gif", 200, 8)])
def test_memory_does_not_grow_with_the_number_of_frames(tmp_path, suffix, length, scale):
    memory = {}

    def long():
        for i in range(length):
            memory[i] = resident()
            yield torch.full((1, 3, 32, 32), i / length)

    assert pictures.film(long(), tmp_path / f"film{suffix}", scale=scale) == length
    # pictures of 48 kB and of 192 kB: kept, they would take 21 MB and 34 MB
    assert memory[length - 1] - memory[length // 10] < 10


def test_frames_are_consumed_one_at_a_time(tmp_path):
    path, alive = tmp_path / "film.mp4", []

    def counting():
        for i in range(20):
            alive.append(i)
            yield waves(1)

    assert pictures.sampled(counting(), [4, 0]) is not None
    assert alive == [0, 1, 2, 3, 4]
    assert pictures.film(counting(), path) == 20


def test_sampled_gives_the_frames_asked_for_in_that_order():
    frames = pictures.sampled(moving(30), [9, 0, 9])
    for i, frame in zip([9, 0, 9], frames, strict=True):
        torch.testing.assert_close(frame, waves(phase=i / 10))


def test_evenly_includes_both_ends():
    assert pictures.evenly(30, 4) == [0, 10, 19, 29]
    assert pictures.evenly(3, 8) == [0, 1, 2]
    assert pictures.evenly(5, 1) == [0]


@pytest.mark.parametrize(
    ("length", "shown"), [(1, [0]), (5, [0, 1, 2, 3, 4]), (31, [0, 4, 9, 13, 17, 21, 26, 30])]
)
def test_a_strip_has_one_row_per_image_and_frames_from_left_to_right(length, shown):
    """Each image with a brightness of its own, that rises by the frame."""
    levels = torch.tensor([0, 100])[None, :] + torch.arange(length)[:, None]
    film = (level.view(2, 1, 1, 1).expand(-1, 1, 4, 4) / 255 for level in levels)
    picture = pictures.strip(film, scale=1)
    assert picture.shape == (2 * 4 + 2, len(shown) * 6 - 2, 3)
    assert picture[0, ::6, 0].tolist() == shown
    assert picture[6, ::6, 0].tolist() == [100 + level for level in shown]


def test_a_strip_of_a_long_film_is_even_and_holds_few_frames():
    alive, most = weakref.WeakSet(), 0

    def film():
        nonlocal most
        for i in range(1001):
            frame = torch.full((1, 3, 2, 2), (i // 4) / 255)
            alive.add(frame)
            most = max(most, len(alive))
            yield frame

    levels = pictures.strip(film(), 5, scale=1)[0, ::4, 0].astype(int)
    assert levels[0] == 0
    assert levels[-1] == 250
    assert abs(np.diff(levels) - 62.5).max() < 62.5 / 8
    assert most < 5


def test_a_strip_needs_frames_and_resizes_them():
    with pytest.raises(UsageError, match="at least one step"):
        pictures.strip(iter(()))
    with pytest.raises(UsageError, match="count=1"):
        pictures.strip(moving(3), 1)
    growing = (torch.full((2, 1, side, side), 0.5) for side in (4, 8, 6))
    assert pictures.strip(growing, scale=2).shape == (2 * 8 + 2, 3 * 8 + 4, 3)


def test_writing_a_film_prints_nothing(tmp_path, capfd):
    for suffix in (".mp4", ".gif", ".png"):
        pictures.film(moving(2), tmp_path / f"film{suffix}")
    assert capfd.readouterr() == ("", "")


def test_a_logarithmic_axis_has_as_many_numbers_as_there_is_room_for():
    expected = {0.5: {"0.4", "0.5"}, 1.0: {"0.4", "0.6"}, 60.0: {"0.5", "2", "5", "20", "50"}}
    for high, between in expected.items():
        (axes,) = pictures.intervals({"a": (0.4, 0.3, high)}, "x", logx=True).axes
        left, right = axes.get_xlim()
        labels = {t.get_text() for t in axes.get_xticklabels(minor=True) if left <= t.get_position()[0] <= right}
        assert labels - {"", "0.3"} == between
    (axes,) = pictures.intervals({"a": (1.0, 1e-3, 1e3)}, "x", logx=True).axes
    assert {t.get_text() for t in axes.get_xticklabels(minor=True)} == {""}
    assert "0.001" in {t.get_text() for t in axes.get_xticklabels()}


@pytest.mark.parametrize("logx", [False, True])
def test_unbounded_intervals_are_drawn_to_the_border(logx):
    rows = {"whole": (2.0, 1.0, 3.0), "unbounded": (2.0, -math.inf, math.inf), "crossing": (2.0, -1.0, 3.0)}
    (axes,) = pictures.intervals(rows, "x", {"one": 1.0}, {"whole": [1.5, 2.5]}, logx=logx).axes
    border = axes.get_xlim()
    drawn = [line for line in axes.lines if line.get_linestyle() == "-" and line.get_linewidth() > 2]
    ends = [tuple(line.get_xdata()) for line in drawn]
    assert ends[0] == (1.0, 3.0)
    assert ends[1] == border
    assert ends[2] == ((border[0], 3.0) if logx else (-1.0, 3.0))
    with pytest.raises(UsageError, match="at least one number"):
        pictures.intervals({}, "x")


def test_heatmaps_share_one_scale_and_histograms_one_range():
    maps = pictures.heatmaps({"a": torch.zeros(3, 4), "b": torch.ones(3, 4)}, "x", "y")
    assert {panel.images[0].get_clim() for panel in maps.axes[:2]} == {(0.0, 1.0)}
    bars = pictures.histograms({"a": [0.0, 1.0], "b": [2.0, 4.0, 4.0]}, "x", bins=4)
    assert [sum(bar.get_height() for bar in panel.patches) for panel in bars.axes] == [2, 3]
    assert bars.axes[0].get_xlim() == bars.axes[1].get_xlim()


def test_a_picture_can_be_limited_in_bytes(tmp_path):
    noise = pictures.grid(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    pictures.save_picture(noise, tmp_path / "whole.png")
    pictures.save_picture(noise, tmp_path / "light.png", most=20_000)
    assert (tmp_path / "light.png").stat().st_size <= 20_000 < (tmp_path / "whole.png").stat().st_size


def test_panels_beside_each_other_show_every_series_once_in_the_legend():
    panels = {
        "seconds": {"first": ([1, 2], [0.5, 0.1]), "second": ([3], [0.2])},
        "steps": {"second": ([10], [0.2]), "third": ([5, 9], [0.3, 0.0])},
    }
    figure = pictures.beside(panels, "error", logy=True)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["first", "second", "third"]
    left, right = figure.axes
    assert (left.get_xlabel(), right.get_xlabel(), left.get_ylabel()) == ("seconds", "steps", "error")
    assert left.get_ylim() == right.get_ylim()
    colours = [{line.get_label(): line.get_color() for line in axes.get_lines()} for axes in (left, right)]
    assert colours[0]["second"] == colours[1]["second"] != colours[0]["first"]
    with pytest.raises(UsageError, match="above 0"):
        pictures.beside({"steps": {"zero": ([1], [0.0])}}, "error", logy=True)


def test_a_heated_image_is_grey_where_it_is_usual_and_red_where_it_is_not():
    x = torch.full((1, 3, 2, 3), 0.4)
    maps = torch.tensor([[[-5.0, 1.0, 2.0], [3.0, 9.0, 1.5]]])
    found = pictures.heated(x, maps, 1.0, 3.0)
    usual = found[0, :, 0, :2]
    torch.testing.assert_close(usual, torch.full((3, 2), 0.4))
    red = found[0, :, 1, 0]
    torch.testing.assert_close(red, found[0, :, 1, 1])  # no more than the highest
    torch.testing.assert_close(red, torch.tensor([0.3 * 0.4 + 0.7, 0.12, 0.12]))
    yellow = found[0, :, 0, 2]
    torch.testing.assert_close(yellow, torch.tensor([0.82, 0.82, 0.12]))
