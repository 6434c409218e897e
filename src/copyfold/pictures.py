"""What a person looks at: grids, labelled comparisons, curves, and films.

The only door to matplotlib and PyAV, both imported when first needed. Figures are `matplotlib.figure.Figure`
objects on the Agg canvas and never pyplot's, which keeps every figure alive and is not safe in threads.
Colours are those of Okabe and Ito, "Color universal design" (2008), told apart by colour-blind eyes too.
"""

import contextlib
import io
import itertools
import math
import textwrap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from copyfold.errors import UsageError
from copyfold.files import written
from copyfold.types import Film, Images

if TYPE_CHECKING:
    from av.filter import Graph
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Picture: TypeAlias = np.ndarray
"""A picture to show: height x width x 3, uint8, red green blue."""

Contrast: TypeAlias = Literal["raw", "minmax"]
"""How values become brightness: clipped to [0, 1], or each image stretched to its own range."""

Numbers: TypeAlias = Tensor | np.ndarray | Sequence[float]


def grid(
    images: Images,
    columns: int | None = None,
    scale: int | None = None,
    gap: int = 2,
    contrast: Contrast = "raw",
) -> Picture:
    """Lay images out in rows, on white: uint8, height x width x 3.

    "raw" clips to [0, 1]; "minmax" stretches each image to its own range (a constant one turns black). What
    is not a number is black. Each pixel becomes scale x scale pixels: by default as many as make an image 96
    pixels long, so that a person can see it. `gap` white pixels lie between images. By default there are
    about as many columns as rows, or more where that leaves fewer holes. Raises UsageError for anything but a
    batch b, c, h, w of 1 or 3 channels.
    """
    cells = _bytes(images, contrast)
    return _tiled(_enlarged(cells, _visible_scale(cells) if scale is None else scale), columns, gap)


def png(picture: "Picture | Figure") -> bytes:
    """Encode a grid or a figure as a PNG file; figures at 150 pixels per inch."""
    file = io.BytesIO()
    if isinstance(picture, np.ndarray):
        from PIL import Image

        Image.fromarray(picture).save(file, format="png")
    else:
        picture.savefig(file, format="png", dpi=150)
    return file.getvalue()


def save(picture: "Picture | Figure", path: str | Path) -> None:
    """Write a grid or figure to a .png, whole or not at all; makes parent folders."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UsageError(f"cannot save {path}: pictures are PNG files, give it the suffix .png")
    with written(path) as temporary:
        temporary.write_bytes(png(picture))


def comparison(
    rows: Mapping[str, Images], captions: Mapping[str, str] | None = None, title: str = ""
) -> "Figure":
    """Show the same images in every row: clean, corrupted, restored and so on.

    Each row carries its name and under it its caption (its numbers) at the left. Drawn 8 inches wide or less,
    for text that is readable at 800 pixels. The rows may differ in the size of their images but not in their
    number: else UsageError.
    """
    captions = captions or {}
    counts = {name: len(images) for name, images in rows.items()}
    if len(set(counts.values())) != 1:
        raise UsageError(f"a comparison needs the same number of images in every row, not {counts}")
    if set(captions) - set(rows):
        raise UsageError(f"captions without a row: {', '.join(sorted(set(captions) - set(rows)))}")
    strips = [_strip(images) for images in rows.values()]
    labels = [(_wrap(name, 20), _wrap(captions.get(name, ""), 26)) for name in rows]
    return _labelled(strips, labels, title, columns=next(iter(counts.values())))


def curves(
    series: Mapping[str, tuple[Numbers, Numbers]],
    xlabel: str,
    ylabel: str,
    logy: bool = False,
    title: str = "",
) -> "Figure":
    """Plot y against x for each series (x, y) by name; axis labels carry their units.

    Short series show their points, so that one of a single point is seen. With logy, values that are not
    positive are left out, and a UsageError says where none is left.
    """
    lines = {name: (_vector(x), _vector(y)) for name, (x, y) in series.items()}
    for name, (x, y) in lines.items():
        if len(x) != len(y):
            raise UsageError(
                f"curve {name!r} has {len(x)} values of x and {len(y)} of y: they must be paired"
            )
    if not any(len(x) for x, _ in lines.values()):
        raise UsageError("there is no curve to draw: give at least one point")
    if logy and not any((y > 0).any() for _, y in lines.values()):
        raise UsageError("no value is above 0, so none can be drawn on a logarithmic axis: set logy to false")
    figure, axes = _axes(xlabel, ylabel, title)
    if logy:
        axes.set_yscale("log", nonpositive="mask")
    for i, (name, (x, y)) in enumerate(lines.items()):
        color, dash = _PALETTE[i % len(_PALETTE)], ("-", "--", ":", "-.")[i // len(_PALETTE) % 4]
        marker = "o" if len(x) <= 30 else None
        axes.plot(x, y, dash, color=color, marker=marker, markersize=4, linewidth=1.8, label=_plain(name))
    _legend(figure, axes, outside=len(lines) > 4)
    return figure


def scatter(
    points: Tensor | np.ndarray,
    labels: Sequence[Any] | Tensor | np.ndarray | None = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> "Figure":
    """Draw points (n, 2), coloured by their labels.

    Whole numbers and names are classes, each with its colour and marker in the legend; floating point labels
    are read off a colour bar. Raises UsageError where the shapes do not fit.
    """
    xy = _array(points)
    kinds = np.zeros(len(xy), int) if labels is None else _array(labels)
    if xy.ndim != 2 or xy.shape[1] != 2 or len(kinds) != len(xy):
        raise UsageError(f"a scatter needs points n x 2 and n labels, not {xy.shape} and {len(kinds)} labels")
    figure, axes = _axes(xlabel, ylabel, title, size=(8.0, 6.0))
    look = {"s": float(np.clip(10_000 / max(len(xy), 1), 8, 40)), "linewidths": 0, "alpha": 0.85}
    if np.issubdtype(kinds.dtype, np.floating):
        drawn = axes.scatter(xy[:, 0], xy[:, 1], c=kinds, cmap="viridis", **look)
        figure.colorbar(drawn, ax=axes)
        return figure
    for i, kind in enumerate(np.unique(kinds)):
        color, marker = _PALETTE[i % len(_PALETTE)], "o^sDvP*"[i // len(_PALETTE) % 7]
        x, y = xy[kinds == kind].T
        axes.scatter(x, y, color=color, marker=marker, label=_plain(str(kind)), **look)
    if labels is not None:
        _legend(figure, axes, outside=True)
    return figure


def film(
    frames: Film | Iterable[Images],
    path: str | Path,
    fps: float = 12,
    columns: int | None = None,
    scale: int | None = None,
    contrast: Contrast = "raw",
) -> int:
    """Write a film: .mp4 (H.264), .gif (loops) or .png (its last frame).

    Frames are taken one at a time and let go: memory does not grow with their number. Returns the number of
    frames written, 1 for a .png. The grid is laid out as in `grid`, for the first frame; images that change
    their size on the way are resized to it (`scale` leaves room for larger ones). A .gif shows at most 50
    frames per second. The file is whole or not there, also where a frame raises. Raises UsageError for
    another suffix, a film without frames, and a number of images that changes.
    """
    path = Path(path)
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(f"a film is written to {', '.join(_WRITERS)}, not {path.suffix!r}: rename {path}")
    if not 0.01 <= fps <= 1000:
        raise UsageError(f"a film shows between 0.01 and 1000 frames per second, not {fps}")
    pictures = _pictures(frames, columns, scale, contrast)
    first = next(pictures, None)
    if first is None:
        raise UsageError(f"the film for {path} has no frames: ask for at least one step")
    write, rate = _WRITERS[path.suffix.lower()], Fraction(fps).limit_denominator(1000)
    with written(path) as temporary:
        return write(temporary, itertools.chain([first], pictures), rate)


def sampled(frames: Film | Iterable[Images], indices: Sequence[int]) -> list[Images]:
    """The frames of these numbers, counted from 0; the film is run no further.

    For a still picture of how images form: `comparison({f"step {i}": x for i, x in zip(...)})`. Raises
    UsageError where the film ends before the last of them.
    """
    if not indices or min(indices) < 0:
        raise UsageError(f"frames are sampled by numbers from 0 on, not {list(indices)}")
    kept: dict[int, Images] = {}
    seen = 0
    for seen, frame in zip(range(1, max(indices) + 2), frames, strict=False):
        if seen - 1 in indices:
            kept[seen - 1] = frame
    if max(indices) not in kept:
        raise UsageError(f"the film has {seen} frames: there is no frame {max(indices)}, counted from 0")
    return [kept[i] for i in indices]


def evenly(length: int, count: int) -> list[int]:
    """Choose `count` of a film's `length` frames, evenly, the first and last included."""
    if length < 1 or count < 1:
        raise UsageError(f"cannot choose {count} frames of {length}: both must be at least 1")
    return np.linspace(0, length - 1, min(length, count)).round().astype(int).tolist()


def _bytes(images: Images, contrast: Contrast) -> np.ndarray:
    """Turn images b, c, h, w into bytes b, h, w, 3."""
    if images.dim() != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        size = " x ".join(map(str, images.shape))
        raise UsageError(f"pictures are made of images b, c, h, w with 1 or 3 channels, not {size}")
    if not images.is_floating_point():
        raise UsageError(f"pictures are made of images in [0, 1], not {images.dtype}: divide them by 255")
    if contrast not in ("raw", "minmax"):
        raise UsageError(f"no contrast is called {contrast!r}: choose one of raw, minmax")
    x = torch.nan_to_num(images.detach().to("cpu", torch.float64), nan=0.0, posinf=1.0, neginf=0.0)
    if contrast == "minmax":
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        x = (x - low) / (high - low).clamp_min(torch.finfo(x.dtype).tiny)
    return (x.clamp(0, 1) * 255).round().byte().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def _visible_scale(cells: np.ndarray) -> int:
    return math.ceil(96 / max(cells.shape[1:3]))


def _enlarged(cells: np.ndarray, scale: int) -> np.ndarray:
    if scale < 1:
        raise UsageError(f"a picture is enlarged by a whole number from 1 on, not {scale}")
    return cells.repeat(scale, axis=1).repeat(scale, axis=2)


def _tiled(cells: np.ndarray, columns: int | None, gap: int) -> Picture:
    b, h, w, _ = cells.shape
    columns = _nice_columns(b) if columns is None else min(columns, b)
    if columns < 1 or gap < 0:
        raise UsageError(f"a grid needs at least one column and no negative gap, not {columns} and {gap}")
    rows = math.ceil(b / columns)
    picture = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        top, left = i // columns * (h + gap), i % columns * (w + gap)
        picture[top : top + h, left : left + w] = cell
    return picture


def _nice_columns(count: int) -> int:
    """The fewest columns that leave the fewest holes, from sqrt(count) to twice that."""
    narrow = math.ceil(math.sqrt(count))
    return min(range(narrow, 2 * narrow + 1), key=lambda columns: (-count % columns, columns))


def _pictures(
    frames: Iterable[Images], columns: int | None, scale: int | None, contrast: Contrast
) -> Iterator[Picture]:
    """The frames as grids of one size, that of the first."""
    shape: tuple[int, ...] = ()
    for images in frames:
        cells = _bytes(images, contrast)
        if not shape:
            scale = _visible_scale(cells) if scale is None else scale
            shape = (len(cells), cells.shape[1] * scale, cells.shape[2] * scale)
        if len(cells) != shape[0]:
            raise UsageError(
                f"a film keeps its number of images, but {shape[0]} became {len(cells)} in this one"
            )
        factor, rest = divmod(shape[1], cells.shape[1])
        if rest or (cells.shape[1] * factor, cells.shape[2] * factor) != shape[1:]:
            x = F.interpolate(images.detach().float(), size=shape[1:], mode="bilinear", antialias=True)
            cells, factor = _bytes(x, contrast), 1
        yield _tiled(_enlarged(cells, factor), columns, gap=2)


def _write_mp4(path: Path, pictures: Iterator[Picture], fps: Fraction) -> int:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    # Said in the file and done to the frames: players guess otherwise, and colours come out shifted
    space, span = Colorspace.ITU709, ColorRange.MPEG
    stream, count = None, 0
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        for picture in pictures:
            height, width, _ = picture.shape
            # H.264 halves the colours in both directions and so refuses odd sizes
            even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"crf": "18"})
                stream.height, stream.width, stream.pix_fmt = *even.shape[:2], "yuv420p"
                stream.codec_context.colorspace, stream.codec_context.color_range = space, span
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=space, dst_color_range=span)
            container.mux(stream.encode(frame))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count


def _write_gif(path: Path, pictures: Iterator[Picture], fps: Fraction) -> int:
    import av

    first = next(pictures)
    height, width, _ = first.shape
    beat = 1 / min(fps, Fraction(50))  # a GIF counts hundredths of a second, and viewers slow down beyond 50
    painter = _palette_painter(width, height, beat)
    count = 0
    with av.open(str(path), "w", format="gif", options={"loop": "0"}) as container:
        stream = container.add_stream("gif", rate=1 / beat)
        stream.height, stream.width, stream.pix_fmt = height, width, "pal8"
        for picture in itertools.chain([first], pictures, [None]):
            frame = None  # the end of the film
            if picture is not None:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = count, beat
                count += 1
            painter.push(frame)
            with contextlib.suppress(BlockingIOError, EOFError):  # until the painter has no more for now
                while True:
                    container.mux(stream.encode(painter.vpull()))
        container.mux(stream.encode())
    return count


def _palette_painter(width: int, height: int, beat: Fraction) -> "Graph":
    """A filter to 256 colours, chosen anew for every frame so that none has to wait."""
    from av import VideoFormat
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat("rgb24"), time_base=beat)
    both, sink = graph.add("split"), graph.add("buffersink")
    palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    painted = graph.add("paletteuse", "new=1:dither=sierra2_4a")
    source.link_to(both)
    both.link_to(painted, 0, 0)
    both.link_to(palette, 1, 0)
    palette.link_to(painted, 0, 1)
    painted.link_to(sink)
    graph.configure()
    return graph


def _write_png(path: Path, pictures: Iterator[Picture], fps: Fraction) -> int:
    path.write_bytes(png(deque(pictures, maxlen=1).pop()))
    return 1


_WRITERS: dict[str, Callable[[Path, Iterator[Picture], Fraction], int]] = {
    ".mp4": _write_mp4,
    ".gif": _write_gif,
    ".png": _write_png,
}


# Okabe and Ito's but yellow, which is lost on white
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def _figure(size: tuple[float, float], **options: Any) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=100, facecolor="white", **options)
    FigureCanvasAgg(figure)
    return figure


def _axes(
    xlabel: str, ylabel: str, title: str, size: tuple[float, float] = (8.0, 4.5)
) -> "tuple[Figure, Axes]":
    figure = _figure(size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(_plain(xlabel), fontsize=12)
    axes.set_ylabel(_plain(ylabel), fontsize=12)
    axes.set_title(_plain(_wrap(title, 80)), fontsize=13, loc="left")
    axes.tick_params(labelsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(figure: "Figure", axes: "Axes", outside: bool) -> None:
    handles, names = axes.get_legend_handles_labels()
    if outside:
        figure.legend(handles, names, loc="outside right upper", frameon=False, fontsize=11, markerscale=1.3)
    elif any(names):
        axes.legend(handles, names, loc="best", frameon=False, fontsize=11)


def _strip(images: Images) -> Picture:
    """One row of images, enlarged so that the figure's own scaling smears no pixel."""
    cells = _bytes(images, "raw")
    cells = _enlarged(cells, 2 * _visible_scale(cells))
    return _tiled(cells, len(cells), gap=max(2, cells.shape[2] // 24))


def _labelled(strips: list[Picture], labels: list[tuple[str, str]], title: str, columns: int) -> "Figure":
    """Strips with labels at their left, laid out in inches because text has a size."""
    margin, gap = 0.12, 0.1
    figure = _figure((8.0, 4.0))
    texts = [
        (_text(figure, name, 11, weight="bold"), _text(figure, note, 10, color="0.25"))
        for name, note in labels
    ]
    widest = max(text.get_window_extent().width for pair in texts for text in pair) / figure.dpi
    left = margin + widest + 0.15
    width = min(8.0 - left - margin, 1.5 * columns)
    heading = _text(figure, _wrap(title, max(20, int(10 * (left + width)))), 12, weight="bold")
    banner = _height(heading) + 0.06 if title else 0.0
    heights = [width * strip.shape[0] / strip.shape[1] for strip in strips]
    slots = [max(height, sum(map(_height, pair))) for height, pair in zip(heights, texts, strict=True)]
    across, down = left + width + margin, 2 * margin + banner + sum(slots) + gap * (len(slots) - 1)
    figure.set_size_inches(across, down)
    heading.set_position((margin / across, 1 - margin / down))
    top = down - margin - banner
    for strip, (name, note), height, slot in zip(strips, texts, heights, slots, strict=True):
        middle = top - slot / 2
        line = middle + (_height(name) + _height(note)) / 2
        name.set_position((margin / across, line / down))
        note.set_position((margin / across, (line - _height(name)) / down))
        box = (left / across, (middle - height / 2) / down, width / across, height / down)
        axes = figure.add_axes(box)
        axes.imshow(strip, aspect="auto", interpolation="antialiased")
        axes.set_axis_off()
        top -= slot + gap
    return figure


def _text(figure: "Figure", text: str, size: float, **look: Any) -> "Text":
    return figure.text(0, 0, _plain(text), fontsize=size, va="top", linespacing=1.25, **look)


def _height(text: "Text") -> float:
    """How much room the lines of a text take, in inches; none where it is empty."""
    lines = text.get_text().count("\n") + 1 if text.get_text() else 0
    return lines * float(text.get_fontsize()) * 1.38 / 72


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.fill(line, width) for line in text.splitlines())


def _plain(text: str) -> str:
    """Text as it is: between two dollar signs matplotlib would read a formula."""
    return text.replace("$", r"\$")


def _vector(values: Numbers) -> np.ndarray:
    return np.asarray(_array(values), dtype=float).reshape(-1)


def _array(values: Numbers | Sequence[Any]) -> np.ndarray:
    if isinstance(values, Tensor):
        return (values.detach().double() if values.is_floating_point() else values).cpu().numpy()
    return np.asarray(values)
